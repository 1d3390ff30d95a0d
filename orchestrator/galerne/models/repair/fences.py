"""Fenced blocks of Markdown: where they stand, and whether all of them are calls.

A model without native tools often puts its calls in a fence and speaks before it. One that calls
stops there and waits; one that goes on speaking shows how a call would look, at times with made-up
arguments. So only fences at the very end count, and only where every fence of the message is
nothing but calls of tools that were offered: beside a block of other code, or of a result that the
model made up, a call is an explanation. (Of the 15 recorded answers of 8x22B and Nemo with such
fences, eleven go on speaking, seven of them in reply to a request that no tool fits.)
"""

import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from galerne.models.repair.blocks import Block, whole_block
from galerne.models.repair.markers import FENCE
from galerne.models.repair.names import offered

_LANGUAGE: Final = re.compile(r"[ \t]*+([\w+-]*+)[ \t]*+(\r?\n)?")
_CALLS_IN: Final = frozenset(
    {"", "json", "json5", "py", "python", "python3", "text", "plaintext", "tool_call"}
    | {"tool_calls", "tool_code", "function_call"}
)


class Fence(msgspec.Struct, frozen=True):
    """A fenced block: where its marks and its body begin and end; `closed`: it has both marks."""

    start: int
    body: int
    body_end: int
    end: int
    language: str
    closed: bool


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of `text`; one that does not close reaches to the end."""
    at = text.find(FENCE)
    while at >= 0:
        fence = _fence(text, at)
        yield fence
        at = text.find(FENCE, fence.end)


def calls_in_fence(text: str, fence: Fence, known: Collection[str]) -> Block | None:
    """The calls of a fence that holds nothing else."""
    if fence.language.lower() not in _CALLS_IN:
        return None
    return whole_block(text, known, fence.body, fence.body_end)


def all_offered(block: Block, known: Collection[str]) -> bool:
    """Whether every name is one of a tool; an example's names are often not."""
    return all(offered(call.name, known) is not None for call in block.calls)


def closing_run(text: str, found: Sequence[Fence]) -> int:
    """The position in `found` from which on only fences stand up to the end of `text`."""
    end = len(text)
    for position in range(len(found) - 1, -1, -1):
        if text[found[position].end : end].strip():
            return position + 1
        end = found[position].start
    return 0


def without_open_fence(before: str) -> str:
    """`before` without a fence that opens at its end: it is markup of the call that follows."""
    last = next(iter(deque(fences(before), maxlen=1)), None)
    if last is None or last.closed or before[last.body :].strip():
        return before
    return before[: last.start]


def _fence(text: str, at: int) -> Fence:
    head = _LANGUAGE.match(text, at + len(FENCE))
    if head is None or head[2] is None:
        return _one_line(text, at)
    # The mark that closes stands at the beginning of a line, so strings may speak of fences.
    close = text.find("\n" + FENCE, head.end() - 1)
    if close < 0:
        return Fence(at, head.end(), len(text), len(text), head[1], closed=False)
    body_end = max(close, head.end())
    return Fence(at, head.end(), body_end, close + 1 + len(FENCE), head[1], closed=True)


def _one_line(text: str, at: int) -> Fence:
    """A fence whose body begins on its first line."""
    body = at + len(FENCE)
    close = text.find(FENCE, body)
    head = _LANGUAGE.match(text, body)
    language = head[1] if head and head[1].lower() in _CALLS_IN else ""
    body += len(language)
    if close < 0:
        return Fence(at, body, len(text), len(text), language, closed=False)
    return Fence(at, body, close, close + len(FENCE), language, closed=True)
