"""The plain sentences that carry numbers from task to task, written and read back.

    README.md has 312 words and 40 lines.
    docs has 3 lines that mention "NATS".
    docs has 2 files: a.md and b.md.
    The total of a.txt and b.txt is 332 words.
    312 + 1 = 313 words.

An executor's closing text is the value of its task, so these sentences are all that a later task
knows of it. A number is kept as the tool wrote it, and only ordered here, never computed with.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import takewhile
from typing import Any

import msgspec

from galerne.models.standin.clauses import UNITS, listing

SINGULAR = {"words": "word", "lines": "line", "characters": "character", "bytes": "byte"}
PLURAL = {singular: plural for plural, singular in SINGULAR.items()}

LONGEST_SENTENCE = 20_000
"""Characters; a longer line is none of ours."""

_NUMBER = r"-?\d{1,4000}(?:\.\d{1,4000})?(?:/\d{1,4000})?"
_UNIT = r"words?|lines?|characters?|bytes?"
_HAS_COUNTS = re.compile(
    rf"(?P<name>.+) has (?P<counts>\d{{1,30}} (?:{_UNIT})"
    rf"(?:, \d{{1,30}} (?:{_UNIT})){{0,3}}(?: and \d{{1,30}} (?:{_UNIT}))?)\."
)
_COUNT = re.compile(rf"(?P<value>\d+) (?P<unit>{_UNIT})")
_HAS_MATCHES = re.compile(
    r"(?P<name>.+?) has (?P<value>\d{1,30}) (?P<unit>lines? that mentions? .+)[.:]"
)
_HAS_FILES = re.compile(
    r"(?P<name>.+?) has (?P<value>\d{1,30}) (?P<unit>(?:\S{1,100} )?files?)(?:: .*)?\."
)
_IS = re.compile(
    rf"The (?P<name>(?:total|average|difference)\b.*) is (?P<value>{_NUMBER})"
    rf"(?: (?P<unit>{_UNIT}))?\."
)
_EQUALS = re.compile(rf"(?P<name>.+) = (?P<value>{_NUMBER})(?: (?P<unit>{_UNIT}))?\.")
_FORMS = (_HAS_MATCHES, _HAS_FILES, _IS, _EQUALS)


class Reading(msgspec.Struct, frozen=True):
    """One number: what was measured, in which unit (empty: a plain number), and its exact text."""

    name: str
    unit: str
    value: str

    @property
    def number(self) -> Fraction:
        """For ordering only."""
        return Fraction(self.value)


def is_number(text: str) -> bool:
    """Whether the text is a number that `Reading` takes: an integer, a decimal, a fraction."""
    matched = re.fullmatch(_NUMBER, text, re.ASCII) is not None
    return matched and not re.search(r"/0+$", text)


def amount(value: object, unit: str) -> str:
    """`1 word`, `312 words`, `7`."""
    if not unit:
        return str(value)
    return f"{value} {SINGULAR.get(unit, unit) if str(value) == '1' else unit}"


def counts_sentence(path: str, counts: Mapping[str, int]) -> str:
    amounts = tuple(amount(value, unit) for unit, value in counts.items())
    return f"{path} has {listing(amounts)}."


def matches_unit(text: str) -> str:
    return f'lines that mention "{text}"'


def readings_of(result: str) -> tuple[Reading, ...]:
    """Every number of a task's result: sentences as above, or a tool's typed result as JSON.

    Text of files, which follows `says:` or stands indented, is not read: it could say anything.
    """
    value = json_object(result)
    if value is not None:
        return tuple(_from_object(value))
    own = takewhile(lambda line: not line.endswith(" says:"), result.split("\n"))
    return tuple(reading for line in own for reading in _from_line(line.rstrip()))


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that the text is, if it is one."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def by_unit(readings: Sequence[Reading], unit: str | None) -> dict[str, tuple[Reading, ...]]:
    """Readings grouped by unit in the order of first sight, none twice; `unit` keeps one group."""
    groups: dict[str, list[Reading]] = {}
    for reading in dict.fromkeys(readings):
        if unit is None or reading.unit == unit:
            groups.setdefault(reading.unit, []).append(reading)
    return {name: tuple(group) for name, group in groups.items()}


def _from_line(line: str) -> Iterator[Reading]:
    if line.startswith(" ") or len(line) > LONGEST_SENTENCE:
        return
    counts = _HAS_COUNTS.fullmatch(line)
    if counts:
        for part in _COUNT.finditer(counts["counts"]):
            yield Reading(counts["name"], _plural(part["unit"]), part["value"])
        return
    for form in _FORMS:
        match = form.fullmatch(line)
        if match and is_number(match["value"]):
            groups = match.groupdict(default="")
            yield Reading(groups["name"], _plural(groups["unit"]), groups["value"])
            return


def _from_object(value: dict[str, Any]) -> Iterator[Reading]:
    match value:
        case {"expression": str(expression), "value": str(number)} if is_number(number):
            yield Reading(expression, "", number)
        case {"path": str(path)}:
            for unit in UNITS:
                if isinstance(value.get(unit), int) and not isinstance(value[unit], bool):
                    yield Reading(path, unit, str(value[unit]))
        case _:
            return


def _plural(unit: str) -> str:
    if unit.startswith("line that mentions "):
        return unit.replace("line that mentions", "lines that mention", 1)
    if unit == "file" or unit.endswith(" file"):
        return f"{unit}s"
    return PLURAL.get(unit, unit)
