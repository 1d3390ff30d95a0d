"""Measuring texts, piece by piece, so that a large file costs no memory."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import msgspec

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root, check_wanted

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of a file that is measured: a second or two of one core."""

_PIECE = 256 * 1024


class TextStats(msgspec.Struct, frozen=True):
    """`words` are what whitespace separates; a last line without a newline counts too.

    `characters` are Unicode code points; each byte sequence that is not UTF-8 counts as one or
    more U+FFFD, as Python's `errors="replace"` has it.
    """

    path: str
    words: int
    lines: int
    characters: int
    bytes: int


class TextTools:
    """The tools as plain methods over one root."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def text_stats(self, path: str) -> TextStats:
        """Count the words, lines, characters and bytes of a text file.

        Args:
            path: The file, from the root folder.
        """
        with self._root.open(path) as file:
            return measure(path, _pieces(file, path))


def tools(settings: ToolSettings) -> list[AnyTool]:
    """The text tools over `settings.root`. Raises InvalidSettingsError if it is not a folder."""
    return [tool(effect="pure")(TextTools(Root(settings.root)).text_stats)]


def measure(path: str, pieces: Iterable[bytes]) -> TextStats:
    """Count over a text cut anywhere: `words` is `len(text.split())` of the whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    words = newlines = characters = size = 0
    in_word = False
    ends_line = True
    for piece in chain(pieces, (b"",)):
        text = decoder.decode(piece, final=not piece)
        size += len(piece)
        if not text:
            continue
        characters += len(text)
        newlines += text.count("\n")
        words += len(text.split()) - (in_word and not text[0].isspace())
        in_word = not text[-1].isspace()
        ends_line = text[-1] == "\n"
    return TextStats(path, words, newlines + (not ends_line), characters, size)


def _pieces(file: BinaryIO, path: str) -> Iterator[bytes]:
    size = 0
    while piece := file.read(_PIECE):
        check_wanted()
        size += len(piece)
        if size > MAX_BYTES:
            raise ToolError(f"{path} is larger than {MAX_BYTES >> 20} MB, the limit of text_stats")
        if b"\0" in piece:
            raise ToolError(f"{path} is a binary file (it has NUL bytes), not text")
        yield piece
