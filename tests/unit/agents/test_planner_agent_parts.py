"""The planner's agent beyond a first plan: drafts, nested plans, revisions."""

from typing import Any

import msgspec
import pytest

from galerne.errors import PermanentError
from galerne.messages.facts import Turn
from galerne.messages.ids import TaskId
from galerne.messages.plan import Standing, TaskSoFar, TaskSpec
from galerne.planner import Prompts
from galerne_agents.planner import PlannerAgent
from unit.agents.scripted import Killed, World, ready, says, script
from unit.planner.examples import TOOLS

pytestmark = pytest.mark.anyio


def so_far(task: str, standing: Standing, **fields: Any) -> Any:
    spec = TaskSpec(id=TaskId(task), instruction=f"do {task}")
    return msgspec.to_builtins(TaskSoFar(task=spec, standing=standing, **fields))


def revising(*answers: str, **fields: Any) -> World:
    task = TaskSpec(id=TaskId("plan-2"), kind="plan")
    plan = [
        so_far("1", "succeeded", result={"files": 3}),
        so_far("2", "failed", error="no route to the host"),
        so_far("3", "waiting"),
    ]
    given = ready(task, inputs={"plan": plan, "inputs": {"folder": "docs"}})
    changes = {"failed": (TaskId("2"),), **fields}
    world_ready = msgspec.structs.replace(given, **changes)
    return World(world_ready, script(*map(says, answers)), TOOLS)


async def test_a_revision_is_told_how_things_stand_and_writes_what_changes() -> None:
    world = revising('{"id": "2", "instruction": "ask the mirror", "needs": ["1"]}\n')
    await PlannerAgent().run(world.attempt())
    (planned,) = world.plan.values()
    assert (planned.revision, planned.task.id, planned.task.replaces) == (2, "2--r2", "2")
    assert (world.ended[0].revision, world.ended[0].count) == (2, 1)
    system, user = (message.content for message in world.requests[0].messages)
    assert "This plan is under way, and something went wrong." in system
    assert user == (
        '# Goal\nthe goal\n\n# Inputs\n{"folder":"docs"}\n\n# Plan so far\n'
        '{"id":"1","kind":"agent","instruction":"do 1","needs":[],"state":"succeeded",'
        '"result":{"files":3}}\n'
        '{"id":"2","kind":"agent","instruction":"do 2","needs":[],"state":"failed",'
        '"error":"no route to the host"}\n'
        '{"id":"3","kind":"agent","instruction":"do 3","needs":[],"state":"waiting"}\n\n'
        "# Failed\n2"
    )


async def test_a_revision_may_drop_and_give_up() -> None:
    world = revising('{"drop": ["2"]}')
    await PlannerAgent().run(world.attempt())
    assert (world.ended[0].count, world.ended[0].dropped) == (0, ("2",))
    world = revising('{"give_up": "the host is gone"}')
    await PlannerAgent().run(world.attempt())
    assert world.ended[0].gave_up == "the host is gone"


async def test_what_the_answer_lacked_is_told() -> None:
    world = revising(
        '{"id": "9", "instruction": "count b.txt"}',
        failed=(TaskId("answer"),),
        missing="nobody counted b.txt",
    )
    await PlannerAgent().run(world.attempt())
    user = world.requests[0].messages[1].content
    assert user.endswith("# Missing for the answer\nnobody counted b.txt")
    assert "# Failed" not in user


async def test_a_revision_that_says_nothing_twice_fails() -> None:
    with pytest.raises(PermanentError, match="no usable task"):
        await PlannerAgent().run(revising("hm", "hm").attempt())


async def test_a_planner_killed_in_a_revision_goes_on_with_it() -> None:
    text = (
        '{"id": "2", "instruction": "ask the mirror"}\n{"id": "5", "instruction": "then"}\n'
        '{"drop": ["3"]}\n'
    )
    point = 0
    while True:
        world = revising(text, text, text)
        try:
            await PlannerAgent().run(world.attempt(kill_at=point))
        except Killed:
            await PlannerAgent().run(world.attempt())
        else:
            break
        assert [one.task.id for _, one in sorted(world.plan.items())] == ["2--r2", "5"]
        assert (world.ended[-1].count, world.ended[-1].dropped) == (2, ("3",))
        point += 1
    assert point > 3


def nested(*answers: str) -> World:
    task = TaskSpec(
        id=TaskId("4--plan"),
        kind="plan",
        instruction="compare the files",
        needs=(TaskId("2"),),
        tools=("text_stats",),
    )
    given = ready(task, inputs={"2": ["a.txt", "b.txt"], "item": "docs"})
    return World(given, script(*map(says, answers)), TOOLS)


async def test_a_nested_plan_is_written_under_its_task() -> None:
    world = nested(
        '{"id": "1", "tool": "text_stats", "args": {"path": {"$ref": "item"}},'
        ' "foreach": {"$ref": "given-2"}}\n'
        '{"id": "3", "instruction": "compare {{1}}", "needs": ["1", "given-2"]}\n'
    )
    await PlannerAgent().run(world.attempt())
    one, three = (world.plan[n] for n in (1, 2))
    assert (one.parent, one.task.id, one.task.needs) == ("4", "4--1", ("2",))
    assert (three.task.id, three.task.needs) == ("4--3", ("4--1", "2"))
    assert three.task.instruction == "compare {{4--1}}"
    assert (world.ended[0].parent, world.ended[0].count) == ("4", 2)
    system, user = (message.content for message in world.requests[0].messages)
    assert user.startswith("# Goal\ncompare the files")
    assert '{"item":"docs"}' in user
    assert '# Done before\n{"id":"given-2","result":["a.txt","b.txt"]}' in user
    assert "read_file(" not in system


async def test_a_killed_nested_planner_writes_nothing_twice() -> None:
    text = '{"id": "1", "instruction": "a"}\n{"id": "2", "instruction": "b {{1}}"}\n'
    world = nested(text, text)
    with pytest.raises(Killed):
        await PlannerAgent().run(world.attempt(kill_at=3))
    await PlannerAgent().run(world.attempt())
    assert [one.task.id for _, one in sorted(world.plan.items())] == ["4--1", "4--2"]


async def test_a_plan_to_be_reviewed_is_a_draft() -> None:
    task = TaskSpec(id=TaskId("plan-1"), kind="plan")
    given = msgspec.structs.replace(
        ready(task), review=True, history=(Turn("count a.txt", "7 words"),)
    )
    world = World(given, script(says('{"id": "1", "instruction": "a"}')), TOOLS)
    value = await PlannerAgent().run(world.attempt())
    assert value == {
        "tasks": [msgspec.to_builtins(TaskSpec(id=TaskId("1"), instruction="a"))],
        "rejected": [],
    }
    assert (world.plan, world.ended) == ({}, [])
    assert world.requests[0].messages[1].content == (
        "# Earlier in this conversation\n\n## Goal\ncount a.txt\n\n## Answer\n7 words\n\n"
        "# Goal\nthe goal"
    )


async def test_the_deployments_own_words_are_used() -> None:
    world = nested('{"id": "1", "instruction": "a"}')
    context = world.attempt()
    context.prompts = Prompts({"planner": "Plan like a sailor."})
    await PlannerAgent().run(context)
    assert world.requests[0].messages[0].content.startswith("Plan like a sailor.\n# Tools")
