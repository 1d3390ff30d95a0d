"""`Call TOOL with {"name": "value"}`: a call that the goal itself spells out.

    Call book_table with {"people": 4}.                                a direct call, no model
    Call book_table with {"people": 4} and say what it answers.        an agent calls, and tells

The arguments are JSON and may hold any word or mark, so such clauses are cut out of the text
before the grammar reads the rest; what does not parse stays where it is and is read as words.
"""

import json
import re
from typing import cast

import msgspec

from galerne.models.standin.clauses import Call

LONGEST_ARGUMENTS = 1500
"""Characters of the JSON: with the words around it, it has to fit into an instruction."""

_CALL = re.compile(r"\b[Cc]all (?:the tool )?(?P<tool>[A-Za-z0-9_-]{1,64}) with (?=\{)")
_TOLD = re.compile(r",? (?:and|then) (?:say|tell me|report) what it (?:says|answers|gives)\b")
_read_json = json.JSONDecoder().raw_decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def cut_calls(text: str) -> tuple[str, tuple[tuple[int, Call], ...]]:
    """The text with its calls blanked out, every character in its place; and them by offset."""
    found: list[tuple[int, Call]] = []
    position = 0
    while (match := _CALL.search(text, position)) is not None:
        position = match.end()
        arguments = _arguments(text, position)
        if arguments is None:
            continue
        encoded, position = arguments
        told = _TOLD.match(text, position)
        position = told.end() if told else position
        position += text.startswith(".", position)  # alone it would be read as a folder
        found.append((match.start(), Call(match["tool"], encoded, told is not None)))
        blank = "\n" + " " * (position - match.start() - 1)
        text = text[: match.start()] + blank + text[position:]
    return text, tuple(found)


def _arguments(text: str, begin: int) -> tuple[str, int] | None:
    """The JSON object at `begin` in its one canonical form, and its end; None where there is none.

    Numbers that JSON has no form for (NaN) are none.
    """
    try:
        value, length = _read_json(text[begin : begin + LONGEST_ARGUMENTS])
        encoded = _encode(cast("object", value)).decode()
        canonical = msgspec.json.decode(encoded) == value
    except (ValueError, RecursionError, OverflowError):
        return None
    if not canonical or len(encoded) > LONGEST_ARGUMENTS:
        return None
    return encoded, begin + length
