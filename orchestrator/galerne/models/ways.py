"""In which way a question is put to one server, and which other way is left once it refuses.

    native tools ──"does not support tools"──▶ tools in words       (kept for the next questions)
    stream_options ──refused──▶ without                              (kept)
    response_format ──refused──▶ the schema in words                 (for this question: it may be
                                                                      this schema that is too much)

Each refusal takes one way off, so asking again comes to an end.
"""

import re
from http import HTTPStatus
from typing import Final

import msgspec

from galerne.messages.chat import ChatRequest
from galerne.models.catalogue import Catalogue
from galerne.models.dialects import Dialect, OutputForm
from galerne.settings import RoleSettings

_MISFIT: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_NO_TOOLS: Final = re.compile(rb"does not support tools", re.IGNORECASE)
_NO_FORMAT: Final = re.compile(rb"response_?format|json_?schema|grammar|schema", re.IGNORECASE)


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How to offer tools, to ask for a stream's usage, and to ask for a value."""

    prompted: bool = False
    usage: bool = True
    output: OutputForm = "both"


def first_ways(settings: RoleSettings, catalogue: Catalogue, dialect: Dialect) -> Ways:
    """What settings and catalogue say of the model on a back end of this dialect."""
    back_end = dialect.catalogued
    model = catalogue.find(settings.model, back_end)
    output = dialect.output
    if model is not None and back_end == "hosted" and not model.structured_outputs:
        output = "words"
    by_catalogue = model is not None and model.tools == "prompt"
    return Ways(
        prompted=settings.tools == "prompt" or (settings.tools == "auto" and by_catalogue),
        usage=dialect.asks_for_usage,
        output=output,
    )


def other_ways(
    ways: Ways, settings: RoleSettings, request: ChatRequest, status: int, refused: bytes
) -> Ways | None:
    """How to ask again after a refusal; None where another way would not help."""
    if status not in _MISFIT:
        return None
    if ways.usage and b"stream_options" in refused:
        return msgspec.structs.replace(ways, usage=False)
    may_prompt = settings.tools == "auto" and request.tools and not ways.prompted
    if may_prompt and _NO_TOOLS.search(refused):
        return msgspec.structs.replace(ways, prompted=True)
    enforced = request.output is not None and ways.output != "words"
    if enforced and _NO_FORMAT.search(refused):
        return msgspec.structs.replace(ways, output="words")
    return None


def kept(ways: Ways, other: Ways) -> Ways:
    """What of `other`, which the server took, holds for the next questions."""
    return msgspec.structs.replace(other, output=ways.output)
