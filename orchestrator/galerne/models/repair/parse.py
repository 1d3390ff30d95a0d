"""One answer's text, read for calls: whole, after markers, or in fences, in this order.

A text that is nothing but calls comes first, because a marker in it can only be part of an
argument. Without a tool on offer no bare text is a call; a marker's markup is taken out all the
same.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from galerne.models.repair.blocks import Block, whole_block
from galerne.models.repair.fences import all_offered, calls_in_fence, closing_run, fences
from galerne.models.repair.marked import Marked
from galerne.models.repair.markers import FENCE, has_marker
from galerne.models.repair.names import offered
from galerne.models.repair.parsed import Parsed
from galerne.models.repair.written import Parameters, Settled

_MAY_CALL: Final = re.compile(r"[\[({<]")
_NOTHING: Final[Mapping[str, Sequence[str]]] = {}


def may_call(text: str) -> bool:
    """Whether `text` has what no call is without; most words of a model have not."""
    return _MAY_CALL.search(text) is not None


def parse_calls(text: str, known: Collection[str], parameters: Parameters = _NOTHING) -> Parsed:
    """What an answer's `text` calls, and what of it remains for a person.

    `known` are the names that were offered, as the caller writes them. `parameters` gives the
    names of a tool's parameters in the order of its schema; without it a value that has no name
    makes a call broken. Raises nothing, whatever the text is.
    """
    if not may_call(text):
        return Parsed(text)
    settled = Settled(known, parameters)
    if known and (block := _whole(text, known)):
        settled.add(block.calls, block.syntax)
        return settled.parsed("")
    if has_marker(text):
        return settled.parsed(Marked(text, known, settled).read())
    if known and FENCE in text:
        return _in_fences(text, known, settled)
    return Parsed(text)


def _whole(text: str, known: Collection[str]) -> Block | None:
    """The calls of a text that is nothing else, be it in one pair of backticks."""
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    if text.startswith("#", start):
        return None
    if text.startswith("`", start) and text.endswith("`", start, end):
        if text.startswith(FENCE, start):
            return None
        start, end = start + 1, end - 1
    return whole_block(text, known, start, end)


def _in_fences(text: str, known: Collection[str], settled: Settled) -> Parsed:
    """A text with fences: only those count after which the model stopped speaking."""
    found = list(fences(text))
    blocks = [calls_in_fence(text, fence, known) for fence in found]
    last = found[closing_run(text, found) :]
    words = text[: last[0].start] if last else text
    if words.strip():
        blocks = [block if block and all_offered(block, known) else None for block in blocks]
    if not last or None in blocks:
        called = (call.name for block in blocks if block for call in block.calls)
        names = (offered(name, known) for name in called)
        return Parsed(text, shown=tuple(dict.fromkeys(filter(None, names))))
    for block in blocks[-len(last) :]:
        if block:
            settled.add(block.calls, block.syntax)
    return settled.parsed(words.rstrip(), among_prose=bool(words.strip()))
