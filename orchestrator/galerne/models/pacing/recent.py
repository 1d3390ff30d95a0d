"""What happened lately: events per second, and how long calls take."""

from collections import deque

WINDOW = 3.0
"""Seconds that count as lately: some calls even at a slow rate, soon over after a change."""
_LEAST_WINDOW = 0.5
_KEPT = 200
_ENOUGH = 20
"""Calls below which nothing is said of the slowest of them."""


class RecentRate:
    """Events per second over the last `WINDOW` seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=65_536)
        self._first: float | None = None

    def add(self, now: float) -> None:
        if self._first is None:
            self._first = now
        self._times.append(now)

    def at(self, now: float) -> float:
        """Soon after the first event the window is only as long as since then."""
        while self._times and self._times[0] < now - WINDOW:
            self._times.popleft()
        if self._first is None:
            return 0.0
        return len(self._times) / min(WINDOW, max(_LEAST_WINDOW, now - self._first))


class Latencies:
    """Seconds that the last 200 calls took."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def slowest(self, part: float = 0.05) -> float | None:
        """What only `part` of the calls exceed; None while there are too few to tell."""
        if len(self._seconds) < _ENOUGH:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * (1 - part)))]
