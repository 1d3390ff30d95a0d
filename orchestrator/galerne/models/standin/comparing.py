"""Which number stands out, and in what order they come: sentences about readings of one unit."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

from galerne.models.standin.clauses import (
    COMPARATIVES,
    SUPERLATIVES,
    Adjective,
    Order,
    listing,
)
from galerne.models.standin.measures import Reading, amount, by_unit

Readings = Sequence[Reading]


def compare(readings: Readings, adjective: Adjective, unit: str | None) -> str | None:
    """One sentence for each unit in which at least two things were measured; None without one."""
    groups = _comparable(readings, unit)
    return _by_units({name: _stands_out(group, adjective) for name, group in groups.items()})


def rank(readings: Readings, first: Order, unit: str | None) -> str | None:
    """All things in order, those with the same number together; None with nothing to rank."""
    groups = _comparable(readings, unit)
    return _by_units({name: _ranked(group, first) for name, group in groups.items()})


def names(readings: Readings) -> str:
    """`a.txt, b.txt and c.txt`, or how many there are where the list would be long."""
    if len(readings) > 8:  # noqa: PLR2004 - what fits in one readable line
        return f"all {len(readings)}"
    return listing(tuple(reading.name for reading in readings))


def extremes(readings: Readings) -> tuple[Reading, Reading]:
    """The reading with the largest number and the one with the smallest, of at least one."""
    return max(readings, key=_number), min(readings, key=_number)


def _comparable(readings: Readings, unit: str | None) -> dict[str, tuple[Reading, ...]]:
    return {name: group for name, group in by_unit(readings, unit).items() if len(group) > 1}


def _by_units(sentences: dict[str, str]) -> str | None:
    if len(sentences) < 2:  # noqa: PLR2004 - one unit needs no heading
        return next(iter(sentences.values()), None)
    return "\n".join(f"By {unit or 'value'}: {text}" for unit, text in sentences.items())


def _number(reading: Reading) -> Fraction:
    return reading.number


def _stands_out(group: tuple[Reading, ...], adjective: Adjective) -> str:
    most, least = extremes(group)
    best = most if adjective in {"long", "large", "many"} else least
    winners = tuple(r for r in group if r.number == best.number)
    others = tuple(r for r in group if r.number != best.number)
    counted = adjective in {"many", "few"}
    if not others:
        same = f"have equally many {best.unit}".rstrip() if counted else f"are equally {adjective}"
        return f"{names(winners)} {same}: {amount(best.value, '' if counted else best.unit)} each."
    if len(winners) == len(others) == 1:
        return _pair(best, others[0], adjective)
    shown = amount(best.value, "" if counted and best.unit else best.unit)
    against = listing(tuple(f"{r.value} ({r.name})" for r in others))
    each = " each" if len(winners) > 1 else ""
    return f"{names(winners)} {_title(winners, adjective)}: {shown}{each}, against {against}."


def _title(winners: tuple[Reading, ...], adjective: Adjective) -> str:
    several = len(winners) > 1
    if adjective in {"many", "few"}:
        verb = "share" if several else "has"
        return f"{verb} the {SUPERLATIVES[adjective]} {winners[0].unit}".rstrip()
    if several:
        return f"are equally {adjective} and the {SUPERLATIVES[adjective]}"
    return f"is the {SUPERLATIVES[adjective]}"


def _pair(best: Reading, other: Reading, adjective: Adjective) -> str:
    word = COMPARATIVES[adjective]
    if adjective in {"many", "few"} and best.unit:
        what, shown = f"has {word} {best.unit}", best.value
    else:
        verb = "has" if adjective in {"many", "few"} else "is"
        what, shown = f"{verb} {word}", amount(best.value, best.unit)
    return f"{best.name} {what} than {other.name}: {shown} against {other.value}."


def _ranked(group: Readings, first: Order) -> str:
    ordered = sorted(group, key=_number, reverse=first == "most")
    steps: list[str] = []
    for _, tied in groupby(ordered, key=_number):
        equal = tuple(tied)
        value = next(reading.value for reading in equal)
        each = " each" if len(equal) > 1 else ""
        steps.append(f"{listing(tuple(r.name for r in equal))} ({value}{each})")
    unit = f" by {group[0].unit}" if group[0].unit else ""
    other = "least" if first == "most" else "most"
    return f"Ranked{unit}, from {first} to {other}: {', '.join(steps)}."
