"""A coordinator replica: it wakes on facts, folds, decides, and writes what the log lacks.

    wake ─▶ the job is in memory: fold, decide ─┬─ nothing to write: acknowledge
         ─▶ it is not: read its log, fold all   └─ write all; acknowledge when they are stored
                                                     └─ another fact stands there: read it anew

Any number of replicas run. Parts of the log are shared out among those that are alive
(`core.shares`), which only saves work: what two of them write is the same, and the second write
loses. Each part's consumer counts its deliveries, so a gap in the count means that somebody else
took some of them, and everything remembered of that part is read anew.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, Record, record_of
from galerne.bus.queue import Delivery, StandingPull
from galerne.bus.topology import COMMANDS, part_consumer
from galerne.core.shares import own_parts
from galerne.errors import InvalidMessageError, TransientError
from galerne.logs import get_logger
from galerne.messages.codec import decode_coordinator_present, encode
from galerne.messages.live import CoordinatorPresent
from galerne.runtime.admission import DEADLY, Admission
from galerne.runtime.feed import look_after_feed
from galerne.runtime.jobs import Jobs
from galerne.runtime.presence import Heard, announce, listen
from galerne.runtime.quarantine import Quarantine
from galerne.runtime.retention import Retention
from galerne.runtime.tenants import Tenants
from galerne.settings import Settings

log = get_logger("galerne.runtime.coordinator")

WINDOW = 256
"""Facts of one part that may be on their way at a time."""
SURVIVED = 10_000
"""Redelivered facts that a replica remembers to have seen."""
SETTLE = 0.2
"""Seconds that a new replica listens for others before it takes its share."""


class Part:
    """One part of the log while this replica looks after it."""

    def __init__(self, number: int, pull: StandingPull) -> None:
        self.number = number
        self.pull = pull
        self.scope = anyio.CancelScope()
        self.consumed: int | None = None


class Coordinator:
    """One replica."""

    def __init__(self, bus: Bus, me: str, settings: Settings, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._me = me
        self._settings = settings
        self._clock = clock
        self._heard: Heard[CoordinatorPresent] = Heard(settings.coordinator.presence)
        facts = FactLog(bus)
        self._quarantine = Quarantine(bus, me, clock)
        wait = settings.coordinator.ack_wait
        revisions = settings.coordinator.revisions
        self._admission = Admission(bus, facts, self._quarantine, clock, wait, revisions)
        self._jobs = Jobs(bus, facts, settings, clock)
        self._parts: dict[int, Part] = {}
        self._survived: OrderedDict[int, None] = OrderedDict()
        self._retention = Retention(bus, settings.retention, clock)
        self._changed = anyio.Event()

    async def run(self, stop: anyio.Event, started: anyio.Event) -> None:
        """Serve until `stop` is set."""
        try:
            await self._serve(stop, started)
        finally:
            self._jobs.leave()

    async def _serve(self, stop: anyio.Event, started: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            await listen(self._bus, "coordinator", self._hear)
            presence = self._settings.coordinator.presence
            await tasks.start(announce, self._bus, "coordinator", presence, self._presence)
            self._start_admission(tasks)
            tasks.start_soon(self._share, tasks)
            tasks.start_soon(self._sweep)
            tasks.start_soon(self._jobs.keep_time)
            tasks.start_soon(self._retention.run, self._parts.keys)
            if self._settings.bus.replicas > 1:
                tasks.start_soon(look_after_feed, self._bus, lambda: 0 in self._parts)
            started.set()
            log.info("serving", partitions=self._bus.subjects.partitions)
            await stop.wait()
            await self._leave()
            tasks.cancel_scope.cancel()

    async def _leave(self) -> None:
        """Take nothing new and let what is being written arrive."""
        for part in self._parts.values():
            part.pull.stop()
        with anyio.move_on_after(self._settings.worker.drain):
            await self._jobs.quiet()

    def _presence(self, leaving: bool) -> bytes:  # noqa: FBT001 - a callback of one argument
        return encode(CoordinatorPresent(worker=self._me, leaving=leaving))

    async def _hear(self, data: bytes) -> None:
        said = decode_coordinator_present(data)
        if self._heard.hear(said.worker, said, anyio.current_time(), leaving=said.leaving):
            self._changed.set()

    # new jobs and commands: every replica takes some

    def _start_admission(self, tasks: anyio.abc.TaskGroup) -> None:
        commands = self._requests(COMMANDS, self._admission.command, tasks)
        tasks.start_soon(commands.run)
        tasks.start_soon(self._admission.keep)
        tenants = Tenants(
            self._bus,
            self._settings,
            self._admission,
            lambda consumer: self._requests(consumer, self._admission.admit, tasks),
            with_jobs=self._jobs.tenants,
            clears=lambda: 0 in self._parts,
        )
        tasks.start_soon(tenants.run, tasks)

    def _requests(
        self,
        consumer: str,
        handle: Callable[[Delivery], Awaitable[None]],
        tasks: anyio.abc.TaskGroup,
    ) -> StandingPull:
        async def settle(delivery: Delivery) -> None:
            try:
                await handle(delivery)
            except Exception:
                log.exception("a request could not be handled", subject=delivery.subject[:200])
                delivery.retry(5.0)
            finally:
                pull.release()

        def on_delivery(delivery: Delivery) -> None:
            tasks.start_soon(settle, delivery)

        stream = self._bus.subjects.stream("SUBMIT")
        pull = StandingPull(self._bus, stream, consumer, WINDOW, on_delivery, manual=True)
        return pull

    # sharing the log

    async def _share(self, tasks: anyio.abc.TaskGroup) -> None:
        """Take and leave parts as replicas come and go, until cancelled."""
        await anyio.sleep(SETTLE)
        while True:
            self._changed = anyio.Event()
            self._heard.expire(anyio.current_time())
            mine = own_parts(self._me, self._heard.members(), self._bus.subjects.partitions)
            for number in sorted(mine - self._parts.keys()):
                self._take(number, tasks)
            for number in sorted(self._parts.keys() - mine):
                self._drop(number)
            with anyio.move_on_after(self._settings.coordinator.presence):
                await self._changed.wait()

    def _take(self, number: int, tasks: anyio.abc.TaskGroup) -> None:
        def on_delivery(delivery: Delivery) -> None:
            self._on_fact(part, delivery, tasks)

        pull = StandingPull(
            self._bus,
            self._bus.subjects.stream("EVENTS"),
            part_consumer(number),
            WINDOW,
            on_delivery,
        )
        part = self._parts[number] = Part(number, pull)
        self._jobs.forget_part(number)  # what an earlier time left in memory is out of date
        tasks.start_soon(self._look_after, part)
        tasks.start_soon(self._jobs.resume, number)
        log.debug("looks after a part of the log", part=number)

    def _drop(self, number: int) -> None:
        self._parts.pop(number).scope.cancel()
        self._jobs.forget_part(number)
        log.debug("leaves a part of the log", part=number)

    async def _look_after(self, part: Part) -> None:
        with part.scope:
            await part.pull.run()

    # facts

    def _on_fact(self, part: Part, delivery: Delivery, tasks: anyio.abc.TaskGroup) -> None:
        expected, part.consumed = part.consumed, delivery.consumer_sequence
        if expected is not None and delivery.consumer_sequence != expected + 1:
            log.debug("another replica took facts of this part", part=part.number)
            self._jobs.forget_part(part.number)
            tasks.start_soon(self._jobs.resume, part.number)
        if self._is_deadly(delivery):
            error = f"it was delivered {delivery.delivered} times and never acknowledged"
            tasks.start_soon(self._put_aside, delivery, error, None, tasks)
            return
        try:
            record = record_of(
                self._bus.subjects, delivery.subject, delivery.data, delivery.sequence, delivery.at
            )
        except InvalidMessageError as problem:
            tasks.start_soon(self._put_aside, delivery, str(problem), None, tasks)
            return
        if record.error is None:
            self._jobs.on_fact(record, delivery, tasks)
        else:
            tasks.start_soon(self._put_aside, delivery, record.error, record, tasks)

    def _is_deadly(self, delivery: Delivery) -> bool:
        """Whether a fact has come so often that it may have killed whoever took it.

        One that this replica has lived through before is not: then it is the bus that is slow.
        """
        if delivery.delivered == 1:
            return False
        survived = delivery.sequence in self._survived
        self._survived[delivery.sequence] = None
        if len(self._survived) > SURVIVED:
            self._survived.popitem(last=False)
        return delivery.delivered > DEADLY and not survived

    async def _put_aside(
        self,
        delivery: Delivery,
        error: str,
        record: Record | None,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        """Quarantine a message. With a record it still says something to its job.

        The job of one without is read anew by the sweep, or by the part's next owner.
        """
        try:
            await self._quarantine.put(delivery.subject, delivery.data, error)
        except TransientError:
            delivery.retry(1.0)
            return
        if record is None:
            delivery.ack()
        else:
            self._jobs.on_fact(record, delivery, tasks)

    async def _sweep(self) -> None:
        """Look again at jobs that have not moved: a missed wake costs time, never the job."""
        while True:
            await anyio.sleep(self._settings.coordinator.sweep / 3)
            await self._jobs.sweep()
