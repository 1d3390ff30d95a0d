"""Calls that came as calls, but not as they were meant.

A back end that parses a model's text may leave markup in a name, Markdown's escapes, or arguments
that are Python's instead of JSON's. Such a call is written out again as Mistral's marker would
begin it and read by the same parser; one that needs nothing keeps its arguments letter by letter.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from galerne.messages.chat import ToolCall
from galerne.models.repair.fences import fences
from galerne.models.repair.markers import FENCE, MISTRAL
from galerne.models.repair.names import offered
from galerne.models.repair.parse import parse_calls
from galerne.models.repair.parsed import BrokenCall, Parsed
from galerne.models.repair.written import Parameters

_MARKUP: Final = re.compile(r"[\[\](){}<>|\s]")
_NO_OBJECT: Final = "has arguments that are not one JSON object"
_NOTHING: Final[Mapping[str, Sequence[str]]] = {}
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def mend_call(
    call: ToolCall, known: Collection[str], parameters: Parameters = _NOTHING
) -> ToolCall | Parsed:
    """The call as it was meant under a name in `known`, or what was read in its place.

    A well-formed call of an unknown tool is handed back as it is: whoever runs tools refuses it.
    Raises nothing.
    """
    name = offered(call.name, known)
    if _is_object(call.arguments) and (name or not _MARKUP.search(call.name)):
        named = name or call.name
        return call if named == call.name else ToolCall(call.id, named, call.arguments)
    written = call.name.replace(MISTRAL, "").strip()
    if "{" not in written and "(" not in written:
        arguments = _bare(call.arguments)
        if not arguments.startswith("{"):
            return Parsed("", broken=(BrokenCall(name or written, _NO_OBJECT),))
        written = f"{name or written}{arguments}"
    parsed = parse_calls(f"{MISTRAL}{written}", known, parameters)
    if parsed.tried:
        return parsed
    return Parsed("", broken=(BrokenCall(name or call.name, _NO_OBJECT),))


def _is_object(arguments: str) -> bool:
    try:
        _decode_object(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _bare(arguments: str) -> str:
    """The arguments without a fence around them, or a second layer of JSON text."""
    bare = arguments.strip()
    if bare.startswith('"'):
        try:
            bare = _decode_text(bare).strip()
        except (msgspec.DecodeError, UnicodeError):
            return bare
    if bare.startswith(FENCE):
        fence = next(fences(bare))
        bare = bare[fence.body : fence.body_end].strip()
    return bare
