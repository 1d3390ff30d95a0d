"""What `galerne plan` says beforehand, against what a real fleet then spends on the same goal."""

from pathlib import Path

import pytest

from acceptance.pages import ROOT, fleet
from galerne.cli.estimated import costs_by
from galerne.client import Client
from galerne.core.view import TaskView
from galerne.planner import Bounds, Planner, estimate
from galerne.runtime.roles import ROLES
from galerne.settings import RoleSettings, Settings, ToolSettings
from galerne.tools import load_tools

pytestmark = pytest.mark.anyio

GOALS = (
    "Compute 19 * 23",
    "Count the words in README.md and in CHANGELOG.md, then say which is longer",
    "Compute 19 * 23, compute 6 * 7, then say which is larger",
    "Count the words in README.md, LICENSE and Makefile and compare them, then compute 3 * 4",
)


def holds(bounds: Bounds, spent: float) -> bool:
    return bounds.lower <= spent <= bounds.upper


async def test_what_jobs_spend_lies_between_the_bounds(tmp_path: Path) -> None:
    async with fleet(tmp_path, ROLES, root=ROOT) as running:
        settings = Settings(
            planner=RoleSettings(endpoint=running.endpoint, model="mixtral-8x22b"),
            executor=RoleSettings(endpoint=running.endpoint, model="mistral-7b"),
            tools=ToolSettings(root=str(ROOT)),
        )
        tools = [tool.spec for tool in load_tools(settings.tools).values()]
        planner = Planner(running.endpoint, "mixtral-8x22b")
        async with Client.connect(running.server) as client:
            for goal in GOALS:
                plan = await planner.plan(goal, tools)
                found = estimate(plan, goal, tools, costs_by(settings))
                job = await client.submit(goal)
                await job.result()
                view = await job.view()
                tasks: dict[str, TaskView] = {task.id: task for task in view.tasks}
                assert [*tasks] == ["plan-1", *(task.id for task in plan.tasks), "answer"]
                planning = tasks["plan-1"].usage
                spent = view.usage.tokens - planning.tokens
                assert spent > 0
                assert holds(found.total.tokens, spent), goal
                assert holds(found.total.calls, view.usage.model_calls - planning.model_calls)
                assert holds(found.total.usd, view.usage.usd - planning.usd)
                assert view.seconds is not None
                assert view.seconds < found.seconds.upper
                for one in found.tasks:
                    own = tasks[one.id].usage
                    upper = sum(spend.tokens.upper for spend in one.models.values())
                    assert own.tokens <= upper, one.id
