"""Effects in doubt: asked about, never repeated blindly, and settled by a person's word.

A worker that was only slow may still know better: its late result is the truth.
"""

# What a stop of the process leaves behind shows only inside.
# pyright: reportPrivateUsage=false

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from galerne.bus import store
from galerne.bus.server import NatsServer
from galerne.messages.facts import Decided, ToolStep, Verdict
from galerne.runtime.tool_host import ToolHost
from galerne.runtime.tool_journal import ToolJournal
from galerne.settings import Settings
from galerne.tools import AnyTool, ToolContext, tool
from integration.fleet import (
    Fleet,
    Member,
    calling,
    eventually,
    fleet_on,
    freeze,
    planning,
    task,
    until,
)

pytestmark = pytest.mark.anyio


class Till:
    """Tools that book something, and the book; where `stuck` is set they wait for `release`."""

    def __init__(self) -> None:
        self.booked: list[str] = []
        self.stuck = True
        self.release = anyio.Event()

    def tools(self, timeout: float = 30.0) -> tuple[AnyTool, ...]:
        async def book(kind: str, context: ToolContext) -> str:
            self.booked.append(f"{kind} {context.key}")
            if self.stuck:
                await self.release.wait()
            return "booked"

        @tool(effect="once", timeout=timeout)
        async def pay(context: ToolContext) -> str:
            """Pay."""
            return await book("pay", context)

        @tool(effect="idempotent", timeout=timeout)
        async def put(context: ToolContext) -> str:
            """Put."""
            return await book("put", context)

        return pay, put


@asynccontextmanager
async def bereaved(settings: Settings, name: str) -> AsyncGenerator[tuple[Fleet, Till]]:
    """A job whose only call has lost its worker between the effect and the journal."""
    async with fleet_on(settings) as fleet:
        till = Till()
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling(name))
        host = await fleet.tools(*till.tools())
        await fleet.submit("job")
        await eventually(lambda: len(till.booked) == 1, "the effect is there")
        await host.kill()
        till.stuck = False
        await fleet.tools(*till.tools())
        yield fleet, till


@asynccontextmanager
async def in_doubt(settings: Settings) -> AsyncGenerator[tuple[Fleet, Till]]:
    """The same for a call of `pay`, which nobody may repeat."""
    async with bereaved(settings, "pay") as (fleet, till):
        yield fleet, till


async def test_a_dead_once_call_asks_and_holds_nothing(settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        ask = await fleet.parked("job", "1")
        assert (ask.what, ask.tool, ask.arguments, ask.until) == ("doubt", "pay", {}, None)
        assert await fleet.find("job", "step.1.1") is None
        assert await fleet.find("job", "end") is None
        assert till.booked == ["pay job.1.1"]


@pytest.mark.parametrize(
    ("value", "result"), [({"receipt": 7}, {"receipt": 7}), ("paid", "paid"), (None, None)]
)
async def test_it_has_happened_so_the_job_goes_on(
    settings: Settings, value: object, result: object
) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        await fleet.decide("job", "1", "happened", value=value)
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("succeeded", {"1": result})
        step = await fleet.find("job", "step.1.1")
        assert isinstance(step, ToolStep)
        assert (step.value, step.is_error) == (result, False)
        assert till.booked == ["pay job.1.1"]


async def test_it_has_not_happened_so_it_is_done_once(settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        await fleet.decide("job", "1", "not_happened")
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("succeeded", {"1": "booked"})
        assert till.booked == ["pay job.1.1"] * 2  # the same key both times
        assert (await fleet.done("job", "1")).attempt == 2


async def test_dead_again_it_asks_again(settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        till.stuck = True
        await fleet.decide("job", "1", "not_happened")
        await eventually(lambda: len(till.booked) == 2, "it is done anew")
        await fleet.kill("tools")
        till.stuck = False
        await fleet.tools(*till.tools())
        ask = await fleet.parked("job", "1", round_=2)
        assert ask.what == "doubt"
        assert len(till.booked) == 2
        await fleet.decide("job", "1", "not_happened", round_=2)
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["pay job.1.1"] * 3


async def test_a_once_call_that_overruns_its_time_is_in_doubt(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        till = Till()
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("pay"))
        await fleet.tools(*till.tools(timeout=0.3))
        await fleet.submit("job")
        ask = await fleet.parked("job", "1")
        assert ask.what == "doubt"
        assert "did not finish" in ask.question
        till.stuck = False
        await fleet.decide("job", "1", "not_happened")
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["pay job.1.1"] * 2


async def test_the_last_word_counts(settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        till.stuck = True
        await fleet.decide("job", "1", "not_happened")
        await eventually(lambda: len(till.booked) == 2, "it is done anew")
        await fleet.kill("tools")
        till.stuck = False
        await fleet.tools(*till.tools())
        await fleet.parked("job", "1", round_=2)
        await fleet.decide("job", "1", "happened", round_=2, value="the second one")
        assert (await fleet.end("job")).result == {"1": "the second one"}
        assert till.booked == ["pay job.1.1"] * 2


async def test_a_dead_idempotent_call_is_done_again_with_its_key(settings: Settings) -> None:
    async with bereaved(settings, "put") as (fleet, till):
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["put job.1.1"] * 2
        assert await fleet.find("job", "ask.1.1.1") is None


async def test_a_dead_call_whose_time_is_over_is_no_failure_of_the_tool(
    settings: Settings,
) -> None:
    """The claim outlives the call's own time: the effect is begun under the next one's."""
    async with fleet_on(settings) as fleet:
        till = Till()
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("put"))
        host = await fleet.tools(*till.tools(timeout=1.0))
        await fleet.submit("job")
        await eventually(lambda: len(till.booked) == 1, "the effect is there")
        await host.kill()
        till.stuck = False
        await fleet.tools(*till.tools(timeout=1.0))
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["put job.1.1"] * 2


async def test_doubt_outlives_everything(server: NatsServer, settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        await fleet.kill()
        await server.kill()
        await server.start()
        await until(lambda: fleet.find("job", "ask.1.1.1"), "the question is still there")
        await fleet.decide("job", "1", "not_happened")
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("pay"))
        await fleet.tools(*till.tools())
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["pay job.1.1"] * 2


async def test_an_executor_that_dies_while_a_call_is_in_doubt_asks_once(
    settings: Settings,
) -> None:
    async with fleet_on(settings) as fleet:
        till = Till()
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        first = await fleet.worker(calling("pay"))
        host = await fleet.tools(*till.tools())
        await fleet.submit("job")
        await eventually(lambda: len(till.booked) == 1, "the effect is there")
        await host.kill()
        await first.kill()
        till.stuck = False
        await fleet.tools(*till.tools())
        await fleet.worker(calling("pay"))
        await fleet.parked("job", "1")
        await fleet.decide("job", "1", "happened", value=3)
        assert (await fleet.end("job")).result == {"1": 3}
        assert till.booked == ["pay job.1.1"]


async def test_a_word_that_does_not_fit_is_refused(settings: Settings) -> None:
    async with in_doubt(settings) as (fleet, till):
        await fleet.parked("job", "1")
        await fleet.decide("job", "1", "approved")
        await until(fleet.quarantined, "it is in quarantine")
        assert await fleet.find("job", "decided.1.1.1") is None
        await fleet.decide("job", "1", "happened", value="x")
        assert (await fleet.end("job")).result == {"1": "x"}
        decided = await fleet.find("job", "decided.1.1.1")
        assert isinstance(decided, Decided)
        assert decided.by == "ann"
        assert till.booked == ["pay job.1.1"]


# workers that were only slow


@asynccontextmanager
async def slow(
    settings: Settings,
) -> AsyncGenerator[tuple[Fleet, Till, Member, Callable[[], None]]]:
    """A call in doubt whose worker lives, cut off from the bus; the last one connects it again."""
    async with fleet_on(settings) as fleet:
        till = Till()
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("pay"))
        host = await fleet.tools(*till.tools())
        await fleet.submit("job")
        await eventually(lambda: len(till.booked) == 1, "the effect is begun")
        thaw = freeze(host.bus)
        heir = await fleet.tools(*till.tools())
        await fleet.parked("job", "1")
        yield fleet, till, heir, thaw


async def journaled(fleet: Fleet, entry: str, round_: int = 0) -> bytes | None:
    stream = fleet.bus.subjects.stream("TOOLJ")
    subject = fleet.bus.subjects.tool_journal("default", "job.1.1", entry, round_)
    stored = await store.last(fleet.bus, stream, subject)
    return stored.data if stored else None


@pytest.mark.parametrize("verdict", ["not_happened", "happened"])
async def test_the_late_result_of_a_slow_worker_is_the_truth(
    settings: Settings, verdict: Verdict
) -> None:
    """A person who looked before it was there says what they have seen."""
    async with slow(settings) as (fleet, till, _, thaw):
        till.release.set()
        thaw()
        await until(lambda: journaled(fleet, "result"), "the late result is in the journal")
        await fleet.decide("job", "1", verdict)
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["pay job.1.1"]
        assert b'"in_doubt":true' in (await journaled(fleet, "claim") or b"")


async def test_a_value_that_a_person_gives_stands_before_a_late_result(settings: Settings) -> None:
    async with slow(settings) as (fleet, till, _, thaw):
        till.release.set()
        thaw()
        await until(lambda: journaled(fleet, "result"), "the late result is in the journal")
        await fleet.decide("job", "1", "happened", value="receipt 7")
        assert (await fleet.end("job")).result == {"1": "receipt 7"}
        assert till.booked == ["pay job.1.1"]


async def test_the_next_round_waits_for_the_one_that_is_under_way_at_its_worker(
    settings: Settings,
) -> None:
    async with slow(settings) as (fleet, till, heir, thaw):
        await heir.kill()
        thaw()
        till.stuck = False
        await fleet.decide("job", "1", "not_happened")
        await until(lambda: called_again(fleet), "the next round has come to the slow worker")
        till.release.set()
        assert (await fleet.end("job")).result == {"1": "booked"}
        assert till.booked == ["pay job.1.1"]


async def called_again(fleet: Fleet) -> bool:
    """Whether the task's next attempt has begun: it goes straight to the call."""
    return any(claim.attempt == 2 for claim in await fleet.claims("job", "1"))


@pytest.mark.parametrize("settled", [False, True])
async def test_a_worker_that_wakes_up_after_the_doubt_begins_nothing(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    settled: bool,
) -> None:
    """It was stopped between its claim and the effect."""
    asleep, awake, over = anyio.Event(), anyio.Event(), anyio.Event()
    perform, renew = ToolHost._perform, ToolJournal._renew

    async def late(self: ToolHost, *arguments: Any) -> Any:
        if asleep.is_set():
            return await perform(self, *arguments)
        asleep.set()
        await awake.wait()
        try:
            return await perform(self, *arguments)
        finally:
            over.set()

    async def stopped(self: ToolJournal, *arguments: Any) -> None:
        if asleep.is_set():
            await renew(self, *arguments)
        else:
            await anyio.sleep_forever()

    monkeypatch.setattr(ToolHost, "_perform", late)
    monkeypatch.setattr(ToolJournal, "_renew", stopped)
    async with fleet_on(settings) as fleet:
        till = Till()
        till.stuck = False
        await fleet.coordinator()
        await fleet.planner(planning(task("1")))
        await fleet.worker(calling("pay"))
        zombie = await fleet.tools(*till.tools())
        await fleet.submit("job")
        with anyio.fail_after(20):
            await asleep.wait()
        thaw = freeze(zombie.bus)
        await fleet.tools(*till.tools())
        await fleet.parked("job", "1")
        if settled:
            await fleet.decide("job", "1", "not_happened")
            assert (await fleet.end("job")).result == {"1": "booked"}
        thaw()
        awake.set()
        with anyio.fail_after(20):
            await over.wait()
        assert till.booked == ["pay job.1.1"] * settled
        assert await journaled(fleet, "result") is None
