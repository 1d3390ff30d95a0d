"""One cell of the matrix, played on a fleet that stands: one death at a known place.

a process of the role is armed and takes the place of one ─▶ jobs ─▶ it reaches the boundary
and dies ─▶ what its spool holds is written down ─▶ another takes its place ─▶ the jobs end
    or stops ─▶ another takes its place ─▶ the work is done or settled ─▶ it goes on
"""

import random
import signal
import time
from collections.abc import Sequence

import anyio
import anyio.abc
import msgspec

from chaos.evidence import ANYWHERE, IDLE
from chaos.fleet import ROLES, Fleet
from chaos.goals import SLOW_TOLD, Job, job
from chaos.matrix import Cell
from chaos.settling import answer_questions

PATIENCE = 45.0
"""Seconds for the jobs of a cell to end; a job that has not by then counts as stuck."""
ROUNDS = 5
"""Batches of jobs until the victim must have come by: where there are two of a role, the other
one may get all the work of a batch."""
VICTIMS = 3
"""Processes that are armed in turn until one has come by: by its name, a coordinator beside another
may be given no part of the log at all."""
AFTERWARDS = 1.0
"""Seconds after the end of the jobs in which the last boundaries are passed."""
GOES_ON = 1.5
"""Seconds in which a process that goes on would do what it had in hand when it was stopped."""
JUNKS = 4
"""Unreadable messages of one batch: any process of the role may get each."""
JUNK = b'{"this is": "no message'


class Played(msgspec.Struct):
    """`reached`: the victim died at its boundary. `trouble` says what else was wrong."""

    cell: Cell
    row: str
    reached: bool = False
    trouble: str = ""


async def play(running: Fleet, cell: Cell, number: int) -> Played:
    """Play the cell; `number` tells its jobs and processes from those of other cells."""
    played = Played(cell, cell.name)
    for victim in range(VICTIMS):
        try:
            with anyio.fail_after(ROUNDS * PATIENCE):
                await _Play(running, cell, f"{number}{'abc'[victim]}", played).run()
        except TimeoutError:
            played.trouble = "the cell did not come to its end"
            return played
        if played.reached:
            return played
    played.trouble = "the boundary was not reached"
    return played


class _Play:
    def __init__(self, running: Fleet, cell: Cell, number: str, played: Played) -> None:
        self._running = running
        self._cell = cell
        self._number = number
        self._played = played
        self._victim = f"{cell.role}-{number}-victim"
        self._replacement = f"{cell.role}-{number}-replacement"
        self._model: str | None = None
        self._jobs: Sequence[Job] = ()
        self._dead = anyio.Event()

    async def run(self) -> None:
        cell, running = self._cell, self._running
        stand_in = f"stand-in-{self._number}"
        if cell.stand_in:
            self._model = await running.start_stand_in(stand_in, *cell.stand_in)
        async with anyio.create_task_group() as tasks:
            await self._prepare(tasks)
            for number in range(ROUNDS):
                await self._round(number)
                with anyio.move_on_after(AFTERWARDS):
                    await self._dead.wait()
                if self._dead.is_set():
                    break
            with anyio.move_on_after(PATIENCE):
                await self._replaced()
            tasks.cancel_scope.cancel()
        for name in [self._victim] + [self._replacement] * (self._model is not None):
            if name in running.workers and running.workers[name].alive:
                await running.kill(name, IDLE, cell.name)
        if self._model is not None:
            await running.kill(stand_in, IDLE, cell.name)

    async def _replaced(self) -> None:
        while self._dead.is_set() and self._replacement not in self._running.workers:
            await anyio.sleep(0.02)

    # processes

    async def _prepare(self, tasks: anyio.abc.TaskGroup) -> None:
        """Exactly `each` of every role, one of them the victim; who dies first takes its place."""
        cell, running = self._cell, self._running
        for name in running.alive(cell.role)[max(0, cell.each - 1) :]:
            await running.kill(name, IDLE, cell.name)
        async with anyio.create_task_group() as starting:
            for role in ROLES:
                wanted = cell.each - (role == cell.role)
                for number in range(len(running.alive(role)), wanted):
                    starting.start_soon(self._stand, f"{role}-{self._number}-{number}")
            if cell.first is None:
                await self._arm(self._victim, cell.point, cell.number)
                tasks.start_soon(self._stop if cell.scene == "stopped" else self._succeed)
            else:
                await self._arm(f"{cell.role}-{self._number}-first", cell.first, 1)
                tasks.start_soon(self._inherit)

    async def _stand(self, name: str) -> None:
        await self._running.fork(name)
        await self._running.serving(name)

    async def _arm(self, name: str, point: str, number: int) -> None:
        stops = self._cell.scene == "stopped"
        await self._running.fork(name, fault=point, number=number, model=self._model, stops=stops)
        await self._running.serving(name)

    async def _inherit(self) -> None:
        """A first process dies; the victim comes after it and dies over what it finds."""
        first = f"{self._cell.role}-{self._number}-first"
        await self._running.buried(first, self._cell.first or IDLE, self._cell.name)
        cell = self._cell
        await self._running.fork(self._victim, fault=cell.point, number=cell.number)
        await self._succeed()

    async def _succeed(self) -> None:
        """Wait for the death of the victim, write it down, and start another in its place."""
        running, cell = self._running, self._cell
        await running.buried(self._victim, cell.point, cell.name)
        self._played.reached = running.mark(self._victim).exists()
        await running.fork(self._replacement, model=self._model)
        self._dead.set()

    async def _stop(self) -> None:
        """Wait until the victim has stopped, let another do its work, and make it go on."""
        running, cell = self._running, self._cell
        while not running.mark(self._victim).exists():
            await anyio.sleep(0.02)
        since = time.time()
        await running.fork(self._replacement, model=self._model)
        if cell.role == "tools":
            await settled(running, self._jobs)
        else:
            await taken_over(running, self._jobs, running.workers[self._victim].pid)
        victim = running.workers[self._victim]
        running.evidence.stopped(
            cell.role, victim.pid, point=cell.point, row=cell.name, since=since
        )
        victim.send(signal.SIGCONT)
        await anyio.sleep(GOES_ON)
        self._played.reached = True
        self._dead.set()

    # jobs

    async def _round(self, number: int) -> None:
        """One batch of jobs, to its end."""
        running, cell = self._running, self._cell
        self._jobs = jobs = [job(kind, f"{kind}-{self._number}-{number}") for kind in cell.jobs]
        match cell.scene:
            case "cancelled":
                jobs = await self._cancelled(jobs)
            case "hostile":
                for n in range(JUNKS):
                    await self._send_junk(f"junk-{self._number}-{number}-{n}")
                await self._submit(jobs)
            case "reconnected":
                await self._submit(jobs)
                await self._begun(jobs)
                await running.servers.stop()
                await running.servers.start()
            case "heir" | "plain" | "stopped":
                await self._submit(jobs)
        if running.servers.replicas > 1:
            pid = await running.servers.hurt(random.Random(self._number))
            running.evidence.killed("server", pid, point=ANYWHERE, row=cell.name, spools=None)
        with anyio.move_on_after(PATIENCE):
            await ended(running, jobs)
        if cell.scene == "cancelled":
            await self._unheard(jobs)

    async def _submit(self, jobs: Sequence[Job]) -> None:
        for one in jobs:
            await self._running.submit(one, self._cell.name)

    async def _cancelled(self, jobs: list[Job]) -> list[Job]:
        """Cancel the job while its tool works."""
        expected = msgspec.structs.replace(jobs[0].expected, status="cancelled", texts=())
        jobs = [msgspec.structs.replace(jobs[0], expected=expected)]
        await self._submit(jobs)
        await self._begun(jobs)
        await self._running.cancel(jobs[0].id)
        return jobs

    async def _unheard(self, jobs: Sequence[Job]) -> None:
        """Until a tool that was not stopped has answered, and its agent would go on."""
        begun = self._running.evidence.begun_at(jobs[0].id)
        await anyio.sleep(max(0.0, begun + SLOW_TOLD + AFTERWARDS - time.time()))

    async def _begun(self, jobs: Sequence[Job]) -> None:
        """Until the first tool is at work."""
        with anyio.move_on_after(PATIENCE):
            while not any(self._running.evidence.begun_at(one.id) for one in jobs):
                await anyio.sleep(0.03)

    async def _send_junk(self, job_id: str) -> None:
        """A message that nobody can read, to a queue of the victim's role."""
        match self._cell.role:
            case "coordinator":
                await self._running.send("galerne.submit.default", JUNK, stored=True)
            case "tools":
                await self._running.send("galerne.tool.chaos_pure", JUNK, stored=False)
            case lane:
                subject = f"galerne.ev.0.default.{job_id}.ready.{lane}.normal.1"
                await self._running.send(subject, JUNK, stored=True)


async def settled(running: Fleet, jobs: Sequence[Job]) -> None:
    """Until a doubt of one of the jobs is decided; `ended` decides it."""
    while True:
        for one in jobs:
            if await running.names(f"galerne.ev.*.default.{one.id}.decided.>"):
                return
        await anyio.sleep(0.05)


async def taken_over(running: Fleet, jobs: Sequence[Job], pid: int) -> None:
    """Until another process holds every task that process `pid` has claimed."""
    patterns = [f"galerne.ev.*.default.{one.id}.run.>" for one in jobs]
    held = [name for pattern in patterns for name in await running.names(pattern)]
    while held := [name for name in held if await _claimed_by(running, name, pid)]:
        await anyio.sleep(0.02)


async def _claimed_by(running: Fleet, name: str, pid: int) -> bool:
    claim = await running.last(name)
    return claim is not None and f"-{pid}-" in claim["by"]


async def ended(running: Fleet, jobs: Sequence[Job]) -> None:
    """Until every job has its end in the log; people's questions are answered on the way."""
    left = {one.id for one in jobs}
    while left:
        for name in list(left):
            if await running.end_of(name) is not None:
                left.discard(name)
        await answer_questions(running, left)
        await anyio.sleep(0.1)
