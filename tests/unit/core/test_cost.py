"""A decision costs the same in a large job as in a small one, so a job's cost grows with its size.

Calls are counted (`counting`), so the numbers are exact and the machine's mood plays no part.
"""

from collections.abc import Callable, Sequence

import pytest

from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.view import view
from galerne.messages.facts import AnyFact, Cancelled
from unit.core.counting import calls
from unit.core.facts import (
    JOB,
    claimed,
    done,
    folded,
    model_step,
    plan_ended,
    planned,
    ready,
    stored,
    submitted,
)

SMALL, LARGE = 100, 5_000
PLANNING: list[AnyFact] = [submitted(), ready("plan-1", kind="plan", lane="planner")]

Job = Callable[[int], list[AnyFact]]


def _independent(size: int) -> list[AnyFact]:
    """All tasks run; none needs another."""
    tasks = [str(n) for n in range(1, size + 1)]
    plan = [planned(n, task) for n, task in enumerate(tasks, 1)]
    running = [fact for task in tasks for fact in (ready(task), claimed(task))]
    return [*PLANNING, *plan, plan_ended(size), done("plan-1"), *running]


def _chain(size: int) -> list[AnyFact]:
    """Each task needs the one before; the first runs."""
    plan = [planned(n, str(n), *([str(n - 1)] if n > 1 else [])) for n in range(1, size + 1)]
    return [*PLANNING, *plan, plan_ended(size), done("plan-1"), ready("1"), claimed("1")]


def _half_done(size: int) -> list[AnyFact]:
    return [*_independent(size), *(done(str(n), calls=1) for n in range(2, size // 2))]


def _being_planned(size: int) -> list[AnyFact]:
    return [fact for fact in _independent(size) if fact != plan_ended(size)][: -1 - 2 * size]


@pytest.mark.parametrize(
    ("job", "fact"),
    [
        (_independent, done("1")),
        (_independent, claimed("1", until=99.0)),
        (_independent, ready("1")),
        (_independent, model_step(planned(1, "1").task.id, 1)),
        (_chain, done("1")),
        (_half_done, done("1")),
        (_being_planned, planned(999_999, "new", "1")),
        (_being_planned, planned(999_999, "new")),
        (_being_planned, done("1")),
        (_being_planned, done("plan-1")),
    ],
    ids=lambda part: part.__name__ if callable(part) else type(part).__name__,
)
def test_a_fact_costs_as_much_in_a_large_job_as_in_a_small_one(job: Job, fact: AnyFact) -> None:
    _cost(job(SMALL), fact)  # what Python looks up once and then remembers
    small, large = (_cost(job(size), fact) for size in (SMALL, LARGE))
    assert small > 5, "nothing was counted"
    assert large == small


def test_the_counting_notices_a_walk_through_the_tasks() -> None:
    """The end of a job may cost a walk: its usage is added up, once."""
    cancelled = Cancelled(why="enough", at=2.0)
    assert _cost(_half_done(LARGE), cancelled) > _cost(_half_done(SMALL), cancelled) + LARGE / 2


def test_a_whole_job_costs_in_proportion_to_its_size() -> None:
    small, large = (_whole_cost(size) / size for size in (SMALL, 10 * SMALL))
    assert large < 1.5 * small


def test_a_view_costs_in_proportion_to_the_size_of_the_job() -> None:
    small, large = (_view_cost(size) / size for size in (SMALL, 10 * SMALL))
    assert large < 1.5 * small


def _cost(job: Sequence[AnyFact], fact: AnyFact) -> int:
    """Calls for folding the fact in and deciding, with nothing else left to decide."""
    state = folded(stored(one) for one in job)
    for decided in decide(state, 1.0):
        fold(state, decided, 1.0)

    def work() -> None:
        fold(state, fact, 2.0)
        decide(state, 2.0)

    return calls(state, work)


def _view_cost(size: int) -> int:
    steps = [model_step(planned(n, str(n)).task.id, 1) for n in range(1, size + 1)]
    state = folded(stored(one) for one in [*_independent(size), *steps])
    return calls(state, lambda: view(state, JOB.id, JOB.tenant, 9.0))


def _whole_cost(size: int) -> int:
    """A job of independent tasks from its first fact to its end, a decision after each."""
    state = JobState()
    outcomes = [done(str(n), calls=1) for n in range(1, size + 1)]
    facts = [*_independent(size), *outcomes, done("answer")]

    def work() -> None:
        for fact in facts:
            fold(state, fact, 1.0)
            for decided in decide(state, 1.0):
                fold(state, decided, 1.0)

    count = calls(state, work)
    assert state.ended is not None
    return count
