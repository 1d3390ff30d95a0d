"""What every back end's dialect answers for: how a question is put, and what a refusal means.

A dialect holds no state. It takes a question whose conversation keeps Mistral's rules already
(`conversation.obey_rules`) and writes the body that its back end takes: only fields that it knows,
in its words, nothing empty. `Dialect.encode` puts the generic OpenAI form together; a dialect says
how it offers tools, and what else differs. Answers are read by the same code for all
(`reply.py`, `stream.py`): what one back end leaves out, an older version of another does too, and
proxies hide which one it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from galerne.errors import GalerneError, ModelError
from galerne.messages.chat import ChatMessage, OneTool, ToolChoice
from galerne.models.catalogue import BackEnd
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import Wording, refusal
from galerne.models.names import sendable
from galerne.models.wire import (
    FunctionName,
    OneFunction,
    OutputFormat,
    OutputSchema,
    StreamOptions,
    WireChoice,
    WireRequest,
    WireTool,
    encode,
    wire_messages,
)

Spoken = Literal["mistral", "vllm", "ollama", "llamacpp", "openai"]
"""A dialect's name; `openai` is the generic one, for a back end that nobody knows."""


OutputForm = Literal["format", "both", "words"]
"""How a value of a JSON Schema is asked for: by `response_format`, in the conversation, or both."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question as it is to be sent: the role's settings stand where the request named nothing."""

    model: str
    messages: Sequence[ChatMessage]
    max_tokens: int
    temperature: float
    tools: Sequence[WireTool] = ()
    tool_choice: ToolChoice = "auto"
    seed: int | None = None
    stream: bool = False
    usage: bool = False
    """Whether a stream should say its usage; only for dialects that must ask for it."""
    output: dict[str, Any] | None = None
    """The schema that the back end itself shall enforce."""


class Offer(msgspec.Struct, frozen=True):
    """The tools that a request names, and what it says about having to call one."""

    tools: tuple[WireTool, ...] = ()
    choice: WireChoice = None


class Dialect(ABC):
    """How one kind of back end is asked."""

    name: ClassVar[Spoken]
    catalogued: ClassVar[BackEnd | None] = None
    """Under which back end the catalogue has the names that its models go by."""
    asks_for_usage: ClassVar[bool] = True
    """Whether a stream tells its usage only on request, by `stream_options`."""
    output: ClassVar[OutputForm] = "both"
    """Most enforce a schema without showing it to the model."""
    strict_output: ClassVar[bool | None] = None
    """What `strict` says beside a schema; None: nothing."""
    reuses_after_stream: ClassVar[bool] = True
    """Whether a connection that has carried a stream really serves again, as its head says."""
    wording: ClassVar[Wording] = Wording()
    """How this back end words refusals that its status does not tell apart."""
    longer_context: ClassVar[str] = (
        "give that server a longer context (Ollama: OLLAMA_CONTEXT_LENGTH, llama.cpp: -c)"
    )
    """What to change where it reads less of a prompt than the model could."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def encode(self, asked: Asked) -> bytes:
        """The body of `POST /v1/chat/completions`. Raises ModelError where it cannot be asked."""
        return encode(self.body(asked, self._offer(asked)))

    def body(self, asked: Asked, offer: Offer) -> WireRequest:
        """The fields that this back end takes."""
        return WireRequest(
            model=asked.model,
            messages=wire_messages(asked.messages),
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            tools=offer.tools,
            tool_choice=offer.choice,
            stream=asked.stream,
            seed=asked.seed,
            stream_options=StreamOptions() if asked.stream and asked.usage else None,
            response_format=self._format(asked.output),
        )

    @abstractmethod
    def offer(self, tools: Sequence[WireTool], choice: ToolChoice) -> Offer:
        """How `tools` (one at least) are offered under `choice`; a OneTool names one of them."""

    def refusal(
        self, endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes, now: float
    ) -> GalerneError:
        """What an answer with an error status means here. `now` is in Unix seconds."""
        return refusal(endpoint, status, headers, body, now, self.wording)

    def _format(self, schema: dict[str, Any] | None) -> OutputFormat | None:
        if schema is None:
            return None
        return OutputFormat(OutputSchema("answer", schema, self.strict_output))

    def _offer(self, asked: Asked) -> Offer:
        choice = asked.tool_choice
        if isinstance(choice, OneTool):
            name = sendable(choice.name)
            if all(name != tool.function.name for tool in asked.tools):
                raise ModelError(
                    f"the model must call {choice.name[:80]!r}, which is not on offer; add that "
                    "tool to the request"
                )
            choice = OneTool(name)
        return self.offer(asked.tools, choice) if asked.tools else Offer()


def only(tools: Sequence[WireTool], name: str) -> tuple[WireTool, ...]:
    """The one of `tools` that has `name`, for back ends that cannot be told which to call."""
    return tuple(tool for tool in tools if tool.function.name == name)


def one_function(choice: OneTool) -> OneFunction:
    """The OpenAI form of having to call one function."""
    return OneFunction(FunctionName(choice.name))
