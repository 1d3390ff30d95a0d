"""`python -m bench.tenants`: what one tenant's thousand jobs cost another, and what tenants cost.

First rounds, interleaved: a single job of a small tenant on an idle fleet, then the same with a
thousand jobs of another tenant queued, and the next round the other way round; once for a tenant
that is known and once for one whose first job it is. Then the CPU of an idle fleet by the number
of tenants that it knows.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from bench.fleet import GATHERED, CpuMeter, fleet_in
from bench.report import spread
from bench.shapes import Shape

from galerne.bus.connection import Bus, Message
from galerne.cli.runner import run_command
from galerne.messages.codec import encode
from galerne.messages.requests import Submit

PLACES = 4
"""Tasks at once in each worker."""
FLOOD = 1_000
"""Jobs of the large tenant."""
UNDER_WAY = 100
"""Tasks of the flood that are done when the single job comes."""
IDLE = 5.0
"""Seconds over which an idle fleet's CPU is counted."""
PATIENCE = 120.0
"""Seconds that a round may take."""
JOB = Shape("wide", 1, 1)
"""Three tasks: one plans, one does nothing, one answers."""


class Start:
    """How long a single job took to its first claim, and how many of the flood's tasks ended."""

    def __init__(self, seconds: float, tasks: int) -> None:
        self.milliseconds = seconds * 1000
        self.tasks = tasks


class Side:
    """A running fleet, and what its live subjects say."""

    def __init__(self, bus: Bus, pids: dict[str, int]) -> None:
        self.pids = pids
        self._bus = bus
        self._numbers = itertools.count(1)
        self._claimed: dict[str, float] = {}
        self._ended: set[str] = set()
        self._done = 0
        self._moved = anyio.Event()

    async def listen(self) -> None:
        """Hear claims, tasks that are done, and ends from now on."""

        async def on_message(message: Message) -> None:
            _, _, tenant, job, name, *_ = message.subject.split(".")
            match name:
                case "run":
                    self._claimed.setdefault(f"{tenant}.{job}", time.perf_counter())
                case "done":
                    self._done += tenant == "flood"
                case "end":
                    self._ended.add(f"{tenant}.{job}")
                case _:
                    return
            self._moved.set()

        for name in ("run.*", "done.*", "end"):
            await self._bus.subscribe(self._bus.subjects.live("*", "*", name), on_message)
        await self._bus.flush()

    async def single(self, tenant: str) -> Start:
        """Submit one job, and wait for its first claim."""
        before, begun = self._done, time.perf_counter()
        job = await self._submit(tenant)
        while job not in self._claimed:
            await self._move()
        return Start(self._claimed[job] - begun, self._done - before)

    async def beside_flood(self, tenant: str) -> Start:
        """The same, with the flood queued and under way; returns when the flood is over."""
        flood = await self.submit("flood", FLOOD)
        enough = self._done + UNDER_WAY
        while self._done < enough:
            await self._move()
        start = await self.single(tenant)
        await self.ends(flood)
        return start

    async def submit(self, tenant: str, count: int) -> set[str]:
        jobs: set[str] = set()

        async def one() -> None:
            jobs.add(await self._submit(tenant))

        while len(jobs) < count:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(GATHERED, count - len(jobs))):
                    tasks.start_soon(one)
        return jobs

    async def ends(self, jobs: set[str]) -> None:
        while not jobs <= self._ended:
            await self._move()

    async def _submit(self, tenant: str) -> str:
        job = f"bench-{next(self._numbers)}"
        request = Submit(goal=JOB.goal, job=job)
        await self._bus.publish(self._bus.subjects.submit(tenant), encode(request))
        return f"{tenant}.{job}"

    async def _move(self) -> None:
        self._moved = anyio.Event()
        with anyio.fail_after(PATIENCE):
            await self._moved.wait()


@asynccontextmanager
async def side_in(folder: Path) -> AsyncGenerator[Side]:
    """One process a role, warm, for as long as the context lasts."""
    async with fleet_in(folder, PLACES) as (bus, pids):
        side = Side(bus, pids)
        await side.listen()
        await side.ends(await side.submit("flood", 20) | await side.submit("known", 5))
        yield side


async def fairness(folder: Path, rounds: int) -> None:
    """Print the time to start with and without the flood, and their ratios."""
    newcomers = (f"new-{n}" for n in itertools.count())
    async with side_in(folder) as side:
        for title, name in (("a known tenant", None), ("a tenant's first job", newcomers)):
            alone: list[Start] = []
            beside: list[Start] = []
            for number in range(rounds):
                order = [(alone, side.single), (beside, side.beside_flood)]
                for kept, call in order if number % 2 == 0 else order[::-1]:
                    kept.append(await call("known" if name is None else next(name)))
            _say("", f"The single job of {title}", *_lines(alone, beside))


def _lines(alone: list[Start], beside: list[Start]) -> list[str]:
    ratios = [b.milliseconds / a.milliseconds for a, b in zip(alone, beside, strict=True)]
    return [
        f"  ms to its first claim, alone        {spread([one.milliseconds for one in alone])}",
        f"  the same beside {FLOOD:,} jobs          {spread([one.milliseconds for one in beside])}",
        f"  ratio                               {spread(ratios)}",
        f"  tasks of the flood that ended first {spread([float(one.tasks) for one in beside])}",
    ]


async def idle(folder: Path, count: int) -> dict[str, float]:
    """CPU seconds a second of each process that has `count` tenants and nothing to do."""
    async with side_in(folder) as side:
        names = [f"t-{n}" for n in range(count - 3)]  # `default`, `flood` and `known` are there
        for jobs in [await side.submit(name, 1) for name in names]:
            await side.ends(jobs)
        await anyio.sleep(1.0)
        meter, begun = CpuMeter(side.pids), time.perf_counter()
        await anyio.sleep(IDLE)
        wall = time.perf_counter() - begun
        return {name: spent / wall for name, spent in meter.spent().items()}


async def _bench(flags: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="galerne-bench-") as name:
        folder = Path(name)
        _say(f"{flags.rounds} rounds, interleaved, {PLACES} places a worker: median (least-most)")
        await fairness(folder / "fair", flags.rounds)
        _say("", "CPU of an idle fleet, percent of a core, by tenants", "")
        for count in flags.tenants:
            tries = [await idle(folder / f"idle-{count}-{n}", count) for n in range(flags.tries)]
            shares = {role: median(one[role] for one in tries) * 100 for role in tries[0]}
            words = "".join(f"{role} {share:.1f}   " for role, share in shares.items())
            _say(f"  {count:>5} {words.rstrip()}")
    return 0


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def _flags(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench.tenants", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--tries", type=int, default=1, metavar="N", help="of an idle fleet")
    parser.add_argument("--tenants", type=int, nargs="*", default=[3, 20, 100], metavar="N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run_command(partial(_bench, _flags(sys.argv[1:]))))
