"""A fleet of pacers, a bus and an endpoint in a world of numbers: no loop, clock or network."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from galerne.errors import RateLimitedError
from galerne.models.pacing.headers import Told
from galerne.models.pacing.pacer import Limits, Pacer

STEP = 0.004
BUS = 0.002
"""Seconds that an entry takes to the others."""
APART = 0.2
"""Seconds between two entries of one worker."""


class SlidingWindow:
    """At most `most` requests in any window of `seconds`: the strictest limit there is."""

    def __init__(self, most: int, seconds: float = 1.0) -> None:
        self.most = most
        self._seconds = seconds
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        if len(self._times) >= self.most:
            return False
        self._times.append(now)
        return True


class Worker:
    def __init__(self, name: str, limits: Limits) -> None:
        self.pacer = Pacer(name, limits, 0.5, 0.0)
        self.alive = True
        self.wants: Callable[[float], bool] = lambda _: True
        self.said_at = -1.0
        self.begun = 0


class World:
    """`answered` and `refused` are the times of the endpoint's answers."""

    def __init__(
        self, workers: int, endpoint: SlidingWindow, limits: Limits, *, told: Told | None = None
    ) -> None:
        self.now = 0.0
        self.workers = {f"w{n}": Worker(f"w{n}", limits) for n in range(workers)}
        self.endpoint = endpoint
        self.answered: list[tuple[float, str]] = []
        self.refused: list[float] = []
        self.messages = 0
        self.most_at_once = 0
        self.latency = 0.05
        self.tasks = 8
        """Calls that one worker makes at once at most."""
        self._told = told
        self._at_once = 0
        self._events: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = itertools.count()
        for name, worker in self.workers.items():
            self._say(name, worker.pacer)
        self.run(BUS * 2, idle=True)

    def run(self, seconds: float, *, idle: bool = False) -> None:
        end = self.now + seconds
        while self.now < end:
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for name, worker in self.workers.items():
                if worker.alive and not idle:
                    self._work(name, worker)
            self.now += STEP

    def rate(self, since: float) -> float:
        return sum(at >= since for at, _ in self.answered) / (self.now - since)

    def refusals(self, since: float) -> float:
        """Of all requests since then, the part that was refused."""
        refused = sum(at >= since for at in self.refused)
        return refused / max(1, refused + sum(at >= since for at, _ in self.answered))

    def share_of(self, name: str, since: float) -> int:
        return sum(at >= since and who == name for at, who in self.answered)

    def _work(self, name: str, worker: Worker) -> None:
        pacer, now = worker.pacer, self.now
        while worker.wants(now) and pacer.busy < self.tasks:
            if pacer.opening(now) > now:
                pacer.wait(now)
                break
            pacer.begin(now)
            worker.begun += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._ask(name, worker)
        apart = now - worker.said_at
        if apart >= APART and pacer.speaks_in(now) <= 0.0:
            worker.said_at = now
            pacer.tick(now, connected=True)
            self._say(name, pacer)

    def _ask(self, name: str, worker: Worker) -> None:
        began = self.now
        error = None
        if self.endpoint.allows(began):
            self.answered.append((began, name))
            ends = began + self.latency
        else:
            self.refused.append(began)
            error = RateLimitedError("too many", retry_after=1.0)
            ends = began + 0.004

        def end() -> None:
            self._at_once -= 1
            if worker.alive:
                if self._told is not None:
                    worker.pacer.hear_told(self._told, self.now)
                worker.pacer.end(began, self.now, error, 100)

        self._at(ends, end)

    def _say(self, name: str, pacer: Pacer) -> None:
        self.messages += 1
        entry = pacer.entry(self.now)

        def arrive() -> None:
            for other in self.workers.values():
                if other.alive:
                    other.pacer.hear(name, entry, self.now)

        self._at(self.now + BUS, arrive)

    def _at(self, when: float, act: Callable[[], Any]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), act))
