"""Plans that people and programs hand in: read, checked, and put in the order of their needs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, cast

import msgspec

from galerne.core.answers import check_schema
from galerne.core.groups import ITEM
from galerne.core.refs import references
from galerne.core.validators import check_name
from galerne.errors import InvalidInputError
from galerne.messages.ids import TaskId, is_id, is_reserved, is_scoped
from galerne.messages.plan import TaskSpec
from galerne.messages.requests import Submit

MAX_TASKS: Final = 1_000
MAX_DEPTH: Final = 100
"""Levels of a task's arguments: far more than any tool takes, and few enough for every reader."""


def written_plan(value: Any) -> tuple[TaskSpec, ...]:
    """The plan that a person or a program hands in: as `given_tasks`, and nothing in it is ignored.

    Raises InvalidInputError, one line that names the task and what is wrong.
    """
    listed, tasks = _read(value)
    for task, fields in zip(tasks, listed, strict=True):
        _check_heeded(task, fields)
    return given_tasks(tasks)


def _check_heeded(task: TaskSpec, fields: Mapping[str, Any]) -> None:
    known = task.__struct_fields__
    for name in fields:
        if name not in known:
            there = ", ".join(known)
            raise InvalidInputError(f"task {task.id}: it has no field {name!r}; there are: {there}")
    if task.kind != "tool" and (task.tool is not None or task.args is not None):
        raise InvalidInputError(f"task {task.id}: 'tool' and 'args' are for tasks of kind 'tool'")


def given_tasks(value: Any) -> tuple[TaskSpec, ...]:
    """A plan from a list of tasks, or from an object with `tasks`; each after those it needs.

    Raises InvalidInputError, one line that names the task and what is wrong.
    """
    _, tasks = _read(value)
    check_plan(tasks)
    before: set[TaskId] = set()
    full: list[TaskSpec] = []
    in_order = True
    for task in tasks:
        full.append(_with_implied_needs(task, before))
        in_order = in_order and before.issuperset(full[-1].needs)
        before.add(task.id)
    return tuple(full) if in_order else _ordered(full)


def check_planning(submit: Submit) -> None:
    """What a request says about its plan and its result. Raises InvalidInputError."""
    if submit.plan is not None:
        given_tasks(submit.plan)
    if submit.revisions is not None and submit.revisions < 0:
        raise InvalidInputError("the number of revisions is below 0: give 0 to allow none")
    if submit.output is not None:
        try:
            check_schema(submit.output)
        except InvalidInputError as error:
            raise InvalidInputError(f"the output: {error}") from error


def check_plan(tasks: Sequence[TaskSpec]) -> None:
    """What can be said without knowing the tools. Raises InvalidInputError."""
    if not 1 <= len(tasks) <= MAX_TASKS:
        raise InvalidInputError(f"the plan has {len(tasks)} tasks: 1 to {MAX_TASKS} may be")
    seen: set[TaskId] = set()
    for task in tasks:
        _check_id(task.id, seen)
        seen.add(task.id)
        try:
            _check_task(task)
        except InvalidInputError as error:
            raise InvalidInputError(f"task {task.id}: {error}") from error


def _check_id(task: TaskId, seen: set[TaskId]) -> None:
    if not is_id(task) or is_reserved(task) or is_scoped(task) or task == ITEM:
        raise InvalidInputError(f"task id {task[:80]!r} is not usable: take a number, like 1")
    if task in seen:
        raise InvalidInputError(f"two tasks of the plan have the id {task!r}")


def _check_task(task: TaskSpec) -> None:
    if task.kind == "answer":
        raise InvalidInputError("the job's answer is written by itself: leave this task out")
    if task.kind == "tool" and not task.tool:
        raise InvalidInputError("a tool task names its tool in 'tool'")
    if task.kind != "tool" and not task.instruction.strip():
        raise InvalidInputError("its instruction is empty: say what it has to do")
    if task.kind == "ask" and (task.foreach is not None or task.approve):
        raise InvalidInputError("a question to a person takes neither 'foreach' nor 'approve'")
    if task.timeout is not None and not task.timeout > 0:
        raise InvalidInputError("its timeout must be a number of seconds above 0")
    if task.replaces is not None:
        raise InvalidInputError("'replaces' is for revisions: leave it out")
    if _is_deeper(task.args, MAX_DEPTH):
        raise InvalidInputError(f"its arguments are nested more than {MAX_DEPTH} levels deep")
    if task.output is not None:
        check_schema(task.output)
    if task.check is not None:
        check_name(task.check)


def _is_deeper(value: Any, levels: int) -> bool:
    """Level by level: the value may be deeper than Python can call."""
    level = [value]
    for _ in range(levels):
        level = [inner for one in level for inner in _inside(one)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _tasks_in(plain: Any) -> Any:
    match plain:
        case {"tasks": tasks}:
            return cast("object", tasks)
        case _:
            return plain


def _read(value: Any) -> tuple[Any, tuple[TaskSpec, ...]]:
    """The tasks as they were written, and as tasks. Raises InvalidInputError."""
    try:
        listed = _with_ids_as_text(_tasks_in(msgspec.to_builtins(value)))
        return listed, msgspec.convert(listed, tuple[TaskSpec, ...])
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise InvalidInputError(f"the plan is not usable: {error}") from error


def _with_ids_as_text(listed: Any) -> Any:
    """Who writes a plan by hand writes `"id": 1, "needs": [1]`, and the meaning is clear."""
    if not isinstance(listed, list | tuple):
        return cast("object", listed)
    return [_with_id_as_text(task) for task in cast("Sequence[Any]", listed)]


def _with_id_as_text(task: Any) -> Any:
    match task:
        case {"id": int(number)} if not isinstance(number, bool):
            task = {**task, "id": str(number)}
        case _:
            pass
    match task:
        case {"needs": [*needs]}:
            return {**task, "needs": [str(n) if type(n) is int else n for n in needs]}
        case _:
            return task


def _with_implied_needs(task: TaskSpec, before: Collection[TaskId]) -> TaskSpec:
    """What its references name is needed, too.

    In an instruction `{{x}}` may be plain text, so only tasks that stand before it count there.
    """
    try:
        args, foreach = _referred(task.args), _referred(task.foreach)
    except InvalidInputError as error:
        raise InvalidInputError(f"task {task.id}: {error}") from error
    if task.foreach is not None:
        args = [one for one in args if one != ITEM]
    mentioned = (one for one in _referred(task.instruction) if one in before)
    needs = dict.fromkeys((*task.needs, *args, *foreach, *mentioned))
    return msgspec.structs.replace(task, needs=tuple(needs))


def _referred(value: Any) -> list[TaskId]:
    return [TaskId(one.task) for one in references(value)]


def _ordered(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Every need before its task, otherwise as they stand. Raises InvalidInputError."""
    left = {task.id: task for task in tasks}
    for task in tasks:
        for need in task.needs:
            if need not in left:
                raise InvalidInputError(f"task {task.id} needs task {need!r}, which is not there")
    graph = TopologicalSorter({task.id: task.needs for task in tasks})
    try:
        return tuple(left[task] for task in graph.static_order())
    except CycleError as error:
        circle = ", ".join(dict.fromkeys(error.args[1]))
        raise InvalidInputError(f"tasks {circle} wait for one another") from error
