"""Which tasks an instruction or a tool task's arguments refer to (`core.refs` resolves them)."""

from typing import Any

from galerne.core.refs import references
from galerne.messages.ids import TaskId


def referenced_tasks(value: Any) -> tuple[TaskId, ...]:
    """The ids, each once, in the order in which they stand.

    Raises InvalidInputError when a `$ref` is not a usable reference.
    """
    return tuple(dict.fromkeys(TaskId(reference.task) for reference in references(value)))


def holds_reference(value: Any) -> bool:
    """Whether the value, as it stands, is one that only a result will give a type to."""
    return isinstance(value, str | dict) and any(True for _ in references(value))
