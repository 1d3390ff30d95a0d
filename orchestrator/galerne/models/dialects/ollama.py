"""Ollama's dialect: it reads `tool_choice` and does nothing with it.

So what a caller chose is said by the tools instead: where none may be called, none is offered;
where a certain one must be, it is the only one. That one of several must be called cannot be said
at all. `num_ctx` does nothing on this API either: the context is the server's own setting, and
what does not fit is cut without a word.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from galerne.messages.chat import OneTool, ToolChoice
from galerne.models.catalogue import BackEnd
from galerne.models.dialects.contract import Dialect, Offer, Spoken, only
from galerne.models.mapping import Wording
from galerne.models.wire import WireTool


class OllamaDialect(Dialect):
    """An Ollama, by its OpenAI-style API."""

    name: ClassVar[Spoken] = "ollama"
    catalogued: ClassVar[BackEnd | None] = "ollama"
    longer_context: ClassVar[str] = (
        "start Ollama with a larger OLLAMA_CONTEXT_LENGTH, such as 32768"
    )
    wording: ClassVar[Wording] = Wording(
        busy=re.compile(r"server busy|maximum pending requests", re.IGNORECASE),
        hopeless=re.compile(r"requires more system memory", re.IGNORECASE),
        advice=(
            (
                re.compile(r"does not support tools", re.IGNORECASE),
                'choose a model with tools, such as mistral-nemo, or set `tools` to "prompt"',
            ),
            (
                re.compile(r"requires more system memory", re.IGNORECASE),
                "choose a smaller model, or a smaller quantisation of it",
            ),
            (
                re.compile(r"try pulling it|model .* not found", re.IGNORECASE),
                "run `ollama pull` for that model, or correct `model`",
            ),
        ),
    )

    def offer(self, tools: Sequence[WireTool], choice: ToolChoice) -> Offer:
        match choice:
            case OneTool(name):
                return Offer(only(tools, name))
            case "none":
                return Offer()
            case "auto" | "any":
                return Offer(tuple(tools))
