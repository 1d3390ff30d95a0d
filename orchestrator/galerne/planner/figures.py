r"""The numbers of results, worked out before a model reads them.

    {"path": "a.txt", "words": 295}, {"path": "b.txt", "words": 391}
      ─▶  words, largest first: 391 (b.txt), 295 (a.txt); total 686

Small models compare two numbers by repeating the first, and add them wrongly; what stands in their
prompt they can read. A field is told of where several records have a number in it: results of
tasks, or elements of a list. A record is called by the text in it that no other one has, and one
that repeats another is none; where it has no text, it may repeat it or be another one like it, so
its fields have no total.

    "# 5. Leases\nA lease …"
      ─▶  task 1 is a text of 19 lines; its first line: # 5. Leases

Of a text they miscount the lines, and give a first line that stands escaped in their prompt with
the backslash, or without the mark behind it. One that ends with a note in brackets is only a part.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, cast

import msgspec

from galerne.core.one_line import line_count, one_line
from galerne.core.refs import parsed
from galerne.planner.sections import section

INTRODUCTION: Final = "The numbers of the results, compared and added up exactly:"
TEXTS: Final = 4
"""Texts of several lines that are told of, the first ones."""
FIRST: Final = 120
"""Characters of a text's first line; a longer one is not told."""
FIELDS: Final = 8
"""Fields that are told of, in the order in which they come."""
SHOWN: Final = 12
"""Records of a field that are shown: of more, the largest and the smallest."""
LEAST: Final = 3
"""How many of those are the smallest."""
MOST: Final = 20_000
"""Records that are put in order. Of more nothing is told: the total of a part is none."""
NAME: Final = 80
"""Characters of a record's name."""
_ENDS_WITH_A_NOTE: Final = re.compile(r"\n\[[^\n]*\]\n?\Z")
_WORD: Final = re.compile(r"\w")
_LARGEST: Final = 10**15
_SMALLEST: Final = 10**-9


class _Record(msgspec.Struct, frozen=True):
    """`place` says where it stands: `task 2`, or `task 2, element 5`."""

    place: str
    fields: Mapping[str, Any]
    may_repeat: bool = False


def figures_section(results: Mapping[str, Any], *, bare: bool = True) -> list[str]:
    """A part of a prompt, or none."""
    compared = figures(results, bare=bare)
    lines = [*_texts(results), *([f"{INTRODUCTION}\n{compared}"] if compared else ())]
    return [section("# Figures", "\n".join(lines))] if lines else []


def figures(results: Mapping[str, Any], *, bare: bool = True) -> str:
    """A line a field; empty where no field has several numbers. `results`: task id → JSON value.

    Results that are nothing but a number are compared where they are `bare`: not among all results
    of a job, of which one may be the sum of others.
    """
    records = [one for one in _records(results) if bare or "" not in one.fields]
    names = _names(records)
    fields: dict[str, list[tuple[Decimal, str]]] = {}
    for record, name in zip(records, names, strict=True):
        for field, value in record.fields.items():
            if (number := _number(value)) is not None:
                fields.setdefault(field, []).append((number, name))
    several = [(field, numbers) for field, numbers in fields.items() if len(numbers) > 1]
    unsure = {field for record in records if record.may_repeat for field in record.fields}
    return "\n".join(
        _line(field, numbers, has_total=field not in unsure) for field, numbers in several[:FIELDS]
    )


def _texts(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each text of several lines."""
    texts = (
        (task, value)
        for task, value in results.items()
        if isinstance(value, str) and isinstance(_opened(value), str)
    )
    several = ((task, text) for task, text in texts if "\n" in text.strip("\n"))
    for task, text in islice(several, TEXTS):
        if _ENDS_WITH_A_NOTE.search(text):
            continue
        first = text.partition("\n")[0].strip()
        is_told = len(first) <= FIRST and first.isprintable() and _WORD.search(first)
        told = f"; its first line: {first}" if is_told else ""
        yield f"task {task} is a text of {line_count(text)} lines{told}"


def _line(field: str, numbers: Sequence[tuple[Decimal, str]], *, has_total: bool) -> str:
    in_order = sorted(numbers, key=lambda one: -one[0])
    shown = [f"{_text(number)} ({name})" for number, name in in_order]
    if len(shown) > SHOWN:
        shown[SHOWN - LEAST : -LEAST] = [f"… {len(shown) - SHOWN} more …"]
    total = sum((number for number, _ in numbers), Decimal(0))
    title = f"{one_line(field, NAME)}, " if field else ""
    in_all = f"; total {_text(total)}" if has_total else ""
    return f"{title}largest first: {', '.join(shown)}{in_all}"


def _records(results: Mapping[str, Any]) -> list[_Record]:
    found: list[_Record] = []
    for task, result in results.items():
        value = _opened(result)
        if isinstance(value, list):
            elements = cast("Sequence[Any]", value)
            found += (
                _Record(f"task {task}, element {n}", _fields(_opened(one)))
                for n, one in enumerate(elements[: MOST + 1], 1)
            )
        else:
            record = _of_task(f"task {task}", _fields(value), found)
            found += [] if record is None else [record]
        if len(found) > MOST:
            return []
    return found


def _of_task(place: str, fields: dict[str, Any], before: Sequence[_Record]) -> _Record | None:
    """None: it repeats one of those before it."""
    record = _Record(place, fields)
    if "" in fields or fields not in [one.fields for one in before]:
        return record
    has_name = next(_short_texts(record), None) is not None
    return None if has_name else _Record(place, fields, may_repeat=True)


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}


def _opened(value: Any) -> Any:
    """A record or a list that a model has written as text; a number in a text is a text."""
    is_document = isinstance(inside := parsed(value), dict | list)
    return cast("Any", inside) if is_document else value


def _names(records: Sequence[_Record]) -> Iterator[str]:
    """The first of its texts that no other record has in that field, or its place."""
    seen: dict[tuple[str, str], int] = {}
    for record in records:
        for field, value in _short_texts(record):
            seen[field, value] = seen.get((field, value), 0) + 1
    for record in records:
        own = (value for field, value in _short_texts(record) if seen[field, value] == 1)
        yield one_line(next(own, record.place), NAME)


def _short_texts(record: _Record) -> Iterator[tuple[str, str]]:
    for field, value in record.fields.items():
        if field and isinstance(value, str) and 0 < len(value) <= NAME:
            yield field, value


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(str(value)) if not value or _SMALLEST < abs(value) < _LARGEST else None


def _text(number: Decimal) -> str:
    """Without an exponent and without zeros behind the point."""
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
