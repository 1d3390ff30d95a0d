"""The OpenAI chat-completions form, as back ends really write it.

What is sent is exact: the form here has every field that some back end takes, a dialect fills in
those that its back end knows, and nothing empty goes out (hosted Mistral answers 422 to
`tools: []`). What is received is tolerant: unknown fields are ignored, and nearly
everything may be null or absent, because one back end or another leaves it out. Decoders are made
once; a chunk of a stream goes from bytes straight into a Struct.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, ToolCall, ToolSchema
from galerne.models.control import plain
from galerne.models.names import sendable

_MOST_TOKENS = 2**53 - 1  # what JSON carries exactly everywhere; no answer has as many
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


class FunctionName(msgspec.Struct, frozen=True):
    """Names a function."""

    name: str


class OneFunction(msgspec.Struct, frozen=True):
    """The choice of one function that must be called."""

    function: FunctionName
    type: Literal["function"] = "function"


WireChoice = Literal["any", "required", "none"] | OneFunction | None
"""What `tool_choice` says; None: nothing, which means `auto` everywhere."""


class OutputSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """The schema of an answer, as sent."""

    name: str
    schema: dict[str, Any]
    strict: bool | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """Asks for an answer that is a JSON value of a schema."""

    json_schema: OutputSchema
    type: Literal["json_schema"] = "json_schema"


class WireRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    model: str
    messages: tuple[WireMessage | ChatMessage, ...]
    max_tokens: int
    temperature: float
    tools: tuple[WireTool, ...] = ()
    tool_choice: WireChoice = None
    stream: bool = False
    seed: int | None = None
    random_seed: int | None = None
    stream_options: StreamOptions | None = None
    response_format: OutputFormat | None = None


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
    """Tokens, as the back end counted them; proxies write fractions and texts, too."""

    prompt_tokens: int | float | str | None = None
    completion_tokens: int | float | str | None = None

    @property
    def read(self) -> int:
        """Tokens of the prompt."""
        return _counted(self.prompt_tokens)

    @property
    def written(self) -> int:
        """Tokens of the answer."""
        return _counted(self.completion_tokens)


class Completion(msgspec.Struct):
    """A whole answer, a chunk of one, or the error that some back ends send with status 200."""

    id: str | int | None = None
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
    owned_by: str | None = None


class ModelList(msgspec.Struct):
    """The answer of `GET /v1/models`; Ollama without models says `data: null`."""

    data: list[Model] | None = None


encode = msgspec.json.Encoder().encode
decode_completion = msgspec.json.Decoder(Completion).decode
decode_models = msgspec.json.Decoder(ModelList).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_schema = msgspec.json.Decoder(ToolSchema).decode


def wire_messages(messages: Sequence[ChatMessage]) -> tuple[WireMessage | ChatMessage, ...]:
    """The turns of a conversation that has passed `conversation.obey_rules`, as sent."""
    return tuple([_message(message) for message in messages])


def wire_tools(tools: Sequence[ToolSchema]) -> tuple[WireTool, ...]:
    """The tools on offer, under the names that a model takes."""
    return tuple([WireTool(_named(tool)) for tool in tools])


def text_of(content: str | list[Part | str] | None) -> str:
    """The text of a content field: null is empty, text parts are joined, thinking is left out."""
    if isinstance(content, str):
        return content
    return "".join(_part_text(part) for part in content) if content else ""


def arguments_text(raw: msgspec.Raw) -> str:
    """The JSON text of a call's arguments (or a piece of it), however it is wrapped.

    Raises one of UNDECODABLE where a string is not valid.
    """
    data = bytes(raw)
    if data.startswith(b'"'):
        return _decode_text(data)
    data = data.strip()
    if not data or data == b"null":
        return ""
    return _decode_text(data) if data.startswith(b'"') else data.decode()


def _counted(tokens: float | str | None) -> int:
    """A count that accounts can hold: one below zero would give a job money back."""
    try:
        whole = tokens if type(tokens) is int else int(float(tokens or 0))
    except (ValueError, OverflowError):
        return 0
    return min(max(whole, 0), _MOST_TOKENS)


def _part_text(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    return part.text or "" if part.type in {None, "text"} else ""


def _named(tool: ToolSchema) -> ToolSchema:
    told = plain(encode(tool).decode())  # a description may be anybody's
    name = sendable(tool.name)
    return msgspec.structs.replace(_decode_schema(told), name=name)


def _message(message: ChatMessage) -> WireMessage | ChatMessage:
    content = plain(message.content)
    if content and not message.tool_calls:
        # The journal's form is the wire's, as long as nothing is empty.
        same = content is message.content
        return message if same else msgspec.structs.replace(message, content=content)
    calls = tuple([_call(call) for call in message.tool_calls])
    return WireMessage(message.role, content, calls, message.tool_call_id, message.name)


def _call(call: ToolCall) -> WireCall:
    return WireCall(call.id, WireFunction(call.name, plain(call.arguments)))
