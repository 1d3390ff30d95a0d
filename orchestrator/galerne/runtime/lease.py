"""Holding a task: claim before paying, renew while working, stop when somebody else has it.

The rules are `core.claims`; here they meet the log. `run.<task>` is the one subject that is
appended to, each time expecting the sequence of the claim before.
"""

from collections.abc import Callable

import anyio
import msgspec

from galerne.bus.log import FactLog, Record
from galerne.bus.mapping import ConflictError
from galerne.bus.queue import Delivery
from galerne.core.claims import GiveUp, Take, Verdict, Wait, excuse, judge_claim, park
from galerne.errors import FencedError, TransientError
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.facts import Claimed
from galerne.messages.ids import TaskId
from galerne.messages.subjects import JobAddress
from galerne.settings import WorkerSettings

log = get_logger("galerne.runtime.lease")

UNHEARD = 1_000
"""Tasks that a worker remembers to have claimed without hearing of it: others may take them."""


class Lease:
    """A claim that this worker holds. `delivery` is the queue's message, kept from coming again."""

    def __init__(
        self,
        facts: FactLog,
        address: JobAddress,
        claim: Claimed,
        sequence: int,
        delivery: Delivery,
        settings: WorkerSettings,
        clock: Callable[[], float],
    ) -> None:
        self.delivery = delivery
        self._facts = facts
        self._address = address
        self._claim = claim
        self._sequence = sequence
        self._settings = settings
        self._clock = clock
        self._renewing = anyio.Lock()

    @property
    def attempt(self) -> int:
        return self._claim.attempt

    async def keep(self) -> None:
        """Renew. Raises FencedError when somebody else holds the task."""
        self.delivery.keep()
        try:
            await self._renew()
        except TransientError as error:
            log.debug("a lease could not be renewed yet", error=str(error))

    async def ensure(self) -> None:
        """Before paying for anything: wait until the lease is surely ours. Raises FencedError."""
        while self._clock() > self._claim.until - self._settings.clock_margin:
            try:
                await self._renew()
                return  # not asked again: a lease shorter than the margin would never do
            except TransientError:
                await anyio.sleep(0.2)

    async def give_back(self, note: str) -> None:
        """Let the next one in at once, saying why. Raises FencedError, TransientError."""
        reach("give_back.before")
        await self._append(until=0.0, note=note)
        reach("give_back.after")

    @property
    def counted(self) -> int:
        """Attempts so far that count against the task."""
        return self._claim.attempt - self._claim.excused

    @property
    def excused(self) -> int:
        """Attempts so far that found the back end away."""
        return self._claim.excused

    def excuse(self) -> bool:
        """Do not count this attempt, as its back end is away; False if that has lasted too long."""
        claim = excuse(self._claim, self._clock(), self._settings.outage)
        if claim is None:
            return False
        self._claim = claim
        return True

    async def park(self, note: str) -> None:
        """Give it back until a person has decided: no attempt is lost by that."""
        self._claim = park(self._claim)
        await self.give_back(note)

    def back_end_answered(self) -> None:
        """The back end is there: whatever was excused before is over."""
        self._claim = msgspec.structs.replace(self._claim, away_since=None)

    async def _renew(self) -> None:
        reach("renew.before")
        await self._append(until=self._clock() + self._settings.lease, note=None)
        reach("renew.after")

    async def _append(self, until: float, note: str | None) -> None:
        async with self._renewing:
            claim = msgspec.structs.replace(self._claim, until=until, note=note)
            while True:
                try:
                    self._sequence = await self._facts.append(self._address, claim, self._sequence)
                    break
                except ConflictError as error:
                    self._sequence = await self._own_last(error)
            self._claim = msgspec.structs.replace(self._claim, until=until, note=note)

    async def _own_last(self, conflict: ConflictError) -> int:
        """The sequence of a renewal of ours whose acknowledgement was lost. Raises FencedError."""
        held = self._claim
        record = await self._facts.last(self._address, f"run.{held.task}")
        last = _claim_of(record) if record else None
        if record is None or last is None or (last.by, last.attempt) != (held.by, held.attempt):
            raise FencedError(f"another worker has taken task {held.task} over") from conflict
        return record.sequence


class Claims:
    """Claims tasks for one worker."""

    def __init__(
        self, facts: FactLog, me: str, settings: WorkerSettings, clock: Callable[[], float]
    ) -> None:
        self._facts = facts
        self._me = me
        self._settings = settings
        self._clock = clock
        self._unheard: dict[tuple[JobAddress, TaskId], int] = {}
        """Tasks → the attempt that was claimed for them without an acknowledgement."""

    async def claim(
        self, address: JobAddress, task: TaskId, delivery: Delivery, max_attempts: int
    ) -> Lease | Wait | GiveUp | None:
        """Hold the task; or how long to wait, or that it was tried too often, or None: it is done.

        The first delivery of a task costs one publish and no reads. Raises TransientError.
        """
        verdict: Verdict = Take(1)
        expected = 0
        while True:
            match verdict:
                case Take():
                    try:
                        return await self._take(address, task, delivery, verdict, expected)
                    except ConflictError:
                        pass
                case Wait() | GiveUp():
                    return verdict
            if await self._is_over(address, task):
                self._unheard.pop((address, task), None)
                return None
            verdict, expected = await self._judge(address, task, max_attempts)

    async def _take(
        self, address: JobAddress, task: TaskId, delivery: Delivery, take: Take, expected: int
    ) -> Lease:
        claim = Claimed(
            task=task,
            by=self._me,
            until=self._clock() + self._settings.lease,
            attempt=take.attempt,
            excused=take.excused,
            away_since=take.away_since,
        )
        try:
            sequence = await self._facts.append(address, claim, expected)
        except TransientError:
            self._unheard[address, task] = take.attempt
            if len(self._unheard) > UNHEARD:
                del self._unheard[next(iter(self._unheard))]
            raise
        self._unheard.pop((address, task), None)
        return Lease(self._facts, address, claim, sequence, delivery, self._settings, self._clock)

    async def _judge(
        self, address: JobAddress, task: TaskId, max_attempts: int
    ) -> tuple[Verdict, int]:
        record = await self._facts.last(address, f"run.{task}")
        if record is None:
            return Take(1), 0
        verdict = judge_claim(
            self._heard(address, _claim_of(record)),
            self._me,
            self._clock(),
            self._settings.clock_margin,
            max_attempts,
        )
        return verdict, record.sequence

    def _heard(self, address: JobAddress, claim: Claimed | None) -> Claimed | None:
        """The claim; one of ours that was stored unheard began nothing, so it does not count."""
        if claim is None or claim.by != self._me:
            return claim
        if self._unheard.pop((address, claim.task), None) != claim.attempt:
            return claim
        return msgspec.structs.replace(claim, excused=claim.excused + 1)

    async def _is_over(self, address: JobAddress, task: TaskId) -> bool:
        for name in (f"done.{task}", "end"):
            if await self._facts.last(address, name) is not None:
                return True
        return False


def _claim_of(record: Record) -> Claimed | None:
    """Bytes that are no claim hold nothing."""
    return record.fact if isinstance(record.fact, Claimed) else None
