"""The four kinds of worker process, put together from their parts."""

import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
import anyio.to_thread
import structlog

from galerne.agent import load_agents
from galerne.bus.background import background
from galerne.bus.connection import Bus, connect
from galerne.bus.pacing import PaceBoard
from galerne.bus.store import write_once
from galerne.bus.topology import provision
from galerne.core.budget import Prices
from galerne.errors import PermanentError, UnavailableError
from galerne.logs import get_logger
from galerne.messages.facts import Lane
from galerne.models import open_model
from galerne.models.catalogue import load_setting
from galerne.models.ladder import Ladder, Rung
from galerne.models.rungs import rungs_above, rungs_longer
from galerne.planner.prompts import Prompts, prompts_of
from galerne.runtime.coordinator import Coordinator
from galerne.runtime.plan_service import PlanService
from galerne.runtime.services import Services
from galerne.runtime.spool import Spool
from galerne.runtime.spools import Spooled, replay, spool_folder
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.runtime.tool_generations import serve_generations
from galerne.runtime.tool_host import ToolHost
from galerne.runtime.worker import Worker
from galerne.settings import Settings
from galerne.tools import AnyTool, load_tools, with_sources

log = get_logger("galerne.runtime")

Role = Literal["coordinator", "planner", "executor", "tools"]
ROLES: tuple[Role, ...] = ("coordinator", "planner", "executor", "tools")


def worker_name(role: str) -> str:
    """Unique for ever, readable, and fit for a subject: role, host, process, a random end."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:20].strip("-") or "host"
    return f"{role}-{host}-{os.getpid()}-{secrets.token_hex(3)}"


async def serve(
    role: Role, settings: Settings, stop: anyio.Event, started: anyio.Event | None = None
) -> None:
    """Be a worker until `stop` is set, then drain. `started` is set when it takes work.

    Raises GalerneError when it cannot start, UnavailableError when the server sends it away.
    """
    me = worker_name(role)
    started = started or anyio.Event()
    with structlog.contextvars.bound_contextvars(worker=me):
        async with connect(settings.bus, me) as bus:
            await provision(bus, settings)
            async with background(_watcher(bus, stop)):
                await _serve(role, bus, me, settings, stop, started)


async def _serve(
    role: Role, bus: Bus, me: str, settings: Settings, stop: anyio.Event, started: anyio.Event
) -> None:
    match role:
        case "coordinator":
            await Coordinator(bus, me, settings, time.time).run(stop, started)
        case "tools":
            # In a thread: some read a document over HTTP, and the bus must not wait for them.
            own = await anyio.to_thread.run_sync(load_tools, settings.tools)
            async with with_sources(own, settings.tools) as live:
                first = partial(_host, bus, me, settings)
                await serve_generations(live, stop, started, first, partial(_later_host, settings))
        case "planner" | "executor":
            async with _services(bus, me, settings, role) as services:
                worker = Worker(me, role, load_agents(role), services, settings.worker)
                async with _plans(bus, me, settings, role, services, stop):
                    await worker.run(stop, started)


async def _host(
    bus: Bus,
    me: str,
    settings: Settings,
    tools: Mapping[str, AnyTool],
    stop: anyio.Event,
    started: anyio.Event,
) -> None:
    async with _spool(bus, me, settings) as spool:
        await ToolHost(bus, me, tools, spool, settings, time.time).run(stop, started)


async def _later_host(
    settings: Settings, tools: Mapping[str, AnyTool], stop: anyio.Event, started: anyio.Event
) -> None:
    """Another one in this process; all that it subscribes to goes with its connection."""
    me = worker_name("tools")
    with structlog.contextvars.bound_contextvars(worker=me):
        async with connect(settings.bus, me) as bus, background(_watcher(bus, stop)):
            await _host(bus, me, settings, tools, stop, started)


@asynccontextmanager
async def _services(bus: Bus, me: str, settings: Settings, lane: Lane) -> AsyncGenerator[Services]:
    async with AsyncExitStack() as stack:
        catalogue = load_setting(settings.models.catalogue)
        role = settings.planner if lane == "planner" else settings.executor
        board = PaceBoard(bus, me)
        model = await stack.enter_async_context(open_model(role, catalogue=catalogue, board=board))
        prices = Prices(role.input_price, role.output_price, role.max_tokens)
        find = rungs_above if lane == "executor" else rungs_longer
        above = await find(settings, model, catalogue, stack, board)
        ladder = Ladder(Rung(role.model, model, prices), above)
        spool = await stack.enter_async_context(_spool(bus, me, settings))
        directory = ToolDirectory(bus)
        await directory.start()
        caller = ToolCaller(bus, settings.tools.heartbeat, time.time)
        yield Services(bus, ladder, spool, directory, caller, time.time, _prompts(settings))


def _prompts(settings: Settings) -> Prompts:
    prompts = prompts_of(settings.prompts.folder)
    if prompts.own:
        log.info("prompts of this deployment", **prompts.versions())
    return prompts


@asynccontextmanager
async def _plans(
    bus: Bus, me: str, settings: Settings, lane: Lane, services: Services, stop: anyio.Event
) -> AsyncGenerator[None]:
    """A planner's service beside its lane; both end some time after `stop` is set."""
    if lane != "planner" or not settings.plans.serve:
        yield
        return
    serving, ended = anyio.Event(), anyio.Event()

    async def run() -> None:
        await PlanService(bus, me, services, settings).run(stop, serving)
        ended.set()

    async with background(run):
        await serving.wait()
        yield
        await ended.wait()


@asynccontextmanager
async def _spool(bus: Bus, me: str, settings: Settings) -> AsyncGenerator[Spool]:
    """This process's spool, after what dead processes left has been published."""
    folder = spool_folder(settings.worker.spool, await _cluster(bus))

    async def publish(message: Spooled) -> None:
        journaled = message.subject.startswith(bus.subjects.tool_journal("", "", "").rstrip("."))
        stream = bus.subjects.stream("TOOLJ" if journaled else "EVENTS")
        try:
            await write_once(bus, stream, message.subject, message.data, message.id)
        except PermanentError as error:  # it must not keep this process from starting
            log.error("a paid result is lost", subject=message.subject, why=str(error))  # noqa: TRY400 - the sentence says it all

    count = await replay(folder, publish)
    if count:
        log.info("published what a dead process had paid for", results=count)
    spool = Spool(folder, me)
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


async def _cluster(bus: Bus) -> str:
    """A name for the log that this bus holds: results of another one must not reach it."""
    stream = bus.subjects.stream("EVENTS")
    created = (await bus.api(f"STREAM.INFO.{stream}"))["created"]
    return hashlib.sha256(f"{stream}\0{created}".encode()).hexdigest()[:16]


def _watcher(bus: Bus, stop: anyio.Event) -> Callable[[], Coroutine[Any, Any, None]]:
    async def watch() -> None:
        await bus.closed.wait()
        if not stop.is_set():
            raise UnavailableError("the NATS server has closed the connection for good")

    return watch
