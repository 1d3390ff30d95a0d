"""How close a streamed plan comes to its critical path: `python -m bench.makespan`.

    python -m bench.makespan            5 rounds of 1, 16 and 64 jobs at once
    python -m bench.makespan --quick    1 round of 1 and 4 jobs
    python -m bench.makespan --rounds 9

A planner speaks for 1.2 s, a line every 0.2 s; an executor's call takes 0.3 s and a tool 0.1 s. The
fleet is a nats-server, a coordinator, a planner, two executors and one tool process, each with the
settings of a user. The *critical path* is worked out from when each line was really sent: a task
can begin when its line is there and its needs are done, and takes 0.3 or 0.1 s. The *makespan* of a
job is the time from its planner's request to the outcome of its last task in the log. *All of them*
counts from the submission of all jobs to the last outcome of any, over the critical path of one:
with it come admission, the plan's own queue and claim, and what two cores can do at a time.

*Early start* is the time from the moment that the line of a task is sent whose needs are done by
then, to the arrival of its request at the executors' model server: while the planner still speaks.
Beside it, the same six tasks one after the other, as a loop of single steps does them: given as a
plan (no planner), and the 1.2 s added that whoever thinks between the steps speaks, too.
"""

import argparse
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import anyio
import msgspec
from bench.makespan_member import PAUSE
from bench.paced import SPOKEN, THOUGHT, Note, PacedServer, paced
from bench.processes import python_process
from bench.report import say, spread

from galerne.bus.connection import Bus, Message, connect
from galerne.bus.server import NatsServer
from galerne.core.given import given_tasks
from galerne.messages.codec import encode
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.requests import Submit
from galerne.settings import BusSettings

PATIENCE = 120.0


def _tool(task: str, *needs: str) -> dict[str, Any]:
    return {"id": task, "kind": "tool", "tool": "pause", "args": {"name": task}, "needs": needs}


def _agent(task: str, *needs: str) -> dict[str, Any]:
    return {"id": task, "kind": "agent", "instruction": f"do {task}", "needs": needs, "tools": []}


STREAMED = (
    _tool("1"), _tool("2"), _agent("3", "1"), _agent("4", "2"), _tool("5", "3", "4"),
    _agent("6", "5"),
)  # fmt: skip
CHAINED = tuple(task | {"needs": [str(n)] if n else []} for n, task in enumerate(STREAMED))
LASTS = {task["id"]: THOUGHT if task["kind"] == "agent" else PAUSE for task in STREAMED}


def critical_path(note: Note) -> float:
    """Seconds from the planner's request to the earliest end of the last task."""
    ends: dict[str, float] = {}
    for task in STREAMED:
        begins = max([note.closed[task["id"]], *(ends[need] for need in task["needs"])])
        ends[task["id"]] = begins + LASTS[task["id"]]
    return max(ends.values()) - note.asked


def early_starts(note: Note, ends: dict[str, float]) -> list[float]:
    """Seconds, of the agent tasks that missed only their line."""
    return [
        note.begun[task["id"]] - note.closed[task["id"]]
        for task in STREAMED
        if task["id"] in note.begun
        and all(ends[need] < note.closed[task["id"]] for need in task["needs"])
    ]


class Seen:
    """When outcomes were stored, as the client hears of it: a moment later."""

    def __init__(self) -> None:
        self.ends: dict[str, dict[str, float]] = {}
        self.over: set[str] = set()
        self.failed: str | None = None
        self.moved = anyio.Event()

    async def hear(self, message: Message) -> None:
        now = time.monotonic()
        job, *name = message.subject.split(".")[3:]
        if name[0] == "done":
            self.ends.setdefault(job, {})[name[1]] = now
        elif name == ["end"]:
            self.over.add(job)
            if b'"succeeded"' not in message.data:
                self.failed = message.data.decode()[:300]
            self.moved.set()


class Round(msgspec.Struct, frozen=True):
    """Ratios: of the median job, of all jobs together, of single steps; early starts in ms."""

    job: float
    whole: float
    steps: float
    early: list[float]


async def submitted(bus: Bus, seen: Seen, names: Sequence[str], **job: Any) -> float:
    """Hand in all at once and wait for their ends; the moment of the submission."""
    begun = time.monotonic()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for name in names:
                request = Submit(goal=f"streamed {name}", job=name, **job)
                subject = bus.subjects.submit(DEFAULT_TENANT)
                tasks.start_soon(bus.publish, subject, encode(request))
        while not seen.over.issuperset(names):
            seen.moved = anyio.Event()
            await seen.moved.wait()
    if seen.failed is not None:
        raise SystemExit(f"a job did not succeed: {seen.failed}")
    return begun


async def one_round(bus: Bus, seen: Seen, server: PacedServer, count: int, number: int) -> Round:
    names = [f"streamed-{number}-{count}-{n}" for n in range(count)]
    begun = await submitted(bus, seen, names)
    took = [seen.ends[name]["6"] - server.note(name).asked for name in names]
    paths = [critical_path(server.note(name)) for name in names]
    last = max(seen.ends[name]["6"] for name in names)
    early = [
        seconds * 1000
        for name in names
        for seconds in early_starts(server.note(name), seen.ends[name])
    ]
    steps = [f"steps-{number}-{count}-{n}" for n in range(count)]
    alone = await submitted(bus, seen, steps, plan=given_tasks(CHAINED))
    slower = median(seen.ends[name]["6"] for name in steps) - alone + SPOKEN
    return Round(
        job=median(one / path for one, path in zip(took, paths, strict=True)),
        whole=(last - begun) / median(paths),
        steps=slower / median(took),
        early=early,
    )


@asynccontextmanager
async def fleet(folder: Path, models: str) -> AsyncGenerator[Bus]:
    async with AsyncExitStack() as stack:
        nats = NatsServer(folder / "nats")
        await nats.start()
        stack.push_async_callback(nats.stop)
        members = ("coordinator", "planner", "executor", "executor", "tools")
        for number, role in enumerate(members):
            arguments = (role, nats.url, str(folder / f"spool-{number}"), models)
            log = folder / f"{role}-{number}.log"
            await stack.enter_async_context(
                python_process(log, "bench.makespan_member", *arguments)
            )
        yield await stack.enter_async_context(connect(BusSettings(server=nats.url), "client"))


async def run(rounds: int, counts: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-makespan-") as folder:
        async with paced(STREAMED) as server, fleet(Path(folder), server.url) as bus:
            seen = Seen()
            await bus.subscribe(bus.subjects.live("*", "*"), seen.hear)
            await bus.flush()
            await one_round(bus, seen, server, 2, 0)  # connections, decoders
            found: dict[int, list[Round]] = {count: [] for count in counts}
            for number in range(1, rounds + 1):
                for count in counts:
                    found[count].append(await one_round(bus, seen, server, count, number))
    report(found)


def report(found: dict[int, list[Round]]) -> None:
    say("", "over the critical path: six tasks, medians (least-most) of rounds")
    say(f"{'jobs':>6}  {'makespan of a job':<22}{'all of them':<22}{'single steps / plan':<22}")
    for count, rounds in found.items():
        figures = ([one.job for one in rounds], [one.whole for one in rounds])
        cells = "".join(f"{spread(one):<22}" for one in (*figures, [one.steps for one in rounds]))
        say(f"{count:>6}  {cells}".rstrip())
    say("", "early start in ms: line sent to request at the model server, planner speaking")
    for count, rounds in found.items():
        early = [one for each in rounds for one in each.early]
        if len(early) > 1:
            late = quantiles(early, n=20)[-1]
            say(f"{count:>6}  median {median(early):.1f}, 95 of 100 within {late:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.makespan")
    parser.add_argument("--quick", action="store_true", help="one round of 1 and 4 jobs")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    counts = (1, 4) if flags.quick else (1, 16, 64)
    anyio.run(run, 1 if flags.quick else flags.rounds, counts)


if __name__ == "__main__":
    main()
