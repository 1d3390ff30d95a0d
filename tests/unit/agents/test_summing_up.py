"""The planner's last step in a long conversation: what was said before, in a few sentences."""

from typing import Any

import msgspec
import pytest

from galerne.core.summary import GOAL, to_sum_up
from galerne.errors import BadAnswerError, GalerneError, ModelError, TooLongError, UnavailableError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Ready, Turn
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, TaskSpec
from galerne.planner import task_line
from galerne_agents.planner import PlannerAgent
from unit.agents.scripted import Killed, World, ready, says, script
from unit.planner.examples import TOOLS, tool_task

pytestmark = pytest.mark.anyio

PLAN = task_line(tool_task("1", "text_stats", {"path": "a"}))
LONG = tuple(
    Turn(f"Count {n}.txt", f"{n}.txt has {n + 7} words." + " So it is." * 40, f"j-{n}")
    for n in range(45)
)
SHORT = (
    "The words of many files were counted. 0.txt has 7 words; all others have more. " * 3
).strip()
UNTIL = to_sum_up(LONG)[-1].job


def planning(history: tuple[Turn, ...] = LONG, name: str = "plan-1", **fields: Any) -> Ready:
    task = TaskSpec(id=TaskId(name), kind="plan")
    return msgspec.structs.replace(ready(task), history=history, **fields)


async def test_once_the_plan_is_written_the_older_turns_are_summed_up() -> None:
    world = World(planning(), script(says(PLAN), says(SHORT)), TOOLS)
    value = await PlannerAgent().run(world.attempt())
    assert value == {"tasks": 1, "rejected": [], "summary": {"text": SHORT, "until": UNTIL}}
    assert len(world.ended) == 1
    system, user = (message.content for message in world.requests[1].messages)
    assert system.startswith("You sum up the older part of a conversation.\n")
    assert user.startswith(
        "# Earlier in this conversation\n\n## Goal\nCount 0.txt\n\n## Answer\n0.txt"
    )
    assert user.endswith("# Now\nSum this conversation up. Do not answer its goals again.")
    assert to_sum_up(LONG)[-1].answer in user
    assert "# Goal\nthe goal" not in user


async def test_an_earlier_summary_goes_into_the_next() -> None:
    world = World(
        planning((Turn(GOAL, SHORT, "j-x"), *LONG)), script(says(PLAN), says(SHORT)), TOOLS
    )
    await PlannerAgent().run(world.attempt())
    assert f"## Goal\n{GOAL}\n\n## Answer\n{SHORT}" in world.requests[1].messages[1].content


@pytest.mark.parametrize(
    "given",
    [planning(LONG[:5]), planning(()), planning(name="plan-2"), planning(budget=Budget(calls=9))],
)
async def test_other_plans_ask_for_no_summary(given: Ready) -> None:
    world = World(given, script(says(PLAN)), TOOLS)
    assert await PlannerAgent().run(world.attempt()) == {"tasks": 1, "rejected": []}


@pytest.mark.parametrize("said", ["", "What is it?", "0.txt has 8,123 words. " * 12])
async def test_where_the_model_writes_none_the_rule_does(said: str) -> None:
    world = World(planning(), script(says(PLAN), says(said)), TOOLS)
    summary = (await PlannerAgent().run(world.attempt()))["summary"]
    assert summary["until"] == UNTIL
    assert summary["text"].splitlines()[-1].startswith(f"Count {UNTIL[2:]}.txt — ")


@pytest.mark.parametrize("error", [ModelError, TooLongError, BadAnswerError, UnavailableError])
async def test_a_plan_does_not_fail_for_it(error: type[GalerneError]) -> None:
    def answer(request: ChatRequest) -> ChatReply:
        if request.messages[0].content.startswith("You sum up"):
            raise error("not now")
        return says(PLAN)

    world = World(planning(), answer, TOOLS)
    assert await PlannerAgent().run(world.attempt()) == {"tasks": 1, "rejected": []}


async def test_a_draft_has_one_too() -> None:
    world = World(planning(review=True), script(says(PLAN), says(SHORT)), TOOLS)
    value = await PlannerAgent().run(world.attempt())
    assert value["summary"] == {"text": SHORT, "until": UNTIL}
    assert len(value["tasks"]) == 1


async def test_a_planner_that_is_killed_pays_for_one_summary() -> None:
    """Wherever it dies once the model has answered, the journal has it."""
    whole = World(planning(), script(says(PLAN), says(SHORT)), TOOLS)
    context = whole.attempt()
    expected = await PlannerAgent().run(context)
    for kill_at in range(context.points):
        world = World(planning(), lambda request: says(_answer(request)), TOOLS)
        with pytest.raises(Killed):
            await PlannerAgent().run(world.attempt(kill_at))
        journaled = len(world.steps)
        asked = len(world.requests)
        assert await PlannerAgent().run(world.attempt()) == expected
        assert len(world.requests) == asked + 2 - journaled


def _answer(request: ChatRequest) -> str:
    return SHORT if request.messages[0].content.startswith("You sum up") else PLAN
