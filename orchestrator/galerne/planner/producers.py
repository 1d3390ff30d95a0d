"""References of a tool task against what the tasks that they refer to will give.

An agent or a person answers by the task's `output` schema, an agent without one in text; a tool by
what its worker has announced, if it has. Only what cannot fit is a fault: a part that the
producer's schema does not have, and a whole argument of another primitive type.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from galerne.core.groups import ITEM
from galerne.core.refs import Reference, references
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.messages.tools import ToolSpec

_TEXT: Mapping[str, Any] = {"type": "string"}
_NUMERIC = frozenset({"integer", "number"})


def reference_fault(
    args: Mapping[str, Any],
    parameters: Mapping[str, Any],
    tasks: Mapping[TaskId, TaskSpec],
    tools: Mapping[str, ToolSpec],
    foreach: Any = None,
) -> str | None:
    """The first fault in one clause, None when every reference may fit.

    `parameters` is the JSON Schema (Draft 7) of the tool; `tasks` those that may be referred to,
    `tools` those that they may call; `foreach` is the list whose elements `item` stands for.
    Raises InvalidInputError when a `$ref` is not a usable reference.
    """
    properties = _fields(parameters.get("properties"))
    for name, value in args.items():
        for reference in references(value):
            found, missing = _found(reference, tasks, tools, foreach)
            if missing is not None:
                return f"args.{name}: {missing}"
            if not isinstance(value, dict) or "$ref" not in value:
                continue
            given, wanted = _types(found), _types(_fields(properties.get(name)))
            if given and wanted and not _overlap(given, wanted):
                return (
                    f"args.{name} must be {' or '.join(wanted)}, but {reference} is"
                    f" {' or '.join(given)}{_advice(tasks.get(TaskId(reference.task)))}"
                )
    return None


def list_fault(
    foreach: Any, tasks: Mapping[TaskId, TaskSpec], tools: Mapping[str, ToolSpec]
) -> str | None:
    """Why it can be no list, None where it may. Raises InvalidInputError as above."""
    for reference in references(foreach) if isinstance(foreach, dict) else ():
        found, missing = _found(reference, tasks, tools)
        if missing is not None:
            return f"foreach: {missing}"
        given = _types(found)
        if given and "array" not in given:
            advice = _advice(tasks.get(TaskId(reference.task)))
            return f"foreach must be a list, but {reference} is {' or '.join(given)}{advice}"
    return None


def _found(
    reference: Reference,
    tasks: Mapping[TaskId, TaskSpec],
    tools: Mapping[str, ToolSpec],
    foreach: Any = None,
) -> tuple[Mapping[str, Any], str | None]:
    """The schema of what is referred to (empty: unknown), or what is missing there."""
    if reference.task == ITEM:
        for inner in references(foreach) if isinstance(foreach, dict) else ():
            lists, _ = _found(inner, tasks, tools)
            return _descended(_fields(lists.get("items")), reference)
        return {}, None
    task = tasks.get(TaskId(reference.task))
    if task is None or task.kind not in {"agent", "ask", "tool"}:
        return {}, None
    each = _promised(task, tools)
    if task.foreach is not None:
        return _descended({"type": "array", "items": each}, reference)
    if task.kind == "tool":
        return _descended(each, reference)
    if task.output is None:  # a person's word may be any value; a text may hold JSON to go into
        whole = task.kind == "agent" and not reference.path
        return (_TEXT if whole else {}), None
    return _descended(task.output, reference)


def _promised(task: TaskSpec, tools: Mapping[str, ToolSpec]) -> Mapping[str, Any]:
    """The schema of one result; empty: anything."""
    if task.kind == "tool":
        tool = tools.get(task.tool or "")
        return (tool.returns if tool else None) or {}
    return task.output or _TEXT


def _descended(
    schema: Mapping[str, Any], reference: Reference
) -> tuple[Mapping[str, Any], str | None]:
    for part in reference.path:
        properties = _fields(schema.get("properties"))
        if part in properties:
            schema = _fields(properties[part])
        elif _types(schema) == ("array",) and part.lstrip("-").isdecimal():
            schema = _fields(schema.get("items"))
        elif properties and schema.get("additionalProperties") is False:
            there = ", ".join(properties)
            return {}, f"task {reference.task} gives no {part!r}; it gives: {there}"
        else:
            return {}, None
    return schema, None


def _advice(task: TaskSpec | None) -> str:
    if task is None or task.output is not None or task.kind == "tool":
        return ""
    return f": give task {task.id} an output schema"


def _overlap(given: Sequence[str], wanted: Sequence[str]) -> bool:
    """A number may be whole, so the two kinds of numbers are one here."""
    both = set(given) & set(wanted)
    return bool(both or (_NUMERIC & set(given) and _NUMERIC & set(wanted)))


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The type names that a schema allows; none means any."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return (declared,)
    return tuple(cast("Sequence[str]", declared)) if isinstance(declared, list) else ()


def _fields(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
