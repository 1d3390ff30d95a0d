"""A job as people see it, at each moment of its life and for whatever its log may hold."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.core.usage import step_usage
from galerne.core.view import JobView, TaskView, view
from galerne.messages.facts import AnyFact, Cancelled, Ended, Planned, Step
from galerne.messages.ids import TaskId
from galerne.messages.plan import ModelUsage, Usage
from unit.core.facts import (
    JOB,
    Stored,
    claimed,
    done,
    failed,
    folded,
    logs,
    model_step,
    plan_ended,
    planned,
    ready,
    retellings,
    spec,
    stored,
    submitted,
    tool_step,
)

STATUSES = {"dropped", "asking", "waiting", "ready", "running", "succeeded", "failed", "cancelled"}


def _view(*facts: AnyFact, now: float = 30.0) -> JobView:
    """Fact number n (from 0) is stored at n seconds."""
    log = [stored(fact, at=float(n)) for n, fact in enumerate(facts)]
    return view(folded(log), JOB.id, JOB.tenant, now)


def _task(task: str, *facts: AnyFact) -> TaskView:
    (found,) = [one for one in _view(*facts).tasks if one.id == task]
    return found


def _statuses(*facts: AnyFact) -> dict[str, str]:
    return {task.id: task.status for task in _view(*facts).tasks}


LIFE: list[tuple[AnyFact, dict[str, str]]] = [
    (submitted(), {}),
    (ready("plan-1", kind="plan", lane="planner"), {"plan-1": "ready"}),
    (claimed("plan-1"), {"plan-1": "running"}),
    (planned(1, "1"), {"1": "waiting"}),
    (planned(2, "2", "1"), {"2": "waiting"}),
    (ready("1"), {"1": "ready"}),
    (claimed("1"), {"1": "running"}),
    (claimed("1", until=0.0, note="the model is busy"), {"1": "ready"}),
    (claimed("1", attempt=2, until=40.0), {"1": "running"}),
    (plan_ended(2), {}),
    (done("plan-1"), {"plan-1": "succeeded"}),
    (done("1"), {"1": "succeeded"}),
    (ready("2"), {"2": "ready"}),
    (claimed("2"), {"2": "running"}),
    (done("2"), {"2": "succeeded"}),
    (ready("answer", kind="answer", lane="planner"), {"answer": "ready"}),
    (claimed("answer"), {"answer": "running"}),
    (done("answer", "42"), {"answer": "succeeded"}),
]


def test_the_states_shown_are_right_through_a_jobs_life() -> None:
    expected: dict[str, str] = {}
    for n, (_, changed) in enumerate(LIFE, 1):
        expected |= changed
        seen = _view(*(fact for fact, _ in LIFE[:n]))
        assert {task.id: task.status for task in seen.tasks} == expected
        assert seen.status == "running"
    seen = _view(*(fact for fact, _ in LIFE))
    assert [task.id for task in seen.tasks] == ["plan-1", "1", "2", "answer"]


def test_an_ended_job_shows_its_result_and_stops_its_clock() -> None:
    ended = Ended(status="succeeded", usage=Usage(), at=21.0, result={"words": 7})
    seen = _view(*(fact for fact, _ in LIFE), ended)
    assert (seen.status, seen.result, seen.error) == ("succeeded", {"words": 7}, None)
    assert (seen.submitted_at, seen.seconds, seen.goal) == (1.0, 20.0, JOB.goal)


def test_a_job_that_nobody_has_admitted_is_queued() -> None:
    assert _view() == JobView(id=JOB.id, tenant=JOB.tenant, status="queued")


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    seen = _view(submitted(), planned(1, "1"), claimed("1"), now=0.0)
    assert (seen.seconds, seen.tasks[0].seconds) == (0.0, 0.0)


def test_a_job_that_was_refused_has_failed() -> None:
    seen = _view(Ended(status="failed", usage=Usage(), at=2.0, error="the goal is empty"))
    assert (seen.status, seen.error, seen.seconds) == ("failed", "the goal is empty", None)


def test_tasks_without_an_outcome_are_cancelled_with_their_job() -> None:
    facts: list[AnyFact] = [
        submitted(),
        planned(1, "1"),
        planned(2, "2"),
        planned(3, "3"),
        claimed("2"),
    ]
    facts += [done("3"), Cancelled(why="enough", at=7.0)]
    ended = Ended(status="cancelled", usage=Usage(), at=8.0, error="enough")
    assert _statuses(*facts, ended) == {"1": "cancelled", "2": "cancelled", "3": "succeeded"}


def test_a_task_shows_who_did_it_how_often_and_for_how_long() -> None:
    facts: list[AnyFact] = [submitted(), planned(1, "1"), ready("1"), claimed("1", by="ann")]
    running = _task("1", *facts)
    assert (running.by, running.attempt, running.seconds) == ("ann", 1, 27.0)
    finished = _task("1", *facts, claimed("1", attempt=2, by="bob"), done("1", "fine", calls=3))
    assert (finished.by, finished.attempt, finished.seconds) == ("worker", 1, 2.0)
    assert (finished.result, finished.usage.model_calls) == ("fine", 3)
    lost = _task("1", *facts, failed("1", "no such file"))
    assert (lost.status, lost.error, lost.result) == ("failed", "no such file", None)


def test_what_a_running_task_has_spent_so_far_is_counted() -> None:
    one, two = TaskId("1"), TaskId("2")
    steps: list[Step] = [
        model_step(one, 1),
        tool_step(one, 2),
        model_step(one, 3),
        model_step(two, 1),
    ]
    facts: list[AnyFact] = [submitted(), planned(1, "1"), planned(2, "2"), *steps]
    small = ModelUsage(calls=2, prompt_tokens=6, completion_tokens=8)
    assert _task("1", *facts).usage == Usage(models={"small": small}, tool_calls=1)
    assert _view(*facts).usage.model_calls == 3
    assert _view(*facts, done("1", calls=2)).usage == Usage(
        models={"small": ModelUsage(calls=3, prompt_tokens=3, completion_tokens=4)}
    )
    assert step_usage(steps[1]) == Usage(tool_calls=1)


# any log


@given(logs(), st.floats(0, 1e10))
@settings(max_examples=250)
def test_every_task_is_shown_once_and_nothing_raises(log: list[Stored], now: float) -> None:
    state = folded(log)
    seen = view(state, JOB.id, JOB.tenant, now)
    shown = [task.id for task in seen.tasks]
    assert len(shown) == len(set(shown))
    assert set(shown) == state.planned.keys() | state.ready.keys() | state.parts.keys()
    own = [one.task.id for one in state.in_plan_order() if one.task.id not in state.owner]
    assert [task for task in shown if task in own] == own
    for task in seen.tasks:
        assert task.status in STATUSES
        assert (task.status == "waiting") <= (task.id not in state.ready)
        settled = task.status in {"succeeded", "failed"}
        assert settled or task.status == "dropped" or task.id not in state.done
        assert not settled or task.id in state.done
        assert task.seconds is None or task.seconds >= 0
    assert msgspec.json.decode(msgspec.json.encode(seen), type=JobView).id == JOB.id


@given(retellings())
@settings(max_examples=150)
def test_the_same_facts_look_the_same(told: tuple[list[Stored], list[Stored]]) -> None:
    log, again = told
    views = [view(folded(facts), JOB.id, JOB.tenant, 30.0) for facts in (log, again)]
    assert views[0] == views[1]


def test_parts_of_a_task_that_is_not_known_yet_stand_in_one_order() -> None:
    parts = [Planned(revision=2, n=n, task=spec(f"2--{n}"), parent=TaskId("2")) for n in (2, 10)]
    for log in (parts, parts[::-1]):
        assert [task.id for task in _view(*log).tasks] == ["2--2", "2--10"]
