"""The places for running tasks in one worker: taken in the order of priority, then of arrival."""

import heapq
import itertools
from collections.abc import Awaitable, Callable

import anyio

from galerne.messages.facts import PRIORITIES, Priority


class Slots:
    """`size` tasks run at once. One that waits calls `keep` now and then, to stay ours."""

    def __init__(self, size: int, keep_every: float) -> None:
        self._free = size
        self._keep_every = keep_every
        self._numbers = itertools.count()
        self._waiting: list[tuple[int, int, anyio.Event]] = []

    async def take(self, priority: Priority, keep: Callable[[], Awaitable[None]]) -> None:
        """Wait for a place, which `give` frees again."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        turn = anyio.Event()
        place = (PRIORITIES.index(priority), next(self._numbers), turn)
        heapq.heappush(self._waiting, place)
        try:
            while not turn.is_set():
                with anyio.move_on_after(self._keep_every):
                    await turn.wait()
                    return
                await keep()
        except BaseException:  # cancelled while waiting: the place must not be lost
            if turn.is_set():
                self.give()
            else:
                self._waiting.remove(place)
                heapq.heapify(self._waiting)
            raise

    def give(self) -> None:
        """Free a place: for the most urgent of those that wait, if any does."""
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1
