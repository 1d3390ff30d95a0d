"""Budgets: reserved before they are spent, across a fleet of twenty."""

import time
from typing import Any

import anyio
import msgspec
import pytest

from galerne.agent import TaskContext
from galerne.core.budget import Prices
from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    GalerneError,
    ModelError,
    RateLimitedError,
    UnavailableError,
)
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Accounted, Hold
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, Failed, Succeeded
from galerne.settings import Settings
from integration.fleet import (
    Fleet,
    ScriptedModel,
    agent,
    asking,
    echoing,
    eventually,
    fleet_on,
    planning,
    ready,
    silence,
    task,
    until,
)

pytestmark = pytest.mark.anyio

EXECUTORS = 20
TASKS = 30
PLAN = tuple(task(str(n)) for n in range(1, TASKS + 1))
USED = 5
"""Tokens of a scripted answer, prompt included."""


async def account_of(fleet: Fleet, job: str = "job") -> Accounted:
    fact = await fleet.find(job, "account")
    return fact if isinstance(fact, Accounted) else Accounted()


async def settled(fleet: Fleet, calls: int, job: str = "job") -> Accounted:
    """The account, once nothing is held any more."""

    async def look() -> Accounted | None:
        account = await account_of(fleet, job)
        return account if account.calls == calls and not account.held else None

    return await until(look, f"{calls} calls are settled")


class Crowd(ScriptedModel):
    """A model that answers many at once, and counts the most of them."""

    def __init__(self) -> None:
        super().__init__(self._pause)
        self.now = 0
        self.most = 0

    async def _pause(self, request: ChatRequest) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        await anyio.sleep(0.05)
        self.now -= 1
        return f"reply to {request.messages[-1].content}"


async def test_twenty_executors_and_seven_calls(settings: Settings) -> None:
    model = Crowd()
    one_each = msgspec.structs.replace(
        settings, worker=msgspec.structs.replace(settings.worker, concurrency=1)
    )
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        for _ in range(EXECUTORS):
            await fleet.worker(echoing, model, settings=one_each)
        await fleet.submit("job", budget=Budget(calls=7))
        ended = await fleet.end("job")
        assert ended.status == "budget_exhausted"
        assert ended.error == "the budget of 7 model calls is used up"
        assert len(model.keys) == 7
        assert len(set(model.keys)) == 7
        assert model.most > 1
        results: dict[str, str] = ended.result["results"]
        assert len(results) == 7
        assert all(value == f"reply to do {name}" for name, value in results.items())
        assert ended.usage.model_calls == 7
        assert (await settled(fleet, 7)).tokens == 7 * USED


@pytest.mark.parametrize("limit", ["tokens", "usd"])
async def test_what_is_not_used_is_there_for_others(settings: Settings, limit: str) -> None:
    """Room for one call's worst case at a time, and for all that they really use."""
    prices = Prices(input=1.0, output=1.0, max_tokens=100)
    most = 250  # tokens: the worst case of one call is between a half of that and all
    budget = Budget(tokens=most) if limit == "tokens" else Budget(usd=prices.cost(most, 0))
    model = Crowd()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN[:12]))
        for _ in range(3):
            await fleet.worker(echoing, model, prices=prices)
        await fleet.submit("job", budget=budget)
        ended = await fleet.end("job")
        assert ended.status == "succeeded"
        assert len(model.keys) == 12
        assert model.most == 1
        account = await settled(fleet, 12)
        assert account.tokens == 12 * USED
        assert account.usd == pytest.approx(prices.cost(12 * USED, 0))


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        (Budget(tokens=430), "the next call may need more than what is left of 430 tokens"),
        (Budget(usd=0.00043), "the next call may cost more than what is left of $0.00043"),
    ],
    ids=["tokens", "usd"],
)
async def test_a_cap_is_never_passed(settings: Settings, budget: Budget, why: str) -> None:
    prices = Prices(input=1.0, output=1.0, max_tokens=100)
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        for _ in range(5):
            await fleet.worker(thrice, model, prices=prices)
        await fleet.submit("job", budget=budget)
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == ("budget_exhausted", why)
        assert 0 < len(model.keys) < 90
        subject = fleet.bus.subjects.job(fleet.address("job"), "account")
        entries = [one.fact for one in await fleet.facts.read(subject)]
        most = [entry for entry in entries if isinstance(entry, Accounted)]
        assert max(one.tokens for one in most) <= 430
        assert max(one.usd for one in most) <= 0.00043
        assert most[-1].tokens == len(model.keys) * USED
        assert len({one.n for one in most}) == len(most)


async def thrice(context: TaskContext) -> Any:
    for _ in range(3):
        await context.ask(asking("again"))
    return "done"


async def test_a_planner_spends_too(settings: Settings) -> None:
    async def plan(context: TaskContext) -> Any:
        return await thrice(context)

    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.worker(
            {"plan": agent(plan, lane="planner", kinds=("plan",))}, model, lane="planner"
        )
        await fleet.submit("job", budget=Budget(calls=2))
        ended = await fleet.end("job")
        assert (ended.status, ended.result) == ("budget_exhausted", {"results": {}})
        assert len(model.keys) == 2


async def test_nothing_may_be_spent(settings: Settings) -> None:
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN[:2]))
        await fleet.worker(echoing, model)
        await fleet.submit("job", budget=Budget(calls=0))
        assert (await fleet.end("job")).status == "budget_exhausted"
        assert not model.keys


# what becomes of a reservation


class Failing:
    """A model that fails with each of `errors` first, and answers then."""

    def __init__(self, *errors: GalerneError) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def ask(self, request: ChatRequest, *, on_text: Any = None, key: Any = None) -> ChatReply:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return await ScriptedModel().ask(request, on_text=on_text, key=key)


@pytest.mark.parametrize(
    "error", [UnavailableError("refused"), RateLimitedError("slower", retry_after=0.01)]
)
async def test_a_call_that_was_not_made_costs_nothing(
    settings: Settings, error: GalerneError
) -> None:
    model = Failing(error, error, error)
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, model)
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")
        assert model.calls == 4
        assert (await settled(fleet, 1)).tokens == USED


async def test_a_refused_request_costs_nothing(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, Failing(ModelError("no such model")))
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "model"
        await settled(fleet, 0)


@pytest.mark.parametrize("error", [DeadlineError("broken off"), BadAnswerError("half an answer")])
async def test_a_broken_call_stays_counted_and_keeps_nobody_waiting(
    settings: Settings, error: GalerneError
) -> None:
    model = Failing(error)
    once = msgspec.structs.replace(
        settings.worker, retry_deadline="0.1..1 x1", retry_bad_answer="0.1..1 x1"
    )
    async with fleet_on(settings) as fleet:
        await fleet.worker(echoing, model, settings=msgspec.structs.replace(settings, worker=once))
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == error.code
        await fleet.put("job", ready("2", budget=Budget(calls=1)))
        outcome = (await fleet.done("job", "2")).outcome
        assert outcome == Failed("budget_exhausted", "the budget of 1 model calls is used up")
        assert model.calls == 1
        assert (await settled(fleet, 1)).tokens > USED


async def test_a_killed_workers_call_stays_counted(settings: Settings) -> None:
    async def never(_: ChatRequest) -> str:
        await anyio.sleep_forever()
        return ""

    dead, heir = ScriptedModel(never), ScriptedModel()
    async with fleet_on(settings) as fleet:
        first = await fleet.worker(echoing, dead)
        await fleet.put("job", ready("1", budget=Budget(calls=2)))
        await eventually(lambda: len(dead.keys) == 1, "it asks")
        await first.kill()
        await fleet.worker(echoing, heir)
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")
        account = await settled(fleet, 2)
        assert account.tokens > 2 * USED
        await fleet.put("job", ready("2", budget=Budget(calls=2)))
        outcome = (await fleet.done("job", "2")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "budget_exhausted"
        assert len(heir.keys) == 1


async def test_a_worker_killed_before_it_settled_leaves_nothing_held(settings: Settings) -> None:
    """Its answer is in the journal, so its heir knows what it cost, and asks for nothing more."""
    first, heir = ScriptedModel(), ScriptedModel()
    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(echoing, first)
        publish = worker.bus.publish
        dying = anyio.Event()

        async def dies(subject: str, data: bytes, **options: Any) -> int:
            if subject.endswith(".account") and b'"held"' not in data:
                dying.set()
                await anyio.sleep_forever()
            return await publish(subject, data, **options)

        worker.bus.publish = dies  # type: ignore[method-assign]
        await fleet.put("job", ready("1", budget=Budget(calls=2)))
        with anyio.fail_after(20):
            await dying.wait()
        await worker.kill()
        assert (await account_of(fleet)).held
        await fleet.worker(echoing, heir)
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")
        account = await settled(fleet, 1)
        assert account.tokens == USED
        assert (len(first.keys), len(heir.keys)) == (1, 0)


async def test_a_lost_acknowledgement_reserves_once(settings: Settings) -> None:
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        worker = await fleet.worker(echoing, model)
        publish, lost = worker.bus.publish, 0

        async def lossy(subject: str, data: bytes, **options: Any) -> int:
            nonlocal lost
            sequence = await publish(subject, data, **options)
            if subject.endswith(".account") and lost < 1:
                lost += 1
                raise DeadlineError("the acknowledgement was lost")
            return sequence

        worker.bus.publish = lossy  # type: ignore[method-assign]
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")
        assert lost == 1
        await settled(fleet, 1)


async def test_what_a_dead_job_mate_holds_is_waited_for_until_it_is_spent(
    settings: Settings,
) -> None:
    """Another task's worker may have died: its hold ends by its own time, and stays counted."""
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        hold = Hold(tokens=100, usd=0.0, until=time.time() + 1.0)
        entry = Accounted(n=1, calls=1, tokens=100, held={"9.1.1": hold})
        await fleet.facts.append(fleet.address("job"), entry, 0)
        await fleet.worker(echoing, model)
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert time.time() > hold.until
        assert not model.keys


async def test_a_task_that_is_stopped_while_it_waits_for_money_holds_none(
    settings: Settings,
) -> None:
    model = ScriptedModel()
    hasty = msgspec.structs.replace(
        settings, worker=msgspec.structs.replace(settings.worker, drain=0.05)
    )
    async with fleet_on(hasty) as fleet:
        first = await fleet.worker(echoing, model)
        publish = first.bus.publish
        stored = anyio.Event()

        async def slow(subject: str, data: bytes, **options: Any) -> int:
            sequence = await publish(subject, data, **options)
            if subject.endswith(".account") and not stored.is_set():
                stored.set()
                await anyio.sleep_forever()
            return sequence

        first.bus.publish = slow  # type: ignore[method-assign]
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        with anyio.fail_after(20):
            await stored.wait()
        await first.leave()
        assert not model.keys
        assert (await account_of(fleet)).calls == 0
        await fleet.worker(echoing, model)
        assert (await fleet.done("job", "1")).outcome == Succeeded("reply to do 1")


async def test_an_unreadable_account_spends_nothing(settings: Settings) -> None:
    model = ScriptedModel()
    async with fleet_on(settings) as fleet:
        subject = fleet.bus.subjects.job(fleet.address("job"), "account")
        await fleet.bus.publish(subject, b"\xff")
        await fleet.worker(echoing, model)
        await fleet.put("job", ready("1", budget=Budget(calls=1)))
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code == "budget_exhausted"
        assert not model.keys


async def test_an_account_outlives_a_killed_fleet(settings: Settings) -> None:
    model = Crowd()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        for _ in range(3):
            await fleet.worker(thrice, model)
        await fleet.submit("job", budget=Budget(calls=12))
        await eventually(lambda: len(model.keys) >= 5, "some calls are made")
        for one in fleet.living():
            silence(one.bus)
        await fleet.kill()
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN))
        for _ in range(3):
            await fleet.worker(thrice, model)
        assert (await fleet.end("job")).status == "budget_exhausted"
        assert len(model.keys) <= 12


# tasks and seconds


async def test_only_so_many_tasks_are_started(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN[:10]))
        await fleet.worker(echoing)
        await fleet.submit("job", budget=Budget(tasks=3))
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == (
            "budget_exhausted",
            "the budget of 3 tasks is used up",
        )
        assert sorted(ended.result["results"]) == ["1", "2", "3"]
        begun = [one.name for one in await fleet.facts_of("job") if one.name.startswith("ready")]
        assert len([name for name in begun if ".executor." in name]) == 3


async def test_as_many_tasks_as_there_may_be_is_no_shortage(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(task("1"), task("2", "1"), task("3", "1")))
        await fleet.worker(echoing)
        await fleet.submit("job", budget=Budget(tasks=3))
        assert (await fleet.end("job")).status == "succeeded"


@pytest.mark.parametrize("coordinator_dies", [False, True])
async def test_the_seconds_of_a_job_run_out(settings: Settings, coordinator_dies: bool) -> None:
    async def first_only(context: TaskContext) -> Any:
        if context.ready.task.id == TaskId("1"):
            return "one"
        return await anyio.sleep_forever()

    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(*PLAN[:2]))
        await fleet.worker(first_only)
        begun = time.time()
        await fleet.submit("job", budget=Budget(seconds=2.0))
        await fleet.done("job", "1")
        if coordinator_dies:
            await fleet.kill("coordinator")
            await eventually(lambda: time.time() > begun + 2.5, "the time is over")
            await fleet.coordinator()
        ended = await fleet.end("job")
        assert (ended.status, ended.error) == (
            "budget_exhausted",
            "the budget of 2 seconds is used up",
        )
        assert ended.result == {"results": {"1": "one"}}
        assert ended.at >= begun + 2.0
