"""The parts of a task that belong to its kind: agent, tool, plan, ask."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args

import msgspec

from galerne.core.answers import check_schema
from galerne.core.validators import NAMES, check_name
from galerne.errors import InvalidInputError
from galerne.messages.ids import TaskId
from galerne.messages.plan import Effort, ModelClass, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.models.names import sendable
from galerne.planner.arguments import argument_fault
from galerne.planner.ground import Ground, RefusedError

MAX_INSTRUCTION: Final = 8_000
"""Characters: about a page and a half more than any good instruction has."""

Tools = Mapping[str, ToolSpec]
Fields = Mapping[str, Any]


def task_of(task_id: TaskId, fields: Fields, ground: Ground) -> TaskSpec:
    """The task without its needs and limits. Raises RefusedError."""
    instruction = _instruction(fields.get("instruction", ""))
    kind = fields.get("kind", "tool" if "tool" in fields else "agent")
    if kind != "agent" and (extra := fields.keys() & {"model", "effort"}):
        raise RefusedError(f"{' and '.join(sorted(extra))} is for tasks of kind 'agent'")
    match kind:
        case "agent":
            return _agent_task(task_id, instruction, fields, ground.tools)
        case "tool":
            return _tool_task(task_id, instruction, fields, ground.tools)
        case "plan":
            return _plan_task(task_id, instruction, fields, ground.tools)
        case "ask":
            return _ask_task(task_id, instruction, fields)
        case "answer":
            raise RefusedError("the job's answer is written for you: leave this task out")
        case other:
            raise RefusedError(
                f"kind {shown(other)} is unknown: use 'agent', 'tool', 'plan' or 'ask'"
            )


def _instruction(value: Any) -> str:
    if not isinstance(value, str):
        raise RefusedError("instruction must be a text")
    if len(value) > MAX_INSTRUCTION:
        raise RefusedError(
            f"instruction has {len(value)} characters, at most {MAX_INSTRUCTION} are allowed"
        )
    return value.strip()


def _agent_task(task_id: TaskId, instruction: str, fields: Fields, tools: Tools) -> TaskSpec:
    if not instruction:
        raise RefusedError("instruction is empty: say what this task has to do")
    if "tool" in fields:
        raise RefusedError("an agent task has 'tools', a list; 'tool' is for kind 'tool'")
    return TaskSpec(
        id=task_id,
        kind="agent",
        instruction=instruction,
        tools=_tools(fields, tools),
        output=_output(fields.get("output")),
        check=_named_check(fields.get("check")),
        model=_one_of(fields, "model", ModelClass),
        effort=_one_of(fields, "effort", Effort),
    )


def _tool_task(task_id: TaskId, instruction: str, fields: Fields, tools: Tools) -> TaskSpec:
    if "tool" not in fields:
        raise RefusedError("a tool task names its tool in 'tool'")
    tool = _tool(fields["tool"], tools)
    args = _args(fields.get("args", {}))
    try:
        fault = argument_fault(args, tool.parameters)
    except InvalidInputError as error:
        fault = f"args: {error}"
    if fault:
        raise RefusedError(f"{tool.name}: {fault}")
    return TaskSpec(id=task_id, kind="tool", instruction=instruction, tool=tool.name, args=args)


def _plan_task(task_id: TaskId, instruction: str, fields: Fields, tools: Tools) -> TaskSpec:
    if not instruction:
        raise RefusedError("instruction is empty: say what the nested plan is to reach")
    return TaskSpec(id=task_id, kind="plan", instruction=instruction, tools=_tools(fields, tools))


def _ask_task(task_id: TaskId, instruction: str, fields: Fields) -> TaskSpec:
    if not instruction:
        raise RefusedError("instruction is empty: write the question that a person is to answer")
    output = _output(fields.get("output"))
    return TaskSpec(id=task_id, kind="ask", instruction=instruction, output=output)


def _one_of(fields: Fields, name: str, words: Any) -> Any:
    value, known = fields.get(name), get_args(words)
    if value is not None and value not in known:
        raise RefusedError(f"{name} is one of {', '.join(known)}, not {shown(value)}")
    return value


def _named_check(check: Any) -> str | None:
    if check is None:
        return None
    if not isinstance(check, str):
        raise RefusedError(f"check must be a text, one of {', '.join(NAMES)}")
    try:
        check_name(check)
    except InvalidInputError as error:
        raise RefusedError(f"check: {error}") from error
    return check


def _output(output: Any) -> dict[str, Any] | None:
    if output is None:
        return None
    try:
        schema = msgspec.convert(output, dict[str, Any])
        check_schema(schema)
    except msgspec.ValidationError as error:
        raise RefusedError('output must be a JSON Schema, like {"type": "integer"}') from error
    except InvalidInputError as error:
        raise RefusedError(f"output: {error}") from error
    return schema


def _tools(fields: Fields, tools: Tools) -> tuple[str, ...] | None:
    if "tools" not in fields:
        return None
    return tuple(_tool(name, tools).name for name in listed(fields["tools"], "tools"))


def _tool(name: Any, tools: Tools) -> ToolSpec:
    if isinstance(name, str) and name in tools:
        return tools[name]
    if isinstance(name, str):  # a model may write what its server would have called it
        meant = [tool for own, tool in tools.items() if sendable(own) == name]
        if len(meant) == 1:
            return meant[0]
    there = ", ".join(tools) or "none"
    raise RefusedError(f"there is no tool {shown(name)}; there are: {there}")


def _args(value: Any) -> dict[str, Any]:
    try:
        if isinstance(value, str):
            return msgspec.json.decode(value, type=dict[str, Any])
        return msgspec.convert(value, dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RefusedError("args must be an object of the tool's parameters") from error


def listed(value: Any, what: str) -> Sequence[Any]:
    """A list of different things; one thing alone is a list of it. Raises RefusedError."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(map(_hashable, cast("Sequence[Any]", value))))
    raise RefusedError(f"{what} must be a list")


def _hashable(value: Any) -> Any:
    return shown(value) if isinstance(value, list | dict) else value


def shown(value: Any) -> str:
    """A value in an error's sentence."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text[:60])
