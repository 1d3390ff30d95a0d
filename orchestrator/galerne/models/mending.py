"""From the answer that a back end gave to the one that an agent acts on.

Whether calls came natively, leaked as text, were written as text on purpose (`prompted.py`) or
half of each: the same parser reads them, and out come calls under names that were offered, content
without markup, and a complaint about what could not be used. `Hearing` stands before whoever
watches the text of a stream and lets pass what no call can be. Nothing here depends on how the
answer was cut into pieces.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import msgspec

from galerne.messages.chat import ChatReply, OneTool, ToolCall, ToolChoice, ToolSchema
from galerne.models.names import sendable
from galerne.models.repair import (
    LeakGuard,
    Parsed,
    ThinkingFilter,
    may_call,
    mend_call,
    parse_calls,
    tool_calls,
    without_thinking,
)
from galerne.models.reply import made_id, named_finish


class Offered(msgspec.Struct, frozen=True):
    """The tools that an answer may call, under the names that the model was told."""

    names: tuple[str, ...] = ()
    parameters: Mapping[str, Sequence[str]] = {}
    must_call: bool = False

    @classmethod
    def of(cls, tools: Sequence[ToolSchema], choice: ToolChoice) -> "Offered":
        """What a request offers; nothing where no tool may be called."""
        if not tools or choice == "none":
            return cls()
        order = {sendable(tool.name): _properties(tool) for tool in tools}
        return cls(tuple(order), order, must_call=choice == "any" or isinstance(choice, OneTool))


class Hearing:
    """Passes a stream's text on to `on_text`, without thinking and what may be a call's markup."""

    def __init__(self, offered: Offered, on_text: Callable[[str], None]) -> None:
        self._thinking = ThinkingFilter()
        self._guard = LeakGuard(offered.names)
        self._on_text = on_text

    def hear(self, text: str) -> None:
        self._show(self._guard.feed(self._thinking.feed(text)))

    def end(self, content: str) -> None:
        """Pass on what of the mended answer's `content` was held back."""
        self._show(self._guard.rest(Parsed(content)))

    def _show(self, text: str) -> None:
        if text:
            self._on_text(text)


def mended(reply: ChatReply, offered: Offered) -> ChatReply:
    """`reply` with whole calls, clean content, and a complaint about the rest."""
    message = reply.message
    if not (message.tool_calls or offered.must_call or may_call(message.content)):
        return reply  # words alone, as most answers are
    calls, readings = _native(message.tool_calls, reply.id, offered)
    content = without_thinking(message.content)
    parsed = parse_calls(content, offered.names, offered.parameters)
    if parsed.tried and not (calls and parsed.among_prose):
        calls += _new(tool_calls(parsed, _ids(reply.id, parsed, len(calls))), calls)
        readings.append(parsed)
    complaints = [reply.complaint, *(one.complaint(offered.names) for one in readings)]
    if offered.must_call and not calls and not any(complaints):
        complaints.append(f"you must call a tool; there are: {', '.join(sorted(offered.names))}")
    return msgspec.structs.replace(
        reply,
        message=msgspec.structs.replace(message, content=parsed.content, tool_calls=tuple(calls)),
        finish=named_finish(reply.finish, has_calls=bool(calls)),
        complaint="; ".join(filter(None, complaints)),
    )


def _native(
    given: Sequence[ToolCall], reply_id: str, offered: Offered
) -> tuple[list[ToolCall], list[Parsed]]:
    """The native calls, as they were meant, and what was read in place of some."""
    calls: list[ToolCall] = []
    readings: list[Parsed] = []
    for call in given:
        match mend_call(call, offered.names, offered.parameters):
            case ToolCall() as whole:
                calls.append(whole)
            case parsed:
                first = call.id
                for found in tool_calls(parsed, _ids(reply_id, parsed, len(calls))):
                    calls.append(msgspec.structs.replace(found, id=first or found.id))
                    first = ""
                readings.append(parsed)
    return calls, readings


def _new(found: Sequence[ToolCall], calls: Collection[ToolCall]) -> list[ToolCall]:
    """Those of `found` that are not among `calls`: a server may leave in the text what it read."""
    made = {(call.name, _canonical(call.arguments)) for call in calls}
    return [call for call in found if (call.name, _canonical(call.arguments)) not in made]


def _canonical(arguments: str) -> bytes:
    try:
        value: object = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):  # an object, with a number that is too large
        return arguments.encode()
    return msgspec.json.encode(value, order="deterministic")


def _ids(reply_id: str, parsed: Parsed, before: int) -> Callable[[int], str]:
    """An id for each call that has none, the same whenever the same answer is read."""

    def new_id(position: int) -> str:
        call = parsed.calls[position]
        arguments = msgspec.json.encode(call.arguments).decode()
        return made_id(reply_id, before + position, call.name, arguments)

    return new_id


def _properties(tool: ToolSchema) -> tuple[str, ...]:
    properties = tool.parameters.get("properties")
    return tuple(cast("dict[str, object]", properties)) if isinstance(properties, dict) else ()
