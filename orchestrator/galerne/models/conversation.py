"""Makes a conversation obey Mistral's rules before it is sent, whatever the back end lets through.

The templates of Mistral's models and the hosted API refuse a conversation that breaks a rule, each
with its own words and some with status 500. So every request passes here first, and comes out in
the one form that all of them take:

    system?  user  ( assistant-text user | assistant-calls tool* assistant … )*   ends: user | tool

System messages become one, in front. Neighbours of one role are merged, an empty assistant turn is
dropped, calls made in several turns become one turn. Results stand in the order of their calls; a
call without one is told to have none, and a result that belongs to no call becomes a user's text.
A user after a tool result gets an assistant turn between them, a conversation that an assistant
begins gets a user before it. Call ids become nine letters or digits: the answer's own ids stay in
the history, and only what is sent is rewritten. What asks nothing is refused: a conversation
without a turn of anybody but the system, and one whose last word is the assistant's.

The same messages always give the same result, and a longer conversation keeps the ids of the
shorter one, so a back end's prefix cache goes on working.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ToolCall
from galerne.models.fenced import fenced
from galerne.models.names import FUNCTION_NAME, sendable
from galerne.models.reply import is_object

CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
BETWEEN = "Understood."
"""What the assistant says between a tool result and a user; Mistral allows no user there."""
BEGIN = "Begin."
"""What a user says before a conversation that an assistant begins."""
NO_RESULT = "No result of this call is known."
"""What stands for the result of a call that the history does not have."""

_BEFORE_USER = frozenset({"", "system", "assistant"})
_BEFORE_ASSISTANT = frozenset({"user", "tool"})
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def obey_rules(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The conversation as Mistral's models take it. Raises ModelError where it asks nothing."""
    given = tuple(messages)
    if not has_form(given):
        asking = tuple(_with_short_ids(formed(given)))
    elif _is_sendable(given):
        asking = given
    else:
        asking = tuple(_with_short_ids(given))
    _check_asks(asking)
    return asking


def formed(given: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    """Any history in the one form; ids and names are as they were."""
    yield from _system(given)
    turns = _answered(_without_empty(given))
    yield from _with_assistant_between(_begun(_merged(turns)))


def has_form(turns: Sequence[ChatMessage]) -> bool:
    """Whether `formed` would change nothing: so it is with the history of nearly every task."""
    open_calls: list[ToolCall] = []
    previous = ""
    for turn in turns:
        if open_calls:
            if not _is_result_of(open_calls.pop(), turn):
                return False
        elif not _may_follow(turn, previous):
            return False
        elif turn.tool_calls:
            open_calls = list(reversed(turn.tool_calls))
            if not all(call.id for call in open_calls):
                return False
        previous = turn.role
    return not open_calls


def _is_result_of(call: ToolCall, turn: ChatMessage) -> bool:
    named = (turn.tool_call_id, turn.name) == (call.id, call.name)
    return named and turn.role == "tool" and not turn.tool_calls


def _may_follow(turn: ChatMessage, previous: str) -> bool:
    """Whether a turn that is no result may stand after one of role `previous`, as it is."""
    if turn.tool_call_id is not None or turn.name is not None:
        return False
    match turn.role:
        case "system":
            return not (previous or turn.tool_calls) and bool(turn.content.strip())
        case "user":
            return previous in _BEFORE_USER and not turn.tool_calls
        case "assistant":
            has_one = not turn.content if turn.tool_calls else bool(turn.content.strip())
            return has_one and previous in _BEFORE_ASSISTANT
        case "tool":
            return False


def _system(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """One system message out of all; it may only be first."""
    said = [turn.content for turn in messages if turn.role == "system" and turn.content.strip()]
    if said:
        yield ChatMessage("system", "\n\n".join(said))


def _without_empty(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Everybody's turns but the system's.

    An assistant turn has content or calls, not both: templates drop the content beside calls.
    """
    turns: list[ChatMessage] = []
    for message in messages:
        match message.role:
            case "user":
                turns.append(ChatMessage("user", message.content))
            case "tool":
                turns.append(message)
            case "assistant" if message.tool_calls:
                turns.append(ChatMessage("assistant", tool_calls=message.tool_calls))
            case "assistant" if message.content.strip():
                turns.append(ChatMessage("assistant", message.content))
            case _:
                pass
    return turns


def _answered(turns: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    """Each turn of calls, then one result for each of them, then what belonged to no call."""
    position = 0
    while position < len(turns):
        turn = turns[position]
        if not turn.tool_calls:
            yield _as_text(turn) if turn.role == "tool" else turn
            position += 1
            continue
        calls: list[ToolCall] = []
        while position < len(turns) and turns[position].tool_calls:
            calls += turns[position].tool_calls
            position += 1
        results: list[ChatMessage] = []
        while position < len(turns) and turns[position].role == "tool":
            results.append(turns[position])
            position += 1
        yield ChatMessage("assistant", tool_calls=tuple(calls))
        yield from _in_order(calls, results)


def _in_order(calls: Sequence[ToolCall], results: Sequence[ChatMessage]) -> Iterator[ChatMessage]:
    """The result of each call; where calls share an id, in the order of the results."""
    left = list(results)
    for call in calls:
        found = _taken(left, call.id) or _taken(left, None) or ChatMessage("tool", NO_RESULT)
        yield _answering(found, call)
    for result in left:
        yield _as_text(result)


def _answering(result: ChatMessage, call: ToolCall) -> ChatMessage:
    if result.tool_call_id == call.id and result.name == call.name:
        return result
    return msgspec.structs.replace(result, tool_call_id=call.id, name=call.name)


def _taken(results: list[ChatMessage], call_id: str | None) -> ChatMessage | None:
    """Take the first result of `call_id` out of `results`; None: one that names no call."""
    for place, result in enumerate(results):
        if (result.tool_call_id or None) == (call_id or None):
            return results.pop(place)
    return None


def _as_text(result: ChatMessage) -> ChatMessage:
    return ChatMessage("user", fenced(result.name or "a tool", result.content))


def _merged(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Neighbours of one role become one turn; calls and results stay as they are."""
    held: ChatMessage | None = None
    for message in messages:
        if held is None:
            held = message
        elif held.role == message.role != "tool":
            held = _both(held, message)
        else:
            yield held
            held = message
    if held is not None:
        yield held


def _both(first: ChatMessage, second: ChatMessage) -> ChatMessage:
    if second.tool_calls:
        return second
    content = "\n\n".join(text for text in (first.content, second.content) if text)
    return ChatMessage(first.role, content)


def _begun(turns: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    for place, turn in enumerate(turns):
        if place == 0 and turn.role != "user":
            yield ChatMessage("user", BEGIN)
        yield turn


def _with_assistant_between(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    previous: str | None = None
    for message in messages:
        if previous == "tool" and message.role == "user":
            yield ChatMessage("assistant", BETWEEN)
        yield message
        previous = message.role


def _check_asks(turns: Sequence[ChatMessage]) -> None:
    if not turns or turns[-1].role == "system":
        raise ModelError("the conversation has no user message; add one")
    if turns[-1].role == "assistant":
        raise ModelError("the conversation ends with an assistant message; end it with a user's")


def _with_short_ids(turns: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """The same turns; every call and its result have a new id, and a name that may be sent."""
    ids = _ShortIds()
    calls: Iterator[ToolCall] = iter(())
    for turn in turns:
        match turn.role:
            case "tool":
                call = next(calls)
                yield _answering(turn, call)
            case "assistant" if turn.tool_calls:
                made = tuple(_sendable(call, ids.short(call.id)) for call in turn.tool_calls)
                calls = iter(made)
                yield ChatMessage("assistant", tool_calls=made)
            case _:
                yield turn


def _is_sendable(turns: Sequence[ChatMessage]) -> bool:
    """Whether `_with_short_ids` would change nothing, as with what a Mistral model has called."""
    calls = [call for turn in turns for call in turn.tool_calls]
    if not all(
        CALL_ID.fullmatch(call.id)
        and FUNCTION_NAME.fullmatch(call.name)
        and is_object(call.arguments)
        for call in calls
    ):
        return False
    return len({call.id for call in calls}) == len(calls)


def _sendable(call: ToolCall, call_id: str) -> ToolCall:
    """A call that the model once made, as a template can read it.

    The model invents names and breaks JSON at times; the result that follows says so, and the
    conversation must stay sendable for the model to do better.
    """
    arguments = call.arguments
    if not is_object(arguments):
        arguments = msgspec.json.encode({"unreadable": arguments}).decode() if arguments else "{}"
    return ToolCall(call_id, sendable(call.name), arguments)


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
