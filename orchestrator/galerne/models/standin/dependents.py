"""Reading a clause that works on the numbers of earlier ones: compare, combine, rank, adjust."""

import re
from itertools import pairwise

from galerne.models.standin.clauses import (
    COMPARISONS,
    Adjust,
    Clause,
    Combination,
    Combine,
    Compare,
    Compute,
    Count,
    Dependent,
    Operator,
    Order,
    Rank,
    Unit,
)
from galerne.models.standin.lexing import Span
from galerne.models.standin.scanning import scan_loosely
from galerne.models.standin.vocabulary import words

COMBINATIONS: dict[str, Combination] = {
    "total": "total", "sum": "total", "add": "total", "together": "total",
    "difference": "difference", "subtract": "difference", "average": "average", "mean": "average",
}  # fmt: skip
RANKING = frozenset({"sort", "rank", "order"})
ADJUSTING: dict[str, Operator] = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LEAST_FIRST = frozenset({"ascending", "increasing"})
_ADJUST_WORDS = words(
    "add subtract multiply divide to from by it this that them the result number total sum "
    "each up value more"
)


def read_dependent(span: Span) -> tuple[Clause, ...]:
    """The clauses of a span, files to count first; empty where it is not of this kind."""
    numbers = [token.text for token in span if _NUMBER.fullmatch(token.text)]
    places = scan_loosely(span)
    if numbers and not places.paths and (calculated := _arithmetic(span, numbers)):
        return calculated
    dependents = _dependents(span, _one(places.units), places.paths)
    if not dependents or (numbers and span[0].word in ADJUSTING):
        return ()
    units = places.units or _usual_units(dependents[0])
    counts = [Count(units, path) for path in places.paths]
    return (*counts, *dependents)


def _dependents(span: Span, unit: Unit | None, about: tuple[str, ...]) -> tuple[Dependent, ...]:
    words = [token.word for token in span]
    if words[0] in RANKING:
        return (Rank(_order(words), unit, about),)
    found: list[Dependent] = []
    comparison = next((word for word in words if word in COMPARISONS), None)
    combination = _combination(words)
    if comparison and (combination is None or "which" in words):
        found.append(Compare(comparison, unit, about))
        combination = "difference" if ("by", "how") in pairwise(words) else None
    elif words[0] == "compare":
        found.append(Compare("longer", unit, about))
    if combination:
        found.append(Combine(combination, unit, about))
    return tuple(found)


def _arithmetic(span: Span, numbers: list[str]) -> tuple[Clause, ...]:
    """`add 1`, `divide it by 2`; or, with all the numbers there, `the sum of 3 and 4`."""
    words = [token.word for token in span if token.kind == "word"]
    operator = ADJUSTING.get(words[0]) if words else None
    if len(numbers) == 1 and operator:
        spare = [word for word in words if word not in _ADJUST_WORDS and word not in numbers]
        return () if spare else (Adjust(operator, numbers[0]),)
    if len(numbers) > 1 and operator in {"*", "/"}:
        return (Compute(f" {operator} ".join(numbers)),)
    match _combination(words):
        case "total" if len(numbers) > 1:
            return (Compute(" + ".join(numbers)),)
        case "average" if len(numbers) > 1:
            return (Compute(f"({' + '.join(numbers)}) / {len(numbers)}"),)
        case _:
            return ()


def _combination(words: list[str]) -> Combination | None:
    return next((COMBINATIONS[word] for word in words if word in COMBINATIONS), None)


def _order(words: list[str]) -> Order:
    comparison = next((COMPARISONS[word] for word in words if word in COMPARISONS), None)
    if _LEAST_FIRST & set(words) or comparison in {"short", "small", "few"}:
        return "least"
    return "most"


def _one(units: tuple[Unit, ...]) -> Unit | None:
    return units[0] if len(units) == 1 else None


def _usual_units(clause: Dependent) -> tuple[Unit, ...]:
    if isinstance(clause, Compare) and COMPARISONS[clause.word] in {"large", "small"}:
        return ("bytes",)
    return ("words",)
