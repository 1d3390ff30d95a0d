"""What the planner's model is asked, for a plan and for a job's closing answer.

The texts are versioned files in `prompts/`; a changed text is a new version, never an edit.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

import msgspec

from galerne.core.one_line import one_line
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Turn
from galerne.messages.ids import TaskId, is_reserved
from galerne.messages.plan import Rejected, TaskSoFar, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.figures import figures_section
from galerne.planner.prompts import Prompts
from galerne.planner.sections import as_text, escaped, messages, section, size_text

PACKAGED: Final = Prompts()
PLANNER_PROMPT: Final = "planner.v5.md"
REVISION_PROMPT: Final = "revision.v2.md"
ANSWER_PROMPT: Final = "answer.v2.md"
CITE_PROMPT: Final = "answer-cite.v2.md"
MORE_PROMPT: Final = "answer-more.v3.md"
SUMMARY_PROMPT: Final = "summary.v1.md"
SUMMARY_TOKENS: Final = 700
"""Twice what its 200 words take."""
_SUM_UP: Final = "Sum this conversation up. Do not answer its goals again."
"""At the end, where small models look for what they are to do."""
_MAX_HEADING: Final = 200
_MAX_DESCRIPTION: Final = 160
_MAX_FIELDS: Final = 8
"""Fields of a tool's result that are named: a plan has use for few, and each costs tokens."""
_SENTENCE_END = re.compile(r"\n\s*\n|\.\s+(?=[A-Z])")


class Revising(msgspec.Struct, frozen=True):
    """The plan as it stands, what of it has failed, and what the answer lacked."""

    so_far: Sequence[TaskSoFar]
    failed: Sequence[TaskId]
    missing: str | None = None


def planner_request(
    goal: str,
    tools: Sequence[ToolSpec],
    inputs: Mapping[str, Any] | None = None,
    already: Sequence[TaskSpec] = (),
    rejected: Sequence[Rejected] = (),
    *,
    history: Sequence[Turn] = (),
    given: Sequence[TaskSoFar] = (),
    revising: Revising | None = None,
    prompts: Prompts = PACKAGED,
) -> ChatRequest:
    """Ask for a plan: JSON lines, one task each.

    `already` are tasks that exist and may be running; `rejected` are to be written again. `history`
    is the conversation so far, oldest first. `given` are done tasks that may be needed.
    """
    lines = [_tool_line(tool) for tool in tools] or ["(none: every task is of kind agent)"]
    rules = [prompts.text("planner", _prompt(PLANNER_PROMPT))]
    if revising is not None:
        rules.append(prompts.text("revision", _prompt(REVISION_PROMPT)))
    system = "\n".join((*rules, "# Tools", *lines))
    sections = history_sections(history)
    sections.append(section("# Goal", goal))
    excerpts = _older_answers(history)
    if inputs:
        sections.append(section("# Inputs", as_text(inputs)))
        excerpts = (*excerpts, escaped(as_text(inputs)))
    if given:
        sections.append(section("# Done before", "\n".join(map(_done_line, given))))
    if revising is not None:
        sections += _revising_sections(revising)
    if already:
        sections.append(section("# Already planned", "\n".join(map(task_line, already))))
    if rejected:
        sections.append(section("# Rejected", "\n".join(map(_rejected_line, rejected))))
    return ChatRequest(messages(system, *sections), excerpts=excerpts)


def answer_request(
    goal: str,
    results: Mapping[str, Any],
    history: Sequence[Turn] = (),
    *,
    more: bool = False,
    output: dict[str, Any] | None = None,
    prompts: Prompts = PACKAGED,
) -> ChatRequest:
    """Ask for a job's answer. `results`: task id → `{"instruction": text, "value": JSON}`.

    With `more` it may say what is missing instead; `output` is the JSON Schema of the answer.
    """
    rules = [prompts.text("answer", _prompt(ANSWER_PROMPT))]
    if output is None:
        rules.append(prompts.text("answer-cite", _prompt(CITE_PROMPT)))
    if more:
        rules.append(prompts.text("answer-more", _prompt(MORE_PROMPT)))
    parts = ["# Results"]
    excerpts = [*_older_answers(history)]
    for task, result in results.items():
        instruction = one_line(result.get("instruction", ""), _MAX_HEADING)
        value = as_text(result.get("value"))
        heading = f"## {task}: {instruction}{size_text(result.get('value'))}"
        parts.append(section(heading.rstrip(), value))
        excerpts.append(escaped(value))
    parts += figures_section(_certain(results), bare=False)
    user = (*history_sections(history), section("# Goal", goal), *parts)
    return ChatRequest(messages("\n".join(rules), *user), excerpts=tuple(excerpts), output=output)


def summary_request(older: Sequence[Turn], *, prompts: Prompts = PACKAGED) -> ChatRequest:
    """Ask for the older part of a conversation in a few sentences."""
    system = prompts.text("summary", _prompt(SUMMARY_PROMPT))
    excerpts = tuple(escaped(turn.answer) for turn in older)
    user = (*history_sections(older), section("# Now", _SUM_UP))
    return ChatRequest(messages(system, *user), max_tokens=SUMMARY_TOKENS, excerpts=excerpts)


def _certain(results: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose numbers are not only their models' words."""
    return {
        task: result.get("value")
        for task, result in results.items()
        if not result.get("unsupported")
    }


def history_sections(history: Sequence[Turn]) -> list[str]:
    """What was said before in the same conversation."""
    if not history:
        return []
    turns = [
        part
        for turn in history
        for part in (section("## Goal", turn.goal), section("## Answer", turn.answer))
    ]
    return ["# Earlier in this conversation", *turns]


def _older_answers(history: Sequence[Turn]) -> tuple[str, ...]:
    """What may be shortened: not the newest, which a goal mostly goes on from."""
    return tuple(escaped(turn.answer) for turn in history[:-1])


def _revising_sections(revising: Revising) -> list[str]:
    lines = [_so_far_line(one) for one in revising.so_far]
    sections = [section("# Plan so far", "\n".join(lines))]
    failed = [task for task in revising.failed if not is_reserved(task)]
    if failed:
        sections.append(section("# Failed", ", ".join(failed)))
    if revising.missing is not None:
        sections.append(section("# Missing for the answer", revising.missing))
    return sections


def _done_line(one: TaskSoFar) -> str:
    """A task of which only the result is of interest."""
    return msgspec.json.encode({"id": one.task.id, "result": one.result}).decode()


def _so_far_line(one: TaskSoFar) -> str:
    """A task with how it stands, and what came of it."""
    fields: dict[str, Any] = msgspec.json.decode(task_line(one.task))
    fields["state"] = one.standing
    if one.standing == "succeeded":
        fields["result"] = one.result
    if one.error is not None:
        fields["error"] = one.error
    return msgspec.json.encode(fields).decode()


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
    for name in ("foreach", "model", "effort", "replaces"):
        if (value := getattr(task, name)) is not None:
            fields[name] = value
    if task.timeout is not None:
        fields["timeout"] = task.timeout
    if task.approve:
        fields["approve"] = True
    return msgspec.json.encode(fields).decode()


def _rejected_line(rejected: Rejected) -> str:
    return msgspec.json.encode({"id": rejected.id, "reason": rejected.reason}).decode()


def _tool_line(tool: ToolSpec) -> str:
    """`- name(param: type, optional?: type = default) -> {result: type}: first sentence`."""
    required = tool.parameters.get("required") or ()
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    shown = (
        _parameter(name if name in required else f"{name}?", each)
        for name, each in properties.items()
    )
    sentence = _SENTENCE_END.split(tool.description.strip())[0].rstrip(".")
    gives = _gives(tool.returns or {})
    said = one_line(sentence, _MAX_DESCRIPTION)
    signature = f"{tool.name}({', '.join(shown)}){gives}"
    # What stands in a foreign schema must not become a line of its own.
    return f"- {' '.join(signature.splitlines())}: {said}"


def _gives(returns: Mapping[str, Any]) -> str:
    """The fields of a result, which a task may refer to; nothing where there are none."""
    properties: Mapping[str, Any] = returns.get("properties") or {}
    if not 0 < len(properties) <= _MAX_FIELDS:
        return ""
    return f" -> {{{', '.join(_parameter(name, each) for name, each in properties.items())}}}"


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
