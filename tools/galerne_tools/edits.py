"""Writing and editing files under one folder, `tools.root`, where `tools.write` allows it.

A file is written whole or not at all (`_writing.py`), and nothing outside of the root is reached
(`_root.py`).
"""

import difflib
from typing import Annotated

import msgspec

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root
from galerne_tools._writing import rewrite

MAX_CONTENT = 200_000
"""Characters of one `write_file`: more than any model writes in one answer."""

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class WrittenFile(msgspec.Struct, frozen=True):
    """`created`: there was no such file before."""

    path: str
    lines: int
    bytes: int
    created: bool


class EditedFile(msgspec.Struct, frozen=True):
    """`line` is where the first of the `replaced` places begins, from 1."""

    path: str
    replaced: int
    line: int


class EditTools:
    """The tools as plain methods over one root."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def write_file(
        self,
        path: Path,
        content: Annotated[str, msgspec.Meta(max_length=MAX_CONTENT)],
        overwrite: bool = False,  # noqa: FBT001, FBT002 - a model gives arguments by name
    ) -> WrittenFile:
        """Write a text file, whole. Missing folders are made.

        Args:
            path: The file, from the root folder.
            content: All that the file is to hold.
            overwrite: Whether a file that is there already is replaced.
        """
        data = _encoded(content)

        def change(before: bytes | None) -> bytes:
            if before is not None and not overwrite:
                raise ToolError(
                    f"{path} is there already; change it by edit_file, or replace it with"
                    " overwrite=true"
                )
            return data

        written = rewrite(self._root, path, change)
        lines = len(content.splitlines())
        return WrittenFile(path, lines, len(written.data), written.created)

    def edit_file(
        self,
        path: Path,
        old: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONTENT)],
        new: Annotated[str, msgspec.Meta(max_length=MAX_CONTENT)],
        every: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> EditedFile:
        """Replace a text in a file. It must stand there exactly once, unless every is true.

        Args:
            path: The file, from the root folder.
            old: The text as it stands in the file, with its line breaks and spaces.
            new: What is to stand in its place; empty to take it out.
            every: Whether all places are replaced.
        """
        for part in (old, new):
            _encoded(part)
        made: list[tuple[int, int]] = []

        def change(before: bytes | None) -> bytes:
            text = _text(before, path)
            changed, count, line = replaced(text, old, new, every=every)
            made.append((count, line))
            return changed.encode()

        rewrite(self._root, path, change)
        count, line = made[0]
        return EditedFile(path, count, line)


def replaced(text: str, old: str, new: str, *, every: bool) -> tuple[str, int, int]:
    """The changed text, how many places, and the line of the first. Pure.

    Line breaks are those of the text, whichever a model wrote. Raises ToolError.
    """
    if "\r\n" in text and old not in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = text.count(old)
    if not count:
        raise ToolError(f"old does not stand in the file{_nearest(text, old)}")
    if count > 1 and not every:
        raise ToolError(
            f"old stands {count} times in the file; give more of the lines around the one that is"
            " meant, or every=true"
        )
    line = text.count("\n", 0, text.index(old)) + 1
    return text.replace(old, new), count, line


def tools(settings: ToolSettings) -> list[AnyTool]:
    """The tools over `settings.root`; none where `settings.write` is off.

    Raises InvalidSettingsError if the root is not a folder.
    """
    if not settings.write:
        return []
    edits = EditTools(Root(settings.root))
    once = tool(effect="once")
    return [once(edits.write_file), once(edits.edit_file)]


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError("the text has half a surrogate pair in it; leave that out") from error


def _text(data: bytes | None, path: str) -> str:
    if data is None:
        raise ToolError(f"there is no {path}; write_file makes it")
    if b"\0" in data:
        raise ToolError(f"{path} is a binary file (it has NUL bytes), not text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolError(f"{path} is not UTF-8, so it is not edited") from error


def _nearest(text: str, old: str) -> str:
    """The line that the model may have meant."""
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = text.splitlines()[:5000]
    stripped = [line.strip()[:300] for line in lines]
    near = difflib.get_close_matches(first[:300], stripped, n=1, cutoff=0.6)
    if not near:
        return "; read it first, and give the text exactly as it stands there"
    number = stripped.index(near[0])
    return f"; line {number + 1} is {lines[number][:200]!r}: give it exactly as it stands there"
