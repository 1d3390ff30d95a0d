"""Finding and reading files under one folder, `tools.root` in the settings.

The tools are made by `tools(settings)`, so each worker has its own root. They only read, they
work in threads, they stream, and what they give has an order that does not depend on the disk:
that of the path's parts. How escapes from the root are prevented is in `_root.py`.
"""

import codecs
import fnmatch
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Annotated, BinaryIO

import msgspec

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root, check_wanted, is_binary

MAX_LISTED = 1000
"""Paths in one list: about 10,000 tokens, a third of what a 7B model can read."""
MAX_READ = 40_000
"""Bytes of text in one `read_file`: about 12,000 tokens."""
MAX_LINE = 240
"""Bytes of a line that a match of `search_files` shows."""

_PIECE = 64 * 1024


class Match(msgspec.Struct, frozen=True):
    """A line that has the text; lines count from 1."""

    path: str
    line: int
    text: str


class FileTools:
    """The tools as plain methods over one root."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def list_files(
        self, path: str = ".", pattern: Annotated[str, msgspec.Meta(max_length=200)] = "*"
    ) -> list[str]:
        """List the files in a folder and its subfolders. Hidden folders are left out.

        Args:
            path: A folder, from the root folder.
            pattern: Which files, such as *.md (by name) or docs/**/*.md (by path inside the
                folder).
        """
        wanted = Pattern(pattern)
        listed: list[str] = []
        for found in self._root.walk(path, wanted.literals):
            if wanted.matches(found.inside):
                listed.append(found.path)
            if len(listed) > MAX_LISTED:
                raise ToolError(self._too_many(path, pattern))
        return listed

    def read_file(
        self,
        path: str,
        start_line: Annotated[int, msgspec.Meta(ge=1)] = 1,
        max_lines: Annotated[int, msgspec.Meta(ge=1)] = 200,
    ) -> str:
        """Read lines of a text file. A note at the end says where to go on if there is more.

        Args:
            path: The file, from the root folder.
            start_line: The first line to read; lines count from 1.
            max_lines: How many lines to read.
        """
        with self._root.open(path) as file:
            text = "\0" if is_binary(file) else _read_lines(file, path, start_line, max_lines)
        if "\0" in text:
            raise ToolError(f"{path} is a binary file (it has NUL bytes), not text")
        return text

    def search_files(
        self,
        text: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)],
        path: str = ".",
        pattern: Annotated[str, msgspec.Meta(max_length=200)] = "*",
        max_matches: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50,
    ) -> list[Match]:
        """Find the lines that contain a text, in all text files of a folder and its subfolders.

        Files that cannot be read are left out.

        Args:
            text: What to look for, exactly as it is written: no patterns, case matters.
            path: A folder or one file, from the root folder.
            pattern: Which files, such as *.py.
            max_matches: Stop after so many lines.
        """
        if "\n" in text:
            raise ToolError("search_files looks inside single lines: give one line of text")
        wanted = Pattern(pattern)
        needle = text.encode("utf-8", "replace")
        matches: list[Match] = []
        for found in self._root.walk(path, wanted.literals):
            if not wanted.matches(found.inside):
                continue
            with suppress(OSError, ToolError), found.open() as file:
                lines = islice(_lines_with(needle, file), max_matches - len(matches))
                matches += [Match(found.path, number, line) for number, line in lines]
            if len(matches) == max_matches:
                break
        return matches

    def _too_many(self, path: str, pattern: str) -> str:
        folders = ", ".join(self._root.folders(path)[:30])
        inside = f" or one of its folders as path ({folders})" if folders else ""
        return (
            f"more than {MAX_LISTED} files match {pattern!r} in {path!r}; "
            f"give a narrower pattern{inside}"
        )


def tools(settings: ToolSettings) -> list[AnyTool]:
    """The file tools over `settings.root`. Raises InvalidSettingsError if it is not a folder."""
    files = FileTools(Root(settings.root))
    return [tool(files.list_files), tool(files.read_file), tool(files.search_files)]


class Pattern:
    """Which paths are wanted. Without `/` it is about the name, else about the whole path.

    `*` and `?` stay inside one part, `**` is any number of parts. Linear in the path's length,
    whatever a model writes. `literals` are the parts without wildcards: folders asked for by name.
    """

    def __init__(self, pattern: str) -> None:
        if "{" in pattern:
            raise ToolError("patterns know *, ?, [abc] and **, not braces; ask once per pattern")
        parts = [part for part in pattern.split("/") if part not in {"", "."}]
        self._parts = parts if len(parts) > 1 or parts == ["**"] else ["**", *(parts or ["*"])]
        self.literals = frozenset(part for part in parts if not set(part) & set("*?["))

    def matches(self, path: str) -> bool:
        """`path` with `/`, from where the walk began."""
        places = self._skip_stars({0})
        for part in path.split("/"):
            stayed = {n for n in places if n < len(self._parts) and self._parts[n] == "**"}
            moved = {
                n + 1
                for n in places - stayed
                if n < len(self._parts) and fnmatch.fnmatchcase(part, self._parts[n])
            }
            places = self._skip_stars(stayed | moved)
        return len(self._parts) in places

    def _skip_stars(self, places: set[int]) -> set[int]:
        """`**` also stands for no part at all."""
        reached = set(places)
        for n, part in enumerate(self._parts):
            if n in reached and part == "**":
                reached.add(n + 1)
        return reached


def _read_lines(file: BinaryIO, path: str, start: int, count: int) -> str:
    """Lines `start` to `start + count - 1`, as far as MAX_READ goes, and a note if there is more.

    Raises ToolError if the file has no line `start`.
    """
    kept = bytearray()
    number, piece = 1, b"\n"
    while number < start + count:
        check_wanted()
        before, piece = piece, file.readline(MAX_READ + 1)
        if not piece:
            last = number - before.endswith(b"\n")
            if start > max(last, 1):
                raise ToolError(f"{path} has no line {start}: its last line is {last}")
            return kept.decode("utf-8", "replace")
        if number >= start and len(kept) + len(piece) > MAX_READ:
            break
        if number >= start:
            kept += piece
        number += piece.endswith(b"\n")
    else:
        if not file.read(1):
            return kept.decode("utf-8", "replace")
    if not kept:
        return _cut_line(piece, start)
    ending = "" if kept.endswith(b"\n") else "\n"
    note = f"[lines {start} to {number - 1}; the file goes on: read it with start_line={number}]"
    return f"{kept.decode('utf-8', 'replace')}{ending}{note}"


def _cut_line(piece: bytes, number: int) -> str:
    """As much of a line as one read gives; the last character is whole."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(piece[:MAX_READ])
    note = f"line {number} is cut after {MAX_READ} bytes, the most that one read gives"
    return f"{text}\n[{note}; read on with start_line={number + 1}]"


def _lines_with(needle: bytes, file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Number and text of each line that has the needle; none for a binary file.

    A line of any length is searched in pieces that overlap, and given once.
    """
    if is_binary(file):
        return
    number, given, tail = 1, 0, b""
    while piece := file.readline(_PIECE):
        check_wanted()
        window = tail + piece
        at = window.find(needle)
        if at >= 0 and given != number:
            given = number
            yield number, _around(window, at, len(needle))
        if piece.endswith(b"\n"):
            number, tail = number + 1, b""
        else:
            tail = window[-len(needle) :]


def _around(line: bytes, at: int, length: int) -> str:
    """The line, or, if it is long, what stands around the match."""
    line = line.rstrip(b"\r\n")
    if len(line) <= MAX_LINE:
        return line.decode("utf-8", "replace")
    start = max(0, at - MAX_LINE // 3)
    end = max(at + length, start + MAX_LINE)
    cut = line[start:end].decode("utf-8", "ignore")
    return f"{'…' if start else ''}{cut}{'…' if end < len(line) else ''}"
