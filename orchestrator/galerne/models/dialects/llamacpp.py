"""llama.cpp's dialect: `tool_choice` is one of three words, and `any` is none of them (400).

A certain function cannot be named, so it is the only one offered, and one `required`. Newer
builds take `required` without enforcing it; whoever reads the answer copes with text. Errors of
the chat template come as 400, on newer builds as 500: neither passes by itself. It promises to
keep a connection that has carried a stream, and closes it.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from galerne.messages.chat import OneTool, ToolChoice
from galerne.models.catalogue import BackEnd
from galerne.models.dialects.contract import Dialect, Offer, Spoken, only
from galerne.models.mapping import Wording
from galerne.models.wire import WireTool


class LlamaCppDialect(Dialect):
    """The server of llama.cpp."""

    name: ClassVar[Spoken] = "llamacpp"
    catalogued: ClassVar[BackEnd | None] = "llama_cpp"
    reuses_after_stream: ClassVar[bool] = False
    longer_context: ClassVar[str] = "start llama.cpp's server with a larger -c, such as -c 32768"
    wording: ClassVar[Wording] = Wording(
        hopeless=re.compile(r"--jinja|context size", re.IGNORECASE),
        advice=(
            (
                re.compile(r"exceeds? the available context size", re.IGNORECASE),
                "send less, or start the server with a larger -c (each slot gets its share)",
            ),
            (re.compile(r"--jinja", re.IGNORECASE), "start the server with --jinja"),
        ),
    )

    def offer(self, tools: Sequence[WireTool], choice: ToolChoice) -> Offer:
        match choice:
            case OneTool(name):
                return Offer(only(tools, name), "required")
            case "auto":
                return Offer(tuple(tools))
            case "any":
                return Offer(tuple(tools), "required")
            case "none":
                return Offer(tuple(tools), "none")
