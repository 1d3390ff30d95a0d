"""What a tool call costs beside plain NATS request and reply: `python -m bench.tools`.

    python -m bench.tools               5 rounds, each of all three sides one after the other
    python -m bench.tools --quick       2 rounds of fewer calls
    python -m bench.tools --rounds 9

One nats-server, one worker process for each side, and the benchmark's own process as the caller.
Each side does the same: the arguments of a call go as JSON, typed and decoded in the worker, which
adds two numbers and answers with value and text.

    plain         nats-py's `request`, and a subscription in a queue group that answers
    pure          `ToolCaller` to a tool worker, without a journal
    idempotent    the same, journaled: a claim and a result for each key, on disk

Calls per second with 32 under way at once; then one after the other, for the time that one call
takes. CPU is that of caller, worker and server together.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import anyio
import msgspec
import nats
from bench.fleet import CpuMeter
from bench.processes import python_process
from bench.report import say, spread
from bench.tool_member import PLAIN

from galerne.bus.connection import connect
from galerne.bus.server import NatsServer
from galerne.cli.runner import run_command
from galerne.messages.tools import CallTool, ToolResult
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.settings import BusSettings

AT_ONCE = 32
HEARTBEAT = 0.5
WARM = 500

Ask = Callable[[CallTool], Awaitable[int]]


class Side(NamedTuple):
    """One way to ask: the tool's name, its worker's process, and how many calls make a round."""

    name: str
    tool: str
    pid: int
    ask: Ask
    share: float


class Round(NamedTuple):
    """Of one side: calls a second, CPU seconds by process for 1,000 calls, milliseconds a call."""

    rate: float
    cpu: dict[str, float]
    p50: float
    p99: float

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


class Calls:
    """Makes calls of one benchmark, each with a key of its own."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def one(self, side: Side) -> float:
        """Make one; gives its seconds. Raises RuntimeError for a wrong answer."""
        number = next(self._numbers)
        call = CallTool(
            tool=side.tool,
            key=f"bench.{number}.1",
            tenant="default",
            arguments={"left": number, "right": 1},
            deadline=time.time() + 30.0,
        )
        begun = time.perf_counter()
        if await side.ask(call) != number + 1:
            raise RuntimeError(f"{side.name}: a wrong answer")
        return time.perf_counter() - begun

    async def many(self, side: Side, count: int, at_once: int) -> list[float]:
        took: list[float] = []
        left = iter(range(count))

        async def caller() -> None:
            took.extend([await self.one(side) for _ in left])

        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(caller)
        return took


async def measured(calls: Calls, side: Side, server: int, count: int) -> Round:
    """One round of one side."""
    count = round(count * side.share)
    meter = CpuMeter({"worker": side.pid, "server": server})
    begun = time.perf_counter()
    await calls.many(side, count, AT_ONCE)
    wall = time.perf_counter() - begun
    cpu = {name: spent / count * 1000 for name, spent in meter.spent().items()}
    took = sorted(await calls.many(side, count // 4, 1))
    cuts = quantiles(took, n=100)
    return Round(count / wall, cpu, median(took) * 1000, cuts[98] * 1000)


@asynccontextmanager
async def sides(server: NatsServer, folder: Path) -> AsyncGenerator[list[Side]]:
    """Both workers, and the callers of all three sides."""
    async with AsyncExitStack() as stack:
        member = partial(python_process, folder / "members.log", "bench.tool_member")
        spool = str(folder / "spool")
        plain = await stack.enter_async_context(member("plain", server.url, spool))
        galerne = await stack.enter_async_context(member("galerne", server.url, spool))
        client: Any = await nats.connect(server.url)
        stack.push_async_callback(client.close)
        bus = await stack.enter_async_context(connect(BusSettings(server=server.url), "bench"))
        directory = ToolDirectory(bus)
        await directory.start()
        specs = await directory.settled()
        caller = ToolCaller(bus, HEARTBEAT, time.time)
        encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(ToolResult).decode

        async def request(call: CallTool) -> int:
            answer = await client.request(PLAIN, encode(call), timeout=30.0)
            return int(decode(answer.data).value)

        async def called(call: CallTool) -> int:
            outcome = await caller.call(call, specs[call.tool].route)
            assert isinstance(outcome, ToolResult), outcome
            return int(outcome.value)

        yield [
            Side("plain", "add", plain, request, 1.0),
            Side("pure", "add", galerne, called, 1.0),
            Side("idempotent", "add_kept", galerne, called, 0.25),
        ]


async def run(rounds: int, count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="galerne-bench-") as name:
        server = NatsServer(Path(name) / "nats")
        await server.start()
        try:
            async with sides(server, Path(name)) as listed:
                await compare(listed, server.pid, rounds, count)
        finally:
            await server.stop()
    return 0


async def compare(listed: list[Side], server: int, rounds: int, count: int) -> None:
    calls = Calls()
    for side in listed:
        await calls.many(side, WARM, AT_ONCE)
    found: dict[str, list[Round]] = {side.name: [] for side in listed}
    for number in range(1, rounds + 1):
        for side in listed:
            found[side.name].append(await measured(calls, side, server, count))
        say(f"round {number} of {rounds} done")
    say(*report(found, rounds, count))


def report(found: dict[str, list[Round]], rounds: int, count: int) -> list[str]:
    """The figures: medians of the rounds, least and most in brackets; ratios round by round."""
    base = found["plain"]
    lines = ["", f"{count:,} calls a round (idempotent: a quarter), {rounds} rounds", ""]
    head = ("", *found)
    figures: list[tuple[str, Callable[[Round], float]]] = [
        ("calls/s", lambda one: one.rate),
        ("CPU s/1,000", lambda one: one.total),
        ("  caller", lambda one: one.cpu["client"]),
        ("  worker", lambda one: one.cpu["worker"]),
        ("  server", lambda one: one.cpu["server"]),
        ("p50 ms", lambda one: one.p50),
        ("p99 ms", lambda one: one.p99),
    ]
    rows = [
        (name, *(spread([figure(one) for one in each]) for each in found.values()))
        for name, figure in figures
    ]
    ratios = [
        spread([one.total / plain.total for one, plain in zip(each, base, strict=True)])
        for each in found.values()
    ]
    rows.append(("CPU : plain", *ratios))
    for name, place in (("p50 added ms", 2), ("p99 added ms", 3)):
        added = [
            spread([one[place] - plain[place] for one, plain in zip(each, base, strict=True)])
            for each in found.values()
        ]
        rows.append((name, *added))
    return [*lines, *map(_row, (head, *rows))]


def _row(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<13}" + "".join(f"{cell:>22}" for cell in cells[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    rounds, count = (2, 1_000) if flags.quick else (flags.rounds, 8_000)
    return run_command(partial(run, rounds, count))


if __name__ == "__main__":
    sys.exit(main())
