"""The JSON value that an answer is, however it is wrapped: in a fence, in words, with loose JSON.

Candidates come in this order: the whole text, the body of each fence, then each object or list
that stands among words. Whoever asks takes the first that fits what was wanted.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from galerne.models.repair.fences import fences
from galerne.models.repair.literals import CutError, MalformedError, Reader

_OPENING: Final = re.compile(r"[{\[]")
_NO_VALUE: Final = "is not one JSON value"
_MOST_TRIES: Final = 32
"""Brackets among words at which a value is looked for; each may cost a reading of all the rest."""


class Candidate(msgspec.Struct, frozen=True):
    """A value, or why there is none: `fault` continues a sentence about the answer."""

    value: Any = None
    fault: str = ""


def values_in(text: str) -> Iterator[Candidate]:
    """The values that `text` may mean, the likeliest first; where it has none, a fault."""
    whole = _whole(text, 0, len(text))
    if not whole.fault:
        yield whole
        return
    inside = list(_inside(text))
    found = [candidate for candidate in inside if not candidate.fault]
    if found:
        yield from found
    elif text.lstrip().startswith(("{", "[")):
        yield whole
    else:
        yield inside[0] if inside else Candidate(fault=_NO_VALUE)


def _inside(text: str) -> Iterator[Candidate]:
    for fence in islice(fences(text), _MOST_TRIES):
        yield _whole(text, fence.body, fence.body_end)
    reader = Reader(text)
    for _ in range(_MOST_TRIES):
        opening = _OPENING.search(text, reader.at)
        if opening is None:
            return
        reader = Reader(text, opening.start())
        value = _read(reader)
        if value.fault:
            reader = Reader(text, opening.end())
        if not value.fault or opening[0] == "{":  # words have square brackets for many reasons
            yield value


def _whole(text: str, start: int, end: int) -> Candidate:
    try:
        return Candidate(msgspec.json.decode(text[start:end]))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    reader = Reader(text, start, end)
    candidate = _read(reader)
    if candidate.fault or not reader.peek():
        return candidate
    return Candidate(fault=_NO_VALUE)


def _read(reader: Reader) -> Candidate:
    try:
        return Candidate(reader.value())
    except CutError:
        return Candidate(fault="was cut before its end")
    except MalformedError as error:
        return Candidate(fault=str(error))
