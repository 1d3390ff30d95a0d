"""Which numbers of a text no result says: from data to data.

    text ─▶ 10, 17       what it states: whole numbers and decimals that stand by themselves
    results ─▶ 17, 388   every number in them, how long each list is, how many lines a text has
             ─▶ 702      what follows from numbers under one name: sums, differences, products,
                         ratios, means, shares; and of each with a number that was asked about

A number of the text is supported where one of the results, rounded as the text rounds it, is that
number. Models of every size write others: they count and add badly, and nobody sees it in a
sentence. How numbers are written, and which are no statements: `core.numerals`; 0 is none either:
what is not there has no digits.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, islice, product
from typing import Any, Final, cast

from galerne.core.numerals import EXACT, Stated, decimal, digits_of, numbers, stated, values
from galerne.core.one_line import line_count
from galerne.core.refs import parsed

MOST_PAIRS: Final = 40
"""Numbers under one name that are still taken in pairs: among more, any number would be found."""
MOST_RECKONED: Final = 30_000
"""Numbers that are worked out so, of all names: of more, any number would be one, too."""
MOST_ASKED: Final = 8
"""Numbers of what was asked that are reckoned with, the first ones."""
LEAST_ASKED: Final = 12
"""Above this: with smaller ones, whatever is wrong by a little would follow."""
MOST_STATED: Final = 5_000
"""Numbers of a text that are looked for."""
MOST_TEXTS: Final = 2_000
"""Texts in which a number is looked for that stands alone."""
MOST_TOLD: Final = 20
"""Numbers of a text that are told of."""
MOST_READ: Final = 500_000
"""Characters of all results that are read, so that none keeps a worker busy: under a second. Models
read less of them; where there are more, nobody knows what is said, and nothing is told."""
_LEAST_READ = 10
"""Characters that each value counts as."""
_SHOWN = 6
_SHORT = 400
"""Characters of a text whose only number is a value."""


class Sources:
    """What results say, of which a text may make statements, and how many they are.

    `words` are texts whose numbers may be repeated, and reckoned with: what was asked for.
    """

    def __init__(self, results: Sequence[Any], words: Iterable[str] = ()) -> None:
        self._said: set[Decimal] = {Decimal(len(results))}
        self._by_name: defaultdict[str, list[Decimal]] = defaultdict(list)
        """The numbers that are values, under the names of their fields."""
        self._in_texts: list[Decimal] = []
        """Those that stand alone in a text of their own."""
        self._left = MOST_READ
        self._texts_left = MOST_TEXTS
        for result in results:
            self._take(_opened(result))
            if isinstance(result, str):
                self._said.add(Decimal(line_count(result)))
        asked = list(numbers("\n".join(words)[:MOST_READ]))
        self._said.update(asked)
        self._reckon([one for one in dict.fromkeys(asked) if one > LEAST_ASKED][:MOST_ASKED])
        self._in_order = sorted(self._said)

    @property
    def are_known(self) -> bool:
        """Whether all of them was read."""
        return self._left >= 0

    @property
    def numbers(self) -> int:
        """How many different ones they say."""
        return len(self._in_order)

    @property
    def have_figures(self) -> bool:
        """Whether there are values to reckon with, and not only texts that numbers stand in."""
        return bool(self._by_name)

    def say(self, one: Stated) -> bool:
        """Whether a number, as a text writes it, is one of theirs, or zero."""
        return any(not number or self._between(low, high) for number, low, high in one.meant)

    def _between(self, low: Decimal, high: Decimal) -> bool:
        at = bisect_left(self._in_order, low)
        return at < len(self._in_order) and self._in_order[at] < high

    def _reckon(self, asked: Sequence[Decimal]) -> None:
        """The names with few numbers first: what follows from them is most likely meant."""
        if not self.are_known:
            return
        left = MOST_RECKONED
        for several in sorted((*self._by_name.values(), self._in_texts), key=len):
            if several:
                found = set(islice(_reckoned(several, asked), left))
                left -= len(found)
                self._said |= found

    def _take(self, result: Any) -> None:
        todo: list[tuple[str, Any]] = [("", result)]
        while todo and self._left >= 0:
            name, value = todo.pop()
            self._left -= max(_LEAST_READ, len(value) if isinstance(value, str) else 0)
            match value:
                case bool() | None:
                    pass
                case int() | float():
                    self._value(name, digits_of(value))
                case str():
                    self._text(name, value)
                case dict():
                    named = cast("Mapping[Any, Any]", value)
                    fields = {str(key): one for key, one in named.items()}
                    todo += fields.items()
                    self._left -= sum(map(len, fields))
                    self._text("", " ".join(fields), alone=False)
                case list() | tuple():
                    elements = cast("Sequence[Any]", value)
                    self._value("how many", str(len(elements)))
                    todo += ((name, inner) for inner in elements)
                case _:
                    self._text(name, str(value))

    def _value(self, name: str, digits: str) -> None:
        number = decimal(digits)
        if number is not None:
            self._by_name[name].append(number)
            self._said.add(number)

    def _text(self, name: str, text: str, *, alone: bool = True) -> None:
        if self._left < 0:
            return
        found = list(numbers(text))
        self._said.update(found)
        if not alone or not found or len(text) > _SHORT or not self._texts_left:
            return
        self._texts_left -= 1
        states = list(islice(stated(text), 2))
        if len(states) == 1 and len(meant := values(states[0].text)) == 1:
            is_value = states[0].text == text.strip().lstrip("-")
            (self._by_name[name] if is_value else self._in_texts).extend(meant)


def unsupported(value: Any, sources: Sources, doubtful: Iterable[str] = ()) -> tuple[str, ...]:
    """The numbers that a value states and no source says, as they stand there, each once.

    `doubtful` are what earlier tasks have stated so: repeating them does not support them.
    """
    doubted = frozenset[Decimal]().union(*map(values, doubtful))
    text = "\n".join(_texts(value))[:MOST_READ]
    found: dict[str, None] = {}
    for one in islice(stated(text), MOST_STATED):
        found |= dict.fromkeys(_missing(one, sources, doubted))
        if len(found) >= MOST_TOLD:
            break
    return tuple(found)[:MOST_TOLD]


def remark(numbers: Sequence[str]) -> str:
    """One line for people, who are told of the first few; programs are told of all."""
    between = "; " if any("," in number for number in numbers) else ", "
    shown = between.join(numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"no tool's result says {shown}{more}: the model's own word"


def _missing(one: Stated, sources: Sources, doubted: frozenset[Decimal]) -> list[str]:
    """The text of a number that is not said; where it may be a list, of its parts that are not."""
    if values(one.text) & doubted:
        return [one.text]
    if not sources.are_known or sources.say(one):
        return []
    parts = [text for part in one.parts for text in _missing(part, sources, doubted)]
    return [one.text] if one.meant and (parts or not one.parts) else parts


def _texts(value: Any) -> Iterator[str]:
    """A text as it is; of another value what stands in it, in order."""
    todo: list[Any] = [_opened(value)]
    while todo:
        value = todo.pop()
        match value:
            case dict():
                todo += reversed(list(cast("Mapping[str, Any]", value).values()))
            case list() | tuple():
                todo += reversed(_without_ranks(cast("Sequence[Any]", value)))
            case bool() | None:
                pass
            case int() | float():
                yield digits_of(value)
            case _:
                yield str(value)


def _without_ranks(elements: Sequence[Any]) -> Sequence[Any]:
    """Without the fields that only number a list's objects: 1, 2, 3, or from 0."""
    if len(elements) < 2 or not all(isinstance(one, dict) for one in elements):  # noqa: PLR2004
        return elements
    records = cast("Sequence[Mapping[str, Any]]", elements)
    ranks = [list(range(first, first + len(records))) for first in (0, 1)]
    names = {name for name in records[0] if [one.get(name) for one in records] in ranks}
    return [{name: one for name, one in each.items() if name not in names} for each in records]


def _opened(result: Any) -> Any:
    """What stands as JSON in a text counts as what it says."""
    return parsed(result) if isinstance(result, str) and len(result) <= MOST_READ else result


def _reckoned(several: Sequence[Decimal], asked: Sequence[Decimal]) -> Iterator[Decimal]:
    total, how_many = sum(several, Decimal(0)), Decimal(len(several))
    yield from (total, how_many, EXACT.divide(total, how_many))
    if len(several) > MOST_PAIRS:
        return
    if total:
        yield from (EXACT.divide(one, total) for one in several)
    for one, other in combinations(several, 2):
        yield from _of_two(one, other)
    for one, other in product(several, asked):
        yield from _of_two(one, other)
        yield EXACT.multiply(one, other) / 100


def _of_two(one: Decimal, other: Decimal) -> Iterator[Decimal]:
    yield from (one + other, abs(one - other), EXACT.multiply(one, other))
    if one and other:
        ratio, inverse = EXACT.divide(one, other), EXACT.divide(other, one)
        yield from (ratio, inverse, abs(ratio - 1), abs(inverse - 1))
