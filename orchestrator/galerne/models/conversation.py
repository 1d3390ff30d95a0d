"""Makes a conversation obey Mistral's rules before it is sent, whatever the back end lets through.

The templates of Mistral's models and the hosted API refuse a conversation that breaks a rule, each
with its own words and some with status 500. So every request passes here first. What can be mended
without changing what is meant is mended: neighbours of one role are merged, an empty assistant
turn is dropped, a user after a tool result gets an assistant turn between them, call ids become
nine letters or digits, results are put in the order of their calls. The rest is a ModelError that
names the rule. The same messages always give the same result, and a longer conversation keeps the
ids of the shorter one, so a back end's prefix cache goes on working.

    system?  user  ( assistant-text user | assistant-calls tool* assistant … )*   ends: user | tool
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ToolCall, ToolSchema
from galerne.models.reply import is_object

CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
BETWEEN = "Understood."
"""What the assistant says between a tool result and a user; Mistral allows no user there."""

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAMELESS = "unnamed"


def obey_rules(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The same conversation as Mistral's models take it. Raises ModelError where none is."""
    turns = list(_with_assistant_between(_merged(_without_empty(messages))))
    _check_ends(turns)
    _check_order(turns)
    return tuple(_with_short_ids(turns))


def check_tools(tools: Sequence[ToolSchema]) -> None:
    """Raise ModelError where a tool on offer has a name that the rules or another tool forbid."""
    seen: set[str] = set()
    for tool in tools:
        if not FUNCTION_NAME.fullmatch(tool.name):
            raise ModelError(
                f"the tool name {tool.name[:80]!r} breaks the rule of 1 to 64 letters, digits, "
                "'-' or '_'; rename the tool"
            )
        if tool.name in seen:
            raise ModelError(f"the tool {tool.name!r} is on offer twice; leave one out")
        seen.add(tool.name)


def _without_empty(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """An assistant turn has content or calls, not both: templates drop the content beside calls."""
    for message in messages:
        if message.role != "assistant":
            yield message
        elif message.tool_calls:
            yield ChatMessage("assistant", tool_calls=message.tool_calls)
        elif message.content.strip():
            yield ChatMessage("assistant", message.content)


def _merged(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Neighbours of one role become one turn; calls and results stay as they are."""
    held: ChatMessage | None = None
    for message in messages:
        if held is None:
            held = message
        elif _may_merge(held, message):
            held = _both(held, message)
        else:
            yield held
            held = message
    if held is not None:
        yield held


def _may_merge(first: ChatMessage, second: ChatMessage) -> bool:
    return first.role == second.role != "tool" and not first.tool_calls


def _both(first: ChatMessage, second: ChatMessage) -> ChatMessage:
    if second.tool_calls:
        return second
    content = "\n\n".join(text for text in (first.content, second.content) if text)
    return ChatMessage(first.role, content)


def _with_assistant_between(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    previous: str | None = None
    for message in messages:
        if previous == "tool" and message.role == "user":
            yield ChatMessage("assistant", BETWEEN)
        yield message
        previous = message.role


def _check_ends(turns: Sequence[ChatMessage]) -> None:
    start = 1 if turns and turns[0].role == "system" else 0
    if len(turns) == start:
        raise ModelError("the conversation has no user message; add one")
    if turns[start].role != "user":
        raise ModelError(
            f"the conversation begins with role {turns[start].role!r}; the first message after "
            "the system's must be a user's"
        )
    if turns[-1].role == "assistant" and not turns[-1].tool_calls:
        raise ModelError("the conversation ends with an assistant message; end it with a user's")


def _check_order(turns: Sequence[ChatMessage]) -> None:
    for before, after in pairwise(turns):
        if after.role == "system":
            raise ModelError(f"a system message follows role {before.role!r}; it may only be first")
        if after.role == "tool" and not (before.role == "tool" or before.tool_calls):
            raise ModelError(f"a tool result follows role {before.role!r}; it must follow its call")


def _with_short_ids(turns: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    """Each turn with calls, then their results, in order and under the same new ids."""
    ids = _ShortIds()
    position = 0
    while position < len(turns):
        turn = turns[position]
        position += 1
        if not turn.tool_calls:
            yield turn
            continue
        end = position
        while end < len(turns) and turns[end].role == "tool":
            end += 1
        results = _in_order(turn.tool_calls, turns[position:end])
        calls = tuple(_sendable(call, ids.short(call.id)) for call in turn.tool_calls)
        yield ChatMessage("assistant", tool_calls=calls)
        for call, result in zip(calls, results, strict=True):
            yield msgspec.structs.replace(result, tool_call_id=call.id, name=call.name)
        position = end


def _in_order(calls: Sequence[ToolCall], results: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The result of each call; where calls share an id, in the order of the results."""
    if len(calls) != len(results):
        raise ModelError(
            f"{len(calls)} tool calls have {len(results)} results; every call needs exactly one"
        )
    left = list(results)
    ordered: list[ChatMessage] = []
    for call in calls:
        found = next((result for result in left if result.tool_call_id == call.id), None)
        if found is None:
            raise ModelError(f"the call {call.id[:80]!r} of {call.name[:64]!r} has no tool result")
        left.remove(found)
        ordered.append(found)
    return ordered


def _sendable(call: ToolCall, call_id: str) -> ToolCall:
    """A call that the model once made, as a template can read it.

    The model invents names and breaks JSON at times; the result that follows says so, and the
    conversation must stay sendable for the model to do better.
    """
    name = _NOT_IN_NAME.sub("_", call.name)[:64] or _NAMELESS
    arguments = call.arguments
    if not is_object(arguments):
        arguments = msgspec.json.encode({"unreadable": arguments}).decode() if arguments else "{}"
    return ToolCall(call_id, name, arguments)


class _ShortIds:
    """Nine letters or digits for every call of one conversation, never the same twice."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._taken: set[str] = set()

    def short(self, call_id: str) -> str:
        """`call_id` itself where it serves, else a digest of it and of how often it came before."""
        times = self._times.get(call_id, 0)
        self._times[call_id] = times + 1
        short = call_id
        attempt = 0
        while short in self._taken or not CALL_ID.fullmatch(short):
            short = _digest(f"{call_id}\0{times}\0{attempt}")
            attempt += 1
        self._taken.add(short)
        return short


def _digest(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    letters: list[str] = []
    for _ in range(9):
        number, letter = divmod(number, len(_BASE62))
        letters.append(_BASE62[letter])
    return "".join(letters)
