"""`python -m chaos`: the whole proof, phase by phase; a phase that is done is not done again.

    matrix      every boundary, every role, two processes of each
    random      processes killed every 0.3 s, nats-server every 3 s
    cluster     on three servers with R3: the matrix, every boundary once; then the random phase,
                in which a stream's leader is killed every 20 s

Each phase leaves its table in the folder; the last thing printed is the table of all of them.
"""

import argparse
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import msgspec

from chaos.audit import Finding
from chaos.matrix import Cell, full_form, long_form, short_form
from chaos.playing import play_matrix
from chaos.processes import zygote
from chaos.servers import Cluster, OneServer
from chaos.storm import Storm, weather
from chaos.table import Row, as_markdown, as_text, causes, merged, total

PHASES = ("matrix", "random", "cluster-matrix", "cluster-random")
FORMS = {"short": short_form, "full": full_form, "long": long_form}


class Result(msgspec.Struct):
    """One phase, as it is kept in the folder."""

    seed: int
    seconds: float
    jobs: int
    rows: list[Row]
    findings: list[tuple[str, Finding]]
    troubles: list[tuple[str, str]] = []


def main() -> int:
    """Exit code 0 where everything that must be zero is, 1 where not."""
    flags = _flags()
    flags.folder.mkdir(parents=True, exist_ok=True)
    results = [_done_or_run(flags, phase) for phase in flags.phases]
    rows = [row for result in results for row in merged(result.rows)]
    findings = [finding for result in results for finding in result.findings]
    command = f"python -m chaos {' '.join(sys.argv[1:])}".strip()
    _print(f"\n{command}, {datetime.now(UTC):%Y-%m-%d}, {sum(r.jobs for r in results)} jobs")
    _print(as_text(rows))
    (flags.folder / "table.md").write_text(f"{as_markdown(rows)}\n", "utf-8")
    (flags.folder / "causes.txt").write_text(f"{causes(findings)}\n", "utf-8")
    troubles = [trouble for result in results for trouble in result.troubles]
    for row, trouble in troubles:
        _print(f"trouble  {row}: {trouble}")
    _print(f"\nas Markdown, and every cause: {flags.folder}/table.md, {flags.folder}/causes.txt")
    return 1 if troubles or any(row.bad for row in rows) else 0


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("phases", nargs="*", metavar="PHASE", help=f"of {', '.join(PHASES)}")
    parser.add_argument("--folder", type=Path, default=Path("chaos-run"), help="%(default)s")
    parser.add_argument("--seed", type=int, help="of the random phases; a new one by default")
    parser.add_argument("--jobs", type=int, default=300, help="of a random phase (%(default)s)")
    parser.add_argument("--form", choices=FORMS, default="long", help="cells of the matrix")
    parser.add_argument("--width", type=int, default=5, help="fleets at a time (%(default)s)")
    parser.add_argument(
        "--point", action="append", default=[], help="only cells with this in their name"
    )
    flags = parser.parse_args()
    flags.phases = flags.phases or list(PHASES)
    if unknown := [phase for phase in flags.phases if phase not in PHASES]:
        parser.error(f"there is no phase {unknown[0]!r}; there are {', '.join(PHASES)}")
    return flags


def _done_or_run(flags: argparse.Namespace, phase: str) -> Result:
    file: Path = flags.folder / f"{phase}.json"
    if file.exists():
        _print(f"{phase}: done before, {file}")
        return msgspec.json.decode(file.read_bytes(), type=Result)
    seed = flags.seed if flags.seed is not None else secrets.randbelow(10**6)
    _print(f"{phase}: seed {seed}")
    folder = (flags.folder / phase).resolve()
    shutil.rmtree(folder, ignore_errors=True)  # of a phase that was broken off
    begun = time.monotonic()
    result = anyio.run(_run, flags, phase, seed, folder)
    result.seconds = round(time.monotonic() - begun, 1)
    file.write_bytes(msgspec.json.encode(result))
    _print(as_text(merged(result.rows)))
    _print(causes(result.findings))
    return result


async def _run(flags: argparse.Namespace, phase: str, seed: int, folder: Path) -> Result:
    say = partial(_say, time.monotonic())
    clustered = phase.startswith("cluster")
    servers: Callable[[Path], OneServer | Cluster] = Cluster if clustered else OneServer
    async with zygote(folder) as forks:
        if phase.endswith("random"):
            name = "random, 3 servers" if clustered else "random, 1 server"
            storm = Storm(name, flags.jobs, seed)
            came = await weather(forks, folder, storm, servers(folder / "nats"), say)
            jobs = sum(row.jobs for row in came.rows)
            return Result(seed, 0.0, jobs, came.rows, came.findings)
        cells = short_form() if clustered else FORMS[flags.form]()
        wanted = [cell for cell in cells if _is_wanted(cell, flags.point)]
        width = min(flags.width, 2) if clustered else flags.width
        report = await play_matrix(forks, folder, wanted, width=width, servers=servers, say=say)
    jobs = sum(row.jobs for row in report.rows)
    rows = [total(report.rows, "matrix, 3 servers", "all")] if clustered else report.rows
    return Result(seed, 0.0, jobs, rows, report.findings, report.troubles)


def _is_wanted(cell: Cell, points: list[str]) -> bool:
    return not points or any(point in cell.name for point in points)


def _say(begun: float, line: str) -> None:
    _print(f"{time.monotonic() - begun:7.1f}  {line}")


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    sys.exit(main())
