"""One process of the measured fleet: `python -m bench.member ROLE SERVER SPOOL CONCURRENCY`.

A coordinator is the real one. A planner writes the tasks of the shape in the job's goal at once,
and an executor does nothing, or asks a model in its own process once. Everything around them is
what a deployment has: claims, leases, spool, journal, acknowledgements, structured logs.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import structlog
from bench.shapes import shape_of, specs

from galerne.agent import Agent, TaskContext
from galerne.bus.background import background
from galerne.bus.connection import Bus, connect
from galerne.bus.topology import provision
from galerne.cli.logs import configure
from galerne.cli.runner import Stopping, run_service
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.messages.facts import Lane, PlanEnded, Planned
from galerne.messages.plan import TaskKind
from galerne.models.ladder import Ladder, Rung
from galerne.runtime.coordinator import Coordinator
from galerne.runtime.roles import worker_name
from galerne.runtime.services import Services
from galerne.runtime.spool import Spool
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.runtime.worker import Worker
from galerne.settings import BusSettings, Settings, WorkerSettings


class PlanAtOnce:
    """Writes a shape's tasks without asking anybody; its answer is how many results there are."""

    lane: ClassVar[Lane] = "planner"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"plan", "answer"})

    async def run(self, context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            return {"results": len(context.ready.inputs)}
        tasks = specs(shape_of(context.ready.goal))
        for n, task in enumerate(tasks, 1):
            context.write(Planned(revision=1, n=n, task=task))
        context.write(PlanEnded(revision=1, count=len(tasks)))
        return {"tasks": len(tasks)}


class DoNothing:
    """Returns a small value, after one question to the model where the task says so."""

    lane: ClassVar[Lane] = "executor"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"agent"})

    async def run(self, context: TaskContext) -> Any:
        if context.ready.task.instruction == "ask":
            return (await context.ask(_QUESTION)).message.content
        return "done"


_QUESTION = ChatRequest((ChatMessage("user", "Say yes."),))


class SaysYes:
    """A model that answers at once."""

    async def ask(
        self,
        request: ChatRequest,  # noqa: ARG002 - the contract of a model client
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,  # noqa: ARG002 - as above
    ) -> ChatReply:
        if on_text is not None:
            on_text("yes")
        return ChatReply(ChatMessage("assistant", "yes"), "scripted", usage=TokenUsage(2, 1))


def fleet_settings(server: str, spool: str, concurrency: int) -> Settings:
    """The defaults, but for the number of tasks at once: a no-op waits for nothing but the bus."""
    return Settings(
        bus=BusSettings(server=server),
        worker=WorkerSettings(spool=spool, concurrency=concurrency),
    )


async def _work(role: str, settings: Settings, stopping: Stopping) -> int:
    me = worker_name(role)
    started = anyio.Event()

    async def say_ready() -> None:
        await started.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    with structlog.contextvars.bound_contextvars(role=role, worker=me):
        async with connect(settings.bus, me) as bus:
            await provision(bus, settings)
            async with background(say_ready):
                await _serve(role, me, bus, settings, stopping.event, started)
    return 0


async def _serve(
    role: str, me: str, bus: Bus, settings: Settings, stop: anyio.Event, started: anyio.Event
) -> None:
    if role == "coordinator":
        await Coordinator(bus, me, settings, time.time).run(stop, started)
        return
    async with AsyncExitStack() as stack:
        spool = Spool(Path(settings.worker.spool or ""), me)
        spool.open()
        stack.callback(spool.close)
        directory = ToolDirectory(bus)
        await directory.start()
        caller = ToolCaller(bus, settings.tools.heartbeat, time.time)
        ladder = Ladder(Rung("yes", SaysYes()))
        services = Services(bus, ladder, spool, directory, caller, time.time)
        agent: Agent = PlanAtOnce() if role == "planner" else DoNothing()
        agents: dict[str, Agent] = dict.fromkeys(agent.kinds, agent)
        await Worker(me, agent.lane, agents, services, settings.worker).run(stop, started)


def main() -> int:
    role, server, spool, concurrency = sys.argv[1:]
    configure("info", "json")
    return run_service(partial(_work, role, fleet_settings(server, spool, int(concurrency))))


if __name__ == "__main__":
    sys.exit(main())
