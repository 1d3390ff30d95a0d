"""Cancel: it reaches an executor in the middle of an answer or a call, and the spending stops."""

# What a worker is at shows only inside.
# pyright: reportPrivateUsage=false

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Cancelled, ModelStep
from galerne.messages.plan import Budget
from galerne.models import ModelClient
from galerne.models.standin import StandIn, StandInSettings
from galerne.settings import RoleSettings, Settings
from galerne.tools import tool
from integration.fleet import (
    Fleet,
    Member,
    ScriptedModel,
    asking,
    calling,
    eventually,
    fleet_on,
    planning,
    task,
    until,
)

pytestmark = pytest.mark.anyio

LONG = "Repeat after me: " + "la " * 400


async def streaming(context: TaskContext) -> Any:
    """Ask twice, listening to each piece."""
    for _ in range(2):
        await context.ask(asking(LONG), lambda _: None)
    return "both"


@asynccontextmanager
async def slow_model() -> AsyncGenerator[tuple[StandIn, ModelClient]]:
    """A real server that takes its time over every word, and a client of it."""
    async with (
        StandIn(StandInSettings(pace=5.0)) as standin,
        ModelClient(RoleSettings(endpoint=standin.url)) as model,
    ):
        yield standin, model


async def test_in_the_middle_of_an_answer(settings: Settings) -> None:
    async with slow_model() as (standin, model), fleet_on(settings) as fleet:
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(streaming, model)
        delta = fleet.bus.subjects.delta("default", "job", "1")
        await fleet.bus.subscribe(delta, hear)
        await fleet.submit("job")
        await eventually(lambda: bool(heard), "the answer has begun")
        assert not standin.ledger.named("finished")
        await fleet.cancel("job")
        await eventually(lambda: bool(standin.ledger.named("aborted")), "the server sees it go")
        cancelled = await fleet.find("job", "cancel")
        assert isinstance(cancelled, Cancelled)
        (aborted,) = standin.ledger.named("aborted")
        assert aborted.time - cancelled.at < 10  # a second where the machine has nothing else to do
        assert (await fleet.end("job")).status == "cancelled"
        await fleet.emptied("TASKS", "executor-normal-default")
        assert len(standin.ledger.named("started")) == 1
        assert not standin.ledger.named("finished")
        facts = [one.fact for one in await fleet.facts_of("job")]
        assert not any(isinstance(fact, ModelStep) for fact in facts)


async def test_in_the_middle_of_a_tool_call(settings: Settings) -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    @tool(effect="once", timeout=60.0)
    async def build() -> str:
        """Build."""
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        return "never"

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("build"))
        host = await fleet.tools(build)
        await fleet.submit("job")
        with anyio.fail_after(20):
            await begun.wait()
        await fleet.cancel("job")
        with anyio.fail_after(20):
            await stopped.wait()
        ended = await fleet.end("job")
        assert ended.status == "cancelled"
        assert time.time() - ended.at < 20
        await fleet.emptied("TASKS", "executor-normal-default")
        assert host.alive
        names = [one.name for one in await fleet.facts_of("job")]
        assert not [name for name in names if name.startswith(("step.", "ask.", "done.1"))]


async def test_another_jobs_call_goes_on(settings: Settings) -> None:
    running: set[str] = set()
    go = anyio.Event()

    @tool(effect="idempotent", timeout=60.0)
    async def build(name: str) -> str:
        """Build."""
        running.add(name)
        await go.wait()
        return name

    async def named(context: TaskContext) -> Any:
        return await calling("build", name=context.job)(context)

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(named)
        await fleet.tools(build)
        await fleet.submit("one")
        await fleet.submit("two")
        await eventually(lambda: running == {"one", "two"}, "both are built")
        await fleet.cancel("one")
        assert (await fleet.end("one")).status == "cancelled"
        go.set()
        assert (await fleet.end("two")).result == {"1": "two"}


async def test_no_call_is_begun_afterwards(settings: Settings) -> None:
    """Thirty tasks that ask without end: what is asked after the cancel was heard is nothing."""
    asked: list[float] = []

    async def answer(_: ChatRequest) -> str:
        asked.append(time.time())
        await anyio.sleep(0.01)
        return "again"

    async def endless(context: TaskContext) -> Any:
        while True:
            await context.ask(asking("again"))

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*(task(str(n)) for n in range(30))))
        for _ in range(3):
            await fleet.worker(endless, ScriptedModel(answer))
        await fleet.submit("job")
        await eventually(lambda: len(asked) > 40, "many are asked")
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        await fleet.emptied("TASKS", "executor-normal-default")
        await eventually(lambda: not _busy(fleet), "nobody is at it any more")
        count = len(asked)
        await fleet.submit("other", goal="something else")
        await eventually(lambda: len(asked) > count + 5, "another job is served")
        cancelled = await fleet.find("job", "cancel")
        assert isinstance(cancelled, Cancelled)
        late = [one for one in await fleet.facts_of("job") if one.at > cancelled.at + 10]
        assert not [one for one in late if isinstance(one.fact, ModelStep)]


def _busy(fleet: Fleet) -> bool:
    return any(one.worker and one.worker._in_flight for one in fleet.living("executor"))


async def test_a_cancel_that_is_heard_waits_for_no_heartbeat(settings: Settings) -> None:
    rare = msgspec.structs.replace(settings.worker, lease=300.0, heartbeat=100.0)
    running, stopped = anyio.Event(), anyio.Event()

    async def work(_: TaskContext) -> Any:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    async with fleet_on(msgspec.structs.replace(settings, worker=rare)) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(work)
        await fleet.submit("job")
        with anyio.fail_after(20):
            await running.wait()
        await fleet.cancel("job")
        with anyio.fail_after(20):
            await stopped.wait()
        assert (await fleet.end("job")).status == "cancelled"


async def test_a_cancel_that_was_not_heard_is_found_in_the_log(settings: Settings) -> None:
    """Live words are for speed: a worker that was away looks into the log, too."""
    running, stopped = anyio.Event(), anyio.Event()

    async def work(_: TaskContext) -> Any:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        worker = await fleet.worker(work)
        await fleet.submit("job")
        with anyio.fail_after(20):
            await running.wait()
        await _deafen(worker)
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        with anyio.fail_after(20):
            await stopped.wait()


async def test_a_tool_call_whose_cancel_was_not_heard_is_stopped_too(settings: Settings) -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    @tool(timeout=60.0)
    async def build() -> str:
        """Build."""
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        return "never"

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("build"))
        host = await fleet.tools(build)
        await fleet.submit("job")
        with anyio.fail_after(20):
            await begun.wait()
        await _deafen(host)
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        with anyio.fail_after(20):
            await stopped.wait()


async def _deafen(member: Member) -> None:
    """What is said live from now on reaches it as little as if it were away."""
    deaf = member.bus._client._subs
    for one in [sub for sub in deaf.values() if ".live." in sub.subject]:
        await one.unsubscribe()


async def test_a_queued_task_is_not_begun(settings: Settings) -> None:
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.submit("job", budget=Budget(calls=3))
        await until(lambda: fleet.find("job", "ready.executor.normal.1"), "it is queued")
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        await fleet.worker(streaming, model)
        await fleet.emptied("TASKS", "executor-normal-default")
        assert not model.keys
