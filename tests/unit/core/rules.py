"""What must be true of every log, whoever raced, died, lagged or wrote twice on the way to it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.shorten import shorten
from galerne.core.starts import INPUT_LIMIT
from galerne.core.state import JobState
from galerne.messages.facts import (
    AnyFact,
    Cancelled,
    Done,
    Ended,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
)
from galerne.messages.ids import ANSWER_TASK, TaskId, above, plan_task
from galerne.messages.plan import DROPPED, Failed, Succeeded, TaskSpec
from unit.core.facts import JOB
from unit.core.replicas import Entry

F = TypeVar("F")

PLAN = plan_task(1)


def check_log(entries: Sequence[Entry]) -> None:
    """All rules for the log of a world without nonsense."""
    _each_name_stands_once(entries)
    for position, entry in enumerate(entries):
        before = entries[:position]
        match entry.fact:
            case Ready() as ready:
                _task_is_due(ready, before)
            case Ended() as ended:
                _end_is_explained(ended, before)
                _end_is_right(ended, before)
            case _:
                pass
    _nothing_follows_the_end(entries)


def check_revised_log(entries: Sequence[Entry]) -> None:
    """The rules for the log of a world in which plans are revised, nested, and done for lists."""
    _each_name_stands_once(entries)
    for position, entry in enumerate(entries):
        before = entries[:position]
        match entry.fact:
            case Ready(resume=0, task=task):
                done = _outcome(task.id, before)
                outcome = done.outcome if done else None
                # That the plan does without it may be news to this coordinator: its worker sees so.
                dropped = isinstance(outcome, Failed) and outcome.code == DROPPED
                assert outcome is None or dropped, "a task with an outcome is ready again"
            case Ended() as ended:
                _end_is_explained(ended, before)
            case _:
                pass
    _nothing_follows_the_end(entries)


def _each_name_stands_once(entries: Sequence[Entry]) -> None:
    names = Counter(entry.name for entry in entries if not entry.name.startswith("run."))
    ready = Counter(fact.task.id for fact in _all(entries, Ready) if not fact.resume)
    assert set(names.values()) <= {1}
    assert set(ready.values()) <= {1}, "a task is ready twice"


def _task_is_due(ready: Ready, before: Sequence[Entry]) -> None:
    if ready.resume:  # after an answer; that its task is over may be news to the coordinator
        assert ready.task.id in {fact.task.id for fact in _all(before, Ready)}
        return
    assert _outcome(ready.task.id, before) is None, "a task with an outcome is ready again"
    match ready.task.id:
        case "plan-1":
            assert ready.inputs == JOB.inputs
        case "answer":
            _answer_is_due(ready, before)
        case _:
            _planned_task_is_due(ready, before)


def _planned_task_is_due(ready: Ready, before: Sequence[Entry]) -> None:
    """It stands in the plan, and its needs' values go with it: whole, or fitted to a model."""
    task = ready.task
    specs = [fact.task for fact in _all(before, Planned)]
    assert task in specs or above(task.id) in [spec.id for spec in specs]
    values = {need: _value(need, before) for need in task.needs}
    if task.kind != "tool":
        share = INPUT_LIMIT // max(1, len(values))
        values = {need: shorten(value, share) for need, value in values.items()}
    assert ready.inputs == values


def _answer_is_due(ready: Ready, before: Sequence[Entry]) -> None:
    """Its plan is complete, and everything in it has succeeded and goes with it."""
    planned_in_time = _before_the_plan_was_done(before)
    assert {task.id for task in planned_in_time} <= set(ready.task.needs)
    assert set(ready.inputs) == set(ready.task.needs)
    share = INPUT_LIMIT // max(1, len(ready.inputs))
    for task, given in ready.inputs.items():
        assert given["value"] == shorten(_value(TaskId(task), before), share)


def _end_is_explained(ended: Ended, before: Sequence[Entry]) -> None:
    """Some coordinator that had seen the log up to some place had to write just this."""
    state = JobState()
    for entry in before:
        fact = entry.meant()
        if fact is not None:
            fold(state, fact, entry.at)
        if decide(state, ended.at) == [ended]:
            return
    raise AssertionError("no view of the log explains this end")


def _end_is_right(ended: Ended, before: Sequence[Entry]) -> None:
    """The status, told without the core: by the first fact that leaves a job no other end.

    Only what came after that fact may have been unknown to whoever wrote the end. (A plan that
    cannot be carried out fails with no such fact.)
    """
    place = next((n for n, entry in enumerate(before) if _settles(entry.fact)), None)
    settling = None if place is None else before[place].fact
    cancels, failures = _all(before, Cancelled), [one for one in _all(before, Done) if _failed(one)]
    match ended.status:
        case "cancelled":
            assert cancels
        case "succeeded":
            assert isinstance(settling, Done)
            assert settling.task == ANSWER_TASK
            assert ended.result == _value(ANSWER_TASK, before)
            for task in _before_the_plan_was_done(before):
                _value(task.id, before)
        case "failed":
            place_of_plan = _place_of_done_plan(before)
            in_time, late = before[:place_of_plan], _all(before[place_of_plan:], Planned)
            # What a dead planner writes late may also break a plan that was whole without it.
            assert failures or late or not (_is_whole(in_time) and _is_complete(in_time))
        case "budget_exhausted":
            assert _overspent(before) or _has_no_place_left(before)
        case "deadline_exceeded":
            raise AssertionError("these jobs have no deadline")
    if isinstance(settling, Cancelled) and _is_whole(before):
        assert ended.status == "cancelled"
    if isinstance(settling, Done) and _failed(settling) and not cancels:
        # Without money a job ends while a task waits for a person; that one may fail meanwhile.
        meanwhile = ended.status == "budget_exhausted" and _overspent(before[:place])
        assert ended.status == "failed" or meanwhile


def _overspent(before: Sequence[Entry]) -> bool:
    return any(_is_overspending(done) for done in _all(before, Done))


def _has_no_place_left(before: Sequence[Entry]) -> bool:
    """Whether as many planned tasks were begun as the job's budget allows."""
    (submitted,) = _all(before, Submitted)
    budget = submitted.job.budget
    begun = {fact.task.id for fact in _all(before, Ready)} - {PLAN, ANSWER_TASK}
    return budget is not None and budget.tasks is not None and len(begun) >= budget.tasks


def _is_whole(before: Sequence[Entry]) -> bool:
    """Whether each task of the plan needs only tasks that stand before it."""
    there: set[TaskId] = set()
    for fact in sorted(_all(before, Planned), key=lambda fact: fact.n):
        if not there.issuperset(fact.task.needs):
            return False
        there.add(fact.task.id)
    return True


def _place_of_done_plan(before: Sequence[Entry]) -> int:
    """A dead planner's late write may mend a plan that a coordinator has found broken."""
    names = [entry.name for entry in before]
    return names.index(f"done.{PLAN}") if f"done.{PLAN}" in names else len(names)


def _is_complete(before: Sequence[Entry]) -> bool:
    """Whether there are as many tasks as the planner says."""
    return all(fact.count <= len(_all(before, Planned)) for fact in _all(before, PlanEnded))


def _failed(done: Done) -> bool:
    """For good: what ran out of its budget lets the others finish."""
    return isinstance(done.outcome, Failed) and not _is_overspending(done)


def _is_overspending(done: Done) -> bool:
    return isinstance(done.outcome, Failed) and done.outcome.code == "budget_exhausted"


def _settles(fact: AnyFact | None) -> bool:
    """Whether a job that holds this fact is over, but for saying so."""
    if isinstance(fact, Done):
        return fact.task == ANSWER_TASK or _failed(fact)
    return isinstance(fact, Cancelled)


def _nothing_follows_the_end(entries: Sequence[Entry]) -> None:
    state = JobState()
    for entry in entries:
        fact = entry.meant()
        if fact is not None:
            fold(state, fact, entry.at)
        if state.ended is not None:
            assert decide(state, 0.0) == []


def _before_the_plan_was_done(before: Sequence[Entry]) -> list[TaskSpec]:
    """A late write of a planner that died may come after; those tasks are nobody's promise."""
    names = [entry.name for entry in before]
    assert f"done.{PLAN}" in names, "the answer does not wait for the plan"
    return [fact.task for fact in _all(before[: names.index(f"done.{PLAN}")], Planned)]


def _value(task: TaskId, before: Sequence[Entry]) -> Any:
    done = _outcome(task, before)
    assert done is not None, f"{task} has no outcome yet"
    assert isinstance(done.outcome, Succeeded), f"{task} has failed"
    return done.outcome.value


def _outcome(task: TaskId, before: Sequence[Entry]) -> Done | None:
    return next((fact for fact in _all(before, Done) if fact.task == task), None)


def _all(entries: Iterable[Entry], kind: type[F]) -> list[F]:
    return [entry.fact for entry in entries if isinstance(entry.fact, kind)]
