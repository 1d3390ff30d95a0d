"""The random phase: processes and servers die all the time, while jobs run.

    every 0.3 s    kill -9 of a process that chance chooses; another is started in its place
    every 3 s      kill -9 of nats-server; of three servers, every 20 s, that of a stream's leader

Which process dies, and the order of the jobs, follow from the seed; when exactly does not.
"""

import random
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec

from chaos import audit
from chaos.cell import ended
from chaos.evidence import ANYWHERE
from chaos.fleet import ROLES, Fleet, fleet
from chaos.goals import Job, Kind, job
from chaos.processes import Zygote
from chaos.servers import Servers
from chaos.table import Row

KILL_EVERY = 0.3
"""Seconds between two kills of processes."""
KINDS: tuple[Kind, ...] = (
    "whole", "failing", "counting", "once", "idempotent", "pure",
    "asking_poor", "poor", "revised", "listed", "talking",
)  # fmt: skip
AT_ONCE = 12
"""Jobs that are under way at a time."""
UNHURRIED = ("--latency", "0.1", "--pace", "300")
"""Options of the stand-in: a model that answers at once would leave nothing to interrupt."""
CALM = 90.0
"""Seconds for what is left when the killing stops; a job that then has no end is stuck."""


class Storm(msgspec.Struct, frozen=True):
    """One random phase. `each` is how many processes every role has; `name` stands in the table."""

    name: str
    jobs: int
    seed: int
    each: int = 2
    patience: float = 600.0
    """Seconds of killing at most."""


class Weathered(msgspec.Struct):
    """What came of it: a row for the processes, one for the servers, and the findings."""

    rows: list[Row]
    findings: list[tuple[str, audit.Finding]]


async def weather(
    zygote: Zygote, folder: Path, storm: Storm, servers: Servers, say: Callable[[str], None]
) -> Weathered:
    """Run the jobs under fire, then wait for their ends and audit."""
    async with fleet(zygote, servers, folder, stand_in=UNHURRIED) as running:
        chance = random.Random(storm.seed)
        await _Storm(running, storm, chance, say).run()
        await audit.collect(running.servers.url, running.evidence.folder)
    return _judged(folder / "evidence", storm)


class _Storm:
    def __init__(
        self, running: Fleet, storm: Storm, chance: random.Random, say: Callable[[str], None]
    ) -> None:
        self._running = running
        self._storm = storm
        self._chance = chance
        self._say = say
        self._started = 0
        self._over = 0

    async def run(self) -> None:
        kinds: list[Kind] = [KINDS[number % len(KINDS)] for number in range(self._storm.jobs)]
        self._chance.shuffle(kinds)
        jobs = [job(kind, f"{kind}-{number}") for number, kind in enumerate(kinds)]
        for role in ROLES:
            for _ in range(self._storm.each):
                await self._start(role)
        done = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._kill_processes, done, tasks)
            tasks.start_soon(self._kill_servers, done)
            tasks.start_soon(self._tell, done)
            with anyio.move_on_after(self._storm.patience):
                await self._do(jobs)
            done.set()
        with anyio.move_on_after(CALM):
            await ended(self._running, jobs)

    async def _do(self, jobs: list[Job]) -> None:
        """All jobs, `AT_ONCE` at a time, each to its end."""
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def one(job: Job) -> None:
            async with limit:
                await self._running.submit(job, self._storm.name)
                await ended(self._running, [job])
                self._over += 1

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(one, job)

    async def _start(self, role: str) -> None:
        self._started += 1
        await self._running.fork(f"{role}-{self._started}")

    async def _kill_processes(self, done: anyio.Event, tasks: anyio.abc.TaskGroup) -> None:
        while not done.is_set():
            await anyio.sleep(KILL_EVERY)
            alive = sorted(name for role in ROLES for name in self._running.alive(role))
            if alive and not done.is_set():
                tasks.start_soon(self._replace, self._chance.choice(alive))

    async def _replace(self, name: str) -> None:
        await self._running.kill(name, ANYWHERE, self._storm.name)
        await self._start(name.partition("-")[0])

    async def _kill_servers(self, done: anyio.Event) -> None:
        while not done.is_set():
            with anyio.move_on_after(self._running.servers.hurt_every):
                await done.wait()
            if not done.is_set():
                pid = await self._running.servers.hurt(self._chance)
                self._running.evidence.killed(
                    "server", pid, point=ANYWHERE, row=self._storm.name, spools=None
                )

    async def _tell(self, done: anyio.Event) -> None:
        while not done.is_set():
            self._say(f"{self._storm.name}: {self._over} of {self._storm.jobs} jobs are over")
            with anyio.move_on_after(10):
                await done.wait()


def _judged(evidence: Path, storm: Storm) -> Weathered:
    held = audit.read(evidence)
    row = Row(storm.name, "all", jobs=len(held.jobs))
    row.kills = sum(kill["role"] != "server" for kill in held.kills)
    servers = Row(storm.name, "server", kills=len(held.kills) - row.kills)
    findings = audit.judge(held)
    for finding in findings:
        row.count(finding.what)
    return Weathered([row, servers], [(storm.name, finding) for finding in findings])
