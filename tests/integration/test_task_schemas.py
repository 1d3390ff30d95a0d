"""A task's output schema, from the plan through the fleet to a model server and back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from galerne.messages.chat import ToolCall
from galerne.messages.plan import Succeeded, TaskSpec
from galerne.models.client import ModelClient
from galerne.models.standin import StandIn
from galerne.settings import RoleSettings, Settings, ToolSettings
from galerne.tools import load_tools
from galerne_agents.executor import ExecutorAgent
from integration.fleet import Fleet, fleet_on, planning, task
from integration.replaying import Answer, Body, replaying

pytestmark = pytest.mark.anyio

COUNTED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@asynccontextmanager
async def fleet_asking(url: str, settings: Settings, one: TaskSpec) -> AsyncGenerator[Fleet]:
    """A fleet whose executor asks a real server, after `one` has been planned."""
    async with ModelClient(RoleSettings(endpoint=url)) as client, fleet_on(settings) as fleet:
        await fleet.coordinator()
        await fleet.planner(planning(one))
        await fleet.worker({"agent": ExecutorAgent()}, client)
        yield fleet


async def value_of(fleet: Fleet) -> Any:
    await fleet.submit("job")
    outcome = (await fleet.done("job", "1")).outcome
    assert isinstance(outcome, Succeeded), outcome
    return outcome.value


async def test_without_tools_the_server_holds_the_model_to_the_schema(settings: Settings) -> None:
    def answers(_: Body, _key: str) -> Answer:
        return Answer(text='{"n": 7}')

    one = task("1", output=COUNTED, tools=())
    async with replaying(answers) as server, fleet_asking(server.url, settings, one) as fleet:
        assert await value_of(fleet) == {"n": 7}
    (body,) = server.bodies
    assert body["response_format"]["json_schema"]["schema"] == COUNTED


async def test_with_tools_on_offer_the_schema_stands_in_words_and_a_call_is_made(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one two three\n")

    def answers(body: Body, _key: str) -> Answer:
        if body["messages"][-1]["role"] == "tool":
            return Answer(text='As asked:\n```json\n{"n": 3}\n```')
        return Answer(calls=(ToolCall("aaaaaaaa1", "text_stats", '{"path": "a.txt"}'),))

    one = task("1", output=COUNTED, tools=("text_stats",))
    async with replaying(answers) as server, fleet_asking(server.url, settings, one) as fleet:
        await fleet.tools(*load_tools(ToolSettings(root=str(tmp_path))).values())
        assert await value_of(fleet) == {"n": 3}
    assert ["response_format" in body for body in server.bodies] == [False, False]
    for body in server.bodies:
        words = [turn["content"] for turn in body["messages"] if "JSON Schema" in turn["content"]]
        assert len(words) == 1, "the schema is said once"


async def test_the_stand_in_carries_out_a_task_with_a_schema(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one two three\n")
    one = TaskSpec(
        id=task("1").id,
        instruction="Count the words in a.txt",
        output={"type": "string"},
        check="regex:^a",
        tools=("text_stats",),
    )
    async with StandIn() as standin, fleet_asking(standin.url, settings, one) as fleet:
        await fleet.tools(*load_tools(ToolSettings(root=str(tmp_path))).values())
        assert await value_of(fleet) == "a.txt has 3 words."
