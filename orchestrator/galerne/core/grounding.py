"""Which numbers of a text no result says: from data to data.

    text ─▶ 10, 17       what it states: whole numbers and decimals that stand by themselves
    results ─▶ 17, 388   every number in them, and how long each list is
             ─▶ 702      sums, differences, products, ratios and means of numbers under one name

A number of the text is supported where one of the results, rounded as the text rounds it, is that
number. Models of every size write others: they count and add badly, and nobody sees it in a
sentence. Numbers in names, dates, times and units (`5km`), marks (`[2]`) and the numbers of list
items are no statements, and 0 is none either: what is not there has no digits.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import combinations
from typing import Any, Final, cast

from galerne.core.refs import parsed

MOST_PAIRS: Final = 40
"""Numbers under one name that are still taken in pairs: among more, any number would be found."""
MOST_TOLD: Final = 20
"""Numbers of a text that are told of."""
MOST_READ: Final = 500_000
"""Characters of all results that are read, so that none keeps a worker busy: a quarter second.
Models read less of them; where there are more, nobody knows what is said, and nothing is told."""
_DIGITS_AS_TEXT = 10
"""Characters that a value counts as which is no text."""
DIGITS: Final = 30
"""Longer ones are names."""

_PLAIN = r"[0-9]{1,31}(?:,[0-9]{3}(?![0-9]))*+(?:\.[0-9]{1,31})?+"
_STATED = re.compile(rf"(?<![\w./:#\\-])(?<![0-9],)-?({_PLAIN})(?![\w/:\\-])(?!\.[\w/])(%?)")
_SAID = re.compile(_PLAIN)
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")
_NO_STATEMENT = re.compile(
    r"\[[A-Za-z0-9_, -]{1,200}\]"  # marks of tasks
    r"|^[ \t]*[0-9]{1,3}[.)](?=\s)"  # of list items
    r"|\b(?:task|step)s? [0-9]{1,4}\b",
    re.MULTILINE | re.IGNORECASE,
)
_EXACT = Context(prec=3 * DIGITS)


class Sources:
    """What results say, of which a text may make statements, and how many they are.

    `words` are texts whose numbers may be repeated: what was asked for.
    """

    def __init__(self, results: Sequence[Any], words: Iterable[str] = ()) -> None:
        self._said: set[Decimal] = set()
        self._by_name: defaultdict[str, list[Decimal]] = defaultdict(list)
        """The numbers that are values, under the names of their fields."""
        self._rounded: dict[tuple[int, int], set[Decimal]] = {}
        self._left = MOST_READ
        for result in results:
            self._take(_opened(result))
        for numbers in self._by_name.values():
            self._said.update(_reckoned(numbers))
        self._said.add(Decimal(len(results)))
        for text in words:
            self._said.update(_numbers(text[:MOST_READ]))

    @property
    def are_known(self) -> bool:
        """Whether all of them was read."""
        return self._left >= 0

    @property
    def have_figures(self) -> bool:
        """Whether there are values to reckon with, and not only texts that numbers stand in."""
        return bool(self._by_name)

    def say(self, stated: str, *, percent: bool = False) -> bool:
        """Whether a number, as a text writes it, is one of theirs."""
        number = _decimal(stated)
        if number is None or not number or number in self._said:
            return True
        decimals = len(stated.partition(".")[2])
        return number in self._round(decimals, 1) or (
            percent and number in self._round(decimals, 100)
        )

    def _round(self, decimals: int, factor: int) -> set[Decimal]:
        found = self._rounded.get((decimals, factor))
        if found is None:
            step = Decimal(1).scaleb(-min(decimals, DIGITS))
            found = {
                (number * factor).quantize(step, ROUND_HALF_UP, _EXACT)
                for number in self._said
                if number.adjusted() < DIGITS
            }
            self._rounded[decimals, factor] = found
        return found

    def _take(self, result: Any) -> None:
        todo: list[tuple[str, Any]] = [("", result)]
        while todo and self._left >= 0:
            name, value = todo.pop()
            self._left -= len(value) if isinstance(value, str) else _DIGITS_AS_TEXT
            match value:
                case bool() | None:
                    pass
                case int() | float():
                    self._value(name, _digits(value))
                case str():
                    self._text(name, value)
                case dict():
                    fields = cast("Mapping[Any, Any]", value)
                    todo += ((str(key), inner) for key, inner in fields.items())
                    self._said.update(_numbers(" ".join(map(str, fields))))
                case list() | tuple():
                    elements = cast("Sequence[Any]", value)
                    self._value("how many", str(len(elements)))
                    todo += ((name, inner) for inner in elements)
                case _:
                    self._text(name, str(value))

    def _value(self, name: str, digits: str) -> None:
        number = _decimal(digits)
        if number is not None:
            self._by_name[name].append(number)
            self._said.add(number)

    def _text(self, name: str, text: str) -> None:
        if self._left < 0:
            return
        alone = _STATED.fullmatch(text.strip())
        if alone is not None:
            self._value(name, alone[1])
        self._said.update(_numbers(text))


def unsupported(value: Any, sources: Sources, doubtful: Iterable[str] = ()) -> tuple[str, ...]:
    """The numbers that a value states and no source says, as they stand there, each once.

    `doubtful` are what earlier tasks have stated so: repeating them does not support them.
    """
    doubted = {_decimal(one) for one in doubtful}
    text = "\n".join(_texts(value))[:MOST_READ]
    found: dict[str, None] = {}
    for one in _STATED.finditer(_NO_STATEMENT.sub(" ", text)):
        stated = one[1]
        number = _decimal(stated)
        if number is None:
            continue
        is_said = not sources.are_known or sources.say(stated, percent=bool(one[2]))
        if number in doubted or not is_said:
            found.setdefault(stated)
    return tuple(found)[:MOST_TOLD]


def remark(numbers: Sequence[str]) -> str:
    """One line for people."""
    return f"no tool's result says {', '.join(numbers)}: it is the model's own word"


def _texts(value: Any) -> Iterator[str]:
    """A text as it is; of another value what stands in it, in order."""
    todo: list[Any] = [_opened(value)]
    while todo:
        value = todo.pop()
        match value:
            case dict():
                todo += reversed(list(cast("Mapping[str, Any]", value).values()))
            case list() | tuple():
                todo += reversed(cast("Sequence[Any]", value))
            case bool() | None:
                pass
            case int() | float():
                yield _digits(value)
            case _:
                yield str(value)


def _digits(number: float) -> str:
    """Of a number that is none to anybody, nothing."""
    return str(number) if abs(number) < 10**DIGITS else ""


def _opened(result: Any) -> Any:
    """What stands as JSON in a text counts as what it says."""
    return parsed(result) if isinstance(result, str) and len(result) <= MOST_READ else result


def _numbers(text: str) -> Iterator[Decimal]:
    """Those in digits, and the small ones in words."""
    yield from (number for one in _SAID.findall(text) if (number := _decimal(one)) is not None)
    yield from (Decimal(_WORDS.index(word)) for word in _WORD.findall(text.lower()))


def _reckoned(numbers: Sequence[Decimal]) -> Iterator[Decimal]:
    total = sum(numbers, Decimal(0))
    yield total
    yield _EXACT.divide(total, Decimal(len(numbers)))
    for one, other in combinations(numbers, 2) if len(numbers) <= MOST_PAIRS else ():
        yield from (one + other, abs(one - other), _EXACT.multiply(one, other))
        if one and other:
            ratio, inverse = _EXACT.divide(one, other), _EXACT.divide(other, one)
            yield from (ratio, inverse, abs(ratio - 1), abs(inverse - 1))


def _decimal(digits: str) -> Decimal | None:
    """Its size; None for what is a name: too long, or with zeros in front (`0012`)."""
    plain = digits.replace(",", "").lstrip("-")
    if re.match(r"0[0-9]{2}", plain):
        return None
    try:
        number = Decimal(plain)
    except ArithmeticError:
        return None
    return number if number.is_finite() and number.adjusted() < DIGITS else None
