"""Records histories of jobs that a fleet really carries out, for `tests/contract/histories`.

    PYTHONPATH=tests python -m contract.record_histories [NAME…]

Each scenario runs on a real nats-server with scripted agents (one with the planner and executor
that Galerne ships, on the stand-in model), and its job is exported to `<NAME>.jsonl`. A file that
is there stays as it is: histories are never recorded again, only added.
"""

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec

from galerne.agent import TaskContext
from galerne.bus.server import NatsServer
from galerne.cli.embedded import embedded_fleet
from galerne.cli.output import say
from galerne.client import Client
from galerne.client.export import export_lines, write_whole
from galerne.errors import ToolError
from galerne.messages.facts import JobStatus
from galerne.messages.plan import Budget
from galerne.models.standin import StandIn
from galerne.settings import BusSettings, CoordinatorSettings, Settings, WorkerSettings
from galerne.tools import tool
from integration.fleet import (
    Fleet,
    ScriptedModel,
    calling,
    echoing,
    eventually,
    fleet_on,
    planning,
    task,
    until,
)

HISTORIES = Path(__file__).parent / "histories"
DIAMOND = (task("1"), task("2"), task("3", "1", "2"), task("4", "3"))


async def simple(fleet: Fleet) -> None:
    """One task and the answer."""
    await whole(fleet, task("1"))
    await fleet.submit("job", goal="one thing")
    await fleet.end("job")


async def diamond(fleet: Fleet) -> None:
    """Two tasks side by side, one that needs both, one after it; two coordinators."""
    await fleet.coordinator()
    await whole(fleet, *DIAMOND)
    await fleet.submit("job", priority="high", inputs={"of": [1, 2.5, None, "ü"]})
    await fleet.end("job")


async def failing(fleet: Fleet) -> None:
    """The first of two tasks fails for good while the other runs."""

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.id == "1":
            raise ToolError("the file is missing")
        return await echoing(context)

    await whole(fleet, *DIAMOND, doing=doing)
    await fleet.submit("job")
    await fleet.end("job")


async def executor_killed(fleet: Fleet) -> None:
    """An executor dies after its first step; another takes its lease over."""
    stuck = anyio.Event()

    async def dying(context: TaskContext) -> Any:
        await echoing(context)
        stuck.set()
        await anyio.sleep_forever()

    await fleet.coordinator()
    await fleet.planner(planning(*DIAMOND))
    first = await fleet.worker(dying)
    await fleet.submit("job")
    await stuck.wait()
    await first.kill()
    await fleet.worker(echoing)
    await fleet.end("job")


async def coordinator_killed(fleet: Fleet) -> None:
    """The only coordinator dies in the middle; another goes on."""
    first = await fleet.coordinator()
    await fleet.planner(planning(*DIAMOND))
    await fleet.submit("job")
    await until(lambda: fleet.find("job", "ready.executor.normal.2"), "tasks are ready")
    await first.kill()
    await fleet.worker(echoing)
    await until(lambda: fleet.find("job", "done.2"), "a task is done")
    await fleet.coordinator()
    await fleet.end("job")


async def cancelled(fleet: Fleet) -> None:
    """Cancelled by its user while a task is ready and one is done."""

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.id == "2":
            await anyio.sleep_forever()
        return await echoing(context)

    await whole(fleet, *DIAMOND, doing=doing)
    await fleet.submit("job")
    await fleet.done("job", "1")
    await fleet.cancel("job")
    await fleet.end("job")


async def unreadable(fleet: Fleet) -> None:
    """Bytes that are no fact stand where a task's outcome and a note that nobody reads belong."""
    for name in ("done.2", "step.1.1", "fired.1"):
        subject = fleet.bus.subjects.job(fleet.address("job"), name)
        await fleet.bus.publish(subject, b"\x00\xff no fact")
    await whole(fleet, *DIAMOND)
    await fleet.submit("job")
    await fleet.end("job")


async def approved(fleet: Fleet) -> None:
    """A tool call and a task wait for leave; both get it."""
    await with_till(fleet, task("1"), task("2", "1", approve=True), approve=True)
    await fleet.submit("job")
    ask = await fleet.asked("job", "1")
    await fleet.decide("job", "1", "approved", hash=ask.hash)
    start = await fleet.asked("job", "2", n=0)
    await fleet.decide("job", "2", "approved", n=0, hash=start.hash)
    second = await fleet.asked("job", "2")
    await fleet.decide("job", "2", "approved", hash=second.hash)
    await fleet.end("job")


async def denied(fleet: Fleet) -> None:
    """A task that wants leave to start is denied it."""
    await whole(fleet, task("1"), task("2", "1", approve=True))
    await fleet.submit("job")
    await fleet.asked("job", "2", n=0)
    await fleet.decide("job", "2", "denied", n=0, why="too dear")
    await fleet.end("job")


async def asked(fleet: Fleet) -> None:
    """A person answers one question; another one expires."""
    await whole(
        fleet, task("1", kind="ask"), task("2", "1"), task("3", "2", kind="ask", timeout=0.3)
    )
    await fleet.submit("job")
    await fleet.asked("job", "1", n=0)
    await fleet.decide("job", "1", "answered", n=0, value={"colour": "red"})
    await fleet.end("job")


async def in_doubt(fleet: Fleet) -> None:
    """A `once` effect whose worker died is settled by a person's word."""
    stuck = await with_till(fleet, task("1"), stuck=True)
    await fleet.submit("job")
    await eventually(stuck.is_set, "the effect is there")
    await fleet.kill("tools")
    await fleet.tools(pay_tool(anyio.Event(), stuck=False, approve=False))
    await fleet.asked("job", "1")
    await fleet.decide("job", "1", "happened", value={"receipt": 7})
    await fleet.end("job")


async def out_of_calls(fleet: Fleet) -> None:
    """A budget for two model calls, and four tasks that want one each."""
    await whole(fleet, *(task(str(n)) for n in range(1, 5)))
    await fleet.submit("job", budget=Budget(calls=2))
    await fleet.end("job")


async def out_of_tasks(fleet: Fleet) -> None:
    """A budget for three tasks, and a plan of four."""
    await whole(fleet, *DIAMOND)
    await fleet.submit("job", budget=Budget(tasks=3))
    await fleet.end("job")


async def past_deadline(fleet: Fleet) -> None:
    """The job's deadline passes while one task is done and one runs."""

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.id == "2":
            await anyio.sleep_forever()
        return await echoing(context)

    await whole(fleet, *DIAMOND, doing=doing)
    await fleet.submit("job", deadline=time.time() + 1.0)
    await fleet.end("job")


async def task_timed_out(fleet: Fleet) -> None:
    """One task is not done in its own time."""

    async def doing(_: TaskContext) -> Any:
        await anyio.sleep_forever()

    await whole(fleet, task("1", timeout=0.3), doing=doing)
    await fleet.submit("job")
    await fleet.end("job")


async def escalated(fleet: Fleet) -> None:
    """A task moves to a larger model, twice, while another one needs no move."""

    async def doing(context: TaskContext) -> Any:
        first = await echoing(context)
        if context.ready.task.id != "2":
            return first
        await context.move("the answer is not JSON")
        await echoing(context)
        await context.move("the model answered with nothing")
        return await echoing(context)

    await fleet.coordinator()
    await fleet.planner(planning(*DIAMOND))
    larger = {"mistral-nemo": ScriptedModel(), "mixtral-8x22b": ScriptedModel()}
    await fleet.worker(doing, above=larger)
    await fleet.submit("job")
    await fleet.end("job")


Scenario = Callable[[Fleet], Awaitable[None]]
SCENARIOS: Mapping[str, tuple[Scenario, JobStatus]] = {
    "simple": (simple, "succeeded"),
    "diamond": (diamond, "succeeded"),
    "failing": (failing, "failed"),
    "executor-killed": (executor_killed, "succeeded"),
    "coordinator-killed": (coordinator_killed, "succeeded"),
    "cancelled": (cancelled, "cancelled"),
    "unreadable": (unreadable, "failed"),
    "approved": (approved, "succeeded"),
    "denied": (denied, "failed"),
    "asked": (asked, "failed"),
    "in-doubt": (in_doubt, "succeeded"),
    "out-of-calls": (out_of_calls, "budget_exhausted"),
    "out-of-tasks": (out_of_tasks, "budget_exhausted"),
    "past-deadline": (past_deadline, "deadline_exceeded"),
    "task-timed-out": (task_timed_out, "failed"),
    "escalated": (escalated, "succeeded"),
}
STAND_IN = "stand-in"
"""Recorded with the agents and tools that Galerne ships."""


async def whole(fleet: Fleet, *plan: Any, doing: Any = echoing) -> None:
    await fleet.coordinator()
    await fleet.planner(planning(*plan))
    await fleet.worker(doing)


def pay_tool(paid: anyio.Event, *, stuck: bool, approve: bool) -> Any:
    @tool(effect="once", approve=approve)
    async def pay() -> str:
        """Pay."""
        paid.set()
        if stuck:
            await anyio.sleep_forever()
        return "paid"

    return pay


async def with_till(
    fleet: Fleet, *plan: Any, stuck: bool = False, approve: bool = False
) -> anyio.Event:
    """A fleet whose tasks pay; the event says that somebody did."""
    paid = anyio.Event()
    await whole(fleet, *plan, doing=calling("pay"))
    await fleet.tools(pay_tool(paid, stuck=stuck, approve=approve))
    return paid


def fast(server: str, folder: Path) -> Settings:
    """Short leases, so that a takeover takes a moment."""
    worker = WorkerSettings(
        concurrency=4,
        lease=1.5,
        clock_margin=0.2,
        heartbeat=0.3,
        max_attempts=3,
        retry_away="0.02..0.2",
        retry_deadline="0.02..0.2",
        retry_bad_answer="0.02..0.2",
        retry_other="0.02..0.2",
        spool=str(folder / "spool"),
    )
    return Settings(
        bus=BusSettings(server=server, partitions=8),
        worker=worker,
        coordinator=CoordinatorSettings(presence=0.3, ack_wait=1.5, sweep=3.0),
    )


async def record(name: str, folder: Path) -> None:
    server = NatsServer(folder / "nats")
    await server.start()
    try:
        settings = fast(server.url, folder)
        async with fleet_on(settings) as fleet:
            await SCENARIOS[name][0](fleet)
            lines = export_lines(fleet.bus, fleet.address("job"), time.time(), "0.1.0")
            await write_whole(HISTORIES / f"{name}.jsonl", lines, replace=False)
    finally:
        await server.kill()


async def record_stand_in(folder: Path) -> None:
    """A goal in words, with the planner, the executor, the tools and the stand-in of Galerne."""
    (folder / "a.txt").write_text("one two three\n")
    (folder / "b.txt").write_text("four five\n")
    async with StandIn() as stand_in:
        settings = Settings()
        roles = {
            role: msgspec.structs.replace(getattr(settings, role), endpoint=stand_in.url)
            for role in ("planner", "executor")
        }
        tools = msgspec.structs.replace(settings.tools, root=str(folder))
        settings = msgspec.structs.replace(settings, **roles, tools=tools)
        async with embedded_fleet(settings) as own, Client.connect(settings=own.bus) as client:
            goal = "Count the words in a.txt and in b.txt, then add the two numbers"
            job = await client.submit(goal, job="job")
            await job.wait()
            await write_whole(HISTORIES / f"{STAND_IN}.jsonl", job.export(), replace=False)


async def main(names: list[str]) -> None:
    for name in names or [*SCENARIOS, STAND_IN]:
        if (HISTORIES / f"{name}.jsonl").exists():
            say(f"{name}: is there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            await (
                record_stand_in(Path(folder)) if name == STAND_IN else record(name, Path(folder))
            )
        say(f"{name}: recorded")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:])
