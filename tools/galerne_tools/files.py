"""Finding and reading files under one folder, `tools.root` in the settings.

The tools are made by `tools(settings)`, so each worker has its own root. They only read, they
work in threads, they stream, and what they give has an order that does not depend on the disk:
that of the path's parts. How escapes from the root are prevented is in `_root.py`.
"""

import codecs
import fnmatch
from contextlib import suppress
from itertools import islice
from typing import Annotated, BinaryIO

import msgspec

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root, check_wanted, is_binary
from galerne_tools._search import Line, find_of, lines_with

MAX_LISTED = 1000
"""Paths in one list: about 10,000 tokens, a third of what a 7B model can read."""
MAX_READ = 40_000
"""Bytes of text in one `read_file`: about 12,000 tokens."""


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that has what was looked for; lines count from 1. `before`, `after`: its context."""

    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


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
        regex: bool = False,  # noqa: FBT001, FBT002 - a model gives arguments by name
        ignore_case: bool = False,  # noqa: FBT001, FBT002 - as above
        context: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0,
    ) -> list[Match]:
        r"""Find the lines that contain a text, in all text files of a folder and its subfolders.

        Files that cannot be read are left out.

        Args:
            text: What to look for, as it is written, or a regular expression with regex.
            path: A folder or one file, from the root folder.
            pattern: Which files, such as *.py.
            max_matches: Stop after so many lines.
            regex: Whether text is a regular expression (RE2), such as ^def \w+.
            ignore_case: Whether A and a are the same.
            context: How many lines before and after each match to give, too.
        """
        find = find_of(text, regex=regex, ignore_case=ignore_case)
        wanted = Pattern(pattern)
        matches: list[Match] = []
        for found in self._root.walk(path, wanted.literals):
            if not wanted.matches(found.inside):
                continue
            with suppress(OSError, ToolError), found.open() as file:
                lines = islice(lines_with(find, file, context), max_matches - len(matches))
                matches += [_match(found.path, line) for line in lines]
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
    pure = tool(effect="pure")
    return [pure(files.list_files), pure(files.read_file), pure(files.search_files)]


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


def _match(path: str, line: Line) -> Match:
    return Match(path, line.number, line.text, tuple(line.before), tuple(line.after))
