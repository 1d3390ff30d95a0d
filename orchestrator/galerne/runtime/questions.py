"""What a task's attempts ask people, and what they have answered.

approval wanted ─▶ asked before, for the same arguments?
                      ├─ approved: go on      ├─ denied, expired: the call is refused
                      └─ not yet: ask, and park the task (`ParkedError`)
effect in doubt ─▶ happened: that is the result    not: begun anew, as the next round
"""

from collections.abc import Callable
from typing import Any

from galerne.bus.log import FactLog
from galerne.core.asks import PARKED, Asks, arguments_hash, call_name
from galerne.core.unreadable import meaning
from galerne.errors import ParkedError, TransientError
from galerne.messages.facts import Asked, Decided
from galerne.messages.ids import TaskId
from galerne.messages.subjects import JobAddress


class Questions:
    """One task's. `timeout` is in seconds: so long an approval stays open."""

    def __init__(
        self,
        facts: FactLog,
        address: JobAddress,
        task: TaskId,
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        self._facts = facts
        self._address = address
        self._task = task
        self._clock = clock
        self._timeout = timeout
        self._asks = Asks()

    async def load(self, filter_subjects: tuple[str, str]) -> None:
        """Read what was asked and decided. Raises TransientError."""
        for subject in filter_subjects:
            for record in await self._facts.read(subject):
                fact = record.fact or meaning(record.name, record.error or "", record.at)
                if isinstance(fact, Asked | Decided):  # as the coordinator reads them
                    self._asks.fold(fact)

    async def approval(self, n: int, tool: str, arguments: dict[str, Any], why: str) -> Decided:
        """The decision on a call with exactly these arguments. Raises ParkedError without one."""
        wanted = arguments_hash(tool, arguments)
        for ask in self._of(n) + self._of(0):
            if ask.what == "approval" and ask.hash == wanted:
                return self._decision(ask)
        return await self._ask(
            n,
            lambda round_: Asked(
                task=self._task,
                n=n,
                round=round_,
                what="approval",
                question=why or f"May {tool} be called with these arguments?",
                tool=tool,
                arguments=arguments,
                hash=wanted,
                until=self._clock() + self._timeout,
                at=self._clock(),
            ),
        )

    def settled_doubts(self, n: int) -> list[Decided]:
        """What people have said of a call's effect, oldest first."""
        asked = [ask for ask in self._of(n) if ask.what == "doubt"]
        found = [self._asks.decided.get((ask.task, ask.n, ask.round)) for ask in asked]
        return [decided for decided in found if decided is not None]

    async def doubt(self, n: int, tool: str, arguments: dict[str, Any], why: str) -> Decided:
        """Ask whether an effect has happened; there is no hurry. Raises ParkedError."""
        for ask in self._of(n):
            if ask.what == "doubt" and (ask.task, ask.n, ask.round) in self._asks.open:
                return self._decision(ask)
        return await self._ask(
            n,
            lambda round_: Asked(
                task=self._task,
                n=n,
                round=round_,
                what="doubt",
                question=why,
                tool=tool,
                arguments=arguments,
                at=self._clock(),
            ),
        )

    def _of(self, n: int) -> list[Asked]:
        found = [ask for ask in self._asks.asked.values() if ask.n == n]
        return sorted(found, key=lambda ask: ask.round)

    def _decision(self, ask: Asked) -> Decided:
        decided = self._asks.decided.get((ask.task, ask.n, ask.round))
        if decided is None:
            raise ParkedError(_waiting(ask))
        return decided

    async def _ask(self, n: int, made: Callable[[int], Asked]) -> Decided:
        """Write the next question about a step, and wait for its answer without a place."""
        ask = made(max((one.round for one in self._of(n)), default=0) + 1)
        stands = await self._facts.write(self._address, ask)
        if stands is not None and not isinstance(stands.fact, Asked):
            raise TransientError(f"a question is unreadable in the log: {stands.error}")
        raise ParkedError(_waiting(ask))


def _waiting(ask: Asked) -> str:
    what = {"approval": "leave", "doubt": "word on what has happened", "question": "answer"}
    return f"{PARKED} {what[ask.what]} ({call_name(ask.task, ask.n)})"
