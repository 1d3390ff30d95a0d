"""One object that the planner wrote → a task, or a reason why not that the planner can act on.

The order of the plan is the order of the graph: a task may only need tasks that stand before it,
so a cycle cannot be written. Where the meaning is clear, other words are taken:

    as written                                      taken as
    `depends_on`, `dependencies`                    `needs`
    `task`, `description`, `question`               `instruction`
    `arguments`                                     `args`
    a number as id or need                          the same as text
    one need or tool name without a list            a list of one
    no kind                                         `tool` where a tool is named, else `agent`
    args as a JSON text                             the object in it
    `{"$ref": "2"}` or `{{2}}` without the need     the need is added
    null                                            absent
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from galerne.core.answers import check_schema
from galerne.core.validators import NAMES, check_name
from galerne.errors import InvalidInputError
from galerne.messages.ids import TaskId, is_id, is_reserved
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.arguments import argument_fault
from galerne.planner.producers import reference_fault
from galerne.planner.refs import referenced_tasks

MAX_TASKS: Final = 200
MAX_INSTRUCTION: Final = 8_000
"""Characters: about a page and a half more than any good instruction has."""
MAX_TIMEOUT: Final = 366 * 86_400.0
"""Seconds: a year."""
MAX_EXCERPT: Final = 1_000
"""Characters of a rejected object that are kept."""
ALIASES: Final = {
    "depends_on": "needs",
    "dependencies": "needs",
    "task": "instruction",
    "description": "instruction",
    "question": "instruction",
    "arguments": "args",
}

Tasks = Mapping[TaskId, TaskSpec]


class _RefusedError(Exception):
    """The reason, as it will stand in `Rejected`."""


def check_task(
    value: Mapping[str, Any],
    text: str,
    tools: Mapping[str, ToolSpec],
    before: Tasks,
    taken: Tasks | None = None,
) -> TaskSpec | Rejected:
    """Check one object.

    `before` are the tasks that stand before it: it may need those. `taken` are all ids in use
    (None: the same). An object that equals the task which has its id is that task.
    """
    taken = before if taken is None else taken
    task_id: TaskId | None = None
    try:
        fields = _canonical(value)
        task_id = _id(fields.get("id"), "id")
        task = _with_limits(_task(task_id, fields, tools), fields)
        task = _with_needs(task, fields, before)
        _check_references(task, before, tools)
        _check_free(task, before, taken)
    except _RefusedError as refusal:
        return Rejected(str(refusal), excerpt(text), task_id)
    return task


def excerpt(text: str) -> str:
    """What is kept of a rejected object's text."""
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}…"


def _canonical(value: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: field for name, field in value.items() if field is not None}
    for written, meant in ALIASES.items():
        if written in fields:
            fields.setdefault(meant, fields[written])
    return fields


def _id(value: Any, what: str) -> TaskId:
    if value is None:
        raise _RefusedError('the task has no id: give it one, like "1"')
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not is_id(value):
        raise _RefusedError(
            f"{what} {_shown(value)} is not usable: 1 to 64 letters, digits, '-' or '_'"
        )
    return TaskId(value)


def _task(task_id: TaskId, fields: Mapping[str, Any], tools: Mapping[str, ToolSpec]) -> TaskSpec:
    if is_reserved(task_id):
        raise _RefusedError(f"id {task_id!r} is reserved: use a number")
    instruction = _instruction(fields.get("instruction", ""))
    match fields.get("kind", "tool" if "tool" in fields else "agent"):
        case "agent":
            return _agent_task(task_id, instruction, fields, tools)
        case "tool":
            return _tool_task(task_id, instruction, fields, tools)
        case "ask":
            return _ask_task(task_id, instruction, fields)
        case "plan":
            raise _RefusedError("kind 'plan' is not served: use 'agent' or 'tool'")
        case "answer":
            raise _RefusedError("the job's answer is written for you: leave this task out")
        case other:
            raise _RefusedError(f"kind {_shown(other)} is unknown: use 'agent' or 'tool'")


def _instruction(value: Any) -> str:
    if not isinstance(value, str):
        raise _RefusedError("instruction must be a text")
    if len(value) > MAX_INSTRUCTION:
        raise _RefusedError(
            f"instruction has {len(value)} characters, at most {MAX_INSTRUCTION} are allowed"
        )
    return value.strip()


def _agent_task(
    task_id: TaskId, instruction: str, fields: Mapping[str, Any], tools: Mapping[str, ToolSpec]
) -> TaskSpec:
    if not instruction:
        raise _RefusedError("instruction is empty: say what this task has to do")
    if "tool" in fields:
        raise _RefusedError("an agent task has 'tools', a list; 'tool' is for kind 'tool'")
    allowed: tuple[str, ...] | None = None
    if "tools" in fields:
        allowed = tuple(_tool(name, tools).name for name in _listed(fields["tools"], "tools"))
    return TaskSpec(
        id=task_id,
        kind="agent",
        instruction=instruction,
        tools=allowed,
        output=_output(fields.get("output")),
        check=_named_check(fields.get("check")),
    )


def _tool_task(
    task_id: TaskId, instruction: str, fields: Mapping[str, Any], tools: Mapping[str, ToolSpec]
) -> TaskSpec:
    if "tool" not in fields:
        raise _RefusedError("a tool task names its tool in 'tool'")
    tool = _tool(fields["tool"], tools)
    args = _args(fields.get("args", {}))
    try:
        fault = argument_fault(args, tool.parameters)
    except InvalidInputError as error:
        fault = f"args: {error}"
    if fault:
        raise _RefusedError(f"{tool.name}: {fault}")
    return TaskSpec(id=task_id, kind="tool", instruction=instruction, tool=tool.name, args=args)


def _ask_task(task_id: TaskId, instruction: str, fields: Mapping[str, Any]) -> TaskSpec:
    if not instruction:
        raise _RefusedError("instruction is empty: write the question that a person is to answer")
    output = _output(fields.get("output"))
    return TaskSpec(id=task_id, kind="ask", instruction=instruction, output=output)


def _named_check(check: Any) -> str | None:
    if check is None:
        return None
    if not isinstance(check, str):
        raise _RefusedError(f"check must be a text, one of {', '.join(NAMES)}")
    try:
        check_name(check)
    except InvalidInputError as error:
        raise _RefusedError(f"check: {error}") from error
    return check


def _output(output: Any) -> dict[str, Any] | None:
    if output is None:
        return None
    try:
        schema = msgspec.convert(output, dict[str, Any])
        check_schema(schema)
    except msgspec.ValidationError as error:
        raise _RefusedError('output must be a JSON Schema, like {"type": "integer"}') from error
    except InvalidInputError as error:
        raise _RefusedError(f"output: {error}") from error
    return schema


def _with_limits(task: TaskSpec, fields: Mapping[str, Any]) -> TaskSpec:
    """The task with its time, and whether a person is asked before it starts."""
    timeout, approve = fields.get("timeout"), fields.get("approve", False)
    if not isinstance(approve, bool):
        raise _RefusedError("approve is true or false")
    if approve and task.kind == "ask":
        raise _RefusedError("a task of kind 'ask' waits for a person anyway: leave approve out")
    if timeout is not None and not _is_time(timeout):
        raise _RefusedError("timeout must be a number of seconds above 0")
    seconds = None if timeout is None else float(timeout)
    return msgspec.structs.replace(task, timeout=seconds, approve=approve)


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= MAX_TIMEOUT


def _tool(name: Any, tools: Mapping[str, ToolSpec]) -> ToolSpec:
    if isinstance(name, str) and name in tools:
        return tools[name]
    there = ", ".join(tools) or "none"
    raise _RefusedError(f"there is no tool {_shown(name)}; there are: {there}")


def _args(value: Any) -> dict[str, Any]:
    try:
        if isinstance(value, str):
            return msgspec.json.decode(value, type=dict[str, Any])
        return msgspec.convert(value, dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _RefusedError("args must be an object of the tool's parameters") from error


def _with_needs(task: TaskSpec, fields: Mapping[str, Any], before: Tasks) -> TaskSpec:
    """The task with its written needs, then those that its references imply.

    In an instruction `{{x}}` may be plain text, so only ids of tasks count there.
    """
    try:
        referred = referenced_tasks(task.args)
    except InvalidInputError as error:
        raise _RefusedError(f"args: {error}") from error
    mentioned = (one for one in referenced_tasks(task.instruction) if one in before)
    written = (_id(one, "need") for one in _listed(fields.get("needs", ()), "needs"))
    needs = tuple(dict.fromkeys((*written, *referred, *mentioned)))
    for need in needs:
        if need == task.id:
            raise _RefusedError("the task needs itself")
        if need not in before:
            raise _RefusedError(
                f"it needs task {need!r}, which does not stand before it: write that one first"
            )
    return msgspec.structs.replace(task, needs=needs)


def _check_references(task: TaskSpec, before: Tasks, tools: Mapping[str, ToolSpec]) -> None:
    if task.tool is None:
        return
    fault = reference_fault(task.args or {}, tools[task.tool].parameters, before)
    if fault:
        raise _RefusedError(f"{task.tool}: {fault}")


def _check_free(task: TaskSpec, before: Tasks, taken: Tasks) -> None:
    if task.id in taken:
        if taken[task.id] != task:
            raise _RefusedError(f"id {task.id!r} names another task already: use a new id")
    elif len(before) >= MAX_TASKS:
        raise _RefusedError(f"a plan has at most {MAX_TASKS} tasks")


def _listed(value: Any, what: str) -> Sequence[Any]:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(map(_hashable, cast("Sequence[Any]", value))))
    raise _RefusedError(f"{what} must be a list")


def _hashable(value: Any) -> Any:
    return _shown(value) if isinstance(value, list | dict) else value


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text[:60])
