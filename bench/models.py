"""`python -m bench.models`: what an answer of a model costs Galerne's client, beside others.

All clients ask the same question of one server in another process, in turns: every round measures
each of them on each load and number of questions at once, and each round begins with another.
What is counted is the CPU time of this process alone, while the questions are asked; opening the
client and the connections is not. Before anything is measured, every client must have read the
same answers.
"""

import argparse
import gc
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import msgspec
from bench.model_clients import Client, Galerne, Plain, installed
from bench.model_question import question
from bench.model_server import CHUNKS
from bench.processes import python_process
from bench.report import installed_version, say, spread

from galerne.cli.runner import run_command

AT_ONCE = (1, 16, 64)
CLOSE: tuple[type[Client], ...] = (Plain, Galerne)
AIM = 1.3
"""The most that Galerne's client may cost, as a multiple of the floor."""
CHUNKS_A_SECOND = 4_000
"""Of all streams together: few enough that each chunk comes alone, as a model's do."""
PATIENCE = 120.0


class Load(msgspec.Struct, frozen=True):
    """What is asked, and how often: `slices` times `asks` questions a round."""

    title: str
    kind: str
    slices: int
    asks: int = 64
    paced: bool = False

    @property
    def streamed(self) -> bool:
        return self.kind == "stream"

    def path(self, at_once: int) -> str:
        """The path of the answer, with the milliseconds between two chunks."""
        pause = max(1, round(at_once * 1000 / CHUNKS_A_SECOND)) if self.paced else 0
        return f"{self.kind}-{pause}/v1"

    def asks_of(self, at_once: int) -> int:
        """Questions a slice; a paced stream alone takes its time, so fewer there."""
        return self.asks if at_once > 1 or not self.paced else self.asks // 4


LOADS = (
    Load("A plain answer of text", "text", 6),
    Load("A plain answer of two tool calls", "calls", 6),
    Load(f"A stream of {CHUNKS} chunks, each in a packet of its own", "stream", 2, paced=True),
    Load(f"A stream of {CHUNKS} chunks, all at once", "stream", 6),
)


class Turn:
    """One client on one load: its connections open, its CPU time added up slice by slice."""

    def __init__(self, client: Client, load: Load, at_once: int) -> None:
        self._client = client
        self._load = load
        self._at_once = at_once
        self._seconds = 0.0
        self._asked = 0

    @property
    def seconds(self) -> float:
        """CPU seconds a question, of this process."""
        return self._seconds / self._asked

    async def warm(self) -> None:
        """Open the connections."""
        await self._ask(self._at_once)

    async def take(self, asks: int) -> None:
        """A slice: ask so many questions, or a few less or more."""
        gc.collect()
        start = time.process_time()
        self._asked += await self._ask(asks)
        self._seconds += time.process_time() - start

    async def _ask(self, asks: int) -> int:
        each = max(1, asks // self._at_once)

        async def one_after_the_other() -> None:
            for _ in range(each):
                await self._client.ask(stream=self._load.streamed)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for _ in range(self._at_once):
                    tasks.start_soon(one_after_the_other)
        return each * self._at_once


async def measure(
    clients: Sequence[type[Client]], load: Load, at_once: int, server: str
) -> dict[type[Client], float]:
    """CPU seconds a question of each client.

    The floor and Galerne's take turns slice by slice, because they are close to each other; of the
    others one slice, of fewer questions, says enough.
    """
    url = f"{server}/{load.path(at_once)}"
    turns: dict[type[Client], Turn] = {}
    async with AsyncExitStack() as stack:
        for kind in clients:
            client = await stack.enter_async_context(kind(url, question()))
            turns[kind] = Turn(client, load, at_once)
            await turns[kind].warm()
            if kind not in CLOSE:
                await turns[kind].take(load.asks_of(at_once) // 4)
        for number in range(load.slices):
            for kind in CLOSE if number % 2 else CLOSE[::-1]:
                await turns[kind].take(load.asks_of(at_once))
    return {kind: turn.seconds for kind, turn in turns.items()}


async def check(clients: Sequence[type[Client]], server: str) -> None:
    """Raises SystemExit where two clients read something else of the same answer."""
    for load in LOADS:
        answers = []
        for kind in clients:
            async with kind(f"{server}/{load.path(1)}", question()) as client:
                answers.append(await client.ask(stream=load.streamed))
        for kind, said in zip(clients, answers, strict=True):
            if said != answers[0]:
                raise SystemExit(f"{kind.name} read {said}, not {answers[0]}")


class Figures:
    """CPU seconds of every client in every round of one load."""

    def __init__(self, load: Load, clients: Sequence[type[Client]]) -> None:
        self._load = load
        self._clients = clients
        self._seconds: dict[tuple[type[Client], int], list[float]] = {
            (client, at_once): [] for client in clients for at_once in AT_ONCE
        }

    def add(self, at_once: int, seconds: Mapping[type[Client], float]) -> None:
        for client, one in seconds.items():
            self._seconds[client, at_once].append(one)

    def ratios(self, client: type[Client], at_once: int) -> list[float]:
        """To the floor, round by round."""
        own, floor = self._seconds[client, at_once], self._seconds[Plain, at_once]
        return [one / other for one, other in zip(own, floor, strict=True)]

    def lines(self) -> list[str]:
        lines = ["", self._load.title, _row("", *(f"{n} at once" for n in AT_ONCE))]
        for client in self._clients:
            columns = [self._seconds[client, n] for n in AT_ONCE]
            lines.append(_row(client.name, *(_spread(seconds, 1000) for seconds in columns)))
            if client is not Plain:
                columns = [self.ratios(client, n) for n in AT_ONCE]
                lines.append(_row("  to the first", *(_spread(ratios, 1) for ratios in columns)))
        return lines


def _spread(values: Sequence[float], scale: float) -> str:
    return spread([value * scale for value in values])


def _row(name: str, *columns: str) -> str:
    return f"  {name:<19}{''.join(f'{column:<19}' for column in columns)}".rstrip()


async def compare(clients: Sequence[type[Client]], rounds: int, server: str) -> list[Figures]:
    """Every load, every number at once, every round; each round begins with another client."""
    figures = [Figures(load, clients) for load in LOADS]
    gc.freeze()  # what a library keeps in memory is no part of an answer
    for number in range(rounds):
        turn = number % len(clients)
        order = (*clients[turn:], *clients[:turn])
        for load, kept in zip(LOADS, figures, strict=True):
            for at_once in AT_ONCE:
                kept.add(at_once, await measure(order, load, at_once, server))
    return figures


def heading(clients: Sequence[type[Client]], missing: Sequence[str], rounds: int) -> None:
    packages = ["aiohttp", "msgspec", "uvloop", *(c.package for c in clients[2:])]
    say(
        f"What an answer of a model costs its client: {rounds} rounds, interleaved",
        f"{os.cpu_count()} cores, Python {platform.python_version()}",
        ", ".join(f"{name} {installed_version(name)}" for name in packages),
        "Milliseconds of CPU of the client's process for one answer: median (least-most)",
        "of the rounds; below it its ratio to the first line, round by round.",
    )
    if missing:
        say(
            f"Without {' and '.join(missing)}, which are not installed. To compare with them:",
            "  make bench-models",
        )


def verdict(figures: Sequence[Figures]) -> str:
    worst = max(median(kept.ratios(Galerne, n)) for kept in figures for n in AT_ONCE)
    kept = "kept" if worst <= AIM else "missed"
    return f"Galerne is to cost at most {AIM} times aiohttp + msgspec: {kept}, at worst {worst:.2f}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _bench(rounds: int, *, quick: bool) -> int:
    clients, missing = (CLOSE, ()) if quick else installed()
    heading(clients, missing, rounds)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="galerne-bench-") as folder:
        log = Path(folder) / "server.log"
        async with python_process(log, "bench.model_server", str(port)):
            server = f"http://127.0.0.1:{port}"
            await check(clients, server)
            figures = await compare(clients, rounds, server)
    for kept in figures:
        say(*kept.lines())
    say("", verdict(figures))
    return 0


def _flags(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="%(default)s")
    parser.add_argument("--quick", action="store_true", help="only Galerne's and the floor")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    given = _flags(sys.argv[1:])
    sys.exit(run_command(partial(_bench, given.rounds, quick=given.quick)))
