"""Lines of a file that have a text or match a pattern, with the lines around them.

wanted ─▶ a search over bytes (plain: find; else RE2, in linear time whatever a model writes)
file ─▶ line by line, a long one in pieces ─▶ Line(number, text, before, after)
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, BinaryIO

import msgspec

from galerne.errors import ToolError
from galerne_tools._root import check_wanted, is_binary

MAX_LINE = 240
"""Bytes of a line that a match shows."""
_PIECE = 1024 * 1024
"""Bytes of a line that are looked at together. In a longer one `^` and `$` also mean a piece's."""
_OVERLAP = 1024
"""Bytes of a longer line that are looked at twice, so that a match may lie over a piece's end."""
_MEMORY = 8 * 1024 * 1024

Find = Callable[[bytes], tuple[int, int] | None]
"""Where in the bytes the first match begins and ends."""


class Line(msgspec.Struct):
    """A line with a match; lines count from 1. `after` grows as the file is read on."""

    number: int
    text: str
    before: list[str]
    after: list[str]


def find_of(text: str, *, regex: bool, ignore_case: bool) -> Find:
    """How to look for `text`. Raises ToolError for what is no pattern, or cannot be used here."""
    if "\n" in text:
        raise ToolError("search_files looks inside single lines: give one line of text")
    if not regex and not ignore_case:
        return _plain(text.encode("utf-8", "replace"))
    return _pattern(text if regex else re.escape(text), ignore_case=ignore_case)


def lines_with(find: Find, file: BinaryIO, context: int) -> Iterator[Line]:
    """Each line with a match, once, when the lines after it are known; none of a binary file."""
    if is_binary(file):
        return
    before: deque[str] = deque(maxlen=context)
    waiting: deque[Line] = deque()
    for number, shown, at in _searched(find, file):
        check_wanted()
        text = _around(shown, *(at or (0, 0)))
        for one in waiting:
            one.after.append(text)
        while waiting and len(waiting[0].after) == context:
            yield waiting.popleft()
        if at is not None:
            waiting.append(Line(number, text, list(before), []))
            if not context:
                yield waiting.popleft()
        before.append(text)
    yield from waiting


def _searched(find: Find, file: BinaryIO) -> Iterator[tuple[int, bytes, tuple[int, int] | None]]:
    """Number of each line, what may be shown of it, and where in that the match is."""
    number = 1
    while piece := file.readline(_PIECE):
        whole = piece.rstrip(b"\r\n")
        shown, at = whole, find(whole)
        while not piece.endswith(b"\n") and (more := file.readline(_PIECE)):
            check_wanted()
            whole, piece = whole[-_OVERLAP:] + more.rstrip(b"\r\n"), more
            if at is None and (at := find(whole)) is not None:
                shown = whole
        yield number, shown, at
        number += 1


def _plain(needle: bytes) -> Find:
    def find(line: bytes) -> tuple[int, int] | None:
        at = line.find(needle)
        return None if at < 0 else (at, at + len(needle))

    return find


def _pattern(pattern: str, *, ignore_case: bool) -> Find:
    try:
        library: Any = import_module("re2")
    except ImportError as error:
        raise ToolError(
            "patterns and ignore_case need an extra where this tool runs"
            " (pip install 'galerne[files]'); search for the text as it is written"
        ) from error
    options = library.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled = library.compile(pattern.encode("utf-8", "replace"), options)
    except library.error as error:
        why = error.args[0] if error.args else ""
        said = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise ToolError(
            f"{pattern[:80]!r} is no pattern that can be used ({' '.join(said.split())}); RE2 has"
            " neither look-around nor back references"
        ) from error

    def find(line: bytes) -> tuple[int, int] | None:
        found = compiled.search(line)
        return None if found is None else (found.start(), found.end())

    return find


def _around(line: bytes, at: int, end: int) -> str:
    """The line, or, if it is long, what stands around the match."""
    if len(line) <= MAX_LINE:
        return line.decode("utf-8", "replace")
    start = max(0, at - MAX_LINE // 3)
    last = max(min(end, start + 4 * MAX_LINE), start + MAX_LINE)
    cut = line[start:last].decode("utf-8", "ignore")
    return f"{'…' if start else ''}{cut}{'…' if last < len(line) else ''}"
