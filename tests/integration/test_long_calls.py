"""Calls that take long: they tell how far they are, hold no place, and end with their job."""

import math
import time
from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus.connection import Message
from galerne.client import Client
from galerne.errors import DeadlineError
from galerne.messages.codec import decode_call_tool, encode
from galerne.messages.facts import Done
from galerne.messages.ids import TaskId
from galerne.messages.live import Progress
from galerne.messages.plan import Failed, Succeeded
from galerne.messages.tools import (
    CallTool,
    NeedsApproval,
    ToolOutcome,
    ToolRefused,
    ToolResult,
    ToolSpec,
    ToolsPresent,
    Working,
)
from galerne.runtime import long_call, tool_caller
from galerne.runtime.tool_caller import DEATHS, ToolCaller
from galerne.settings import Settings, WorkerSettings
from galerne.tools import AnyTool, ToolContext, tool
from integration.fleet import (
    Fleet,
    calling,
    echoing,
    eventually,
    fleet_on,
    planning,
    task,
    until,
)
from integration.test_runtime_tools import call, caller, result

pytestmark = pytest.mark.anyio


class Long:
    """Tools that take until the gate opens, and tell how far they are."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.begun: list[str] = []
        self.stopped: list[str] = []

    def tools(self) -> tuple[AnyTool, ...]:
        @tool(timeout=1_200.0)
        async def crawl(word: str, context: ToolContext) -> str:
            """Crawl."""
            await self._wait(word, context)
            return word

        @tool(effect="once", timeout=1_200.0)
        async def send_all(word: str, context: ToolContext) -> str:
            """Send."""
            await self._wait(word, context)
            return word

        return crawl, send_all

    async def _wait(self, word: str, context: ToolContext) -> None:
        self.begun.append(word)
        try:
            pages = 0
            while not self.gate.is_set():
                pages += 1
                context.progress(f"page {pages}", pages / 10_000)
                with anyio.move_on_after(0.02):
                    await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped.append(word)
            raise


def narrow(settings: Settings) -> Settings:
    worker: WorkerSettings = msgspec.structs.replace(settings.worker, concurrency=1)
    return msgspec.structs.replace(settings, worker=worker)


async def running(
    fleet: Fleet, long: Long, tool_name: str, *more: Any, tasks: tuple[Any, ...] = ()
) -> None:
    """A fleet whose one executor has one place."""
    await fleet.coordinator()
    await fleet.planner(planning(*(tasks or (task("1"),))))
    await fleet.tools(*long.tools())
    await fleet.worker(calling(tool_name, word="a"), settings=narrow(fleet.settings))


# progress


async def test_progress_reaches_who_follows_the_job(settings: Settings) -> None:
    long = Long()
    async with fleet_on(settings) as fleet:
        await running(fleet, long, "crawl")
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("the goal", job="job")
            heard: list[Progress] = []
            with anyio.fail_after(30):
                async for event in job.events(progress=True):
                    if isinstance(event.fact, Progress):
                        heard.append(event.fact)
                        assert event.name == "progress.1"
                        if len(heard) == 3:
                            long.gate.set()
            assert {(one.task, one.n, one.tool) for one in heard} == {("1", 1, "crawl")}
            fractions = [one.fraction or 0.0 for one in heard]
            assert fractions == sorted(fractions)
            assert all(one.note.startswith("page ") for one in heard)


async def test_progress_that_is_nonsense_is_made_harmless(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:

        async def serve(message: Message) -> None:
            for note, fraction in (("\x1b[2J\n" * 500, 7.0), ("", -1.0), ("a" * 9_000, None)):
                said = Working(by="odd", note=note, fraction=fraction)
                await fleet.bus.send(message.reply, encode(said))
            for bad in (b'{"type":"working","by":"odd","fraction":"half"}', b'{"type":"working"}'):
                await fleet.bus.send(message.reply, bad)
            await fleet.bus.send(message.reply, encode(result("done")))

        async def announce(_: Message) -> None:
            spec = ToolSpec(name="odd", description="Odd", parameters={})
            said = ToolsPresent(worker="odd", tools=(spec,), capacity=1, active=0)
            await fleet.bus.send(fleet.bus.subjects.presence("tools"), encode(said))

        await fleet.bus.subscribe(fleet.bus.subjects.tool("odd"), serve)
        await fleet.bus.subscribe(fleet.bus.subjects.presence_query("tools"), announce)
        await fleet.bus.flush()
        await running(fleet, Long(), "odd")
        async with Client.connect(settings=settings.bus) as client:
            job = await client.submit("the goal", job="job")
            with anyio.fail_after(30):
                events = [event.fact async for event in job.events(progress=True)]
        heard = [one for one in events if isinstance(one, Progress)]
        assert (await fleet.end("job")).result == {"1": "done"}
    assert len(heard) == 3
    assert all(one.note.isprintable() and len(one.note) <= 200 for one in heard)
    assert [one.fraction for one in heard] == [1.0, 0.0, None]
    assert not any(math.isnan(one.fraction or 0.0) for one in heard)


# no place is held


async def test_a_long_call_leaves_its_place_to_other_tasks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_call, "HOLDS", 0.1)
    long = Long()

    async def doing(context: Any) -> Any:
        if context.ready.task.id == "1":
            return await calling("crawl", word="a")(context)
        return await echoing(context)

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1"), task("2"), task("3"), task("4", "1")))
        await fleet.tools(*long.tools())
        worker = await fleet.worker(doing, settings=narrow(fleet.settings))
        await fleet.submit("job")
        for other in ("2", "3"):
            assert isinstance((await fleet.done("job", other)).outcome, Succeeded)
        await eventually(lambda: bool(long.begun), "the long call is under way")
        assert await fleet.find("job", "done.1") is None
        claims = len(await fleet.claims("job", "1"))

        async def renewed() -> bool:
            return len(await fleet.claims("job", "1")) > claims

        await until(renewed, "its lease is renewed all the same")
        long.gate.set()
        assert (await fleet.end("job")).status == "succeeded"
        assert long.begun == ["a"]
        done = await fleet.done("job", "1")
        assert (done.attempt, done.by) == (1, worker.name)


async def test_many_long_calls_at_once_in_one_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_call, "HOLDS", 0.1)
    long = Long()
    names = [str(number) for number in range(1, 9)]
    async with fleet_on(settings) as fleet:
        await running(fleet, long, "crawl", tasks=tuple(task(name) for name in names))
        await fleet.submit("job")

        async def all_have_begun() -> bool:
            return all([await fleet.claims("job", name) for name in names])

        await until(
            all_have_begun, "the others wait for room in the tool's worker, not for a place"
        )
        capacity = settings.tools.concurrency
        await eventually(lambda: len(long.begun) == capacity, "as many as there is room for")
        long.gate.set()
        assert (await fleet.end("job")).status == "succeeded"
        assert len(long.begun) == len(names)


# ended from outside


@pytest.mark.parametrize("name", ["crawl", "send_all"])
async def test_a_long_call_ends_with_its_job(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(long_call, "HOLDS", 0.1)
    long = Long()
    async with fleet_on(settings) as fleet:
        await running(fleet, long, name)
        await fleet.submit("job")
        await eventually(lambda: bool(long.begun), "it is under way")
        await fleet.cancel("job")
        assert (await fleet.end("job")).status == "cancelled"
        await eventually(lambda: bool(long.stopped), "its tool has stopped")
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_long_call_ends_with_its_task(settings: Settings) -> None:
    """As when a revision of the plan does without it, or its time is over."""
    long = Long()
    async with fleet_on(settings) as fleet:
        await running(fleet, long, "crawl")
        await fleet.submit("job")
        await eventually(lambda: bool(long.begun), "it is under way")
        await fleet.put(
            "job",
            Done(
                task=TaskId("1"),
                outcome=Failed("deadline", "its time is over"),
                usage=(await fleet.done("job", "plan-1")).usage,
                by="a coordinator",
                attempt=0,
                at=time.time(),
            ),
        )
        await eventually(lambda: bool(long.stopped), "its tool has stopped")
        assert long.stopped == long.begun == ["a"]


# workers that die, or answer otherwise than they should


async def _dying(fleet: Fleet, asked: list[CallTool], name: str | None = None) -> None:
    """Workers that take a call, say so once, and are never heard again."""

    async def take(message: Message) -> None:
        asked.append(decode_call_tool(message.data))
        by = name or f"worker-{len(asked)}"
        await fleet.bus.send(message.reply, encode(Working(by=by)))

    await fleet.bus.subscribe(fleet.bus.subjects.tool("look"), take)


async def test_a_call_at_which_one_worker_after_the_other_dies_is_given_up(
    settings: Settings,
) -> None:
    asked: list[CallTool] = []
    async with fleet_on(settings) as fleet:
        await _dying(fleet, asked)
        with anyio.fail_after(30):
            said = await caller(fleet).call(call("look", seconds=300.0))
        assert isinstance(said, ToolRefused)
        assert said.code == "tool_died"
        assert len(asked) == DEATHS
        deadlines = [one.deadline for one in asked]
        assert deadlines == sorted(deadlines)
        assert deadlines[0] < deadlines[-1]  # who takes over has as long as the first had
        assert len({one.key for one in asked}) == 1


async def test_one_worker_that_falls_silent_again_and_again_ends_with_the_deadline(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_caller, "GRACE", 0.1)
    asked: list[CallTool] = []
    async with fleet_on(settings) as fleet:
        await _dying(fleet, asked, "always the same")
        with anyio.fail_after(30), pytest.raises(DeadlineError):
            await caller(fleet).call(call("look", seconds=1.0))
        assert len(asked) > 1


async def test_a_second_answer_a_late_one_and_one_for_another_call_meet_nobody(
    settings: Settings,
) -> None:
    late: list[Message] = []

    async with fleet_on(settings) as fleet:

        async def serve(message: Message) -> None:
            asked = decode_call_tool(message.data)
            word = asked.arguments["word"]
            if late:  # to the call before, which is over, and by way of it to this one's
                await fleet.bus.send(late[-1].reply, encode(result(f"late {word}")))
                await fleet.bus.send(f"{late[-1].reply}x", encode(result(f"astray {word}")))
            late.append(message)
            await fleet.bus.send(message.reply, encode(result(f"first {word}")))
            await fleet.bus.send(message.reply, encode(result(f"second {word}")))

        await fleet.bus.subscribe(fleet.bus.subjects.tool("look"), serve)
        one: ToolCaller = caller(fleet)
        answers: list[ToolOutcome | NeedsApproval] = [
            await one.call(call("look", f"job.1.{n}", word=f"w{n}")) for n in range(5)
        ]
        assert answers == [result(f"first w{n}") for n in range(5)]
        assert isinstance(answers[0], ToolResult)
