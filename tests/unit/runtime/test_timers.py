"""The times of jobs: each rings once, none piles up, and idle jobs are read ever more seldom."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Cancelled,
    Decided,
    Done,
    Ended,
    JobSpec,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, TenantId, plan_task
from galerne.messages.plan import Succeeded, TaskSpec, Usage
from galerne.messages.subjects import JobAddress
from galerne.runtime.timers import (
    LONGEST_REST,
    SLACK,
    Timers,
    next_rest,
    times_of,
    waits_for_people,
)

ADDRESSES = [
    JobAddress(0, TenantId(tenant), JobId(job)) for tenant in ("ann", "bob") for job in "xyz"
]
ONE, TWO = ADDRESSES[:2]

addresses = st.sampled_from(ADDRESSES)
times = st.sampled_from([1.0, 2.0, 3.0, 4.0])
moves = st.one_of(
    st.tuples(st.just("add"), times, addresses),
    st.tuples(st.just("forget"), times, addresses),
    st.tuples(st.just("ring"), times, addresses),
)


@given(st.lists(moves, max_size=200))
def test_a_heap_is_the_set_of_its_times(done: list[tuple[str, float, JobAddress]]) -> None:
    timers, model = Timers(), set[tuple[float, JobAddress]]()
    for what, at, address in done:
        match what:
            case "add":
                is_new = (at, address) not in model
                if timers.add(at, address):
                    assert is_new
                    assert all(at <= other for other, _ in model)
                model.add((at, address))
            case "forget":
                timers.forget(address)
                model = {entry for entry in model if entry[1] != address}
            case _:
                late = {entry for entry in model if entry[0] <= at}
                assert set(timers.ring(at)) == {address for _, address in late}
                model -= late
        expected = min((at for at, _ in model), default=math.inf)
        left = timers.next_in(0.0)
        assert (math.inf if left is None else left) == expected
        assert len(timers) <= 2 * len(model) + SLACK


def test_what_is_there_is_not_added_again() -> None:
    timers = Timers()
    assert timers.add(5.0, ONE)
    for _ in range(100):
        assert not timers.add(5.0, ONE)
    assert not timers.add(None, ONE)
    assert len(timers) == 1
    assert timers.ring(5.0) == [ONE]
    assert timers.add(5.0, ONE)


def test_the_times_of_jobs_that_are_over_go() -> None:
    timers = Timers()
    timers.add(1e9, TWO)
    for n in range(10_000):
        job = JobAddress(0, DEFAULT_TENANT, JobId(f"job{n}"))
        timers.add(2e9, job)
        timers.forget(job)
    assert len(timers) <= 2 + SLACK
    assert timers.ring(3e9) == [TWO]


def test_the_same_id_and_time_of_two_tenants() -> None:
    timers = Timers()
    both = [JobAddress(0, TenantId(tenant), JobId("job")) for tenant in ("bob", "ann")]
    for address in both:
        timers.add(7.0, address)
    assert set(timers.ring(7.0)) == set(both)


# when an idle job is read anew

SPEC = JobSpec(id=JobId("x"), tenant=DEFAULT_TENANT, goal="g", deadline=99.0)


def planned(n: int, name: str, *needs: str, **fields: Any) -> Planned:
    spec = TaskSpec(id=TaskId(name), instruction="do", needs=tuple(map(TaskId, needs)), **fields)
    return Planned(revision=1, n=n, task=spec)


def ready(name: str, **fields: Any) -> Ready:
    spec = TaskSpec(id=TaskId(name), instruction="do")
    return Ready(lane="executor", priority="normal", task=spec, goal="g", max_attempts=3, **fields)


def done(name: str) -> Done:
    return Done(task=TaskId(name), outcome=Succeeded(1), usage=Usage(), by="w", attempt=1, at=2.0)


def asked(name: str, n: int, until: float | None = None) -> Asked:
    return Asked(
        task=TaskId(name), n=n, round=1, what="question", question="?", at=2.0, until=until
    )


BEGUN: tuple[AnyFact, ...] = (
    Submitted(job=SPEC, at=1.0),
    done(plan_task(1)),
    PlanEnded(revision=1, count=2),
    planned(1, "1"),
    planned(2, "2", "1"),
)
PARKED = (*BEGUN, ready("1", deadline=50.0), asked("1", 1, until=30.0))
ANSWER = Decided(task=TaskId("1"), n=1, round=1, verdict="answered", value=1, by="ann", at=3.0)


def state_of(*facts: AnyFact) -> JobState:
    state = JobState()
    for fact in facts:
        fold(state, fact, 1.0)
    return state


@pytest.mark.parametrize(
    ("facts", "waits"),
    [
        ((), False),
        (BEGUN, False),
        ((*BEGUN, ready("1")), False),
        (PARKED, True),
        ((*BEGUN, asked("1", 0)), True),
        ((*PARKED, planned(3, "3")), False),
        ((*PARKED, ready("4")), False),
        ((*PARKED, ANSWER), False),
        ((*PARKED, asked("1", 2), ANSWER), False),
        ((*PARKED, Cancelled(why="no", at=3.0)), False),
        ((*PARKED, Ended(status="failed", usage=Usage(), at=3.0)), False),
    ],
)
def test_a_job_waits_for_people_while_nothing_else_can_move_it(
    facts: tuple[AnyFact, ...], waits: bool
) -> None:
    assert waits_for_people(state_of(*facts)) is waits


def test_a_job_that_waits_for_people_is_read_ever_more_seldom() -> None:
    state, rest, rests = state_of(*PARKED), 15.0, list[float]()
    for _ in range(6):
        rest = next_rest(state, rest, 15.0)
        rests.append(rest)
    assert rests == [30.0, 60.0, 120.0, LONGEST_REST, LONGEST_REST, LONGEST_REST]
    assert next_rest(state, 1000.0, 1000.0) == 1000.0
    assert next_rest(state_of(*PARKED, ANSWER), LONGEST_REST, 15.0) == 15.0


def test_the_times_of_a_job_follow_from_its_state() -> None:
    assert times_of(state_of(*PARKED)) == {99.0, 50.0, 30.0}
    assert times_of(state_of(*PARKED, ANSWER)) == {99.0, 50.0}
    assert times_of(state_of(*PARKED, ANSWER, done("1"))) == {99.0}
    assert times_of(state_of(*PARKED, Ended(status="failed", usage=Usage(), at=3.0))) == set()
    assert times_of(JobState()) == set()
