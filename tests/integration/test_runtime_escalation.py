"""Moves up the ladder, on a real log: written before anything is paid, found by who goes on."""

from collections.abc import Callable, Generator
from typing import Any

import anyio.lowlevel
import pytest

from galerne.agent import TaskContext
from galerne.core.budget import Prices
from galerne.errors import TooLongError
from galerne.faults import arm
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.messages.facts import ModelStep, Moved
from galerne.messages.plan import Budget, Failed, Succeeded
from galerne.settings import Settings
from galerne_agents.executor import ExecutorAgent
from integration.fleet import (
    Fleet,
    Member,
    agent,
    eventually,
    fleet_on,
    planning,
    silence,
    task,
    until,
)

pytestmark = pytest.mark.anyio

CANNOT = "I cannot count so far."
PLAN = planning(task("1"))


class Named:
    """A model with a name that always says the same; it counts its calls by their keys."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.keys: list[str | None] = []
        self.requests: list[ChatRequest] = []
        self._text = text

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        await anyio.lowlevel.checkpoint()  # who has died does not ask
        self.keys.append(key)
        self.requests.append(request)
        if on_text is not None:
            on_text(self._text)
        usage = TokenUsage(100, 10)
        return ChatReply(ChatMessage("assistant", self._text), self.name, usage=usage)


def dies_at(victim: Member, boundary: str) -> None:
    """The next time that this process comes by the boundary, the worker falls silent there."""

    def die(point: str) -> None:
        if point == boundary:
            arm(None)
            silence(victim.bus)
            victim.scope.cancel()

    arm(die)


class Short(Named):
    """A model whose context no question fits into."""

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        await super().ask(request, on_text=on_text, key=key)
        raise TooLongError(f"{self.name} has too short a context")


class Models:
    """The models of a ladder of three; the last one can."""

    def __init__(self, *can: str) -> None:
        self.small = Named("small", "3" if "small" in can else CANNOT)
        self.middle = Named("middle", "3" if "middle" in can else CANNOT)
        self.large = Named("large", "3" if "large" in can else CANNOT)

    async def executor(self, fleet: Fleet, **options: Any) -> Member:
        options.setdefault("above", {"middle": self.middle, "large": self.large})
        return await fleet.worker({"agent": ExecutorAgent()}, self.small, **options)

    @property
    def calls(self) -> tuple[int, int, int]:
        return len(self.small.keys), len(self.middle.keys), len(self.large.keys)


@pytest.fixture(autouse=True)
def disarmed() -> Generator[None]:
    yield
    arm(None)


async def plan_by_model(context: TaskContext) -> Any:
    """Plan one task, after asking a model."""
    if context.ready.task.kind == "plan":
        await context.ask(ChatRequest((ChatMessage("user", "plan it"),)))
    return await PLAN.run(context)


async def moves_of(fleet: Fleet) -> list[Moved]:
    records = await fleet.facts_of("job")
    return [record.fact for record in records if isinstance(record.fact, Moved)]


async def test_it_goes_up_until_one_can_and_every_move_is_a_fact(settings: Settings) -> None:
    models = Models("large")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        await models.executor(fleet)
        await fleet.submit("job")
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("3")
        assert models.calls == (2, 2, 1)
        said = f"the model gave up: {CANNOT}"
        moves = [(one.n, one.from_model, one.to_model, one.reason) for one in await moves_of(fleet)]
        assert moves == [(1, "scripted", "middle", said), (2, "middle", "large", said)]
        order = [
            record.fact.model if isinstance(record.fact, ModelStep) else "moved"
            for record in await fleet.facts_of("job")
            if isinstance(record.fact, ModelStep | Moved)
        ]
        assert order == ["small", "small", "moved", "middle", "middle", "moved", "large"]
        assert {name: used.calls for name, used in done.usage.models.items()} == {
            "small": 2,
            "middle": 2,
            "large": 1,
        }
        assert models.large.requests[0].messages == models.small.requests[0].messages


async def test_after_the_last_one_the_job_fails_with_every_reason(settings: Settings) -> None:
    models = Models()
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        await models.executor(fleet)
        await fleet.submit("job")
        end = await fleet.end("job")
        assert end.status == "failed"
        said = f"the model gave up: {CANNOT}"
        assert end.error == (
            f"task 1 failed: no model could do it: scripted, middle, large: {said}"
        )


async def test_what_is_too_long_for_a_model_goes_to_one_that_can_take_it(
    settings: Settings,
) -> None:
    """Whoever goes on does not ask the one that cannot again, whatever its server can by then."""
    models = Models("middle")
    models.small = Short("small", "")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        victim = await models.executor(fleet)
        dies_at(victim, "publish.moved.after")
        await fleet.submit("job")
        await eventually(lambda: not victim.alive, "the executor dies at the move")
        (moved,) = await moves_of(fleet)
        assert (moved.reason, moved.refused) == ("small has too short a context", 1)
        await models.executor(fleet)
        done = await fleet.done("job", "1")
        assert done.outcome == Succeeded("3")
        assert models.calls == (1, 1, 0)
        assert list(done.usage.models) == ["middle"]


async def test_what_no_model_can_take_fails_with_the_reason(settings: Settings) -> None:
    models = Models()
    models.small = models.middle = models.large = Short("each", "")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        await models.executor(fleet)
        await fleet.submit("job")
        end = await fleet.end("job")
        assert "large: each has too short a context" in (end.error or "")


@pytest.mark.parametrize("boundary", ["publish.moved.before", "publish.moved.after"])
async def test_killed_around_a_move_nothing_is_paid_twice(
    settings: Settings, boundary: str
) -> None:
    models = Models("middle")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        victim = await models.executor(fleet)
        dies_at(victim, boundary)
        await fleet.submit("job")
        await eventually(lambda: not victim.alive, "the executor dies at the move")
        assert len(await moves_of(fleet)) == (boundary == "publish.moved.after")
        assert models.calls == (2, 0, 0)
        await models.executor(fleet)
        assert (await fleet.done("job", "1")).outcome == Succeeded("3")
        assert models.calls == (2, 1, 0)
        assert len(await moves_of(fleet)) == 1


async def test_a_worker_without_the_rung_leaves_the_task_to_one_that_has_it(
    settings: Settings,
) -> None:
    models = Models("middle")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        victim = await models.executor(fleet)
        dies_at(victim, "publish.moved.after")
        await fleet.submit("job")
        await eventually(lambda: not victim.alive, "the executor dies at the move")
        poor = await models.executor(fleet, above={})

        async def given_back() -> bool:
            claims = await fleet.claims("job", "1")
            return "moved to middle, which this worker does not have" in (claims[-1].note or "")

        await until(given_back, "who has no such model gives the task back")
        await poor.leave()
        await models.executor(fleet)
        assert (await fleet.done("job", "1")).outcome == Succeeded("3")
        assert models.calls == (2, 1, 0)


async def test_a_call_on_a_larger_model_is_reserved_at_its_own_price(settings: Settings) -> None:
    models = Models("middle")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(PLAN)
        dear = {"middle": Prices(1000.0, 1000.0)}
        await models.executor(fleet, prices=Prices(0.1, 0.1), above_prices=dear)
        await fleet.submit("job", budget=Budget(usd=0.01))
        end = await fleet.end("job")
        assert end.status == "budget_exhausted"
        assert models.calls == (2, 0, 0)
        outcome = (await fleet.done("job", "1")).outcome
        assert isinstance(outcome, Failed)
        assert "may cost more than what is left of $0.01" in outcome.message


async def test_the_end_says_what_one_model_alone_had_cost(settings: Settings) -> None:
    models = Models("middle")
    async with fleet_on(settings) as fleet:
        await fleet.coordinator()
        asking = agent(plan_by_model, lane="planner", kinds=("plan", "answer"))
        await fleet.worker(
            {"plan": asking, "answer": asking},
            Named("large", "a plan"),
            lane="planner",
            prices=Prices(2.0, 4.0),
        )
        await models.executor(fleet, prices=Prices(1.0, 1.0))
        await fleet.submit("job")
        end = await fleet.end("job")
        assert end.status == "succeeded"
        # Four calls of 100 and 10 tokens: a plan, two on the small model, one on the middle one.
        assert end.usage.usd == pytest.approx((240 + 3 * 110) / 1e6)
        assert end.would_have is not None
        assert end.would_have.model == "large"
        assert end.would_have.usd == pytest.approx(4 * 240 / 1e6)
