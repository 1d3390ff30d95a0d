"""What the planner's model is asked, for a plan and for a job's closing answer.

The texts are versioned files in `prompts/`; a changed text is a new version, never an edit.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

import msgspec

from galerne.messages.chat import ChatRequest
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.sections import as_text, escaped, messages, one_line, section

PLANNER_PROMPT: Final = "planner.v3.md"
ANSWER_PROMPT: Final = "answer.v1.md"
_MAX_HEADING: Final = 200
_MAX_DESCRIPTION: Final = 160
_SENTENCE_END = re.compile(r"\n\s*\n|\.\s+(?=[A-Z])")


def planner_request(
    goal: str,
    tools: Sequence[ToolSpec],
    inputs: Mapping[str, Any] | None = None,
    already: Sequence[TaskSpec] = (),
    rejected: Sequence[Rejected] = (),
) -> ChatRequest:
    """Ask for a plan: JSON lines, one task each.

    `already` are tasks that exist and may be running; `rejected` are to be written again.
    """
    lines = [_tool_line(tool) for tool in tools] or ["(none: every task is of kind agent)"]
    system = "\n".join((_prompt(PLANNER_PROMPT), "# Tools", *lines))
    sections = [section("# Goal", goal)]
    excerpts = (escaped(as_text(inputs)),) if inputs else ()
    if inputs:
        sections.append(section("# Inputs", as_text(inputs)))
    if already:
        sections.append(section("# Already planned", "\n".join(map(task_line, already))))
    if rejected:
        sections.append(section("# Rejected", "\n".join(map(_rejected_line, rejected))))
    return ChatRequest(messages(system, *sections), excerpts=excerpts)


def answer_request(goal: str, results: Mapping[str, Any]) -> ChatRequest:
    """Ask for a job's answer. `results`: task id → `{"instruction": text, "value": JSON}`."""
    parts = ["# Results"]
    excerpts: list[str] = []
    for task, result in results.items():
        instruction = one_line(result.get("instruction", ""), _MAX_HEADING)
        value = as_text(result.get("value"))
        parts.append(section(f"## {task}: {instruction}".rstrip(), value))
        excerpts.append(escaped(value))
    return ChatRequest(
        messages(_prompt(ANSWER_PROMPT), section("# Goal", goal), *parts), excerpts=tuple(excerpts)
    )


def task_line(task: TaskSpec) -> str:
    """A task as the planner writes it: one JSON object on one line."""
    fields: dict[str, Any] = {"id": task.id, "kind": task.kind}
    if task.instruction:
        fields["instruction"] = task.instruction
    if task.tool is not None:
        fields |= {"tool": task.tool, "args": task.args or {}}
    fields["needs"] = task.needs
    if task.tools is not None:
        fields["tools"] = task.tools
    if task.output is not None:
        fields["output"] = task.output
    if task.check is not None:
        fields["check"] = task.check
    if task.timeout is not None:
        fields["timeout"] = task.timeout
    if task.approve:
        fields["approve"] = True
    return msgspec.json.encode(fields).decode()


def _rejected_line(rejected: Rejected) -> str:
    return msgspec.json.encode({"id": rejected.id, "reason": rejected.reason}).decode()


def _tool_line(tool: ToolSpec) -> str:
    """`- name(param: type, optional?: type = default): first sentence`."""
    required = tool.parameters.get("required") or ()
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    shown = (
        _parameter(name if name in required else f"{name}?", each)
        for name, each in properties.items()
    )
    sentence = _SENTENCE_END.split(tool.description.strip())[0].rstrip(".")
    return f"- {tool.name}({', '.join(shown)}): {one_line(sentence, _MAX_DESCRIPTION)}"


def _parameter(name: str, schema: Any) -> str:
    fields = cast("Mapping[str, Any]", schema if isinstance(schema, dict) else {})
    default = fields.get("default")
    tail = "" if default is None else f" = {msgspec.json.encode(default).decode()}"
    return f"{name}: {_type(fields)}{tail}"


def _type(fields: Mapping[str, Any]) -> str:
    match fields:
        case {"enum": [*values]}:
            return "|".join(msgspec.json.encode(value).decode() for value in values)
        case {"anyOf": [*branches]}:
            return "|".join(_type(cast("Mapping[str, Any]", branch)) for branch in branches)
        case {"type": "array", "items": {"type": str(inner)}}:
            return f"{inner}[]"
        case {"type": str(name)}:
            return name
        case {"type": [*names]}:
            return "|".join(map(str, names))
        case _:
            return "any"


@cache
def _prompt(name: str) -> str:
    return files("galerne.planner").joinpath("prompts", name).read_text("utf-8").rstrip("\n")
