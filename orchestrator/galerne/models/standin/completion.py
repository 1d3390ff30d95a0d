"""An answer in the words of the API: one JSON body, or the chunks of a stream."""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from galerne.models.standin.answers import Answer, Say, ToolUse
from galerne.models.standin.asked import Asked

FINGERPRINT = "galerne-stand-in (rule-based, no LLM)"
MODEL_PREFIX = "stand-in:"
TOKEN = 4
"""Characters that count as one token."""
DONE = b"data: [DONE]\n\n"

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Finish = Literal["stop", "length", "tool_calls"]


class Call(msgspec.Struct, frozen=True):
    """A tool call as it goes out; a fault may have broken its arguments."""

    id: str
    name: str
    arguments: str


class Completion(msgspec.Struct, frozen=True):
    """A whole answer. `created` is in Unix seconds."""

    id: str
    created: int
    model: str
    text: str
    calls: tuple[Call, ...]
    finish: Finish
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def complete(asked: Asked, answer: Answer, response_id: str, created: int) -> Completion:
    """The answer within `max_tokens`: text is cut there, calls are short enough."""
    text, calls = "", tuple[Call, ...]()
    finish: Finish = "stop"
    if isinstance(answer, Say):
        text, finish = _within(answer.text, asked.request.max_tokens)
    else:
        uses = enumerate(answer.uses)
        calls = tuple(_call(use, f"{response_id}/{index}") for index, use in uses)
        finish = "tool_calls"
    written = len(text) + sum(len(call.name) + len(call.arguments) for call in calls)
    tokens = written // TOKEN + 1
    limit = asked.request.max_tokens
    return Completion(
        id=response_id,
        created=created,
        model=reported_model(asked.model),
        text=text,
        calls=calls,
        finish=finish,
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=min(tokens, limit) if limit and text else tokens,
    )


def malformed(completion: Completion, times: int) -> Completion:
    """The completion with its calls spoiled: in turns, broken arguments and a leak as text."""
    if times % 2:
        broken = tuple(Call(call.id, call.name, call.arguments[:-1]) for call in completion.calls)
        return msgspec.structs.replace(completion, calls=broken)
    leaked = [
        {"name": call.name, "arguments": msgspec.Raw(call.arguments.encode())}
        for call in completion.calls
    ]
    text = f"[TOOL_CALLS]{msgspec.json.encode(leaked).decode()}"
    return msgspec.structs.replace(completion, text=text, calls=(), finish="stop")


def reported_model(requested: str) -> str:
    return requested if requested.startswith(MODEL_PREFIX) else f"{MODEL_PREFIX}{requested}"


def whole(completion: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.text or None}
    if completion.calls:
        message["tool_calls"] = [_wire_call(call, index) for index, call in _numbered(completion)]
    choice = {"index": 0, "message": message, "finish_reason": completion.finish}
    body = _head(completion, "chat.completion")
    return msgspec.json.encode({**body, "choices": [choice], "usage": completion.usage})


def chunks(completion: Completion, size: int, *, usage_apart: bool) -> Iterator[bytes]:
    """The events of a stream, text and arguments in pieces of `size` characters.

    A call's name comes whole and once. Usage comes in a last chunk without choices where it was
    asked for (`usage_apart`), else in the last chunk of the answer.
    """
    yield _event(completion, {"role": "assistant", "content": ""})
    for piece in _pieces(completion.text, size):
        yield _event(completion, {"content": piece})
    for index, call in _numbered(completion):
        opened = _wire_call(Call(call.id, call.name, ""), index)
        yield _event(completion, {"tool_calls": [opened]})
        for piece in _pieces(call.arguments, size):
            part = {"index": index, "function": {"arguments": piece}}
            yield _event(completion, {"tool_calls": [part]})
    last = {} if usage_apart else {"usage": completion.usage}
    yield _event(completion, {}, completion.finish, **last)
    if usage_apart:
        head = _head(completion, "chat.completion.chunk")
        yield _data({**head, "choices": [], "usage": completion.usage})
    yield DONE


def _within(text: str, max_tokens: int | None) -> tuple[str, Finish]:
    if max_tokens is None or len(text) <= max_tokens * TOKEN:
        return text, "stop"
    return text[: max_tokens * TOKEN], "length"


def _call(use: ToolUse, seed: str) -> Call:
    return Call(_call_id(seed), use.tool, msgspec.json.encode(use.arguments).decode())


def _call_id(seed: str) -> str:
    """Nine letters or digits, as Mistral's rules want them."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
    characters: list[str] = []
    for _ in range(9):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(characters)


def _numbered(completion: Completion) -> Iterator[tuple[int, Call]]:
    return enumerate(completion.calls)


def _wire_call(call: Call, index: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _event(
    completion: Completion, delta: dict[str, Any], finish: Finish | None = None, **more: Any
) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = _head(completion, "chat.completion.chunk")
    return _data({**head, "choices": [choice], **more})


def _head(completion: Completion, kind: str) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": FINGERPRINT,
    }


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
