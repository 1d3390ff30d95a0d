"""A fleet in one process for the integration tests: real bus, scripted models, agents and tools.

Every worker has its own connection, as its own process would; `kill` ends one as SIGKILL would:
nothing more leaves it. What a test waits for is a condition, with a deadline that fails it.
"""

import contextlib
import itertools
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.abc
import msgspec
import nats.errors

from galerne.agent import Agent, TaskContext
from galerne.bus.background import background
from galerne.bus.connection import Bus, connect
from galerne.bus.log import FactLog, Record
from galerne.bus.queue import Delivery, StandingPull
from galerne.bus.topology import provision
from galerne.core.budget import Prices
from galerne.errors import NotFoundError, TransientError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.messages.codec import decode_quarantined, encode
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Claimed,
    Done,
    Ended,
    Lane,
    PlanEnded,
    Planned,
    Ready,
    Verdict,
)
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId, TenantId
from galerne.messages.live import Quarantined
from galerne.messages.plan import TaskKind, TaskSpec
from galerne.messages.requests import Cancel, Command, Decide, Submit
from galerne.messages.subjects import JobAddress
from galerne.messages.tools import ToolResult
from galerne.models.ladder import Ladder, Model, Rung
from galerne.runtime.coordinator import Coordinator
from galerne.runtime.services import Services
from galerne.runtime.spool import Spool
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.runtime.tool_host import ToolHost
from galerne.runtime.worker import Worker
from galerne.settings import Settings
from galerne.tools import AnyTool

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds until a condition that never comes fails its test: a busy machine needs a few."""

Doing = Callable[[TaskContext], Awaitable[Any]]
_numbers = itertools.count(1)


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, patience: float = PATIENCE
) -> T:
    """What `look` gives as soon as it gives something true."""
    try:
        with anyio.fail_after(patience):
            while True:
                with contextlib.suppress(TransientError):  # the server may be away
                    if found := await look():
                        return found
                await anyio.sleep(0.01)
    except TimeoutError as error:
        raise AssertionError(f"in {patience:g} s never: {what}") from error


async def eventually(holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    async def look() -> bool:
        return holds()

    await until(look, what, patience)


# scripts


class ScriptedModel:
    """Answers `reply to <the last message>`, or what `answer` says; remembers each key asked."""

    def __init__(self, answer: Callable[[ChatRequest], Awaitable[str]] | None = None) -> None:
        self.keys: list[str | None] = []
        self._answer = answer

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        self.keys.append(key)
        text = f"reply to {request.messages[-1].content}"
        if self._answer is not None:
            text = await self._answer(request)
        if on_text is not None:
            on_text(text)
        return ChatReply(ChatMessage("assistant", text), "scripted", usage=TokenUsage(2, 3))


def asking(text: str) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),))


def agent(
    doing: Doing, *, lane: Lane = "executor", kinds: Iterable[TaskKind] = ("agent",)
) -> Agent:
    """An agent whose `run` is `doing`."""
    own_lane, own_kinds = lane, frozenset(kinds)

    class Scripted:
        lane: ClassVar[Lane] = own_lane
        kinds: ClassVar[frozenset[TaskKind]] = own_kinds

        async def run(self, context: TaskContext) -> Any:
            return await doing(context)

    return Scripted()


def planning(*tasks: TaskSpec) -> Agent:
    """A planner that writes these tasks, and answers with all results."""

    async def doing(context: TaskContext) -> Any:
        if context.ready.task.kind == "answer":
            return {task: given["value"] for task, given in context.ready.inputs.items()}
        for n, task in enumerate(tasks, 1):
            context.write(Planned(revision=1, n=n, task=task))
        context.write(PlanEnded(revision=1, count=len(tasks)))
        return {"tasks": len(tasks)}

    return agent(doing, lane="planner", kinds=("plan", "answer"))


async def echoing(context: TaskContext) -> Any:
    """Ask once; the value is what the model says."""
    return (await context.ask(asking(context.ready.task.instruction))).message.content


def calling(tool: str, **arguments: Any) -> Doing:
    """Call a tool as step 1; the value is its result, or `refused: …` as a model would read it."""

    async def doing(context: TaskContext) -> Any:
        outcome = await context.call("call-1", tool, arguments)
        if isinstance(outcome, ToolResult):
            return outcome.value
        return f"refused: {outcome.message}"

    return doing


def task(name: str, *needs: str, **fields: Any) -> TaskSpec:
    return TaskSpec(
        id=TaskId(name), instruction=f"do {name}", needs=tuple(map(TaskId, needs)), **fields
    )


def ready(name: str, *, lane: Lane = "executor", kind: TaskKind = "agent", **fields: Any) -> Ready:
    spec = TaskSpec(id=TaskId(name), kind=kind, instruction=f"do {name}")
    return Ready(
        lane=lane,
        priority=fields.pop("priority", "normal"),
        task=spec,
        goal="the goal",
        max_attempts=fields.pop("max_attempts", 3),
        **fields,
    )


# members


class Member:
    """A worker of the fleet. `stop` drains it, `kill` lets nothing more leave it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop = anyio.Event()
        self.started = anyio.Event()
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()
        self.spool: Spool | None = None
        self.worker: Worker | None = None
        self._bus: Bus | None = None

    @property
    def bus(self) -> Bus:
        assert self._bus is not None, "it has not started"
        return self._bus

    @property
    def alive(self) -> bool:
        return not self.ended.is_set()

    def on(self, bus: Bus) -> None:
        self._bus = bus

    async def kill(self) -> None:
        silence(self.bus)
        self.scope.cancel()
        await self.ended.wait()

    async def leave(self) -> None:
        self.stop.set()
        await self.ended.wait()


def silence(bus: Bus) -> None:
    """From now on nothing that this connection sends arrives, as if its process were gone."""

    def post(*_: Any, **__: Any) -> None:
        raise nats.errors.ConnectionClosedError

    bus._client.post = post  # type: ignore[method-assign]


def freeze(bus: Bus) -> Callable[[], None]:
    """Hold everything that this connection sends, as a stopped process would; the result lets go.

    What waited leaves then, late, in its order.
    """
    held: list[Callable[[], None]] = []
    post = bus._client.post  # pyright: ignore[reportPrivateUsage]

    def hold(*arguments: Any, **options: Any) -> None:
        held.append(lambda: post(*arguments, **options))

    bus._client.post = hold  # type: ignore[method-assign]

    def thaw() -> None:
        bus._client.post = post  # type: ignore[method-assign]
        for send in held:
            send()

    return thaw


class Fleet:
    """Members, and an observer's connection in `bus`."""

    def __init__(self, settings: Settings, bus: Bus, tasks: anyio.abc.TaskGroup) -> None:
        self.settings = settings
        self.bus = bus
        self.facts = FactLog(bus)
        self.members: list[Member] = []
        self._tasks = tasks

    async def worker(
        self,
        doing: Doing | Mapping[str, Agent],
        model: Model | None = None,
        *,
        lane: Lane = "executor",
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        prices: Prices | None = None,
        above: Mapping[str, Model] | None = None,
        above_prices: Mapping[str, Prices] | None = None,
    ) -> Member:
        """A worker of a lane; one function does its `agent` tasks.

        `above` are the models of its ladder, above its own, which is called `scripted` there.
        """
        agents = {"agent": agent(doing)} if callable(doing) else dict(doing)
        own = settings or self.settings

        async def serve(bus: Bus, member: Member) -> None:
            member.spool = spool = Spool(Path(own.worker.spool or ""), member.name)
            spool.open()
            try:
                directory = ToolDirectory(bus)
                await directory.start()
                caller = ToolCaller(bus, own.tools.heartbeat, clock)
                priced = prices or Prices()
                larger = [
                    Rung(name, one, (above_prices or {}).get(name, priced))
                    for name, one in (above or {}).items()
                ]
                ladder = Ladder(Rung("scripted", model or ScriptedModel(), priced), larger)
                services = Services(bus, ladder, spool, directory, caller, clock)
                member.worker = worker = Worker(member.name, lane, agents, services, own.worker)
                await worker.run(member.stop, member.started)
            finally:
                spool.close()

        return await self._start(lane, own, serve)

    async def planner(self, one: Agent, settings: Settings | None = None) -> Member:
        return await self.worker({"plan": one, "answer": one}, lane="planner", settings=settings)

    async def coordinator(self, settings: Settings | None = None) -> Member:
        own = settings or self.settings

        async def serve(bus: Bus, member: Member) -> None:
            await Coordinator(bus, member.name, own, time.time).run(member.stop, member.started)

        return await self._start("coordinator", own, serve)

    async def tools(
        self,
        *tools: AnyTool,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Member:
        own = settings or self.settings

        async def serve(bus: Bus, member: Member) -> None:
            member.spool = spool = Spool(Path(own.worker.spool or ""), member.name)
            spool.open()
            try:
                named = {one.spec.name: one for one in tools}
                host = ToolHost(bus, member.name, named, spool, own, clock)
                await host.run(member.stop, member.started)
            finally:
                spool.close()

        return await self._start("tools", own, serve)

    async def _start(
        self, role: str, settings: Settings, serve: Callable[[Bus, Member], Awaitable[None]]
    ) -> Member:
        member = Member(f"{role}-{next(_numbers)}")
        self.members.append(member)

        async def live() -> None:
            try:
                with member.scope:
                    async with connect(settings.bus, member.name) as bus:
                        member.on(bus)
                        await serve(bus, member)
            finally:
                member.ended.set()

        self._tasks.start_soon(live)
        with anyio.fail_after(PATIENCE):
            await member.started.wait()
        return member

    def living(self, role: str = "") -> list[Member]:
        return [one for one in self.members if one.alive and one.name.startswith(role)]

    async def kill(self, role: str = "") -> None:
        """Every member of a role, or all."""
        for one in self.living(role):
            await one.kill()

    # jobs

    def address(self, job: str, tenant: str = DEFAULT_TENANT) -> JobAddress:
        return self.bus.subjects.address(TenantId(tenant), JobId(job))

    async def submit(self, job: str, goal: str = "the goal", **fields: Any) -> None:
        await self.submit_bytes(encode(Submit(goal=goal, job=job, **fields)))

    async def submit_bytes(self, data: bytes, tenant: str = DEFAULT_TENANT) -> None:
        await self.bus.publish(self.bus.subjects.submit(tenant), data)

    async def command(self, command: Command, tenant: str = DEFAULT_TENANT) -> None:
        await self.bus.publish(self.bus.subjects.command(tenant), encode(command))

    async def cancel(self, job: str) -> None:
        await self.command(Cancel(job=job, why="no longer wanted"))

    async def decide(
        self, job: str, name: str, verdict: Verdict, *, n: int = 1, round_: int = 1, **fields: Any
    ) -> None:
        """A person's word, as the client sends it."""
        await self.command(
            Decide(job=job, task=name, n=n, round=round_, verdict=verdict, by="ann", **fields)
        )

    async def asked(self, job: str, name: str, n: int = 1, round_: int = 1) -> Asked:
        """The question, once it is there."""
        key = f"{name}.{n}.{round_}"
        fact = await until(lambda: self.find(job, f"ask.{key}"), f"{job} asks {key}")
        assert isinstance(fact, Asked), fact
        return fact

    async def parked(self, job: str, name: str, n: int = 1, round_: int = 1) -> Asked:
        """The question, once its task holds nothing any more."""
        ask = await self.asked(job, name, n, round_)

        async def given_back() -> bool:
            claims = await self.claims(job, name)
            return bool(claims) and claims[-1].until == 0

        await until(given_back, f"task {name} of {job} is parked")
        await self.emptied("TASKS", "executor-normal-default")
        return ask

    async def put(self, job: str, fact: AnyFact, tenant: str = DEFAULT_TENANT) -> None:
        """Write a fact as a coordinator would."""
        await self.facts.write(self.address(job, tenant), fact)

    async def facts_of(self, job: str, tenant: str = DEFAULT_TENANT) -> list[Record]:
        return await self.facts.read_job(self.address(job, tenant))

    async def claims(self, job: str, name: str) -> list[Claimed]:
        records = await self.facts.read(self.bus.subjects.job(self.address(job), f"run.{name}"))
        return [record.fact for record in records if isinstance(record.fact, Claimed)]

    async def find(self, job: str, name: str, tenant: str = DEFAULT_TENANT) -> AnyFact | None:
        record = await self.facts.last(self.address(job, tenant), name)
        return record.fact if record else None

    async def done(self, job: str, name: str, tenant: str = DEFAULT_TENANT) -> Done:
        """The outcome, once it is there."""
        fact = await until(
            lambda: self.find(job, f"done.{name}", tenant), f"task {name} of {job} is done"
        )
        assert isinstance(fact, Done), fact
        return fact

    async def end(self, job: str, tenant: str = DEFAULT_TENANT) -> Ended:
        fact = await until(lambda: self.find(job, "end", tenant), f"job {job} ends")
        assert isinstance(fact, Ended), fact
        return fact

    async def pending(self, stream: str, consumer: str) -> int:
        """Messages of a consumer that are not acknowledged yet."""
        name = self.bus.subjects.stream(stream)
        info = await self.bus.api(f"CONSUMER.INFO.{name}.{consumer}")
        return int(info["num_pending"]) + int(info["num_ack_pending"])

    async def emptied(self, stream: str, consumer: str) -> None:
        async def look() -> bool:
            return await self.pending(stream, consumer) == 0

        await until(look, f"{consumer} of {stream} has nothing left")

    async def quarantined(self) -> list[Quarantined]:
        stream = self.bus.subjects.stream("QUARANTINE")
        hostile = self.bus.subjects.quarantine("x")  # where tests write what is no record
        await self.bus.api(f"STREAM.PURGE.{stream}", {"filter": hostile})
        found: list[Quarantined] = []
        sequence = 1
        while True:
            question = {"seq": sequence, "next_by_subj": self.bus.subjects.quarantine(">")}
            try:
                message = (await self.bus.api(f"STREAM.MSG.GET.{stream}", question))["message"]
            except NotFoundError:
                return found
            sequence = int(message["seq"]) + 1
            found.append(decode_quarantined(msgspec.convert(message["data"], bytes)))


@asynccontextmanager
async def fleet_on(settings: Settings) -> AsyncGenerator[Fleet]:
    """A provisioned bus and an empty fleet, which ends with the context."""
    async with connect(settings.bus, "observer") as bus:
        await provision(bus, settings)
        async with background() as tasks:
            yield Fleet(settings, bus, tasks)


# hostile hands


async def raw(port: int, *commands: bytes) -> None:
    """Speak the protocol by hand, and return once the server has taken everything in."""
    options = {"verbose": False, "pedantic": False, "headers": True}
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.receive()
        greeting = b"CONNECT " + json.dumps(options).encode() + b"\r\n"
        await stream.send(greeting + b"".join(commands) + b"PING\r\n")
        heard = b""
        with anyio.fail_after(PATIENCE):
            while b"PONG" not in heard:
                heard += await stream.receive()
        assert b"-ERR" not in heard, heard


def pub(subject: bytes, data: bytes) -> bytes:
    return b"PUB %s %d\r\n%s\r\n" % (subject, len(data), data)


def hpub(subject: bytes, header: bytes, data: bytes) -> bytes:
    """`header` stands as it is, which need not be a header at all."""
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (
        subject,
        len(header),
        len(header) + len(data),
        header,
        data,
    )


@asynccontextmanager
async def pulling(
    bus: Bus,
    stream: str,
    consumer: str,
    callback: Callable[[Delivery], None],
    window: int = 64,
    *,
    manual: bool = False,
) -> AsyncGenerator[StandingPull]:
    pull = StandingPull(bus, bus.subjects.stream(stream), consumer, window, callback, manual=manual)
    async with background(pull.run):
        yield pull
