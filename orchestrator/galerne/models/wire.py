"""The OpenAI chat-completions form, as back ends really write it.

What is sent is exact: only the fields that every back end takes, nothing empty (hosted Mistral
answers 422 to `tools: []`). What is received is tolerant: unknown fields are ignored, and nearly
everything may be null or absent, because one back end or another leaves it out. Decoders are made
once; a chunk of a stream goes from bytes straight into a Struct.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders here raise when the bytes are not the form they promise."""


class WireFunction(msgspec.Struct, frozen=True):
    """A function's call, as sent: `arguments` is JSON text."""

    name: str
    arguments: str


class WireCall(msgspec.Struct, frozen=True):
    """A tool call of an assistant's turn, as sent."""

    id: str
    function: WireFunction
    type: Literal["function"] = "function"


class WireMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn, as sent. `content` is always there: some templates fail without the key."""

    role: str
    content: str
    tool_calls: tuple[WireCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class WireTool(msgspec.Struct, frozen=True):
    """A tool on offer, as sent."""

    function: ToolSchema
    type: Literal["function"] = "function"


class StreamOptions(msgspec.Struct, frozen=True):
    """Asks for the usage of a stream, which is otherwise not counted by most back ends."""

    include_usage: bool = True


class WireRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    model: str
    messages: tuple[WireMessage, ...]
    max_tokens: int
    temperature: float
    tools: tuple[WireTool, ...] = ()
    tool_choice: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None


class Part(msgspec.Struct):
    """A part of a content list; only parts of type text count as the answer's text."""

    type: str | None = None
    text: str | None = None


class Function(msgspec.Struct):
    """A function's call, as received. `arguments`: a JSON string (in pieces) or an object."""

    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()


class Call(msgspec.Struct):
    """A tool call or a piece of one, as received."""

    id: str | None = None
    index: int | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """An assistant's turn, or the piece of one that a stream calls delta."""

    content: str | list[Part | str] | None = None
    tool_calls: list[Call] | None = None


class Choice(msgspec.Struct):
    """One of the answers; a plain answer has `message`, a chunk has `delta`."""

    index: int | None = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    """Tokens, as the back end counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(msgspec.Struct):
    """A whole answer, a chunk of one, or the error that some back ends send with status 200."""

    id: str | None = None
    model: str | None = None
    object: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None

    @property
    def is_error(self) -> bool:
        """`{"error": …}`, or the flat `{"object": "error", …}` of older vLLM and Mistral."""
        return self.error is not None or (self.object or "").lower() == "error"


class Model(msgspec.Struct):
    """One entry of `GET /v1/models`."""

    id: str


class ModelList(msgspec.Struct):
    """The answer of `GET /v1/models`; Ollama without models says `data: null`."""

    data: list[Model] | None = None


encode = msgspec.json.Encoder().encode
decode_completion = msgspec.json.Decoder(Completion).decode
decode_models = msgspec.json.Decoder(ModelList).decode
_decode_text = msgspec.json.Decoder(str).decode


def encode_request(
    request: ChatRequest,
    messages: Sequence[ChatMessage],
    *,
    model: str,
    max_tokens: int,
    temperature: float,
    stream: bool = False,
    stream_options: bool = False,
) -> bytes:
    """The request's body; `messages` are the request's after `conversation.obey_rules`.

    `max_tokens` and `temperature` hold where the request names none.
    """
    body = WireRequest(
        model=model,
        messages=tuple(_message(message) for message in messages),
        max_tokens=request.max_tokens or max_tokens,
        temperature=temperature if request.temperature is None else request.temperature,
        tools=tuple(WireTool(tool) for tool in request.tools),
        tool_choice=_tool_choice(request),
        stream=stream,
        stream_options=StreamOptions() if stream_options else None,
    )
    return encode(body)


def text_of(content: str | list[Part | str] | None) -> str:
    """The text of a content field: null is empty, text parts are joined, thinking is left out."""
    match content:
        case str():
            return content
        case None:
            return ""
        case _:
            return "".join(_part_text(part) for part in content)


def arguments_text(raw: msgspec.Raw) -> str:
    """The JSON text of a call's arguments (or a piece of it), however it is wrapped.

    Raises one of UNDECODABLE where a string is not valid.
    """
    data = bytes(raw).strip()
    if not data or data == b"null":
        return ""
    return _decode_text(data) if data.startswith(b'"') else data.decode()


def _part_text(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    return part.text or "" if part.type in {None, "text"} else ""


def _tool_choice(request: ChatRequest) -> str | None:
    """`any` is Mistral's own word; every back end that obeys at all knows `required`."""
    if not request.tools or request.tool_choice == "auto":
        return None
    return "required" if request.tool_choice == "any" else request.tool_choice


def _message(message: ChatMessage) -> WireMessage:
    return WireMessage(
        role=message.role,
        content=message.content,
        tool_calls=tuple(_call(call) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _call(call: ToolCall) -> WireCall:
    return WireCall(call.id, WireFunction(call.name, call.arguments))
