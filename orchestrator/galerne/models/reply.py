"""From what a back end said to the one form of an answer that the rest of Galerne sees.

Plain and streamed answers end here, so both obey the same rules: calls count whatever the
finish_reason says (old vLLM says `stop`), a call without a name is no call, and a call that the
token limit cut is never handed out: the reply complains of it instead. Calls are as the back end
gave them; `mending.py` makes them what was meant.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from galerne.errors import BadAnswerError
from galerne.messages.chat import ChatMessage, ChatReply, TokenUsage, ToolCall
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import bad_answer, stated_error
from galerne.models.wire import (
    UNDECODABLE,
    Call,
    Choice,
    Usage,
    arguments_text,
    decode_completion,
    text_of,
)

_LIMITED = frozenset({"length", "model_length", "max_tokens"})
_CUT = _LIMITED | {"content_filter", "abort", "cancelled", "insufficient_system_resource"}
_WAS_CUT = "was cut before its end"
_BY_LIMIT = f"{_WAS_CUT} by the limit of tokens for one answer; write less at once"
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Said(msgspec.Struct, kw_only=True):
    """What has been gathered of an answer. A call's `id` may be empty until `finished`."""

    id: str = ""
    model: str = ""
    text: str = ""
    calls: Sequence[ToolCall] = ()
    finish: str | None = None
    usage: Usage | None = None


def plain_reply(body: bytes, endpoint: Endpoint) -> ChatReply:
    """The answer in the body of a request that was not streamed.

    Raises BadAnswerError where it is none, and what `stated_error` says where it is an error.
    """
    try:
        answer = decode_completion(body)
        choice = first_choice(answer.choices)
        message = choice.message or choice.delta if choice else None
        if choice is None or message is None:
            raise (
                stated_error(endpoint, body)
                if answer.is_error
                else bad_answer(endpoint, "answered without a choice", body)
            )
        said = Said(
            id=str(answer.id or ""),
            model=answer.model or "",
            text=text_of(message.content),
            calls=[_call(call) for call in message.tool_calls or ()],
            finish=choice.finish_reason,
            usage=answer.usage,
        )
    except UNDECODABLE as error:
        raise bad_answer(endpoint, f"sent no chat completion ({error})", body) from error
    return finished(said, endpoint)


def first_choice(choices: Sequence[Choice] | None) -> Choice | None:
    """The choice with index 0 (or none given); Galerne never asks for more than one."""
    for choice in choices or ():
        if not choice.index:
            return choice
    return None


def finished(said: Said, endpoint: Endpoint) -> ChatReply:
    """The reply. Raises BadAnswerError where the answer holds something that is not whole."""
    if said.finish == "error":
        raise BadAnswerError(f"{endpoint} broke its answer off with an error; ask again")
    may_be_cut = said.finish is None or said.finish in _CUT
    how = _BY_LIMIT if said.finish is None or said.finish in _LIMITED else _WAS_CUT
    calls: list[ToolCall] = []
    cut: list[str] = []
    for position, call in enumerate(said.calls):
        if may_be_cut and not is_object(call.arguments):
            cut.append(f"your call of {repr(call.name[:64]) if call.name else 'a tool'} {how}")
        elif not call.name:
            raise BadAnswerError(f"{endpoint} made a tool call without a name; ask again")
        else:
            calls.append(_whole(call, position, said.id))
    usage = said.usage or Usage()
    return ChatReply(
        message=ChatMessage("assistant", said.text, tuple(calls)),
        model=said.model or endpoint.model,
        finish=named_finish(said.finish, has_calls=bool(calls)),
        usage=TokenUsage(usage.read, usage.written),
        id=said.id,
        complaint="; ".join(cut),
    )


def is_object(arguments: str) -> bool:
    """Whether a call's arguments are a whole JSON object."""
    try:
        _decode_object(arguments)
    except UNDECODABLE:
        return False
    return True


def is_missing(call_id: str | None) -> bool:
    """Whether a call came without an id; older Mistral servers write the text `null`."""
    return not call_id or call_id == "null"


def _call(call: Call) -> ToolCall:
    call_id: Any = "" if is_missing(call.id) else call.id
    if call.function is None:
        return ToolCall(call_id, "", "")
    return ToolCall(call_id, call.function.name or "", arguments_text(call.function.arguments))


def _whole(call: ToolCall, position: int, reply_id: str) -> ToolCall:
    """`call` with an id and arguments: some back ends leave out either where it is plain."""
    if call.id and call.arguments:
        return call
    arguments = call.arguments or "{}"
    if call.id:
        return ToolCall(call.id, call.name, arguments)
    return ToolCall(made_id(reply_id, position, call.name, arguments), call.name, arguments)


def made_id(reply_id: str, position: int, name: str, arguments: str) -> str:
    """An id for a call that came without one: the same for the same answer."""
    seed = f"{reply_id}\0{position}\0{name}\0{arguments}"
    return f"call_{hashlib.sha256(seed.encode()).hexdigest()[:16]}"


def named_finish(finish: str | None, *, has_calls: bool) -> str:
    """The finish_reason, `tool_calls` where a back end forgot to say so."""
    if has_calls and finish in {None, "stop"}:
        return "tool_calls"
    return finish or "stop"
