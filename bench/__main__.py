"""`python -m bench`: what Galerne's promises cost, beside a bare work queue in the same run.

Both sides run at the same time on this machine, each on its own nats-server, and take turns:
every round does each load on one side, then on the other, and the next round the other way round.
What else the machine does therefore meets both, and the ratios are steadier than the figures.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.fleet import CONCURRENCY, GalerneSide, galerne_side
from bench.growth import SIZES, boundary_ns, growth
from bench.processes import resident_bytes
from bench.queue import QueueSide, queue_side
from bench.report import Comparison, growth_lines, installed_version, memory_lines, say
from bench.shapes import Shape

from galerne.bus.server import find_nats_server
from galerne.cli.runner import run_command

OPEN_JOBS = 200
"""Jobs open at once while memory is watched."""


def loads(*, quick: bool) -> list[tuple[str, Shape]]:
    """Title and shape of each load."""
    wide, jobs = (500, 200) if quick else (1_000, 1_000)
    return [
        (f"{wide:,} independent no-op tasks in one job", Shape("wide", 1, wide)),
        (f"{wide:,} independent tasks with one model step each", Shape("wide", 1, wide, ask=True)),
        (f"{jobs:,} jobs of five no-op tasks, 1 → 3 → 1", Shape("fan", jobs, 5)),
        ("A chain of 100 no-op tasks", Shape("chain", 1, 100)),
    ]


async def compare(folder: Path, rounds: int, *, quick: bool) -> None:
    """Every load, every round, on both sides; prints the comparisons."""
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(queue_side(folder))
        ours = await stack.enter_async_context(galerne_side(folder))
        comparisons = [
            (shape, Comparison(title, chain=shape.form == "chain"))
            for title, shape in loads(quick=quick)
        ]
        for number in range(rounds):
            for shape, comparison in comparisons:
                await _take_turns(ours, queue, shape, comparison, ours_first=number % 2 == 0)
    for _, comparison in comparisons:
        say(*comparison.lines())


async def _take_turns(
    ours: GalerneSide, queue: QueueSide, shape: Shape, comparison: Comparison, *, ours_first: bool
) -> None:
    if ours_first:
        cost = await ours.run(shape)
        comparison.add(cost, await queue.run(shape))
    else:
        beside = await queue.run(shape)
        comparison.add(await ours.run(shape), beside)


async def memory(folder: Path, jobs: int) -> None:
    """A coordinator's resident memory while small jobs pass through it."""
    tenth = Shape("wide", jobs // 10, 1)
    async with galerne_side(folder) as ours:
        coordinator = ours.pids["coordinator"]
        points = [(0, resident_bytes(coordinator))]
        for number in range(1, 11):
            await ours.submit(tenth, window=OPEN_JOBS)
            points.append((number * tenth.jobs, resident_bytes(coordinator)))
    say("", "A coordinator's memory: jobs of one task in a row", *memory_lines(points))


def decisions() -> None:
    """The growth curve and the price of a fault point."""
    say("", "Folding a fact and deciding, in one process, without a bus, by the job's size")
    growth("wide", 100)
    for form in ("wide", "chain"):
        say(*growth_lines(form, [growth(form, size) for size in SIZES]))
    say("", f"A fault point (galerne.faults.reach), nothing armed: {boundary_ns():.0f} ns a call")


def heading(rounds: int) -> None:
    command = [find_nats_server(), "--version"]
    server = subprocess.run(command, capture_output=True, text=True, check=True)
    parts = [
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        f"uvloop {installed_version('uvloop')}",
        f"nats-py {installed_version('nats-py')}",
        server.stdout.strip().replace(": v", " "),
    ]
    say(
        f"Galerne beside a hand-tuned JetStream work queue: {rounds} rounds, interleaved",
        ", ".join(parts),
        "Median (least-most) of the rounds. CPU counts every process: nats-server,",
        "workers and client. A job's plan and answer are tasks too, which no figure",
        f"divides by. One process a role, {CONCURRENCY} tasks at once; the rest is the default:",
        "claims, leases, spool, journal, acknowledgements, structured logs.",
    )


async def _bench(flags: argparse.Namespace) -> int:
    heading(flags.rounds)
    with tempfile.TemporaryDirectory(prefix="galerne-bench-") as folder:
        await compare(Path(folder) / "loads", flags.rounds, quick=flags.quick)
        decisions()
        await memory(Path(folder) / "memory", 2_000 if flags.quick else 20_000)
    return 0


def _flags(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="5, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="smaller loads, in a minute")
    flags = parser.parse_args(arguments)
    flags.rounds = flags.rounds or (2 if flags.quick else 5)
    return flags


if __name__ == "__main__":
    sys.exit(run_command(partial(_bench, _flags(sys.argv[1:]))))
