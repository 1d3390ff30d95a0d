"""One question on its way: made sendable once, sent as often as it takes, its answer named back.

Here the rewritings meet that a back end must never notice missing: the conversation's rules
and call ids (`conversation.py`), its length (`tokens/`) and the tools' names (`names.py`). The
answer keeps the ids that the back end gave, because the history is journaled as it was; its calls
get the tools' own names.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ChatReply, ChatRequest, ToolSchema
from galerne.models.conversation import obey_rules
from galerne.models.dialects import Asked
from galerne.models.names import ToolNames
from galerne.models.tokens import Prompt
from galerne.models.wire import encode
from galerne.settings import RoleSettings

_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
_SCHEMAS = 1024  # as many tools as one process meets


class Question:
    """What one call of `ask` asks, the same each time that it is sent."""

    __slots__ = ("_names", "key", "request")

    def __init__(self, request: ChatRequest, key: str | None) -> None:
        """Raises ModelError where the conversation or the tools cannot be sent."""
        self._names = ToolNames(tool.name for tool in request.tools)
        _check_parameters(request.tools)
        self.request = msgspec.structs.replace(request, messages=obey_rules(request.messages))
        self.key = key

    def within(self, prompt: Prompt) -> None:
        """Take the messages and the length of an answer that fit into the model's context."""
        self.request = msgspec.structs.replace(
            self.request, messages=prompt.messages, max_tokens=prompt.max_tokens
        )

    def asked(self, settings: RoleSettings, *, stream: bool, usage: bool) -> Asked:
        request = self.request
        warmth = request.temperature
        return Asked(
            model=settings.model,
            messages=request.messages,
            max_tokens=request.max_tokens or settings.max_tokens,
            temperature=settings.temperature if warmth is None else warmth,
            tools=request.tools,
            tool_choice=request.tool_choice,
            seed=request.seed,
            stream=stream,
            usage=usage,
        )

    def answered(self, reply: ChatReply) -> ChatReply:
        """`reply` with the tools' own names."""
        calls = self._names.own_calls(reply.message.tool_calls)
        if calls is reply.message.tool_calls:
            return reply
        message = msgspec.structs.replace(reply.message, tool_calls=calls)
        return msgspec.structs.replace(reply, message=message)


def _check_parameters(tools: Sequence[ToolSchema]) -> None:
    """Raise ModelError where a tool's parameters are no schema: the hosted API refuses them all."""
    for tool in tools:
        fault = _fault_of(encode(tool.parameters))
        if fault:
            raise ModelError(
                f"the parameters of the tool {tool.name[:80]!r} are no JSON Schema of draft 7 "
                f"({fault}); correct them"
            )


@lru_cache(maxsize=_SCHEMAS)
def _fault_of(parameters: bytes) -> str:
    """What is wrong with a schema; empty where nothing is. Read by draft 7 whatever it names."""
    # Late: half of what `galerne --help` may take.
    library: Any = import_module("jsonschema_rs")
    schema: dict[str, Any] = msgspec.json.decode(parameters)
    try:
        library.meta.validate({**schema, "$schema": _DRAFT_7})
    except library.ValidationError as error:
        return " ".join(str(error.message).split())[:200]
    return ""
