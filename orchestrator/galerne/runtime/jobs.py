"""The jobs that a coordinator has in memory: folded once, then kept up fact by fact."""

from collections import OrderedDict
from collections.abc import Callable

import anyio
import anyio.abc

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, Record
from galerne.bus.queue import Delivery
from galerne.core.decide import decide
from galerne.core.state import JobState, fold
from galerne.core.unreadable import meaning
from galerne.errors import PermanentError, TransientError
from galerne.logs import get_logger
from galerne.messages.facts import AnyFact, Ended, Submitted
from galerne.messages.plan import Usage
from galerne.messages.subjects import JobAddress
from galerne.settings import Settings

log = get_logger("galerne.runtime.jobs")

REMEMBERED = 10_000
"""Ended jobs whose late facts are acknowledged without reading their logs again."""


class Known:
    """A job in memory."""

    def __init__(self, address: JobAddress, now: float) -> None:
        self.address = address
        self.state = JobState()
        self.moved = now
        self.sequence = 0


class Jobs:
    """Folds facts, decides, writes, acknowledges."""

    def __init__(
        self, bus: Bus, facts: FactLog, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._facts = facts
        self._settings = settings
        self._clock = clock
        self._known: dict[JobAddress, Known] = {}
        self._loading: dict[JobAddress, list[Delivery]] = {}
        self._ended: OrderedDict[JobAddress, None] = OrderedDict()
        self._writing = 0
        self._quiet = anyio.Event()

    async def on_fact(self, record: Record, delivery: Delivery, tasks: anyio.abc.TaskGroup) -> None:
        """One fact of a part that this replica looks after."""
        job = record.address
        if job in self._ended:
            await delivery.ack()
            return
        if job in self._loading:
            self._loading[job].append(delivery)
            return
        known = self._known.get(job)
        fresh = isinstance(record.fact, Submitted) and delivery.delivered == 1
        if known is None and not fresh:
            self._loading[job] = [delivery]
            tasks.start_soon(self._load, record.address)
            return
        if known is None:
            known = self._known[job] = Known(record.address, anyio.current_time())
        _fold_record(known, record, anyio.current_time())
        lacking = self._decide(known)
        if lacking:
            self._writing += 1
            tasks.start_soon(self._write, known, lacking, [delivery])
        else:
            await delivery.ack()

    async def resume(self, part: int) -> None:
        """Take over the open jobs of a part: whatever its last owner left unwritten."""
        subjects = self._bus.subjects
        while True:
            try:
                begun = await self._facts.read(subjects.events(part=str(part), rest="submitted"))
                ended = await self._facts.read(subjects.events(part=str(part), rest="end"))
                break
            except TransientError as error:
                log.debug("a part could not be read yet", part=part, error=str(error))
                await anyio.sleep(0.5)
        over = {record.address for record in ended}
        for record in begun:
            job = record.address
            if job not in over and job not in self._known and job not in self._loading:
                self._loading[job] = []
                await self._load(record.address)

    async def sweep(self) -> None:
        """Read jobs again that have not moved for a while."""
        limit = anyio.current_time() - self._settings.coordinator.sweep
        for job, known in list(self._known.items()):
            if known.moved < limit and self._known.get(job) is known:
                await self._read_again(known)

    def forget_part(self, part: int) -> None:
        """Drop what is remembered of a part; a next fact reads it anew."""
        for job, known in list(self._known.items()):
            if known.address.part == part:
                del self._known[job]

    async def quiet(self) -> None:
        """Wait until nothing is being written."""
        while self._writing or self._loading:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    def _decide(self, known: Known) -> list[AnyFact]:
        now = self._clock()
        lacking: list[AnyFact]
        try:
            lacking = decide(known.state, now, self._settings.worker.max_attempts)
        except Exception as error:
            log.exception("a job cannot be decided", job=known.address.job)
            why = f"its next step cannot be decided: {type(error).__name__}: {error}"
            lacking = [Ended(status="failed", usage=Usage(), at=now, error=why)]
        for fact in lacking:  # so that the next fact does not decide the same again
            fold(known.state, fact, self._clock())
        return lacking

    async def _load(self, address: JobAddress) -> None:
        """Read a job's log, decide, and serve the facts that came meanwhile."""
        waiting = self._loading[address]
        try:
            known = await self._read(address, waiting)
        finally:
            del self._loading[address]
            self._quiet.set()
        self._known[address] = known
        lacking = self._decide(known)
        self._writing += 1
        await self._write(known, lacking, waiting)

    async def _read(self, address: JobAddress, waiting: list[Delivery]) -> Known:
        """The job folded from its log, which must hold all that has been delivered."""
        while True:
            known = Known(address, anyio.current_time())
            try:
                for record in await self._facts.read_job(address):
                    _fold_record(known, record, anyio.current_time())
                if known.sequence >= max((one.sequence for one in waiting), default=0):
                    return known
            except TransientError as error:
                log.debug("a job could not be read yet", job=address.job, error=str(error))
            await anyio.sleep(0.1)  # a replica of the stream may lag behind its leader

    async def _write(
        self, known: Known, lacking: list[AnyFact], deliveries: list[Delivery]
    ) -> None:
        """Write facts and acknowledge what they answer."""
        try:
            complete = await self._write_all(known, lacking)
            for delivery in deliveries:
                await delivery.ack()
            if not complete:  # somebody knows more than we do
                await self._read_again(known)
            elif known.state.ended is not None:
                await self._close(known)
        finally:
            self._writing -= 1
            self._quiet.set()

    async def _read_again(self, known: Known) -> None:
        address = known.address
        await anyio.sleep(0.05)
        if address not in self._loading:
            self._known.pop(address, None)
            self._loading[address] = []
            await self._load(address)

    async def _write_all(self, known: Known, lacking: list[AnyFact]) -> bool:
        """Whether every fact is ours now."""
        ours: list[bool] = []

        async def write(fact: AnyFact) -> None:
            try:
                ours.append(await self._facts.write(known.address, fact) is None)
            except PermanentError as error:
                ours.append(False)
                await self._fail(known, fact, error)

        async with anyio.create_task_group() as tasks:
            for fact in lacking:
                tasks.start_soon(write, fact)
        return all(ours)

    async def _fail(self, known: Known, fact: AnyFact, error: PermanentError) -> None:
        """A fact that the server will never take must not leave the job waiting for it."""
        if isinstance(fact, Ended):
            why = f"its result cannot be stored: {error}"
        else:
            why = f"the next task cannot be stored: {error}"
        log.error("a job is ended", job=known.address.job, why=why)
        for usage in (known.state.usage(), Usage()):  # the usage may be what does not fit
            ended = Ended(status="failed", usage=usage, at=self._clock(), error=why)
            try:
                await self._facts.write(known.address, ended)
            except PermanentError as problem:
                log.error("a job cannot be ended", job=known.address.job, why=str(problem))  # noqa: TRY400 - the sentence says it all
            else:
                return

    async def _close(self, known: Known) -> None:
        """The job is over: forget it, and take its queued tasks away."""
        self._known.pop(known.address, None)
        self._ended[known.address] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        ended = known.state.ended
        if ended is not None:
            log.info("ended", job=known.address.job, status=ended.status)
        if known.state.under_way:
            await self._purge(known.address)

    async def _purge(self, address: JobAddress) -> None:
        subjects = self._bus.subjects
        subject = subjects.task("*", "*", address.tenant, f"{address.job}.>")
        try:
            await self._bus.api(f"STREAM.PURGE.{subjects.stream('TASKS')}", {"filter": subject})
        except TransientError as error:  # workers hear of the end anyway
            log.debug("queued tasks stay until a worker sees them", error=str(error))


def _fold_record(known: Known, record: Record, now: float) -> None:
    known.moved = now
    known.sequence = max(known.sequence, record.sequence)
    fact = record.fact
    if fact is None:
        fact = meaning(record.name, record.error or "", record.at)
    if fact is not None:
        fold(known.state, fact, record.at)
