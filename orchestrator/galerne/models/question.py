"""One question on its way: made sendable once, sent as often as it takes, its answer named back.

Here the rewritings meet that a back end must never notice missing: the conversation's rules and
call ids (`conversation.py`), its length (`tokens/`), the tools' names (`names.py`), and where the
server or the model can do no better, tools (`prompted.py`) and the schema of the answer
(`output.py`) in words. The answer keeps the ids that the back end gave, because the history is
journaled as it was; its calls are mended (`mending.py`) and get the tools' own names.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.models.conversation import obey_rules
from galerne.models.dialects import Asked
from galerne.models.mending import Hearing, Offered, mended
from galerne.models.output import asked_for, valued
from galerne.models.prompted import prompted
from galerne.models.tokens import ESTIMATE, Prompt
from galerne.models.toolset import fault_of, toolset
from galerne.models.ways import Ways
from galerne.settings import RoleSettings


class Question:
    """What one call of `ask` asks, the same each time that it is sent."""

    __slots__ = ("_offered", "key", "prompt", "request", "tools")

    def __init__(self, request: ChatRequest, key: str | None) -> None:
        """Raises ModelError where the conversation, the tools or the schema cannot be sent."""
        self.tools = toolset(request.tools)
        self._offered = (
            self.tools.offered
            if request.tool_choice == "auto"
            else Offered.of(request.tools, request.tool_choice)
        )
        _check_output(request.output)
        messages = obey_rules(request.messages)
        if messages is not request.messages:
            request = msgspec.structs.replace(request, messages=messages)
        self.request = request
        self.key = key
        self.prompt = Prompt(self.request.messages)
        """What fits into the model's context; all of it until somebody has looked."""

    def in_words(self, ways: Ways) -> int:
        """Tokens, at most, of what `ways` adds to the conversation in words."""
        request = self.request
        put = self._put(request.messages, ways, enforced=self._is_enforced(ways))
        if put is request.messages:
            return 0
        tools = request.tools if ways.prompted else ()
        return max(0, ESTIMATE.prompt(put, ()) - ESTIMATE.prompt(request.messages, tools))

    def asked(self, settings: RoleSettings, ways: Ways, *, stream: bool) -> Asked:
        request = self.request
        warmth = request.temperature
        enforced = self._is_enforced(ways)
        return Asked(
            model=settings.model,
            messages=self._put(self.prompt.messages, ways, enforced=enforced),
            max_tokens=self.prompt.max_tokens or request.max_tokens or settings.max_tokens,
            temperature=settings.temperature if warmth is None else warmth,
            tools=() if ways.prompted else self.tools.wire,
            tool_choice="auto" if ways.prompted else request.tool_choice,
            seed=request.seed,
            stream=stream,
            usage=ways.usage,
            output=request.output if enforced else None,
        )

    def hearing(self, on_text: Callable[[str], None]) -> Hearing:
        """What stands before `on_text` while the answer comes as a stream."""
        return Hearing(self._offered, on_text)

    def mended(self, reply: ChatReply) -> ChatReply:
        """`reply` with whole calls and clean content, under the names that the model was told."""
        return mended(reply, self._offered)

    def answered(self, reply: ChatReply) -> ChatReply:
        """A mended `reply` with the tools' own names, or its value where one was asked for."""
        output = self.request.output
        if output is not None and not reply.message.tool_calls and not reply.complaint:
            return valued(reply, output)
        calls = self.tools.names.own_calls(reply.message.tool_calls)
        if calls is reply.message.tool_calls:
            return reply
        message = msgspec.structs.replace(reply.message, tool_calls=calls)
        return msgspec.structs.replace(reply, message=message)

    def _is_enforced(self, ways: Ways) -> bool:
        """Whether the back end shall hold the answer to the schema: then no tool can be called."""
        return (
            self.request.output is not None and ways.output != "words" and not self._offered.names
        )

    def _put(
        self, messages: tuple[ChatMessage, ...], ways: Ways, *, enforced: bool
    ) -> tuple[ChatMessage, ...]:
        """`messages` with what has to be said in words; the same object where nothing has to."""
        request = self.request
        if ways.prompted:
            messages = prompted(messages, request.tools, request.tool_choice)
        if request.output is not None and not (enforced and ways.output == "format"):
            messages = asked_for(messages, request.output)
        return messages


def _check_output(schema: dict[str, Any] | None) -> None:
    """Raise ModelError where the schema of the answer is none."""
    fault = fault_of(schema) if schema is not None else ""
    if fault:
        raise ModelError(f"`output` is no JSON Schema of draft 7 ({fault}); correct it")
