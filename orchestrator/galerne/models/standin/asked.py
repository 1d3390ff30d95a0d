"""The body of `POST /v1/chat/completions` → a request that keeps Mistral's rules, or a refusal.

Mistral's own servers refuse these with status 400, and others let them through in silence; the
stand-in refuses all of them, so that a client's mistake shows in the first test.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest, Role, ToolCall, ToolSchema

CONTEXT_TOKENS = 65_536
"""The longest prompt, in tokens of 4 characters: the context of Mixtral 8x22B."""

_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
_FUNCTION = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FOLLOWS: dict[str | None, frozenset[str]] = {
    None: frozenset({"system", "user"}),
    "system": frozenset({"system", "user"}),
    "user": frozenset({"user", "assistant"}),
    "assistant": frozenset({"user", "assistant", "tool"}),
    "tool": frozenset({"assistant", "tool"}),
}
ORDER = ("invalid_request_message_order", "3230")
CALL = ("invalid_function_call", "3280")
INVALID = ("invalid_request_error", None)


class RefusedError(Exception):
    """A request that gets an error status; `str(error)` is the message in the body."""

    def __init__(
        self, message: str, kind: tuple[str, str | None] = INVALID, status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type, self.code = kind


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _FunctionCall(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = ""


class _Call(msgspec.Struct):
    function: _FunctionCall
    id: str = "null"


class _Message(msgspec.Struct):
    role: Role
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _Function(msgspec.Struct):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class _Tool(msgspec.Struct):
    function: _Function
    type: Literal["function"] = "function"


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Named


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Schema(msgspec.Struct):
    schema: dict[str, Any] = {}


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "any", "required", "none"] | _Choice | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    response_format: _Format | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request that may be answered. `prompt_tokens` counts 4 characters as one."""

    request: ChatRequest
    model: str
    stream: bool
    usage_apart: bool
    prompt_tokens: int


_decode = msgspec.json.Decoder(_Body).decode


def read_asked(body: bytes) -> Asked:
    """Decode and check. Raises RefusedError for whatever a real server would not take."""
    try:
        wire = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"the body is not a chat-completions request: {error}") from error
    if not wire.model:
        raise RefusedError("model must not be empty", ("invalid_model", "1500"))
    if wire.max_tokens is not None and wire.max_tokens < 1:
        raise RefusedError("max_tokens must be 1 or more")
    request = _request(wire)
    _check_order(request.messages)
    _check_names(request)
    tokens = prompt_tokens(request)
    if tokens > CONTEXT_TOKENS:
        raise RefusedError(
            f"the prompt has {tokens} tokens, more than the context of {CONTEXT_TOKENS}"
        )
    apart = wire.stream_options is not None and wire.stream_options.include_usage
    return Asked(request, wire.model, bool(wire.stream), apart, tokens)


def _request(wire: _Body) -> ChatRequest:
    tools = tuple(
        ToolSchema(tool.function.name, tool.function.description, tool.function.parameters)
        for tool in wire.tools or ()
    )
    match wire.tool_choice:
        case _Choice(function=named):
            tools = tuple(tool for tool in tools if tool.name == named.name)
            choice: Literal["auto", "any", "none"] = "any"
            if not tools:
                raise RefusedError(f"tool_choice names {named.name!r}, which is not in tools")
        case "any" | "required":
            choice = "any"
        case "none":
            choice = "none"
        case _:
            choice = "auto"
    wanted = wire.response_format.json_schema if wire.response_format else None
    return ChatRequest(
        tuple(_message(message) for message in wire.messages),
        tools,
        choice,
        wire.max_tokens,
        wire.temperature,
        output=wanted.schema if wanted else None,
    )


def _message(wire: _Message) -> ChatMessage:
    content = wire.content
    if isinstance(content, list):
        content = "".join(part.text for part in content if part.type == "text")
    calls = tuple(_call(call) for call in wire.tool_calls or ())
    return ChatMessage(wire.role, content or "", calls, wire.tool_call_id, wire.name)


def _call(wire: _Call) -> ToolCall:
    arguments = wire.function.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolCall(wire.id, wire.function.name, text)


def _check_order(messages: Sequence[ChatMessage]) -> None:
    if not messages:
        raise RefusedError("Conversation must have at least one message", ORDER)
    previous: str | None = None
    open_calls: list[str] = []
    for message in messages:
        if message.role not in _FOLLOWS[previous]:
            after = f" after role '{previous}'" if previous else " as the first"
            raise RefusedError(f"Unexpected role '{message.role}'{after}", ORDER)
        if message.role == "tool":
            _settle(message, open_calls)
        elif open_calls:
            raise RefusedError("Not the same number of function calls and responses", ORDER)
        else:
            open_calls = [call.id for call in message.tool_calls]
        previous = message.role
    if open_calls:
        raise RefusedError("Not the same number of function calls and responses", ORDER)
    if previous not in {"user", "tool"}:
        raise RefusedError(f"Expected last role User or Tool for serving but got {previous}", ORDER)


def _settle(message: ChatMessage, open_calls: list[str]) -> None:
    if message.tool_call_id not in open_calls:
        raise RefusedError(
            "Not the same number of function calls and responses: no call waits for "
            f"{str(message.tool_call_id)[:40]!r}",
            ORDER,
        )
    open_calls.remove(message.tool_call_id)


def _check_names(request: ChatRequest) -> None:
    for message in request.messages:
        if message.tool_calls and message.role != "assistant":
            raise RefusedError(f"Role '{message.role}' cannot have tool calls", ORDER)
        if message.role == "assistant" and bool(message.content) == bool(message.tool_calls):
            raise RefusedError(
                "Assistant message must have either content or tool_calls, but not both.", ORDER
            )
        ids = [call.id for call in message.tool_calls]
        for call_id in (*ids, message.tool_call_id or "000000000"):
            if not _CALL_ID.fullmatch(call_id):
                raise RefusedError(
                    f"Tool call id was {call_id[:60]} but must be a-z, A-Z, 0-9, with a length "
                    "of 9.",
                    CALL,
                )
    called = [call.name for message in request.messages for call in message.tool_calls]
    for name in (*called, *(tool.name for tool in request.tools)):
        if not _FUNCTION.fullmatch(name):
            raise RefusedError(
                f"Function name was {name[:80]} but must be a-z, A-Z, 0-9, or contain underscores "
                "and dashes, with a maximum length of 64.",
                CALL,
            )


def prompt_tokens(request: ChatRequest) -> int:
    """The size of a prompt, 4 characters a token."""
    turns = sum(len(message.content) for message in request.messages)
    calls = sum(len(call.arguments) for m in request.messages for call in m.tool_calls)
    tools = len(msgspec.json.encode(request.tools)) if request.tools else 0
    return (turns + calls + tools) // 4 + 1
