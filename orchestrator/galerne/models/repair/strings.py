r"""Quoted text as models write it: JSON's, Python's, and Markdown's stray backslashes.

A string ends at its own quote and nowhere else; a line break inside is text, although both
languages forbid it. An escape that neither language has keeps its backslash, as in Python, except
`\_`, which is Markdown's way to write an underscore.
"""

import re
from typing import Final

_CLOSED: Final = {
    '"""': re.compile(r'((?:[^"\\]++|\\.|"(?!""))*)"""', re.DOTALL),
    "'''": re.compile(r"((?:[^'\\]++|\\.|'(?!''))*)'''", re.DOTALL),
    '"': re.compile(r'([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL),
    "'": re.compile(r"([^'\\]*+(?:\\.[^'\\]*+)*+)'", re.DOTALL),
}
_ESCAPE: Final = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|(.))",
    re.DOTALL,
)
_SHORT: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "\n": "",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "/": "/",
    "_": "_",
}
_NEED_DIGITS: Final = frozenset("uxUN")
_LAST_CODE_POINT: Final = 0x10FFFF


def quoted(text: str, at: int, end: int) -> tuple[str, int] | None:
    """The raw inside of the string that opens at `at`, and where it ends; None where it is cut."""
    mark = text[at]
    if text.startswith(mark * 3, at, end):
        mark *= 3
    found = _CLOSED[mark].match(text, at + len(mark), end)
    return (found[1], found.end()) if found else None


def unescaped(raw: str) -> str:
    """What `raw` says. Raises ValueError, with what is wrong, where that is no valid text."""
    value = _ESCAPE.sub(_said, raw) if "\\" in raw else raw
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError("has half of a surrogate pair in a text") from error
    return value


def plain_name(written: str) -> str:
    """A name without the quotes, blanks and Markdown escapes around and in it."""
    return written.strip().strip("\"'`").replace("\\_", "_").replace("\\", "")


def _said(escape: re.Match[str]) -> str:
    high, low, *digits, letter = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if letter is None:
        number = int(next(filter(None, digits)), 16)
        if number > _LAST_CODE_POINT:
            raise ValueError("has an escape beyond Unicode in a text")
        return chr(number)
    if letter in _NEED_DIGITS:
        raise ValueError(f"has an invalid escape \\{letter} in a text")
    return _SHORT.get(letter, f"\\{letter}")
