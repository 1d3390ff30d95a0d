"""Which tasks an instruction or a tool task's arguments refer to (`core.refs` resolves them)."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from galerne.core.refs import references, renamed
from galerne.messages.ids import TaskId, below
from galerne.messages.plan import TaskSpec


def referenced_tasks(value: Any) -> tuple[TaskId, ...]:
    """The ids, each once, in the order in which they stand.

    Raises InvalidInputError when a `$ref` is not a usable reference.
    """
    return tuple(dict.fromkeys(TaskId(reference.task) for reference in references(value)))


def holds_reference(value: Any) -> bool:
    """Whether the value, as it stands, is one that only a result will give a type to."""
    return isinstance(value, str | dict) and any(True for _ in references(value))


def nested_under(
    parent: TaskId, outside: Collection[TaskId]
) -> tuple[Callable[[TaskSpec], TaskSpec], Callable[[TaskSpec], TaskSpec]]:
    """How tasks are named that a nested plan calls 1, 2, 3: as the log has them, and back.

    What stands `outside` is called `given-…` there, because it has numbers too (`as_given`).
    """
    given = {as_given(task): task for task in outside}
    names = {task: name for name, task in given.items()}

    def as_logged(task: TaskSpec) -> TaskSpec:
        needs = {one: given.get(one) or below(parent, one) for one in task.needs}
        return _under_names(task, below(parent, task.id), needs)

    def as_written(task: TaskSpec) -> TaskSpec:
        needs = {one: names.get(one) or _local(parent, one) for one in task.needs}
        return _under_names(task, _local(parent, task.id), needs)

    return as_logged, as_written


def as_given(task: TaskId) -> TaskId:
    """What a task is called in a nested plan that stands outside of it."""
    return TaskId(f"given-{task}")


def _local(parent: TaskId, task: TaskId) -> TaskId:
    return TaskId(task.removeprefix(below(parent, "")))


def _under_names(task: TaskSpec, name: TaskId, names: dict[TaskId, TaskId]) -> TaskSpec:
    plain: dict[str, str] = {str(old): str(new) for old, new in names.items()}
    return msgspec.structs.replace(
        task,
        id=name,
        needs=tuple(names.get(need, need) for need in task.needs),
        instruction=renamed(task.instruction, plain),
        args=renamed(task.args, plain),
        foreach=renamed(task.foreach, plain),
    )
