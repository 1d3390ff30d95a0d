"""What the stand-in model can do, one struct each, and the sentence that asks an executor for it.

The planner's rules read a goal into clauses and write each one as the instruction of a task with
`phrase`; the executor's rules read that sentence with the same grammar, so `phrase` and the
grammar undo each other.
"""

import re
from typing import Literal, get_args

import msgspec

Unit = Literal["words", "lines", "characters", "bytes"]
Adjective = Literal["long", "short", "large", "small", "many", "few"]
Combination = Literal["total", "difference", "average"]
Operator = Literal["+", "-", "*", "/"]
Order = Literal["most", "least"]

UNITS: tuple[Unit, ...] = get_args(Unit)

COMPARISONS: dict[str, Adjective] = {
    "longer": "long", "longest": "long", "shorter": "short", "shortest": "short",
    "larger": "large", "largest": "large", "bigger": "large", "biggest": "large",
    "greater": "large", "greatest": "large", "higher": "large", "highest": "large",
    "smaller": "small", "smallest": "small", "lower": "small", "lowest": "small",
    "more": "many", "most": "many", "maximum": "many",
    "fewer": "few", "fewest": "few", "less": "few", "least": "few", "minimum": "few",
}  # fmt: skip
SUPERLATIVES: dict[Adjective, str] = {
    "long": "longest",
    "short": "shortest",
    "large": "largest",
    "small": "smallest",
    "many": "most",
    "few": "fewest",
}
COMPARATIVES: dict[Adjective, str] = {
    "long": "longer",
    "short": "shorter",
    "large": "larger",
    "small": "smaller",
    "many": "more",
    "few": "fewer",
}


class Count(msgspec.Struct, frozen=True):
    """Text statistics of one file."""

    units: tuple[Unit, ...]
    path: str


class CountEach(msgspec.Struct, frozen=True):
    """Text statistics of every file of a folder that matches a pattern."""

    units: tuple[Unit, ...]
    folder: str
    pattern: str


class ListFiles(msgspec.Struct, frozen=True):
    folder: str
    pattern: str


class Search(msgspec.Struct, frozen=True):
    text: str
    path: str
    pattern: str


class ReadFile(msgspec.Struct, frozen=True):
    """`lines` None reads as much as the tool gives; lines count from 1."""

    path: str
    start: int = 1
    lines: int | None = None


class Compute(msgspec.Struct, frozen=True):
    expression: str


class Compare(msgspec.Struct, frozen=True):
    """Which of the earlier numbers stands out; `word` is the goal's own (a key of COMPARISONS)."""

    word: str
    unit: Unit | None = None
    about: tuple[str, ...] = ()


class Combine(msgspec.Struct, frozen=True):
    how: Combination
    unit: Unit | None = None
    about: tuple[str, ...] = ()


class Rank(msgspec.Struct, frozen=True):
    """Earlier numbers in order, `first` of them first."""

    first: Order
    unit: Unit | None = None
    about: tuple[str, ...] = ()


class Adjust(msgspec.Struct, frozen=True):
    """One more operation on the number before."""

    operator: Operator
    operand: str


class Report(msgspec.Struct, frozen=True):
    """"Tell me the results": the final answer does that anyway."""


class Unknown(msgspec.Struct, frozen=True):
    text: str


Clause = (
    Count
    | CountEach
    | ListFiles
    | Search
    | ReadFile
    | Compute
    | Compare
    | Combine
    | Rank
    | Adjust
    | Report
    | Unknown
)
Dependent = Compare | Combine | Rank

_PLAIN = re.compile(r"(?=[^/]*[./]|[A-Z])[A-Za-z0-9_~./@%+-]*[A-Za-z0-9_]")
_PLAIN_PATTERN = re.compile(r"[A-Za-z0-9_./-]*\*[A-Za-z0-9_./*-]*[A-Za-z0-9_*]|\*")


def phrase(clause: Clause) -> str:
    """The clause as one English sentence that the grammar reads back as the same clause."""
    match clause:
        case Count(units, path):
            return f"Count the {listing(units)} of {quote(path)}."
        case CountEach(units, folder, pattern):
            return f"Count the {listing(units)} of each {_files(pattern, 1)} in {quote(folder)}."
        case ListFiles(folder, pattern):
            return f"List the {_files(pattern, 2)} in {quote(folder)}."
        case Search(text, path, pattern):
            among = "" if pattern == "*" else f" the {_files(pattern, 2)} of"
            return f"Search for {quote(text, always=True)} in{among} {quote(path)}."
        case ReadFile(path, start, lines):
            return f"Read {_lines(start, lines)}{quote(path)}."
        case Compute(expression):
            return f"Compute {expression}."
        case Adjust(operator, operand):
            return _adjust(operator, operand)
        case Report():
            return "Report the results."
        case Unknown(text):
            return text
        case Compare() | Combine() | Rank():
            return _dependent(clause)


def listing(names: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:  # noqa: PLR2004 - one name needs no "and"
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def quote(text: str, *, always: bool = False) -> str:
    """The text as one token of the grammar: as it stands where that is safe, else in quotes."""
    if not always and _PLAIN.fullmatch(text):
        return text
    if '"' not in text:
        return f'"{text}"'
    return f"`{text}`" if "`" not in text else f"“{text}”"


def _dependent(clause: Dependent) -> str:
    by = f", by {clause.unit}" if clause.unit else ""
    match clause:
        case Compare(word):
            the = "the " if word not in COMPARATIVES.values() else ""
            verb = "has" if COMPARISONS[word] in {"many", "few"} else "is"
            return f"Say which {verb} {the}{word}{by}."
        case Combine(how):
            return f"Calculate the {how} of the results{by}."
        case Rank(first):
            other = "least" if first == "most" else "most"
            return f"Rank the results from {first} to {other}{by}."


def _adjust(operator: Operator, operand: str) -> str:
    match operator:
        case "+":
            return f"Add {operand} to the result."
        case "-":
            return f"Subtract {operand} from the result."
        case "*":
            return f"Multiply the result by {operand}."
        case "/":
            return f"Divide the result by {operand}."


def _files(pattern: str, count: int) -> str:
    noun = "file" if count == 1 else "files"
    if pattern == "*":
        return noun
    return f"{pattern if _PLAIN_PATTERN.fullmatch(pattern) else quote(pattern)} {noun}"


def _lines(start: int, lines: int | None) -> str:
    if lines is None:
        return "" if start == 1 else f"from line {start} of "
    if start == 1:
        return "the first line of " if lines == 1 else f"the first {lines} lines of "
    return f"lines {start} to {start + lines - 1} of "
