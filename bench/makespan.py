"""How close a streamed plan comes to its critical path: `python -m bench.makespan`.

    python -m bench.makespan            5 rounds, of the first plan with 1, 16 and 64 jobs at once
    python -m bench.makespan --quick    1 round of each plan with 1 and 4 jobs
    python -m bench.makespan --rounds 9

A planner speaks a line every 0.2 s, 1.2 s for the six tasks of the first plan; an executor's call
takes 0.3 s and a tool 0.1 s. Two plans have the shapes of LLMCompiler's examples, with slower tools
(`streamed.py`). The fleet is a nats-server, a coordinator, a planner, two executors and one tool
process, each with the settings of a user but for the numbers at once (`makespan_member.py`). The
*critical path* is worked out from when each line was really sent: a task can begin when its line is
there and its needs are done, and takes its model's or tool's time. The *makespan* of a job is the
time from its planner's request to the outcome of its last task in the log. *All of them* counts
from the submission of all jobs to the last outcome of any, over the critical path of one: with it
come admission, the plan's own queue and claim, and what two cores can do at a time.

*Early start* is the time from the moment that the line of a task is sent whose needs are done by
then, to the arrival of its request at the executors' model server: while the planner still speaks.
Beside it, the same tasks one after the other, as a loop of single steps does them: given as a plan
(no planner), and the time added that whoever thinks between the steps speaks, too.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import anyio
import msgspec
from bench.paced import LINE, Note, PacedServer, paced
from bench.processes import python_process
from bench.report import say, spread
from bench.streamed import MOVIE, PARALLELQA, PLANS, STREAMED, StreamedPlan

from galerne.bus.connection import Bus, Message, connect
from galerne.bus.server import NatsServer
from galerne.cli.runner import run_command
from galerne.core.written import given_tasks
from galerne.messages.codec import encode
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.plan import TaskSpec
from galerne.messages.requests import Submit
from galerne.settings import BusSettings

PATIENCE = 120.0


def early_starts(plan: StreamedPlan, note: Note, ends: dict[str, float]) -> list[float]:
    """Seconds, of the agent tasks that missed only their line."""
    return [
        note.begun[task["id"]] - note.closed[task["id"]]
        for task in plan.tasks
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


Plan = tuple[TaskSpec, ...]


class Case(NamedTuple):
    """A plan, and how many jobs of it there are at once."""

    plan: StreamedPlan
    jobs: int

    def __hash__(self) -> int:
        return hash((self.plan.name, self.jobs))


class Round(msgspec.Struct, frozen=True):
    """Ratios: of the median job, of all jobs together, of single steps; early starts in ms."""

    job: float
    whole: float
    steps: float
    early: list[float]


async def submitted(
    bus: Bus, seen: Seen, plan: StreamedPlan, names: Sequence[str], given: Plan | None = None
) -> float:
    """Hand in all at once and wait for their ends; the moment of the submission."""
    begun = time.monotonic()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for name in names:
                request = Submit(goal=f"{plan.name} {name}", job=name, plan=given)
                subject = bus.subjects.submit(DEFAULT_TENANT)
                tasks.start_soon(bus.publish, subject, encode(request))
        while not seen.over.issuperset(names):
            seen.moved = anyio.Event()
            await seen.moved.wait()
    if seen.failed is not None:
        raise SystemExit(f"a job did not succeed: {seen.failed}")
    return begun


async def one_round(bus: Bus, seen: Seen, server: PacedServer, case: Case, number: int) -> Round:
    plan, count = case.plan, case.jobs
    names = [f"{plan.name}-{number}-{count}-{n}" for n in range(count)]
    begun = await submitted(bus, seen, plan, names)
    ends = [max(seen.ends[name][task["id"]] for task in plan.tasks) for name in names]
    took = [end - server.note(name).asked for end, name in zip(ends, names, strict=True)]
    paths = [plan.critical_path(server.note(name)) for name in names]
    early = [
        seconds * 1000
        for name in names
        for seconds in early_starts(plan, server.note(name), seen.ends[name])
    ]
    steps = [f"steps-{plan.name}-{number}-{count}-{n}" for n in range(count)]
    alone = await submitted(bus, seen, plan, steps, given=given_tasks(plan.chained))
    spoken = LINE * len(plan.tasks)
    slower = median(seen.ends[name][plan.last] for name in steps) - alone + spoken
    return Round(
        job=median(one / path for one, path in zip(took, paths, strict=True)),
        whole=(max(ends) - begun) / median(paths),
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


async def run(rounds: int, cases: Sequence[Case]) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-makespan-") as folder:
        spoken = {name: plan.tasks for name, plan in PLANS.items()}
        async with paced(spoken) as server, fleet(Path(folder), server.url) as bus:
            seen = Seen()
            await bus.subscribe(bus.subjects.live("*", "*"), seen.hear)
            await bus.flush()
            await one_round(bus, seen, server, Case(STREAMED, 2), 0)  # connections, decoders
            found: dict[Case, list[Round]] = {case: [] for case in cases}
            for number in range(1, rounds + 1):
                for case in cases:
                    found[case].append(await one_round(bus, seen, server, case, number))
    report(found)
    return 0


def report(found: dict[Case, list[Round]]) -> None:
    say("", "over the critical path, medians (least-most) of rounds")
    heads = f"{'makespan of a job':<20}{'all of them':<20}single steps / plan"
    say(f"{'plan':<12}{'jobs':>4}  {heads}")
    for case, rounds in found.items():
        figures = ([one.job for one in rounds], [one.whole for one in rounds])
        cells = "".join(f"{spread(one):<20}" for one in (*figures, [one.steps for one in rounds]))
        say(f"{case.plan.name:<12}{case.jobs:>4}  {cells}".rstrip())
    say("", "early start in ms: line sent to request at the model server, planner speaking")
    for case, rounds in found.items():
        early = [one for each in rounds for one in each.early]
        if len(early) > 1:
            late = quantiles(early, n=20)[-1]
            say(f"{case.jobs:>6}  median {median(early):.1f}, 95 of 100 within {late:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.makespan")
    parser.add_argument("--quick", action="store_true", help="one round of 1 and 4 jobs")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    few = [Case(plan, jobs) for plan in PLANS.values() for jobs in (1, 4)]
    all_cases = [Case(STREAMED, 1), Case(STREAMED, 16), Case(STREAMED, 64)]
    all_cases += [Case(plan, jobs) for plan in (MOVIE, PARALLELQA) for jobs in (1, 16)]
    rounds, cases = (1, few) if flags.quick else (flags.rounds, all_cases)
    return run_command(partial(run, rounds, cases))


if __name__ == "__main__":
    sys.exit(main())
