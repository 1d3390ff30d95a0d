"""The generic dialect: the OpenAI form, as the servers write it that are none of the others.

It uses only words that every server with tools knows: `required` where one must be called (`any`
is Mistral's own), the object form where it must be a certain one, `max_tokens` (the newer
`max_completion_tokens` is known to few besides OpenAI), and `stream_options` for the usage of a
stream, which the client leaves out where it is refused.
"""

from collections.abc import Sequence
from typing import ClassVar

from galerne.messages.chat import OneTool, ToolChoice
from galerne.models.dialects.contract import Dialect, Offer, Spoken, one_function
from galerne.models.wire import WireTool


class OpenAIDialect(Dialect):
    """A back end that nobody knows better."""

    name: ClassVar[Spoken] = "openai"

    def offer(self, tools: Sequence[WireTool], choice: ToolChoice) -> Offer:
        match choice:
            case OneTool():
                return Offer(tuple(tools), one_function(choice))
            case "auto":
                return Offer(tuple(tools))
            case "any":
                return Offer(tuple(tools), "required")
            case "none":
                return Offer(tuple(tools), "none")
