"""Galerne's side: a nats-server, a coordinator, a planner and an executor, each a real process.

The client is the benchmark's own process: it submits the jobs, a batch at a time, and hears of
their ends on the live subjects.
"""

import itertools
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from bench.processes import cpu_seconds, python_process
from bench.shapes import Shape

from galerne.bus.connection import Bus, Message, connect
from galerne.bus.server import NatsServer
from galerne.messages.codec import encode
from galerne.messages.facts import Ended
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.requests import Submit
from galerne.settings import BusSettings

GATHERED = 64
"""Submissions on their way at once."""
CONCURRENCY = 256
"""Tasks at once in a worker, the same as the window of the work queue beside it."""
PATIENCE = 300.0
"""Seconds that a load may take."""
SETTLE = 0.3
"""Seconds after a load in which its last acknowledgements are still counted."""


class Cost(msgspec.Struct, frozen=True):
    """What one load took: `wall` seconds to its last result, CPU seconds by process."""

    tasks: int
    wall: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.wall

    @property
    def hop(self) -> float:
        """Milliseconds a task, which in a chain is a hop."""
        return self.wall / self.tasks * 1000

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds of all processes for 1,000 tasks."""
        return sum(self.cpu.values()) / self.tasks * 1000


class CpuMeter:
    """CPU seconds of some processes, and of this one as `client`, since it was made."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = self._now()

    def spent(self) -> dict[str, float]:
        return {name: spent - self._before[name] for name, spent in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {
            **{name: cpu_seconds(pid) for name, pid in self._pids.items()},
            "client": time.process_time(),
        }


class GalerneSide:
    """A running fleet."""

    def __init__(self, bus: Bus, pids: dict[str, int]) -> None:
        self.pids = pids
        self._bus = bus
        self._numbers = itertools.count(1)
        self._open: set[str] = set()
        self._moved = anyio.Event()
        self._failed: str | None = None

    async def listen(self) -> None:
        """Hear of the ends of jobs from now on."""

        async def on_end(message: Message) -> None:
            job = message.subject.split(".")[-2]
            ended = msgspec.json.decode(message.data, type=Ended)
            if ended.status != "succeeded":
                self._failed = f"job {job}: {ended.status}: {ended.error}"
            self._open.discard(job)
            self._moved.set()

        await self._bus.subscribe(self._bus.subjects.live("*", "*", "end"), on_end)
        await self._bus.flush()

    async def run(self, shape: Shape) -> Cost:
        """Do a load. Raises RuntimeError when one of its jobs does not succeed."""
        meter = CpuMeter(self.pids)
        begun = time.perf_counter()
        await self.submit(shape, window=shape.jobs)
        wall = time.perf_counter() - begun
        await anyio.sleep(SETTLE)
        return Cost(shape.tasks, wall, meter.spent())

    async def submit(self, shape: Shape, window: int) -> None:
        """Submit a shape's jobs, at most `window` of them open at once, and wait for all ends."""
        with anyio.fail_after(PATIENCE):
            left = shape.jobs
            while left:
                await self._until_open(window - 1)
                batch = min(GATHERED, left, window - len(self._open))
                left -= batch
                async with anyio.create_task_group() as tasks:
                    for _ in range(batch):
                        tasks.start_soon(self._submit_one, shape)
            await self._until_open(0)

    async def _until_open(self, limit: int) -> None:
        while len(self._open) > limit:
            self._moved = anyio.Event()
            await self._moved.wait()
        if self._failed is not None:
            raise RuntimeError(self._failed)

    async def _submit_one(self, shape: Shape) -> None:
        job = f"bench-{next(self._numbers)}"
        self._open.add(job)
        request = Submit(goal=shape.goal, job=job)
        await self._bus.publish(self._bus.subjects.submit(DEFAULT_TENANT), encode(request))


@asynccontextmanager
async def galerne_side(folder: Path) -> AsyncGenerator[GalerneSide]:
    """A fleet whose files are in `folder`, warm, for as long as the context lasts."""
    async with fleet_in(folder, CONCURRENCY) as (bus, pids):
        side = GalerneSide(bus, pids)
        await side.listen()
        await side.run(Shape("fan", 20, 5, ask=True))
        yield side


@asynccontextmanager
async def fleet_in(folder: Path, places: int) -> AsyncGenerator[tuple[Bus, dict[str, int]]]:
    """A server and one process of each role; a client's connection, and their pids by name.

    `places` is how many tasks a worker has in hand at once.
    """
    async with AsyncExitStack() as stack:
        server = NatsServer(folder / "nats")
        await server.start()
        stack.push_async_callback(server.stop)
        pids = {"nats-server": server.pid}
        for role in ("coordinator", "planner", "executor"):
            arguments = (role, server.url, str(folder / "spool"), str(places))
            process = python_process(folder / f"{role}.log", "bench.member", *arguments)
            pids[role] = await stack.enter_async_context(process)
        bus = await stack.enter_async_context(connect(BusSettings(server=server.url), "client"))
        yield bus, pids
