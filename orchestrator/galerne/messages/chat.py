"""A conversation with a model, in the OpenAI chat-completions shape, as it is also journaled."""

from typing import Any, Literal

import msgspec

from galerne.errors import BadAnswerError

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that a model asks for; `arguments` is JSON text, the model's own where it was fit."""

    id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn. An assistant turn has content or tool calls; a tool turn answers one call."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class ToolSchema(msgspec.Struct, frozen=True):
    """What a model is told about a tool. `parameters` is a JSON Schema (Draft 7) of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class OneTool(msgspec.Struct, frozen=True, tag=True):
    """The choice of one tool on offer, which the model must call."""

    name: str


ToolChoice = Literal["auto", "any", "none"] | OneTool
"""Whether the model may call a tool, must call one, must not, or must call a certain one. Some
back ends cannot enforce it: look at what came."""


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to ask a model; the client adds the model's name and the back end's dialect."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSchema, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    """Of the sampling; with the same one some back ends give the same answer again."""
    excerpts: tuple[str, ...] = ()
    """Texts that stand in `messages` word for word and may be shortened, as tool results may,
    where the whole does not fit into the model's context: results of other tasks."""
    output: dict[str, Any] | None = None
    """The JSON Schema (Draft 7 where it names none) of the answer's value; None: the answer is
    text. An answer that calls tools instead is no value yet."""


class TokenUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one call, as the back end counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole answer. `finish` is the back end's finish_reason; `id` is its response id.

    Its calls are whole, and their markup is out of its content. `complaint` says, for the model to
    do better, what of the answer could not be used; empty where there is nothing to complain of.
    `notices` say, one line each, what keeps the answer from being worth what it looks: that the
    model did not read all of its prompt.
    """

    message: ChatMessage
    model: str
    finish: str = "stop"
    usage: TokenUsage = TokenUsage()
    id: str = ""
    complaint: str = ""
    notices: tuple[str, ...] = ()

    @property
    def value(self) -> Any:
        """The answer to a request with `output`. Raises BadAnswerError where it is no JSON.

        Without a complaint the value fits the schema; calls of tools come before any value.
        """
        try:
            return msgspec.json.decode(self.message.content)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            what = self.complaint or f"the answer is no JSON ({error})"
            raise BadAnswerError(f"{what}; ask again") from error
