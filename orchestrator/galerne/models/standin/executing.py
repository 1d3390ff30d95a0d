"""An executor's turn: the next tool calls, or the closing text.

The instruction is read into clauses, and the work on them is begun anew at every turn: results
that the conversation already holds are looked up by tool and arguments, and the first ones that
it lacks are the next calls. So a turn depends on the request alone, whoever took the turns before
it; a call whose arguments were broken on the way is simply made again.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, cast

import msgspec

from galerne.messages.chat import ChatRequest, ToolSchema
from galerne.models.standin.answers import Answer, CallTools, Say, ToolUse, first_line
from galerne.models.standin.carrying import KNOWN, CannotError, Uses, carry_out
from galerne.models.standin.clauses import Adjust, Clause, Combine, Compare, Rank
from galerne.models.standin.grammar import read_clauses
from galerne.models.standin.measures import readings_of
from galerne.models.standin.prompts import Part, parts, section

ELEMENT = "item"
"""The heading of what a task is done for, which its instruction names: no result of another."""
CALLS_A_TURN = 25
"""Tool calls of one turn; more go into the next."""

History = Mapping[tuple[str, bytes], str]
Session = Generator[Uses, tuple[str, ...], str]


def execute(request: ChatRequest) -> Answer:
    """The next turn of an executor's conversation."""
    results = [part for part in parts(request, "Results") if part.title != ELEMENT]
    return follow(section(request, "Task"), results, request)


def follow(instruction: str, results: Sequence[Part], request: ChatRequest) -> Answer:
    """The next turn on any instruction, with the tools and the turns of the request."""
    tools = {} if request.tool_choice == "none" else {tool.name: tool for tool in request.tools}
    history = _history(request)
    session = _session(read_clauses(instruction), results, tools)
    try:
        uses = next(session)
        while True:
            missing = [use for use in uses if _key(use) not in history]
            if missing:
                return CallTools(tuple(missing[:CALLS_A_TURN]))
            uses = session.send(tuple(history[_key(use)] for use in uses))
    except StopIteration as stop:
        return Say(cast("str", stop.value))


def _session(
    clauses: Sequence[Clause], results: Sequence[Part], tools: Mapping[str, ToolSchema]
) -> Session:
    """Carry out clause after clause; the closing text has the sentences of all."""
    readings = [reading for part in results for reading in readings_of(part.text)]
    closing: list[str] = []
    for clause in clauses:
        try:
            _check_results(clause, results)
            sentence = yield from _with_tools(carry_out(clause, readings), tools)
        except CannotError as error:
            closing.append(f"I cannot: {error}.")
            continue
        readings.extend(readings_of(sentence))
        closing.append(sentence)
    return "\n".join(closing) or f"I cannot: {KNOWN}."


def _with_tools(work: Session, tools: Mapping[str, ToolSchema]) -> Session:
    """The work, with each use of a tool in the words of its schema."""
    try:
        uses = next(work)
        while True:
            contents = yield tuple(_fitted(use, tools) for use in uses)
            uses = work.send(contents)
    except StopIteration as stop:
        return cast("str", stop.value)


def _fitted(use: ToolUse, tools: Mapping[str, ToolSchema]) -> ToolUse:
    """The use with the arguments that the tool knows. Raises CannotError without the tool."""
    tool = tools.get(use.tool)
    if tool is None:
        raise CannotError(f"that takes the tool {use.tool}, which I was not given")
    properties = tool.parameters.get("properties")
    if not isinstance(properties, dict):
        return use
    known = {name: value for name, value in use.arguments.items() if name in properties}
    required = tool.parameters.get("required")
    wanted = set(cast("list[str]", required)) if isinstance(required, list) else set[str]()
    if strange := sorted(wanted - known.keys()):
        raise CannotError(f"the tool {use.tool} wants {strange[0]!r}, which I know nothing of")
    return ToolUse(use.tool, known)


def _check_results(clause: Clause, results: Sequence[Part]) -> None:
    """A comparison that silently left out a failed result would be wrong."""
    if not isinstance(clause, Compare | Combine | Rank | Adjust):
        return
    for part in results:
        if not readings_of(part.text) or "\nI cannot: " in part.text:
            said = first_line(part.text, 160).removeprefix("I cannot: ").rstrip(".")
            raise CannotError(f"the result of task {part.title} is not only numbers ({said})")


def _history(request: ChatRequest) -> History:
    """Tool results so far by tool and arguments, the latest of each."""
    calls = {call.id: call for message in request.messages for call in message.tool_calls}
    found: dict[tuple[str, bytes], str] = {}
    for message in request.messages:
        call = calls.get(message.tool_call_id or "") if message.role == "tool" else None
        arguments = _arguments(call.arguments) if call else None
        if call and arguments is not None:
            found[_key(ToolUse(call.name, arguments))] = message.content
    return found


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _key(use: ToolUse) -> tuple[str, bytes]:
    return use.tool, msgspec.json.encode(use.arguments, order="deterministic")
