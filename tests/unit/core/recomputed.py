"""A job's state worked out the slow way: each field by itself, from the whole set of facts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from galerne.core.asks import Asks
from galerne.core.index import rebuild
from galerne.core.state import JobState, TaskTimes, place
from galerne.messages.facts import (
    Accounted,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    ModelStep,
    Moved,
    PlanEnded,
    Planned,
    Ready,
    Step,
    Submitted,
    ToolStep,
)
from galerne.messages.ids import TaskId, above, is_id, is_reserved
from galerne.messages.plan import Failed, Succeeded
from unit.core.facts import Stored, facts_of

F = TypeVar("F")


def recomputed(log: Sequence[Stored]) -> JobState:
    """What `fold` must arrive at, whatever the order of `log`."""
    planned = facts_of(log, Planned)
    places = [
        one
        for one in planned
        if _may_be_planned(one.task.id) and one.parent in {None, above(one.task.id)}
    ]
    own = [one for one in places if one.parent is None]
    steps: list[Step] = [*facts_of(log, ModelStep), *facts_of(log, ToolStep)]
    submitted = _only(facts_of(log, Submitted))
    state = JobState(
        job=submitted.job if submitted else None,
        submitted_at=submitted.at if submitted else None,
        planned=_first(places, lambda one: one.task.id, place),
        plan_ends={one.revision: one for one in facts_of(log, PlanEnded) if one.parent is None},
        nested_ends={one.parent: one for one in facts_of(log, PlanEnded) if one.parent},
        ready=_first(
            [one for one in facts_of(log, Ready) if is_id(one.task.id)],
            lambda one: one.task.id,
            lambda one: (one.resume, one.again, one.lane, one.priority),
        ),
        claims=_last_claims(facts_of(log, Claimed)),
        given_back=_last_claims([one for one in facts_of(log, Claimed) if _tells_a_fault(one)]),
        steps={(one.task, one.n): one for one in steps},
        moves={(one.task, one.n): one for one in facts_of(log, Moved)},
        done={one.task: one for one in facts_of(log, Done)},
        asks=_asks(facts_of(log, Asked), facts_of(log, Decided)),
        account=max(
            facts_of(log, Accounted),
            key=lambda one: (one.n, one.calls, one.tokens, one.usd),
            default=None,
        ),
        resumed={
            one.task.id: max(
                other.resume for other in facts_of(log, Ready) if other.task.id == one.task.id
            )
            for one in facts_of(log, Ready)
            if one.resume > 0 and is_id(one.task.id)
        },
        requeued={
            one.task.id: max(
                other.again for other in facts_of(log, Ready) if other.task.id == one.task.id
            )
            for one in facts_of(log, Ready)
            if one.again > 0 and is_id(one.task.id)
        },
        cancelled=_only(facts_of(log, Cancelled)),
        ended=_only(facts_of(log, Ended)),
        times=_times(log),
        numbers=_by(own, lambda one: one.revision, lambda one: one.n),
        spoiled=_by(
            [one for one in planned if not _may_be_planned(one.task.id)],
            lambda one: one.revision,
            lambda one: one.n,
        ),
        nested={
            one.parent: {other.n: other.task.id for other in places if other.parent == one.parent}
            for one in places
            if one.parent is not None
        },
    )
    _add_indexes(state)
    rebuild(state)
    if not state.groups and not state.gone and not state.owner:
        _check_slowly(state)
    return state


def _check_slowly(state: JobState) -> None:
    """What `rebuild` must say of a job without lists, nested plans and revisions."""
    names = ("missing", "children", "unfinished", "startable")
    rebuilt = {name: getattr(state, name) for name in names}
    _add_indexes(state)
    assert rebuilt == {name: getattr(state, name) for name in names}


def _by(
    found: Sequence[F], key: Callable[[F], int], value: Callable[[F], int]
) -> dict[int, set[int]]:
    keys = {key(one) for one in found}
    return {one: {value(other) for other in found if key(other) == one} for one in keys}


def _add_indexes(state: JobState) -> None:
    won = {task for task, one in state.done.items() if isinstance(one.outcome, Succeeded)}
    waits = {task: set(one.task.needs) - won for task, one in state.planned.items()}
    needs = {need for missing in waits.values() for need in missing}
    state.missing = {task: len(missing) for task, missing in waits.items()}
    state.children = {
        need: {task for task, missing in waits.items() if need in missing} for need in needs
    }
    open_tasks = state.planned.keys() - state.done.keys()
    state.unfinished = set(open_tasks)
    free = open_tasks - state.ready.keys() - state.asks.waiting.keys()
    state.startable = {task for task in free if not waits[task]}
    state.started = {task for task in state.ready if not is_reserved(task)}
    state.to_resume = {
        task
        for task in state.ready.keys() - state.done.keys()
        if state.asks.answered.get(task, 0) > state.resumed.get(task, 0)
    }
    state.under_way = state.ready.keys() - state.done.keys()
    state.failed = {
        task
        for task, one in state.done.items()
        if isinstance(one.outcome, Failed) and one.outcome.code != "dropped"
    }
    state.out_of_budget = {
        task
        for task, one in state.done.items()
        if isinstance(one.outcome, Failed) and one.outcome.code == "budget_exhausted"
    }


def _asks(asked: list[Asked], decided: list[Decided]) -> Asks:
    questions = {(one.task, one.n, one.round): one for one in asked}
    words = {(one.task, one.n, one.round): one for one in decided}
    still = questions.keys() - words.keys()
    settled = [task for task, n, _ in questions.keys() & words.keys() if n > 0]
    return Asks(
        asked=questions,
        decided=words,
        open=set(still),
        waiting={task: {key for key in still if key[0] == task} for task, _, _ in still},
        answered={task: settled.count(task) for task in settled},
    )


def _may_be_planned(task: TaskId) -> bool:
    return is_id(task) and not is_reserved(task)


def _only(found: list[F]) -> F | None:
    return found[0] if found else None


def _first(
    found: Iterable[F], task: Callable[[F], TaskId], place: Callable[[F], Any]
) -> dict[TaskId, F]:
    """Of several facts about one task, the one with the lowest place."""
    return {task(one): one for one in sorted(found, key=place, reverse=True)}


def _last_claims(found: list[Claimed]) -> dict[TaskId, Claimed]:
    """The highest attempt's last word: giving back, or else the longest lease."""
    ordered = sorted(found, key=lambda one: (one.by, one.note or ""))
    ordered.sort(key=lambda one: (one.attempt, one.until == 0, one.until))
    return {one.task: one for one in ordered}


def _tells_a_fault(claim: Claimed) -> bool:
    return claim.until <= 0 and bool(claim.note) and "waits for a person's" not in str(claim.note)


def _times(log: Sequence[Stored]) -> dict[TaskId, TaskTimes]:
    found: dict[TaskId, TaskTimes] = {}
    for one in sorted(log, key=lambda one: one.at, reverse=True):
        match one.fact:
            case Ready(task=task) if is_id(task.id):
                found.setdefault(task.id, TaskTimes()).ready = one.at
            case Claimed(task=task_id):
                found.setdefault(task_id, TaskTimes()).claimed = one.at
            case Done(task=task_id):
                found.setdefault(task_id, TaskTimes()).done = one.at
            case _:
                pass
    return found
