"""Zombies and clocks: who slept through a lease writes nothing and pays for nothing more."""

# What a stop of the process leaves behind shows only inside.
# pyright: reportPrivateUsage=false

import time
from typing import Any, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.bus.queue import Delivery
from galerne.core.claims import Wait
from galerne.errors import FencedError
from galerne.messages.chat import ChatRequest
from galerne.messages.facts import Claimed, Done
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, Succeeded
from galerne.runtime.lease import Claims, Lease
from galerne.settings import Settings
from galerne.tools import tool
from integration.fleet import (
    Fleet,
    Member,
    ScriptedModel,
    asking,
    echoing,
    eventually,
    fleet_on,
    freeze,
    ready,
    until,
)

pytestmark = pytest.mark.anyio

MARGIN = 0.6


def with_worker(settings: Settings, **changes: Any) -> Settings:
    worker = msgspec.structs.replace(settings.worker, **changes)
    return msgspec.structs.replace(settings, worker=worker)


class Clock:
    """The time of day, off by `ahead` seconds."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def __call__(self) -> float:
        return time.time() + self.ahead


class NoDelivery:
    """A message of a queue that nobody waits for."""

    async def keep(self) -> None:
        return None


def delivery() -> Delivery:
    return cast("Delivery", NoDelivery())


def idle(member: Member) -> bool:
    return not member.worker or not member.worker._in_flight


async def test_a_lease_is_over_only_after_the_margin(settings: Settings) -> None:
    """Whose clock is behind may still be at it."""
    wide = with_worker(settings, clock_margin=60.0).worker
    async with fleet_on(settings) as fleet:
        claim = Claimed(task=TaskId("1"), by="other", until=time.time() - 1.0, attempt=1)
        await fleet.facts.append(fleet.address("job"), claim, 0)
        claims = Claims(fleet.facts, "me", wide, time.time)
        verdict = await claims.claim(fleet.address("job"), TaskId("1"), delivery(), 3)
        assert isinstance(verdict, Wait)
        assert 50 < verdict.seconds < 60


# stopped past the lease


async def two_turns(context: TaskContext) -> Any:
    await context.ask(asking("first"))
    return (await context.ask(asking("second"))).message.content


@pytest.mark.parametrize("budget", [None, Budget(calls=5)])
async def test_a_zombie_commits_nothing_and_pays_for_nothing(
    settings: Settings, budget: Budget | None
) -> None:
    """Stopped in its first turn; its successor is in its own when it comes back."""
    asleep, awake = anyio.Event(), anyio.Event()
    hold, go = anyio.Event(), anyio.Event()

    async def sleep(_: ChatRequest) -> str:
        asleep.set()
        await awake.wait()
        return "the zombie's"

    async def work(_: ChatRequest) -> str:
        hold.set()
        await go.wait()
        return "the heir's"

    zombies, heirs = ScriptedModel(sleep), ScriptedModel(work)
    async with fleet_on(settings) as fleet:
        zombie = await fleet.worker(two_turns, zombies)
        await fleet.put("job", ready("1", budget=budget))
        with anyio.fail_after(20):
            await asleep.wait()
        thaw = freeze(zombie.bus)
        heir = await fleet.worker(two_turns, heirs)
        with anyio.fail_after(20):
            await hold.wait()
        awake.set()
        thaw()
        await eventually(lambda: idle(zombie), "the zombie has given up")
        assert await fleet.find("job", "done.1") is None
        go.set()
        done = await fleet.done("job", "1")
        assert (done.by, done.attempt) == (heir.name, 2)
        assert zombies.keys == ["job.1.1"]  # begun before it was stopped
        assert (await fleet.claims("job", "1"))[-1].by == heir.name
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_zombie_with_its_result_in_hand_commits_nothing(settings: Settings) -> None:
    """Nobody has an outcome yet, but the task is its successor's."""
    asleep, awake, taken, go = (anyio.Event() for _ in range(4))

    async def sleep(context: TaskContext) -> Any:
        if context.attempt == 1:
            asleep.set()
            await awake.wait()
            return "the zombie's"
        taken.set()
        await go.wait()
        return "the heir's"

    late = with_worker(settings, heartbeat=60.0)  # nothing tells it before its own last look
    async with fleet_on(settings) as fleet:
        zombie = await fleet.worker(sleep, settings=late)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await asleep.wait()
        heir = await fleet.worker(sleep)
        with anyio.fail_after(20):
            await taken.wait()
        awake.set()
        await eventually(lambda: idle(zombie), "the zombie has given up")
        assert await fleet.find("job", "done.1") is None
        go.set()
        done = await fleet.done("job", "1")
        assert (done.outcome, done.by) == (Succeeded("the heir's"), heir.name)
        await fleet.emptied("TASKS", "executor-normal-default")


async def test_a_zombie_that_waits_for_a_person_leaves_the_message_to_its_heir(
    settings: Settings,
) -> None:
    asleep, awake, taken, go = (anyio.Event() for _ in range(4))

    async def sleep(context: TaskContext) -> Any:
        if context.attempt > 1:
            taken.set()
            await go.wait()
        outcome = await context.call("c", "pay", {})
        return type(outcome).__name__

    @tool(effect="once", approve=True)
    async def pay() -> str:
        """Pay."""
        return "paid"

    late = with_worker(settings, heartbeat=60.0, clock_margin=0.01)
    async with fleet_on(settings) as fleet:
        await fleet.tools(pay)
        zombie = await fleet.worker(sleep, settings=late)
        publish = zombie.bus.publish

        async def stopped_at_its_question(subject: str, data: bytes, **options: Any) -> int:
            if ".ask." in subject:
                asleep.set()
                await awake.wait()
            return await publish(subject, data, **options)

        zombie.bus.publish = stopped_at_its_question  # type: ignore[method-assign]
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await asleep.wait()
        await fleet.worker(sleep)
        with anyio.fail_after(20):
            await taken.wait()
        awake.set()
        await eventually(lambda: idle(zombie), "the zombie has given up")
        assert await fleet.pending("TASKS", "executor-normal-default") == 1
        go.set()
        await fleet.parked("job", "1")


async def test_a_zombie_whom_nobody_replaced_goes_on(settings: Settings) -> None:
    asleep, awake = anyio.Event(), anyio.Event()

    async def sleep(_: TaskContext) -> Any:
        asleep.set()
        await awake.wait()
        return "late, and still the only one"

    late = with_worker(settings, heartbeat=60.0, lease=0.5)
    async with fleet_on(late) as fleet:
        worker = await fleet.worker(sleep)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await asleep.wait()
        over = (await fleet.claims("job", "1"))[-1].until
        await eventually(lambda: time.time() > over, "its lease is over")
        awake.set()
        done = await fleet.done("job", "1")
        assert (done.by, done.attempt) == (worker.name, 1)


# clocks


async def held_at_once(settings: Settings, first: Clock, second: Clock) -> tuple[int, list[str]]:
    """How many held a task at a time at most, and who committed, where the first stops renewing."""
    now, most = 0, 0
    begun = anyio.Event()

    async def hold(context: TaskContext) -> Any:
        nonlocal now, most
        if context.attempt > 1:
            most = max(most, now + 1)
            return "second"
        now += 1
        begun.set()
        try:
            while True:  # it works as long as it may pay
                await context.ask(asking("on"))
                await anyio.sleep(0.02)
        finally:
            now -= 1

    quick = with_worker(settings, clock_margin=MARGIN, lease=1.5, heartbeat=60.0)
    async with fleet_on(quick) as fleet:
        owner = await fleet.worker(hold, clock=first)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await begun.wait()
        publish = owner.bus.publish

        async def no_renewal(subject: str, data: bytes, **options: Any) -> int:
            if ".run." in subject:
                await anyio.sleep_forever()  # as long as the bus takes, nothing more is paid
            return await publish(subject, data, **options)

        owner.bus.publish = no_renewal  # type: ignore[method-assign]
        paid = await fleet.facts_of("job")
        await fleet.worker(hold, clock=second)
        done = await fleet.done("job", "1")
        taken = [c for c in await fleet.facts_of("job") if c.name == "run.1"][-1]
        steps = [one for one in await fleet.facts_of("job") if one.name.startswith("step.")]
        after = [one.name for one in steps if one.at > taken.at]
        assert len(steps) >= len([one for one in paid if one.name.startswith("step.")])
        return len(after), [done.by]


@pytest.mark.parametrize("ahead", [-(MARGIN - 0.15), 0.0, MARGIN - 0.15])
async def test_clocks_within_the_margin_never_pay_at_once(settings: Settings, ahead: float) -> None:
    """Who cannot renew stops paying before anybody else may claim."""
    paid_after, committed = await held_at_once(settings, Clock(0.0), Clock(ahead))
    assert paid_after == 0
    assert len(committed) == 1


async def test_beyond_the_margin_one_outcome_stands(settings: Settings) -> None:
    """A worker far ahead takes the task while it is held; the other's outcome does not count."""
    gates = {1: anyio.Event(), 2: anyio.Event()}
    begun: list[int] = []

    async def hold(context: TaskContext) -> Any:
        begun.append(context.attempt)
        await gates[min(context.attempt, 2)].wait()
        return context.attempt

    async with fleet_on(with_worker(settings, heartbeat=60.0)) as fleet:
        first = await fleet.worker(hold)
        await fleet.put("job", ready("1"))
        await eventually(lambda: begun == [1], "the first holds it")
        await first.bus._client.flush()
        ahead = await fleet.worker(hold, clock=Clock(30.0))
        await eventually(lambda: begun == [1, 2], "the second holds it, too")
        assert (await fleet.claims("job", "1"))[0].until > time.time() - 30
        for gate in gates.values():
            gate.set()
        done = await fleet.done("job", "1")
        await fleet.emptied("TASKS", "executor-normal-default")
        outcomes = [one.fact for one in await fleet.facts_of("job") if isinstance(one.fact, Done)]
        assert outcomes == [done]
        assert done.by in {first.name, ahead.name}


async def test_a_lease_about_to_end_is_renewed_before_anything_is_paid(settings: Settings) -> None:
    """`clock_margin` before its end another's clock may already say that it is over."""
    gate = anyio.Event()
    held: list[int] = []
    clock = Clock()

    async def answer(_: ChatRequest) -> str:
        held.append(len(await fleet.claims("job", "1")))
        return "paid"

    async def wait(context: TaskContext) -> Any:
        await context.ask(asking("one"))
        await gate.wait()
        await context.ask(asking("two"))

    calm = with_worker(settings, lease=60.0, heartbeat=59.0, clock_margin=10.0)
    async with fleet_on(calm) as fleet:
        await fleet.worker(wait, ScriptedModel(answer), clock=clock)
        await fleet.put("job", ready("1"))
        await eventually(lambda: held == [1], "a fresh lease is not renewed")
        clock.ahead = 55.0  # five seconds are left of it
        gate.set()
        await fleet.done("job", "1")
        assert held == [1, 2]


# one worker, two attempts


async def leases(fleet: Fleet, settings: Settings) -> tuple[Lease, Lease]:
    """Two attempts of the same worker: the first was given up without its word."""
    claims = Claims(fleet.facts, "me", settings.worker, time.time)
    address = fleet.address("job")
    taken = [await claims.claim(address, TaskId("1"), delivery(), 9) for _ in range(2)]
    first, second = taken
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert (first.attempt, second.attempt) == (1, 2)
    return first, second


async def test_an_earlier_attempt_of_the_same_worker_is_fenced_too(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        first, second = await leases(fleet, settings)
        with pytest.raises(FencedError):
            await first.give_back("late")
        claims = await fleet.claims("job", "1")
        assert [(one.attempt, one.until > 0) for one in claims] == [(1, True), (2, True)]
        await second.give_back("done with")
        assert (await fleet.claims("job", "1"))[-1].note == "done with"


# stopping


async def test_a_worker_that_is_stopped_hard_still_gives_back(settings: Settings) -> None:
    """The end of its process's patience comes while the lease is being given back."""
    running, giving_back, go = anyio.Event(), anyio.Event(), anyio.Event()

    async def wait(_: TaskContext) -> Any:
        running.set()
        await anyio.sleep_forever()

    async with fleet_on(with_worker(settings, drain=0.05, lease=120.0)) as fleet:
        worker = await fleet.worker(wait)
        await fleet.put("job", ready("1"))
        with anyio.fail_after(20):
            await running.wait()
        publish = worker.bus.publish

        async def slow(subject: str, data: bytes, **options: Any) -> int:
            if ".run." in subject and msgspec.json.decode(data, type=Claimed).until == 0:
                giving_back.set()
                await go.wait()
            return await publish(subject, data, **options)

        worker.bus.publish = slow  # type: ignore[method-assign]
        worker.stop.set()
        with anyio.fail_after(20):
            await giving_back.wait()
        worker.scope.cancel()
        await anyio.lowlevel.checkpoint()
        go.set()
        with anyio.fail_after(20):
            await worker.ended.wait()
        last = (await fleet.claims("job", "1"))[-1]
        assert (last.until, last.note) == (0.0, "its worker was stopped")
        await fleet.worker(echoing)
        assert (await fleet.done("job", "1")).attempt == 2


async def test_claims_are_in_the_log_before_anything_is_paid(settings: Settings) -> None:
    order: list[str] = []

    async def answer(_: ChatRequest) -> str:
        order.extend(one.name for one in await fleet.facts_of("job"))
        return "paid"

    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, ScriptedModel(answer))
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        await until(lambda: fleet.find("job", "done.1"), "it is done")
        assert order == ["ready.executor.normal.1", "run.1", "account"]
