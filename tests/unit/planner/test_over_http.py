"""The embedded planner with its real client, against the stand-in model server."""

from contextlib import aclosing

import pytest

from galerne.errors import UnavailableError
from galerne.messages.plan import TaskSpec
from galerne.models.standin import StandIn
from galerne.planner import Planner
from unit.planner.examples import TOOLS

pytestmark = pytest.mark.anyio

GOAL = "Count the words of a.txt and b.txt and compare them, then compute 3*4"


async def test_a_plan_over_http() -> None:
    async with StandIn() as server:
        plan = await Planner(server.url).plan(GOAL, TOOLS)
    assert plan.rejected == ()
    assert plan.width > 1
    assert len(plan.critical_path()) == 2
    assert "calculate" in {task.tool for task in plan.tasks}
    assert plan.usage.model_calls == 1
    assert plan.usage.tokens > 0


async def test_a_stream_over_http_may_be_left_early() -> None:
    seen: list[TaskSpec] = []
    async with StandIn() as server:
        async with aclosing(Planner(server.url).stream(GOAL, TOOLS)) as tasks:
            async for task in tasks:
                seen.append(task)
                break
        again = await Planner(server.url).plan(GOAL, TOOLS)
    assert again.tasks[0] == seen[0]


async def test_no_server_is_said_plainly() -> None:
    async with StandIn() as server:
        url = server.url
    with pytest.raises(UnavailableError):
        await Planner(url).plan(GOAL)
