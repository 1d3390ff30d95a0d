"""Findings as a table: one line a boundary and role, in 80 columns, and as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from chaos.audit import Finding, What

COLUMNS: Final[tuple[What, ...]] = (
    "lost", "stuck", "wrong", "double", "again", "gap", "twice", "doubt", "odd",
)  # fmt: skip
MUST_BE_ZERO: Final[frozenset[What]] = frozenset(COLUMNS) - {"gap", "doubt"}
LEGEND: Final = """\
kills   processes killed there, or stopped for a while (`stop …`)
lost    accepted jobs that left no trace     stuck  jobs without an end
wrong   jobs that ended as they must not, or went on after it, or overspent
dup     facts that stand twice (double)
again   model calls repeated although their answer was safe, or had to be
gap     model calls repeated as their process died before the spool: allowed
twice   effects doubled, or begun anew       doubt  once-effects in doubt, as
odd     once-effects in doubt for nothing           they must be
<  >    before and after"""
_HEADS: Final = {"double": "dup"}
_WIDTH: Final = 80


class Row(msgspec.Struct):
    """A line of the table. `role` is `all` where chance has chosen."""

    point: str
    role: str
    kills: int = 0
    jobs: int = 0
    counts: dict[What, int] = {}

    def add(self, other: "Row") -> None:
        self.kills += other.kills
        self.jobs += other.jobs
        for what, count in other.counts.items():
            self.count(what, count)

    def count(self, what: What, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def bad(self) -> bool:
        return any(self.counts.get(what) for what in MUST_BE_ZERO)


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row for each boundary and role, in the order of their first sight."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        known = found.setdefault((row.point, row.role), Row(row.point, row.role))
        known.add(row)
    return list(found.values())


def total(rows: Sequence[Row], point: str = "total", role: str = "") -> Row:
    """One row that stands for all."""
    summed = Row(point, role)
    for row in rows:
        summed.add(row)
    return summed


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal, 88 columns wide, with its legend."""
    lines = [_line("boundary", "role", ["kills", *map(_head, COLUMNS)])]
    lines += [_line(row.point, row.role, _cells(row, ".")) for row in (*rows, total(rows))]
    return "\n".join((*lines, "", LEGEND))


def as_markdown(rows: Sequence[Row]) -> str:
    """The same for a document."""
    head = ("boundary", "role", "kills", *COLUMNS)
    lines = [_piped(head), _piped(["---", "---", *["--:"] * (1 + len(COLUMNS))])]
    for row in (*rows, total(rows)):
        point = f"`{row.point}`" if "." in row.point else row.point
        lines.append(_piped([point, row.role, *_cells(row, "0")]))
    return "\n".join(lines)


def causes(findings: Iterable[tuple[str, Finding]]) -> str:
    """Each finding with its row and its cause, the bad ones first."""
    ordered = sorted(findings, key=lambda one: (one[1].what not in MUST_BE_ZERO, one[0]))
    return "\n".join(f"{one.what:6} {row}  {one.where}: {one.cause}" for row, one in ordered)


def _cells(row: Row, zero: Literal[".", "0"]) -> list[str]:
    counts = [row.counts.get(what, 0) for what in COLUMNS]
    return [str(row.kills), *(str(count) if count else zero for count in counts)]


def _head(column: str) -> str:
    return _HEADS.get(column, column)


def _line(point: str, role: str, cells: Sequence[str]) -> str:
    widths = (5, *(len(_head(what)) for what in COLUMNS))
    numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    short = point.replace(".before", " <").replace(".after", " >")
    line = f"{short:<20} {role[:4]:<4} {numbers}"
    assert len(line) <= _WIDTH, line
    return line


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
