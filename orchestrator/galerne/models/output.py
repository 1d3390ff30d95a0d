"""Structured output: an answer that is a JSON value of a schema, asked for and read.

A back end with `response_format` is held to the schema by constrained decoding; others are asked
in words. Either way the answer is read as loosely as models write (fences, words around it, a
trailing comma) and then validated as strictly as the schema says, because a limit of tokens cuts
what was enforced, and some back ends ignore the field without a word. What does not fit comes out
as a sentence for the model.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from galerne.core.answers import first_fault
from galerne.messages.chat import ChatMessage, ChatReply
from galerne.models.repair import values_in

WANTED: Final = (
    "Your answer must be one JSON value that fits this JSON Schema, and nothing else, neither"
    " words around it nor a fence:\n"
)
_CUT: Final = frozenset({"length", "model_length"})
_encode = msgspec.json.Encoder().encode


def asked_for(messages: Sequence[ChatMessage], schema: dict[str, Any]) -> tuple[ChatMessage, ...]:
    """The conversation, which has passed `obey_rules`, with the schema in its system message."""
    words = f"{WANTED}{_encode(schema).decode()}"
    if messages[0].role != "system":
        return (ChatMessage("system", words), *messages)
    return (ChatMessage("system", f"{messages[0].content}\n\n{words}"), *messages[1:])


def valued(reply: ChatReply, schema: dict[str, Any]) -> ChatReply:
    """`reply` with its value as its whole content, or with a complaint about it.

    An answer that fails keeps its text, so that the model sees what it wrote.
    """
    fault = ""
    for candidate in values_in(reply.message.content):
        found = candidate.fault or _misfit(candidate.value, schema)
        if not found:
            return _with_content(reply, _encode(candidate.value).decode())
        fault = fault or found
    text = reply.message.content.strip()
    if text and reply.finish not in _CUT and not _misfit(text, schema):
        return _with_content(reply, _encode(text).decode())
    if not text:
        fault = "is empty"
    complaint = f"your answer {fault}"
    if reply.finish in _CUT:
        complaint += " (the limit of tokens cut it; write less)"
    return msgspec.structs.replace(reply, complaint=complaint)


def _misfit(value: Any, schema: dict[str, Any]) -> str:
    try:
        fault = first_fault(value, schema)
    except Exception as error:  # noqa: BLE001 - the library's own errors have no common class
        return f"could not be checked by the schema ({' '.join(str(error).split())[:200]})"
    return f"does not fit the schema: {fault}" if fault else ""


def _with_content(reply: ChatReply, content: str) -> ChatReply:
    message = msgspec.structs.replace(reply.message, content=content)
    return msgspec.structs.replace(reply, message=message)
