"""Named checks of a text: what an agent task's answer has to pass beside being there.

    json             it is one JSON value
    number           it is one number, and nothing else
    integer          it is one whole number, and nothing else
    one-line         it has no line break
    contains:TEXT    it has this text in it
    regex:PATTERN    the pattern is found in it; matched in linear time, so no pattern takes long

A name comes from a planner, so whoever takes one into a plan checks it first (`check_name`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from galerne.core.answers import check_answer, check_schema
from galerne.errors import InvalidInputError

NUMBER = r"^[+-]?([0-9]+([.][0-9]+)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
INTEGER = r"^[+-]?[0-9]+$"
LONGEST = 500
"""Characters of what stands behind the colon."""


class Validator(msgspec.Struct, frozen=True):
    """`passes` gets the text and what stands behind the colon; `wants` completes `it has to …`."""

    passes: Callable[[str, str], bool]
    wants: str
    takes_argument: bool = False


def _is_json(text: str, _: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _matches(text: str, pattern: str) -> bool:
    try:
        check_answer(text, _schema(pattern))
    except InvalidInputError:
        return False
    return True


def _schema(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


VALIDATORS: Mapping[str, Validator] = {
    "json": Validator(_is_json, "be one JSON value and nothing else"),
    "number": Validator(lambda text, _: _matches(text, NUMBER), "be one number and nothing else"),
    "integer": Validator(
        lambda text, _: _matches(text, INTEGER), "be one whole number and nothing else"
    ),
    "one-line": Validator(lambda text, _: "\n" not in text, "be one line"),
    "contains": Validator(lambda text, part: part in text, "contain", takes_argument=True),
    "regex": Validator(_matches, "match the pattern", takes_argument=True),
}


def check_name(check: str) -> None:
    """Raises InvalidInputError, one line, where no answer could be checked by it."""
    name, _, argument = check.partition(":")
    validator = VALIDATORS.get(name)
    if validator is None:
        raise InvalidInputError(f"there is no check {name[:60]!r}; there are {', '.join(NAMES)}")
    if validator.takes_argument != bool(argument) or len(argument) > LONGEST:
        form = f"{name}:TEXT, of at most {LONGEST} characters" if validator.takes_argument else name
        raise InvalidInputError(f"write the check {name!r} as {form}")
    if name == "regex":
        check_schema(_schema(argument))


def wanted(check: str) -> str:
    """What an answer has to do, as the end of a sentence: `match the pattern "^[0-9]+$"`."""
    name, _, argument = check.partition(":")
    words = VALIDATORS[name].wants
    return f"{words} {msgspec.json.encode(argument).decode()}" if argument else words


def passes(check: str, text: str) -> bool:
    """Whether a text passes a check that `check_name` has let through."""
    name, _, argument = check.partition(":")
    return VALIDATORS[name].passes(text, argument)


NAMES = tuple(
    f"{name}:TEXT" if validator.takes_argument else name for name, validator in VALIDATORS.items()
)
