"""When jobs have to be looked at again although nothing happens: deadlines, open questions.

Nothing is stored here. Every time follows from the facts of a job, so whoever reads its log knows
its timers, and one that was due while nobody ran is due at once (ADR 8).
"""

import heapq

from galerne.messages.subjects import JobAddress


class Timers:
    """A heap of (Unix time, job); a job may be in it more than once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str, JobAddress]] = []

    def add(self, at: float | None, address: JobAddress) -> bool:
        """Whether it is now the first to ring. None: nothing to add."""
        if at is None:
            return False
        entry = (at, address.job, address)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def next_in(self, now: float) -> float | None:
        """Seconds until the first rings (0: it is late), None where there is none."""
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def ring(self, now: float) -> list[JobAddress]:
        """Take out those that are due, each job once."""
        due: dict[JobAddress, None] = {}
        while self._heap and self._heap[0][0] <= now:
            due[heapq.heappop(self._heap)[2]] = None
        return list(due)
