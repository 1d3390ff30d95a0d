"""A run's facts, in memory: each is written once, folded at once, and told to whoever watches.

It takes the place of the job's log on the bus. Nothing awaits inside, so between two awaits of the
run the state is always that of all facts; what is written after the end is dropped.
"""

import heapq
from collections.abc import Callable

import anyio

from galerne.core.decide import due, due_of_job
from galerne.core.decisions import wakes
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.messages.facts import Accounted, AnyFact, Claimed
from galerne.messages.subjects import fact_name


class LocalLog:
    """`clock` gives Unix seconds; `tell` hears of each fact that stands."""

    def __init__(self, clock: Callable[[], float], tell: Callable[[AnyFact], None]) -> None:
        self.state = JobState()
        self._clock = clock
        self._tell = tell
        self._standing: dict[str, AnyFact] = {}
        self._times: list[float] = []
        self._changed = anyio.Event()
        self._news = anyio.Event()

    def write(self, fact: AnyFact) -> AnyFact:
        """The fact that stands: this one, or another that was first."""
        if self.state.ended is not None:
            return self.state.ended
        name = fact_name(fact)
        if not isinstance(fact, Claimed | Accounted):
            stands = self._standing.setdefault(name, fact)
            if stands is not fact:
                return stands
        fold(self.state, fact, self._clock())
        at = due(fact)
        if at is not None:
            heapq.heappush(self._times, at)
        self._tell(fact)
        self._changed.set()
        self._changed = anyio.Event()
        if wakes(fact):
            self.wake()
        return fact

    def wake(self) -> None:
        """Have the decisions looked at again."""
        self._news.set()

    async def changed(self) -> None:
        """Wait for the next fact of any kind."""
        await self._changed.wait()

    async def news(self) -> None:
        """Wait for what may have to be decided about: a fact, or the time that one named.

        What came since the last call counts.
        """
        with anyio.move_on_after(self._seconds()):
            await self._news.wait()
        self._news = anyio.Event()

    def _seconds(self) -> float | None:
        """Until the next time that the facts name; None where they name none."""
        now = self._clock()
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)
        over = due_of_job(self.state)
        times = [*self._times[:1], *([] if over is None else [over])]
        return max(0.0, min(times) - now) if times else None
