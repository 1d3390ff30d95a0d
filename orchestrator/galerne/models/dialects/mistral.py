"""The dialect of Mistral's hosted API: exact about fields, and with names of its own for some.

A field that it does not know is refused with 422, so `seed` goes as `random_seed`, `max_tokens`
keeps its old name, and `stream_options` never goes: the last chunk of a stream has the usage
unasked. That a tool must be called is `any`, which it knew before `required`. A schema of the
answer is shown to the model by the API itself.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from galerne.messages.chat import OneTool, ToolChoice
from galerne.models.catalogue import BackEnd
from galerne.models.dialects.contract import Asked, Dialect, Offer, OutputForm, Spoken, one_function
from galerne.models.mapping import Wording
from galerne.models.wire import WireRequest, WireTool


class MistralDialect(Dialect):
    """api.mistral.ai, or a proxy that passes everything on to it."""

    name: ClassVar[Spoken] = "mistral"
    catalogued: ClassVar[BackEnd | None] = "hosted"
    asks_for_usage: ClassVar[bool] = False
    output: ClassVar[OutputForm] = "format"
    strict_output: ClassVar[bool | None] = True
    wording: ClassVar[Wording] = Wording(
        advice=(
            (
                re.compile(r"invalid model", re.IGNORECASE),
                "correct `model`; `galerne models` lists the hosted names and what replaced which",
            ),
        ),
    )

    def body(self, asked: Asked, offer: Offer) -> WireRequest:
        generic = super().body(asked, offer)
        if generic.seed is None and generic.stream_options is None:
            return generic
        return msgspec.structs.replace(
            generic, seed=None, random_seed=asked.seed, stream_options=None
        )

    def offer(self, tools: Sequence[WireTool], choice: ToolChoice) -> Offer:
        match choice:
            case OneTool():
                return Offer(tuple(tools), one_function(choice))
            case "auto":
                return Offer(tuple(tools))
            case "any" | "none":
                return Offer(tuple(tools), choice)
