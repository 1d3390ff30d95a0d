"""The matrix, played: fleets that stand side by side take one cell after the other.

A fleet whose cell went wrong is not used again, so that no cell suffers for another one's fault.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from chaos import audit
from chaos.audit import Finding
from chaos.cell import Played, play
from chaos.fleet import fleet
from chaos.matrix import Cell
from chaos.processes import Zygote
from chaos.servers import Servers
from chaos.table import Row

FORMS = 25
"""Cells after which a fleet is replaced: its log is read whole at the end."""

Say = Callable[[str], None]


class Report:
    """What came of a matrix: rows, findings by the name of their cell, cells in trouble."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.findings: list[tuple[str, Finding]] = []
        self.troubles: list[tuple[str, str]] = []

    def extend(self, other: "Report") -> None:
        self.rows += other.rows
        self.findings += other.findings
        self.troubles += other.troubles


async def play_matrix(
    zygote: Zygote,
    folder: Path,
    cells: Sequence[Cell],
    *,
    width: int,
    servers: Callable[[Path], Servers],
    say: Say,
) -> Report:
    """Play all cells, `width` fleets at a time; `say` gets a line for each cell."""
    left = deque(enumerate(cells))
    report = Report()

    async def stand(lane: int) -> None:
        generation = 0
        while left:
            here = folder / f"fleet-{lane}-{generation}"
            report.extend(await _one_fleet(zygote, here, left, servers(here / "nats"), say))
            generation += 1

    async with anyio.create_task_group() as tasks:
        for lane in range(min(width, len(cells))):
            tasks.start_soon(stand, lane)
    order = {cell.name: number for number, cell in enumerate(cells)}
    report.rows.sort(key=lambda row: order.get(row.point, 0))
    report.rows = [_named(row, cells[order[row.point]]) for row in report.rows]
    return report


async def _one_fleet(
    zygote: Zygote, folder: Path, left: deque[tuple[int, Cell]], servers: Servers, say: Say
) -> Report:
    """One fleet from its start to its audit."""
    played: list[Played] = []
    async with fleet(zygote, servers, folder) as running:
        while left and len(played) < FORMS and not (played and played[-1].trouble):
            number, cell = left.popleft()
            played.append(await play(running, cell, number))
            say(f"{cell.name}{': ' * bool(played[-1].trouble)}{played[-1].trouble}")
        await audit.collect(running.servers.url, running.evidence.folder)
    return audited(folder / "evidence", played)


def audited(evidence: Path, played: Sequence[Played]) -> Report:
    """The rows of a fleet's cells. A row's `point` is its cell's name until `_named`."""
    held = audit.read(evidence)
    row_of = {job["id"]: job["row"] for job in held.jobs}
    rows = {one.row: Row(one.row, one.cell.role) for one in played}
    for one in played:
        rows[one.row].kills = sum(gone["row"] == one.row and gone["point"] == one.cell.point
                                  for gone in (*held.kills, *held.stops))  # fmt: skip
        rows[one.row].jobs = sum(job["row"] == one.row for job in held.jobs)
    report = Report()
    for finding in audit.judge(held):
        row = finding.row or row_of[finding.where.split(".")[0]]
        rows[row].count(finding.what)
        report.findings.append((row, finding))
    report.rows = list(rows.values())
    report.troubles = [(one.row, one.trouble) for one in played if one.trouble]
    lines = [json.dumps([row, one.what, one.where, one.cause]) for row, one in report.findings]
    (evidence / "findings.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return report


def _named(row: Row, cell: Cell) -> Row:
    row.point = cell.label
    return row
