"""The indexes of a job's state: what is missing, who waits for whom, what may start now.

    planned ─▶ waits for its needs ─▶ startable ─▶ ready … done ─▶ its children miss one less
                                  └─▶ a group: its parts are startable ─▶ all done: complete

What happens all the time costs no more in a large job than in a small one: a task is planned, may
start, succeeds. What is rare works everything out anew (`rebuild`): a task stands for another, a
revision ends, a task succeeds that was given up.
"""

from collections.abc import Iterable
from typing import Any

from galerne.core.groups import Parts, is_group, parts_of
from galerne.core.state import Group, JobState
from galerne.errors import InvalidInputError
from galerne.messages.facts import Planned
from galerne.messages.ids import TaskId, above, below
from galerne.messages.plan import Failed, TaskSpec


def add(state: JobState, planned: Planned) -> None:
    """A task of the plan that replaces none."""
    task = planned.task.id
    _wait(state, planned)
    if planned.parent is not None:
        state.owner[task] = planned.parent
        _join(state, planned.parent, task)
        look_whether_complete(state, planned.parent)
    if task not in state.done and not state.is_gone(task):
        state.unfinished.add(task)
    refresh(state, task)


def refresh(state: JobState, task: TaskId) -> None:
    """Whether a task may start now; one that is done through others has them start."""
    spec = state.spec(task)
    if spec is None or state.missing.get(task) != 0:
        state.startable.discard(task)
    elif is_group(spec) and (not spec.approve or _is_approved(state, task)):
        state.startable.discard(task)
        if task not in state.groups:
            _expand(state, task, spec)
    elif _has_begun(state, task) or state.is_gone(task):
        state.startable.discard(task)
    else:
        state.startable.add(task)


def _has_begun(state: JobState, task: TaskId) -> bool:
    return task in state.ready or task in state.done or task in state.asks.waiting


def has_succeeded(state: JobState, task: TaskId) -> None:
    """What a result sets free."""
    for child in state.children.pop(task, ()):
        state.missing[child] -= 1
        refresh(state, child)
    owner = state.owner.get(task)
    if owner is not None and owner in state.groups:
        state.groups[owner].open.discard(task)
        look_whether_complete(state, owner)


def look_whether_complete(state: JobState, task: TaskId) -> None:
    """Whether a group has nothing left to do."""
    group = state.groups.get(task)
    if group is not None and task not in state.done and not state.is_gone(task):
        planning = below(task, "plan")
        failure = state.failure(planning) if planning in state.parts else None
        if failure is not None and planning not in state.out_of_budget:
            group.fault = Failed(failure.code, f"it could not be planned: {failure.message}")
        if group.fault is not None or (not group.open and _is_whole(state, task, group)):
            state.complete.add(task)
            return
    state.complete.discard(task)


def rebuild(state: JobState) -> None:
    """Every index anew, from the facts alone."""
    order = state.in_plan_order()
    state.missing, state.children = {}, {}
    state.groups, state.parts = {}, {}
    state.startable, state.complete, state.unfinished = set(), set(), set()
    state.replaced = _replacements(order)
    state.owner = {one.task.id: one.parent for one in order if one.parent is not None}
    for planned in order:
        _wait(state, planned)
        owner = _owner_of_replaced(state, planned)
        if owner is not None and not _belongs(state, owner, planned.task.id):
            state.owner.setdefault(planned.task.id, owner)
    state.gone = _without(state)
    for planned in order:
        task = planned.task.id
        if task not in state.done and not state.is_gone(task):
            state.unfinished.add(task)
        refresh(state, task)
    for task in list(state.groups):
        look_whether_complete(state, task)


def _wait(state: JobState, planned: Planned) -> None:
    needs = {state.stands_for(need) for need in planned.task.needs}
    waiting = {need for need in needs if not state.succeeded(need)}
    for need in waiting:
        state.children.setdefault(need, set()).add(planned.task.id)
    state.missing[planned.task.id] = len(waiting)


def _is_approved(state: JobState, task: TaskId) -> bool:
    decided = state.asks.decided.get((task, 0, 1))
    return decided is not None and decided.verdict == "approved"


# groups


def _expand(state: JobState, task: TaskId, spec: TaskSpec) -> None:
    results: dict[str, Any] = {need: state.value(state.stands_for(need)) for need in spec.needs}
    try:
        parts = parts_of(spec, results)
        _check_free(state, parts)
    except InvalidInputError as error:
        parts = Parts((), None)
        state.groups[task] = Group(fault=Failed(error.code, str(error)))
    else:
        state.groups[task] = Group(items=parts.items)
    for part in parts.specs:
        state.parts[part.id] = part
        state.owner[part.id] = task
        state.missing[part.id] = 0
        _join(state, task, part.id)
    for nested in state.nested.get(task, {}).values():
        if state.owner.get(nested) == task:
            _join(state, task, nested)
    for part in parts.specs:
        refresh(state, part.id)
    if task in state.done:  # it was settled by others: nothing of it is waited for
        for waiting in (state.unfinished, state.startable):
            waiting.difference_update([one for one in waiting if state.is_gone(one)])
    look_whether_complete(state, task)


def _check_free(state: JobState, parts: Parts) -> None:
    for part in parts.specs:
        if part.id in state.planned:
            raise InvalidInputError(f"a task of the plan has the id of a part of it: {part.id}")


def _join(state: JobState, owner: TaskId, task: TaskId) -> None:
    """A part keeps its group open until it, or what stands for it, has succeeded or gone."""
    group = state.groups.get(owner)
    stands = state.stands_for(task)
    if group is not None and not state.succeeded(stands) and not state.is_gone(stands):
        group.open.add(stands)


def _is_whole(state: JobState, task: TaskId, group: Group) -> bool:
    """Whether every part is known: a nested plan may still be being written."""
    if group.items is not None:
        return True
    end = state.nested_ends.get(task)
    return end is not None and end.count <= len(state.nested.get(task, ()))


# revisions


def _replacements(order: Iterable[Planned]) -> dict[TaskId, TaskId]:
    """What stands for what; of two that replace one task, the earlier; never in a circle."""
    replaced: dict[TaskId, TaskId] = {}
    for planned in order:
        old, new = planned.task.replaces, planned.task.id
        if old is None or old in replaced:
            continue
        end = new
        while end in replaced:
            end = replaced[end]
        if end != old:
            replaced[old] = new
    return replaced


def _owner_of_replaced(state: JobState, planned: Planned) -> TaskId | None:
    old = planned.task.replaces
    if old is None:
        return None
    return state.owner.get(old) or (None if old in state.planned else above(old))


def _belongs(state: JobState, task: TaskId | None, owner: TaskId) -> bool:
    """Whether a task is the owner, or belongs to it over others."""
    while task is not None and task != owner:
        task = state.owner.get(task)
    return task is not None


def _without(state: JobState) -> set[TaskId]:
    """What the plan does without: replaced, dropped, failed unmended; and who waits for those."""
    dropped = [task for end in state.plan_ends.values() for task in end.dropped]
    unmended = {*dropped, *state.settled_failures()}
    dead = [task for task in unmended if not state.succeeded(task) and task not in state.replaced]
    gone = {*dead, *state.replaced}
    while dead:
        for child in state.children.get(dead.pop(), ()):
            if child not in gone and not state.succeeded(child):
                gone.add(child)
                dead.append(child)
    return gone
