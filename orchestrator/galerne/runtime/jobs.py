"""The jobs that a coordinator has in memory: folded once, then kept up fact by fact."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import anyio
import anyio.abc

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, Record
from galerne.bus.mapping import ConflictError
from galerne.bus.queue import Delivery
from galerne.bus.tenants import redeem
from galerne.core import ends
from galerne.core.decide import decide, due, due_of_job, overdue
from galerne.core.fold import fold
from galerne.core.rules import Rules
from galerne.core.unreadable import meaning
from galerne.errors import GalerneError, PermanentError, TooLargeError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.facts import AnyFact, Done, Ended, Ready, Submitted
from galerne.messages.ids import TenantId
from galerne.messages.plan import Usage
from galerne.messages.subjects import JobAddress
from galerne.runtime.blobs import LargeValues
from galerne.runtime.known import Draft, Known
from galerne.runtime.leftovers import Leftovers, dropped_in
from galerne.runtime.lost import lost_of
from galerne.runtime.sessions import Conversations
from galerne.runtime.timers import Timers, next_rest, times_of
from galerne.settings import Settings

log = get_logger("galerne.runtime.jobs")

REMEMBERED = 10_000
"""Ended jobs whose late facts are acknowledged without reading their logs again."""


class Jobs:
    """Folds facts, decides, writes, acknowledges."""

    def __init__(
        self, bus: Bus, facts: FactLog, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._facts = facts
        self._large = LargeValues(bus)
        self._leftovers = Leftovers(bus)
        self._conversations = Conversations(bus, settings.retention.turns)
        self._settings = settings
        self._clock = clock
        self._known: dict[JobAddress, Known] = {}
        self._loading: dict[JobAddress, list[Delivery]] = {}
        self._ended: OrderedDict[JobAddress, None] = OrderedDict()
        self._writing = 0
        self._quiet = anyio.Event()
        self._left = False
        worker = settings.worker
        self._rules = Rules(max_attempts=worker.max_attempts, ask_timeout=worker.ask_timeout)
        self._timers = Timers()
        self._timers_changed = anyio.Event()

    def on_fact(self, record: Record, delivery: Delivery, tasks: anyio.abc.TaskGroup) -> None:
        """One fact of a part that this replica looks after."""
        job = record.address
        begins = isinstance(record.fact, Submitted)
        if job in self._ended and not begins:  # one that begins was purged and came again
            delivery.ack()
            return
        if job in self._loading:
            self._loading[job].append(delivery)
            return
        known = self._known.get(job)
        fresh = begins and delivery.delivered == 1 and job not in self._ended
        self._ended.pop(job, None)
        if known is None and not fresh:
            self._loading[job] = [delivery]
            tasks.start_soon(self._load, record.address)
            return
        if known is None:
            known = self._known[job] = Known(record.address, self._bus.now())
        self._fold(known, record)
        lacking = self._decide(known)
        if _is_bad_end(lacking):
            self._known.pop(job)
            self._loading[job] = [delivery]
            tasks.start_soon(self._load, job)
        elif self._conversations.has_turn(known.state, lacking):
            self._writing += 1
            tasks.start_soon(self._write, known, self._drafts(lacking), [delivery])
        elif lacking:
            self._post(known, lacking, delivery, tasks)
        else:
            delivery.ack()
            if known.state.ended is not None:  # another has ended it
                tasks.start_soon(self._close, known)

    def _post(
        self,
        known: Known,
        lacking: list[AnyFact],
        delivery: Delivery,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        """Write facts without waiting; those that are not stored at once are tried again."""
        drafts = self._drafts(lacking)
        left = len(drafts)
        refused: list[Draft] = []
        self._writing += 1

        def settle(draft: Draft, error: GalerneError | None) -> None:
            nonlocal left
            left -= 1
            if error is not None:
                refused.append(draft)
            if left or self._left:
                return
            if refused:
                tasks.start_soon(self._write, known, refused, [delivery])
                return
            self._written()
            delivery.ack()
            if dropped := dropped_in(lacking):
                tasks.start_soon(self._leftovers.of_tasks, known.address, dropped)
            if known.state.ended is not None:
                tasks.start_soon(self._close, known)

        for draft in drafts:
            settled = partial(settle, draft)
            self._facts.post(known.address, draft.fact, draft.message_id, settled)

    async def resume(self, part: int) -> None:
        """Take over the open jobs of a part: whatever its last owner left unwritten."""
        while True:
            try:
                begun = await self._facts.jobs_with("submitted", part)
                over = await self._facts.jobs_with("end", part)
                break
            except TransientError as error:
                log.debug("a part could not be read yet", part=part, error=str(error))
                await anyio.sleep(0.5)
        for job in begun - over:
            if job not in self._known and job not in self._loading:
                self._loading[job] = []
                await self._load(job)

    async def keep_time(self) -> None:
        """Look at jobs when their timers ring, until cancelled."""
        while True:
            self._timers_changed = anyio.Event()
            for address in self._timers.ring(self._clock()):
                await self._ring(address)
            with anyio.move_on_after(self._timers.next_in(self._clock())):
                await self._timers_changed.wait()

    async def _ring(self, address: JobAddress) -> None:
        known = self._known.get(address)
        if known is None:
            return  # it is over, or somebody else's, or being read
        reach("timer.fired")
        late = overdue(known.state, self._clock())
        if late:  # not folded before it stands: its worker may have been just in time
            self._writing += 1
            await self._write(known, self._drafts(late), [])
            return
        over = due_of_job(known.state)
        if over is not None and over <= self._clock():
            await self._read_again(known)

    async def sweep(self) -> None:
        """Read jobs again that have not moved for a while, and look for them in the queue."""
        least = self._settings.coordinator.sweep
        for job, known in list(self._known.items()):
            idle = self._bus.now() - known.moved
            if idle <= max(least, known.rest) or self._known.get(job) is not known:
                continue
            await self._read_again(known)
            again = self._known.get(job)
            if again is not None and again.sequence == known.sequence:
                again.rest = next_rest(again.state, max(least, known.rest), least)
                await self._queue_lost(again)

    async def _queue_lost(self, known: Known) -> None:
        """Queue anew what the server has lost of a job: its log alone would never move again."""
        lost = await lost_of(self._bus, known.address, known.state)
        if lost and self._known.get(known.address) is known:
            names = [fact.task.id for fact in lost]
            log.warning("the queue lost tasks: queued anew", job=known.address.job, tasks=names)
            self._writing += 1
            await self._write(known, self._drafts(list(lost)), [])

    def forget_part(self, part: int) -> None:
        """Drop what is remembered of a part; a next fact reads it anew."""
        for job, known in list(self._known.items()):
            if known.address.part == part:
                del self._known[job]
                self._timers.forget(job)

    def tenants(self) -> set[TenantId]:
        """Those with open jobs here."""
        return {address.tenant for address in self._known}

    async def quiet(self) -> None:
        """Wait until nothing is being written."""
        while self._writing or self._loading:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    def leave(self) -> None:
        """This replica ends: what is answered from now on starts nothing."""
        self._left = True

    def _decide(self, known: Known) -> list[AnyFact]:
        now = self._clock()
        lacking: list[AnyFact]
        try:
            lacking = decide(known.state, now, self._rules)
        except Exception as error:
            log.exception("a job cannot be decided", job=known.address.job)
            lacking = [ends.undecidable(error, now)]
        for fact in lacking:  # so that the next fact does not decide the same again
            fold(known.state, fact, self._clock())
            self._set_timer(due(fact), known)
        return lacking

    def _fold(self, known: Known, record: Record) -> None:
        """Put what stands in the log into the job's state, and its times into the timers."""
        known.moved, known.rest = self._bus.now(), 0.0
        known.sequence = max(known.sequence, record.sequence)
        fact = record.fact
        if fact is None:
            fact = meaning(record.name, record.error or "", record.at)
        if fact is None:
            return
        fold(known.state, fact, record.at)
        self._set_timer(due(fact), known)
        if isinstance(fact, Submitted):
            known.ticket = fact.ticket
            self._set_timer(due_of_job(known.state), known)

    def _set_timer(self, at: float | None, known: Known) -> None:
        if self._known.get(known.address) is not known:
            return  # it is being read: nobody could answer yet
        if self._timers.add(at, known.address):
            self._timers_changed.set()

    async def _load(self, address: JobAddress) -> None:
        """Read a job's log, decide, and serve the facts that came meanwhile."""
        waiting = self._loading[address]
        try:
            known = await self._read(address, waiting)
        finally:
            del self._loading[address]
            self._quiet.set()
        reach("job.loaded")
        if known.sequence:  # else it was purged
            self._known[address] = known
            for at in times_of(known.state):
                self._set_timer(at, known)
        else:
            self._timers.forget(address)
        lacking = self._decide(known)
        self._writing += 1
        await self._write(known, self._drafts(lacking), waiting)

    async def _read(self, address: JobAddress, waiting: list[Delivery]) -> Known:
        """The job folded from its log, which must hold all that has been delivered."""
        while True:
            known = Known(address, self._bus.now())
            try:
                for record in await self._facts.read_job(address):
                    self._fold(known, record)
                if not await self._lacks(known, waiting):
                    return known
            except TransientError as error:
                log.debug("a job could not be read yet", job=address.job, error=str(error))
            await anyio.sleep(0.1)  # a replica of the stream may lag behind its leader

    async def _lacks(self, known: Known, waiting: list[Delivery]) -> bool:
        """Whether the log holds a delivered fact that was not among those read."""
        unread = [one.sequence for one in waiting if one.sequence > known.sequence]
        for sequence in unread:
            if await self._facts.holds(sequence):
                return True
        return False  # what is missing was purged

    async def _write(self, known: Known, drafts: list[Draft], deliveries: list[Delivery]) -> None:
        """Write facts and acknowledge what they answer."""
        try:
            complete = await self._write_all(known, drafts)
            for delivery in deliveries:
                delivery.ack()
            dropped = dropped_in(draft.fact for draft in drafts)
            await self._leftovers.of_tasks(known.address, dropped)
            if not complete:  # somebody knows more than we do
                await self._read_again(known)
            elif known.state.ended is not None:
                await self._close(known)
        finally:
            self._written()

    def _written(self) -> None:
        self._writing -= 1
        self._quiet.set()

    def _drafts(self, facts: list[AnyFact]) -> list[Draft]:
        return [Draft(fact, self._facts.new_message_id()) for fact in facts]

    async def _read_again(self, known: Known) -> None:
        address = known.address
        await anyio.sleep(0.05)
        if address not in self._loading:
            self._known.pop(address, None)
            self._loading[address] = []
            await self._load(address)

    async def _write_all(self, known: Known, drafts: list[Draft]) -> bool:
        """Whether every fact is ours now."""
        ours: list[bool] = []

        async def write(draft: Draft) -> None:
            fact = draft.fact
            try:
                await self._conversations.before(known.address, known.state, fact)
                stands = await self._facts.write(known.address, fact, draft.message_id)
                ours.append(stands is None)
            except TooLargeError as error:
                ours.append(await self._write_fitted(known, fact, error))
            except PermanentError as error:
                ours.append(False)
                await self._fail(known, fact, error)

        async with anyio.create_task_group() as tasks:
            for draft in drafts:
                tasks.start_soon(write, draft)
        return all(ours)

    async def _write_fitted(self, known: Known, fact: AnyFact, error: TooLargeError) -> bool:
        """What does not fit a message: a task's inputs or a result, which are put aside."""
        try:
            match fact:
                case Ready():
                    fitted: AnyFact = await self._large.ready(known.address, fact)
                case Done():
                    fitted = await self._large.done(known.address, fact)
                case _:
                    raise error
            return await self._facts.write(known.address, fitted) is None
        except PermanentError as problem:
            await self._fail(known, fact, problem)
            return False

    async def _fail(self, known: Known, fact: AnyFact, error: PermanentError) -> None:
        """A fact that the server will never take must not leave the job waiting for it."""
        if isinstance(error, ConflictError):  # what stood there is purged: nothing is left to end
            log.debug("a job is read anew", job=known.address.job, why=str(error))
            return
        for usage in (known.state.usage(), Usage()):  # the usage may be what does not fit
            ended = ends.unstorable(fact, error, usage, self._clock())
            log.error("a job is ended", job=known.address.job, why=ended.error)
            try:
                await self._facts.write(known.address, ended)
            except ConflictError:
                return
            except PermanentError as problem:
                log.error("a job cannot be ended", job=known.address.job, why=str(problem))  # noqa: TRY400 - the sentence says it all
            else:
                return

    async def _close(self, known: Known) -> None:
        """The job is over: forget it, let the tenant's next one begin, take its tasks away."""
        self._known.pop(known.address, None)
        self._timers.forget(known.address)
        self._ended[known.address] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        ended = known.state.ended
        if ended is not None:
            log.info("ended", job=known.address.job, status=ended.status)
            await redeem(self._bus, known.ticket)
        if known.state.under_way or (ended is not None and ended.status != "succeeded"):
            await self._leftovers.of_job(known.address)


def _is_bad_end(lacking: list[AnyFact]) -> bool:
    """An end without an answer: what was spent on the way stands in the log's steps only."""
    return any(isinstance(fact, Ended) and fact.status != "succeeded" for fact in lacking)
