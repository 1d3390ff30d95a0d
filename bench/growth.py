"""What a decision costs as a job grows, without a bus: facts folded and decided in this process.

The facts come in the order in which a coordinator meets them: the job, its plan, then each task's
outcome as soon as it may have one.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from statistics import fmean, median

import msgspec
from bench.shapes import Form, Shape, specs

from galerne import faults
from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.messages.codec import encode
from galerne.messages.facts import AnyFact, Done, JobSpec, PlanEnded, Planned, Ready, Submitted
from galerne.messages.ids import ANSWER_TASK, DEFAULT_TENANT, JobId, TaskId, plan_task
from galerne.messages.plan import Succeeded, Usage

SIZES = (100, 500, 1_000, 5_000)
CALLS = 1_000_000


class Growth(msgspec.Struct, frozen=True):
    """One job's decisions: microseconds a fact on average, milliseconds of the longest one, and
    bytes of the fact that hands all results to the answer.
    """

    size: int
    median_us: float
    mean_us: float
    longest_ms: float
    answer_bytes: int


def growth(form: Form, size: int) -> Growth:
    """Decide a whole job of `size` tasks."""
    job = _Job(Shape(form, 1, size))
    seconds: list[float] = []
    for fact in job.facts():
        begun = time.perf_counter()
        fold(job.state, fact, 1.0)
        lacking = decide(job.state, 1.0)
        for written in lacking:
            fold(job.state, written, 1.0)
        seconds.append(time.perf_counter() - begun)
        job.take(lacking)
    return Growth(
        size, median(seconds) * 1e6, fmean(seconds) * 1e6, max(seconds) * 1e3, job.answer_bytes
    )


class _Job:
    """A job whose ready tasks succeed in the order in which they became ready."""

    def __init__(self, shape: Shape) -> None:
        self.state = JobState()
        self.answer_bytes = 0
        self._shape = shape
        self._ready: deque[TaskId] = deque()

    def facts(self) -> Iterator[AnyFact]:
        job = JobSpec(id=JobId("growth"), tenant=DEFAULT_TENANT, goal="grow")
        yield Submitted(job=job, at=1.0)
        tasks = specs(self._shape)
        for n, task in enumerate(tasks, 1):
            yield Planned(revision=1, n=n, task=task)
        yield PlanEnded(revision=1, count=len(tasks))
        self._ready.remove(plan_task(1))
        yield _done(plan_task(1))
        while self._ready:
            yield _done(self._ready.popleft())

    def take(self, facts: list[AnyFact]) -> None:
        for fact in facts:
            if isinstance(fact, Ready):
                self._ready.append(fact.task.id)
                if fact.task.id == ANSWER_TASK:
                    self.answer_bytes = len(encode(fact))


def _done(task: TaskId) -> Done:
    outcome = Succeeded("done")
    return Done(task=task, outcome=outcome, usage=Usage(), by="bench", attempt=1, at=1.0)


def boundary_ns() -> float:
    """Nanoseconds of a fault point that nobody has armed, the loop around it taken off."""
    best = min(_timed(_reach_often) - _timed(_loop) for _ in range(5))
    return max(best, 0.0) / CALLS * 1e9


def _timed(function: Callable[[], None]) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def _reach_often() -> None:
    for _ in range(CALLS):
        faults.reach("spool.synced")


def _loop() -> None:
    for _ in range(CALLS):
        pass
