"""When jobs have to be looked at again although nothing happens: deadlines, questions, idleness.

Nothing is stored here. Every time follows from the facts of a job, so whoever reads its log knows
its timers, and one that was due while nobody ran is due at once (ADR 8).

    read ─▶ idle for `sweep` ─▶ read anew ─┬─ it can move by itself: again after `sweep`
                                           └─ only people can move it: after twice as long, and
                                              so on up to `LONGEST_REST`; a fact begins it anew
"""

import heapq

from galerne.core.decide import due_of_job
from galerne.core.state import JobState
from galerne.messages.subjects import JobAddress

LONGEST_REST = 240.0
"""Seconds until a job that waits for people is read anew, at most: what a missed answer costs."""
SLACK = 64
"""Entries of forgotten jobs that a heap may carry before it is made anew."""

Entry = tuple[float, str, str, JobAddress]
"""Time, job, tenant: so that no two addresses are ever compared, which have no order."""


class Timers:
    """A heap of (Unix time, job). Each time of a job stands in it once."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._times: dict[JobAddress, set[float]] = {}
        """What still counts: a forgotten job's entries stay in the heap for a while."""
        self._count = 0

    def __len__(self) -> int:
        """Entries in memory, forgotten ones too."""
        return len(self._heap)

    def add(self, at: float | None, address: JobAddress) -> bool:
        """Whether it is new, and now the first to ring. None: nothing to add."""
        if at is None:
            return False
        times = self._times.setdefault(address, set())
        if at in times:
            return False
        times.add(at)
        self._count += 1
        entry = _entry(at, address)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def forget(self, address: JobAddress) -> None:
        """A job's times count no more."""
        self._count -= len(self._times.pop(address, ()))
        if len(self._heap) > 2 * self._count + SLACK:
            self._heap = [_entry(at, job) for job, times in self._times.items() for at in times]
            heapq.heapify(self._heap)

    def next_in(self, now: float) -> float | None:
        """Seconds until the first rings (0: it is late), None where there is none."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def ring(self, now: float) -> list[JobAddress]:
        """Take out those that are due, each job once."""
        due: dict[JobAddress, None] = {}
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                due[entry[-1]] = None
                self._take_out(entry)
        return list(due)

    def _counts(self, entry: Entry) -> bool:
        return entry[0] in self._times.get(entry[-1], ())

    def _take_out(self, entry: Entry) -> None:
        address = entry[-1]
        times = self._times[address]
        times.discard(entry[0])
        self._count -= 1
        if not times:
            del self._times[address]


def _entry(at: float, address: JobAddress) -> Entry:
    return at, address.job, address.tenant, address


def times_of(state: JobState) -> set[float]:
    """The Unix times at which a job has to be looked at, as far as its facts tell by now."""
    times = [due_of_job(state)]
    if state.ended is None:
        times += [ask.until for ask in state.asks.open_in_order()]
        times += [state.ready[task].deadline for task in state.under_way]
    return {at for at in times if at is not None}


def next_rest(state: JobState, rest: float, sweep: float) -> float:
    """Seconds until a job is read anew that `rest` seconds of idleness have not moved."""
    if not waits_for_people(state):
        return sweep
    return max(sweep, min(2 * rest, LONGEST_REST))


def waits_for_people(state: JobState) -> bool:
    """Whether nothing but an answer, a command or the clock can move the job."""
    return (
        state.job is not None
        and state.ended is None
        and state.cancelled is None
        and bool(state.asks.waiting)
        and state.under_way <= state.asks.waiting.keys()
        and not state.startable
        and not state.to_resume
    )
