import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from galerne.errors import BadAnswerError, InvalidInputError, RateLimitedError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.messages.facts import Turn
from galerne.messages.plan import ModelUsage
from galerne.planner import Planner, task_line
from galerne.planner.planner import Model
from galerne.settings import RoleSettings
from unit.planner.examples import TOOLS, agent_task

pytestmark = pytest.mark.anyio

ONE, TWO = agent_task("1", "first"), agent_task("2", "second", "1")
LINES = f"{task_line(ONE)}\n{task_line(TWO)}\n"


class FakeModel:
    """Says its answers in pieces, and waits at a piece `WAIT` until `go` is set."""

    WAIT = ""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.asked = anyio.Event()
        self.go = anyio.Event()
        self.open = 0
        self.cancelled = False

    @asynccontextmanager
    async def connect(self, settings: RoleSettings) -> AsyncGenerator["FakeModel"]:
        assert settings.endpoint == "http://model"
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def ask(
        self, request: ChatRequest, *, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        assert on_text is not None
        self.requests.append(request)
        self.asked.set()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        for piece in answer:
            if piece == self.WAIT:
                await self._wait()
            else:
                await anyio.lowlevel.checkpoint()
                on_text(piece)
        message = ChatMessage("assistant", "".join(answer))
        return ChatReply(message, "mixtral", usage=TokenUsage(10, 5))

    async def _wait(self) -> None:
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


def planner(model: FakeModel) -> Planner:
    connect: Callable[[RoleSettings], AbstractAsyncContextManager[Model]] = model.connect
    return Planner("http://model", connect=connect)


async def test_a_task_is_there_while_the_model_still_speaks() -> None:
    model = FakeModel([task_line(ONE), FakeModel.WAIT, task_line(TWO)])
    seen: list[str] = []
    async with aclosing(planner(model).stream("goal", TOOLS)) as tasks:
        async for task in tasks:
            seen.append(task.id)
            model.go.set()
    assert seen == ["1", "2"]
    assert model.open == 0


async def test_a_whole_plan_with_its_usage() -> None:
    model = FakeModel([*LINES])
    plan = await planner(model).plan("goal", TOOLS)
    assert plan.tasks == (ONE, TWO)
    assert plan.rejected == ()
    assert plan.usage.models == {"mixtral": ModelUsage(1, 10, 5)}
    assert len(model.requests) == 1


async def test_rejected_tasks_are_sent_back_once() -> None:
    bad = '{"id": "2", "instruction": "second", "needs": ["7"]}'
    worse = '{"id": "3", "tool": "fly"}'
    model = FakeModel([task_line(ONE), bad, worse], [task_line(TWO), worse])
    plan = await planner(model).plan("goal", TOOLS)
    assert plan.tasks == (ONE, TWO)
    assert [one.id for one in plan.rejected] == ["3", "3"]
    assert plan.usage.models["mixtral"].calls == 2
    user = model.requests[1].messages[1].content
    assert f"# Already planned\n{task_line(ONE)}\n" in user
    assert "# Rejected\n" in user
    assert "needs task '7'" in user
    assert model.requests[0].messages[0] == model.requests[1].messages[0]


async def test_no_usable_task_at_all() -> None:
    model = FakeModel(["I would read it."], ["Sorry."])
    with pytest.raises(BadAnswerError, match="holds no task"):
        await planner(model).plan("goal")


async def test_the_clients_errors_come_out_as_they_are() -> None:
    failure = RateLimitedError("wait", retry_after=3)
    cause = OSError("below")
    failure.__cause__ = cause
    model = FakeModel(failure)
    with pytest.raises(RateLimitedError) as raised:
        await planner(model).plan("goal")
    assert raised.value is failure
    assert failure.__cause__ is cause
    assert model.open == 0


async def test_leaving_early_cancels_the_model_and_closes_the_client() -> None:
    model = FakeModel([task_line(ONE), FakeModel.WAIT])
    async with aclosing(planner(model).stream("goal")) as tasks:
        async for _ in tasks:
            break
        assert model.open == 1
    assert model.cancelled
    assert model.open == 0


async def test_the_callers_own_error_is_not_wrapped() -> None:
    model = FakeModel([task_line(ONE), FakeModel.WAIT])

    async def fail() -> None:
        async with planner(model).open("goal") as tasks:
            async for _ in tasks:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert model.cancelled
    assert model.open == 0


async def test_a_deadline_around_the_stream() -> None:
    model = FakeModel([task_line(ONE), FakeModel.WAIT])
    seen: list[str] = []
    with anyio.CancelScope() as scope:
        async with aclosing(planner(model).stream("goal")) as tasks:
            async for task in tasks:
                seen.append(task.id)
                scope.cancel()
    assert scope.cancelled_caught
    assert seen == ["1"]
    assert model.cancelled
    assert model.open == 0


async def test_cancelling_from_outside_with_another_task_group() -> None:
    model = FakeModel([FakeModel.WAIT])

    async def follow() -> None:
        await planner(model).plan("goal")

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await model.asked.wait()
        group.cancel_scope.cancel()
    assert model.cancelled
    assert model.open == 0


async def test_tools_may_be_objects_with_a_spec() -> None:
    class Tool:
        spec = TOOLS[0]

    model = FakeModel([LINES])
    await planner(model).plan("goal", [Tool(), TOOLS[1]])
    system = model.requests[0].messages[0].content
    assert "- read_file(" in system
    assert "- text_stats(" in system


@pytest.mark.parametrize(
    ("goal", "tools", "said"),
    [
        (None, [], "the goal is None: give a text"),
        (b"x", [], "the goal is b'x' (bytes): give a text"),
        ("", [], "the goal is empty: say what the job is to do"),
        (" \n", [], "the goal is empty: say what the job is to do"),
        ("x", ["text_stats"], "'text_stats' (str) is no tool: give a ToolSpec or a function"),
        ("x", {"text_stats": TOOLS[1]}, "'text_stats' (str) is no tool: give a ToolSpec or"),
        ("x", [TOOLS[0], len], "<built-in function len> (builtin_function_or_method) is no tool"),
        ("x", [None], "None is no tool: give a ToolSpec or a function decorated with @tool"),
        ("x", ["a\nb" * 99], "… (str) is no tool"),
        ("x", "text_stats", "the tools are 'text_stats' (str): give a list of ToolSpec or @tool"),
        ("x", None, "the tools are None: give a list of ToolSpec or @tool"),
        ("x", 7, "the tools are 7 (int): give a list of ToolSpec or @tool"),
    ],
)
async def test_what_cannot_be_planned_is_said_before_any_request(
    goal: Any, tools: Any, said: str
) -> None:
    model = FakeModel()
    one = planner(model)
    with pytest.raises(InvalidInputError) as streamed:
        one.stream(goal, tools)
    with pytest.raises(InvalidInputError) as opened:
        one.open(goal, tools)
    with pytest.raises(InvalidInputError) as planned:
        await one.plan(goal, tools)
    assert said in str(streamed.value)
    assert "\n" not in str(streamed.value)
    assert str(opened.value) == str(planned.value) == str(streamed.value)
    assert model.requests == []
    assert model.open == 0


async def test_inputs_are_named_values() -> None:
    wrong: Any = ["a.txt"]
    with pytest.raises(InvalidInputError, match="give a dict or None"):
        planner(FakeModel()).open("goal", TOOLS, wrong)


async def test_two_plans_at_once_do_not_mix() -> None:
    model = FakeModel([*LINES], [*LINES])
    one = planner(model)
    plans: list[int] = []

    async def follow() -> None:
        plans.append(len((await one.plan("goal")).tasks))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        group.start_soon(follow)
    assert plans == [2, 2]


def test_plain_asyncio_cancellation_and_timeouts() -> None:
    async def until_the_first(model: FakeModel, seen: list[str]) -> None:
        async with asyncio.timeout(None) as limit, planner(model).open("goal") as tasks:
            async for task in tasks:
                seen.append(task.id)
                limit.reschedule(asyncio.get_running_loop().time())

    async def main() -> None:
        model = FakeModel([task_line(ONE), FakeModel.WAIT])
        seen: list[str] = []
        with pytest.raises(TimeoutError):
            await until_the_first(model, seen)
        assert seen == ["1"]
        assert model.cancelled
        assert model.open == 0
        waiting = FakeModel([FakeModel.WAIT])
        planning = asyncio.create_task(planner(waiting).plan("goal"))
        await waiting.asked.wait()
        planning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await planning
        assert waiting.cancelled
        assert waiting.open == 0

    asyncio.run(main())


async def test_inputs_and_history_reach_the_model() -> None:
    model = FakeModel([LINES])
    earlier = [Turn("Count a.txt", "It has 9 words.")]
    await planner(model).plan("And b.txt?", TOOLS, {"limit": 1000}, earlier)
    user = model.requests[0].messages[1].content
    assert "It has 9 words." in user
    assert '{"limit":1000}' in user
    assert user.index("Count a.txt") < user.index("And b.txt?")
