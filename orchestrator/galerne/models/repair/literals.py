"""A reader of literals: JSON's and Python's in one grammar, and nothing that is evaluated.

One pass from left to right, every character looked at a bounded number of times. It tells two
failures apart: `CutError`, the text ends inside a literal, which may have been going on well, and
`MalformedError`, no continuation could mend it. What JSON cannot carry is malformed too: NaN, an
infinity, a whole number beyond 64 bits, a key that is no text, half of a surrogate pair. So is
what has two meanings: a key that is given twice.
"""

import re
from typing import Any, Final

from galerne.models.repair.strings import quoted, unescaped

MAX_DEPTH: Final = 64
"""Levels of brackets; the arguments of a real call have fewer than ten."""
PENDING: Final = object()
"""Stands in an object for the value of a key that was not read to its end."""

_BLANK: Final = re.compile(r"\s*+(?:#[^\n]*+\s*+)*+")
_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:0|[1-9]\d*+(?:_\d++)*+)(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?(?![\w.])", re.ASCII
)
_NUMBER_BEGINS: Final = re.compile(r"[+-]?[\d.]*[eE]?[+-]?")
_WORD: Final = re.compile(r"[^\W\d]\w*+")
_WORDS: Final = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}
_QUOTES: Final = frozenset("\"'")
_CLOSING: Final = {"[": "]", "(": ")"}
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_MOST_DIGITS: Final = 400


class CutError(Exception):
    """The text ends inside a literal."""


class MalformedError(Exception):
    """What stands there is no literal; the message continues a sentence about the call."""


class Reader:
    """Reads `text` from `at` up to `end`; `at` moves on with what was read."""

    __slots__ = ("_depth", "at", "end", "text")

    def __init__(self, text: str, at: int = 0, end: int | None = None) -> None:
        self.text = text
        self.at = at
        self.end = len(text) if end is None else end
        self._depth = 0

    @property
    def ended(self) -> bool:
        return self.at >= self.end

    def peek(self) -> str:
        """The next character that is not blank (a comment is); empty at the end."""
        blank = _BLANK.match(self.text, self.at, self.end)
        self.at = blank.end() if blank else self.at
        return "" if self.ended else self.text[self.at]

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Move past `pattern` where it stands here."""
        found = pattern.match(self.text, self.at, self.end)
        if found:
            self.at = found.end()
        return found

    def passed(self, character: str) -> bool:
        """Move past `character` where it is the next."""
        if self.peek() != character:
            return False
        self.at += 1
        return True

    def value(self) -> Any:
        """The literal here, as JSON data. Raises CutError or MalformedError."""
        match self.peek():
            case "":
                raise CutError
            case "{":
                members: dict[str, Any] = {}
                if not self.members(members):
                    raise CutError
                return members
            case "[" | "(":
                return self._items()
            case character if character in _QUOTES:
                return self.string()
            case _:
                return self._number_or_word()

    def string(self) -> str:
        """The quoted text here."""
        inside = quoted(self.text, self.at, self.end)
        if inside is None:
            raise CutError
        raw, self.at = inside
        try:
            return unescaped(raw)
        except ValueError as error:
            raise MalformedError(str(error)) from error

    def members(self, into: dict[str, Any]) -> bool:
        """Read the object here into `into`; False where only its closing brace is missing.

        Then every member is whole, and the next character is what stands in the brace's place. On
        an error `into` has the members before it, and `PENDING` under the key that was begun.
        """
        self._enter()
        while not self.passed("}"):
            key = self._key()
            if key is None:
                self._depth -= 1
                return False
            if key in into:
                raise MalformedError(f"gives the key {key[:64]!r} twice")
            into[key] = PENDING
            self._separated()
            into[key] = self.value()
            if not self.passed(","):
                closed = self.peek()
                if closed in {"", "]"}:
                    self._depth -= 1
                    return False
                if closed != "}":
                    raise MalformedError("has members that are not valid JSON")
        self._depth -= 1
        return True

    def _key(self) -> str | None:
        """The next key; None where another object begins instead."""
        match self.peek():
            case "":
                raise CutError
            case "{":
                return None
            case character if character in _QUOTES:
                return self.string()
            case _:
                raise MalformedError("has an object whose key is not a quoted text")

    def _separated(self) -> None:
        if not self.passed(":"):
            if self.ended:
                raise CutError
            raise MalformedError("has members that are not valid JSON")

    def _items(self) -> Any:
        closing = _CLOSING[self.text[self.at]]
        self._enter()
        items: list[Any] = []
        comma = True
        while not self.passed(closing):
            if not comma:
                raise CutError if self.ended else MalformedError("has a list without a comma")
            items.append(self.value())
            comma = self.passed(",")
        self._depth -= 1
        only_grouped = closing == ")" and len(items) == 1 and not comma
        return items[0] if only_grouped else items

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise MalformedError(f"nests more than {MAX_DEPTH} levels deep")
        self.at += 1

    def _number_or_word(self) -> Any:
        if number := self.take(_NUMBER):
            return _number(number[0])
        start = self.at
        if word := self.take(_WORD):
            if word[0] in _WORDS:
                return _WORDS[word[0]]
            if self.ended and any(whole.startswith(word[0]) for whole in _WORDS):
                raise CutError
        elif (begun := self.take(_NUMBER_BEGINS)) and begun[0] and self.ended:
            raise CutError
        self.at = start
        raise MalformedError("has a value that is neither text, number, list nor object")


def _number(written: str) -> int | float:
    if len(written) > _MOST_DIGITS:
        raise MalformedError("has a number too long to be exact; write it as text")
    if written.lstrip("+-").replace("_", "").isdecimal():
        whole = int(written)
        if not _SMALLEST <= whole <= _LARGEST:
            raise MalformedError("has a number beyond 64 bits; write it as text")
        return whole
    fraction = float(written)
    if fraction in {float("inf"), float("-inf")}:
        raise MalformedError("has a number too large; write it as text")
    return fraction
