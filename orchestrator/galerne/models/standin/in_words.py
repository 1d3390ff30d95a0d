"""Tools in words: what a client sends for a model that was never trained on calling them.

The system message ends with a section `# Tools`, a JSON object a line; calls are answers of JSON
alone, results come as a user's turn. The rules know one kind of request, so this makes the native
one of it, and of their calls the text that was asked for.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.standin.answers import CallTools, Say

_HEADING = "# Tools\n"
_ASKED_FOR = "answer with nothing but a JSON list"
_RESULT = re.compile(r"Result of [^\n]*:\n(`{3,})\n(.*?)\n\1(?:\n\n|\Z)", re.DOTALL)


def natively(request: ChatRequest) -> ChatRequest | None:
    """The same request with its tools and calls as fields; None where nothing is in words."""
    system = request.messages[0] if request.messages else None
    if request.tools or system is None or system.role != "system":
        return None
    before, heading, told = system.content.rpartition(_HEADING)
    if not heading or _ASKED_FOR not in told:
        return None
    tools = tuple(_tools(told.splitlines()))
    turns = tuple(_turns(request.messages[1:]))
    messages = (ChatMessage("system", before.rstrip()), *turns)
    return msgspec.structs.replace(request, messages=messages, tools=tools)


def written(answer: CallTools) -> Say:
    """The calls as the client has asked for them."""
    calls = [{"name": use.tool, "arguments": use.arguments} for use in answer.uses]
    return Say(msgspec.json.encode(calls).decode())


def _tools(lines: Sequence[str]) -> Iterator[ToolSchema]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=ToolSchema)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            continue


def _turns(turns: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    waiting: tuple[ToolCall, ...] = ()
    for number, turn in enumerate(turns):
        calls = _calls(turn, number)
        if calls:
            yield ChatMessage("assistant", tool_calls=calls)
        elif waiting and turn.role == "user":
            yield from _results(turn.content, waiting)
        else:
            yield turn
        waiting = calls


def _calls(turn: ChatMessage, number: int) -> tuple[ToolCall, ...]:
    if turn.role != "assistant" or not turn.content.startswith("["):
        return ()
    try:
        listed = msgspec.json.decode(turn.content, type=list[dict[str, Any]])
        named = [(str(one["name"]), one["arguments"]) for one in listed]
    except (msgspec.MsgspecError, KeyError, UnicodeEncodeError, RecursionError):
        return ()
    return tuple(
        ToolCall(f"w{number}x{place}", name, msgspec.json.encode(arguments).decode())
        for place, (name, arguments) in enumerate(named)
    )


def _results(text: str, calls: Sequence[ToolCall]) -> Iterator[ChatMessage]:
    """The results in the order of their calls; each ends with its fence."""
    at = 0
    for call in calls:
        found = _RESULT.match(text, at)
        if found is None:
            return
        at = found.end()
        yield ChatMessage("tool", found[2], tool_call_id=call.id, name=call.name)
