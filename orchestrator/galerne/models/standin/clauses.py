"""What the stand-in model can do, one struct each."""

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


class Call(msgspec.Struct, frozen=True):
    """One call of any tool with arguments given as JSON; `told`: say what it answers, too."""

    tool: str
    arguments: str
    told: bool = False


class Ask(msgspec.Struct, frozen=True):
    """A question to whoever gave the goal."""

    question: str


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
    """A wish such as `tell me the results`: the final answer does that anyway."""


class Unknown(msgspec.Struct, frozen=True):
    text: str


Clause = (
    Count
    | CountEach
    | ListFiles
    | Search
    | ReadFile
    | Compute
    | Call
    | Ask
    | Compare
    | Combine
    | Rank
    | Adjust
    | Report
    | Unknown
)
Dependent = Compare | Combine | Rank


def listing(names: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
