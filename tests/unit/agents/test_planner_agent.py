from collections.abc import Callable, Iterator, Sequence

import pytest

from galerne.errors import InvalidInputError, PermanentError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import ModelStep, Planned
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.planner import task_line
from galerne_agents.planner import PlannerAgent
from unit.agents.scripted import Answerer, Killed, World, ready, says, script
from unit.planner.examples import TOOLS, agent_task, tool_task

pytestmark = pytest.mark.anyio

STATS = tool_task("1", "text_stats", {"path": "a"})
COMPARE = agent_task("2", "compare", "1", "4")
NOTES = agent_task("3", "note", "1")
MORE = tool_task("4", "text_stats", {"path": "b"})
LAST = agent_task("5", "close", "3")

FIRST = "\n".join(
    [
        "Here is the plan:",
        '{"id": "6", "tool": "fly", "args": {}}',
        task_line(STATS),
        task_line(COMPARE),  # needs 4, which comes later: refused
        task_line(NOTES),
        '{"id": "5", "instruction": "close", "needs": ["3"]',  # no end
        task_line(MORE),
    ]
)
SECOND = "\n".join(map(task_line, (COMPARE, LAST, STATS)))
WHOLE = [STATS, NOTES, MORE, COMPARE, LAST]


def plan_world(model: Answerer) -> World:
    task = TaskSpec(id=TaskId("plan-1"), kind="plan")
    return World(ready(task, inputs={"folder": "docs"}), model, TOOLS)


def written(world: World) -> list[TaskSpec]:
    assert sorted(world.plan) == list(range(1, len(world.plan) + 1))
    return [world.plan[n].task for n in sorted(world.plan)]


async def test_a_plan_with_a_repair() -> None:
    world = plan_world(script(says(FIRST), says(SECOND)))
    value = await PlannerAgent().run(world.attempt())
    assert written(world) == WHOLE
    assert value["tasks"] == 5
    assert len(value["rejected"]) == 1
    (ended,) = world.ended
    assert (ended.revision, ended.count) == (1, 5)
    assert [one.id for one in ended.rejected] == ["6"]
    first, second = (request.messages[1].content for request in world.requests)
    assert first == '# Goal\nthe goal\n\n# Inputs\n{"folder":"docs"}'
    assert "# Already planned" in second
    assert [line.split('"')[3] for line in second.splitlines() if '"reason"' in line] == [
        "6",
        "2",
        "5",
    ]


async def test_the_revision_is_in_the_tasks_id() -> None:
    task = TaskSpec(id=TaskId("plan-12"), kind="plan")
    world = World(ready(task), script(says(task_line(STATS))), TOOLS)
    await PlannerAgent().run(world.attempt())
    assert world.plan[1] == Planned(revision=12, n=1, task=STATS)
    with pytest.raises(InvalidInputError, match="plan-01"):
        await PlannerAgent().run(World(ready(agent_task("plan-01")), script(), TOOLS).attempt())


async def test_no_usable_task_fails_for_good() -> None:
    world = plan_world(script(says("I would read it."), says('{"id": "1"}')))
    with pytest.raises(PermanentError, match="no usable task"):
        await PlannerAgent().run(world.attempt())
    assert world.ended == []


async def killed_or_done(world: World, kill_at: int) -> bool:
    """Whether the attempt came to its end before the point where it was to be killed."""
    try:
        await PlannerAgent().run(world.attempt(kill_at))
    except Killed:
        return False
    return True


def repeats(text: str) -> Callable[[ChatRequest], str]:
    """A model that ignores what is already planned."""
    return lambda _: text


def goes_on(tasks: Sequence[TaskSpec], text: str) -> Callable[[ChatRequest], str]:
    """A model that writes only what is missing, when some of it exists."""

    def answer(request: ChatRequest) -> str:
        user = request.messages[1].content
        if "# Already planned" not in user:
            return text
        missing = [task for task in tasks if task_line(task) not in user]
        return "\n".join(map(task_line, missing)) or "Nothing is missing."

    return answer


def model_of(first: Callable[[ChatRequest], str]) -> Answerer:
    def answer(request: ChatRequest) -> ChatReply:
        repair = "# Rejected" in request.messages[1].content
        return says(SECOND if repair else first(request))

    return answer


async def test_killed_at_every_point_with_a_model_that_repeats_itself() -> None:
    points = 0
    while True:
        world = plan_world(model_of(repeats(FIRST)))
        done = await killed_or_done(world, points)
        await PlannerAgent().run(world.attempt())
        assert written(world) == WHOLE
        assert {(ended.count, len(ended.rejected)) for ended in world.ended} == {(5, 1)}
        if done:
            break
        points += 1
    assert points > 30


async def test_killed_at_every_point_with_a_model_that_goes_on() -> None:
    points = 0
    while True:
        world = plan_world(model_of(goes_on(WHOLE, FIRST)))
        done = await killed_or_done(world, points)
        await PlannerAgent().run(world.attempt())
        assert sorted(task.id for task in written(world)) == ["1", "2", "3", "4", "5"]
        assert all(task in WHOLE for task in written(world))
        assert {ended.count for ended in world.ended} == {5}
        if done:
            break
        points += 1


@pytest.mark.parametrize("behaviour", [repeats(FIRST), goes_on(WHOLE, FIRST)])
async def test_killed_twice_at_any_two_points(behaviour: Callable[[ChatRequest], str]) -> None:
    for first in range(0, 60, 3):
        for second in range(0, 60, 4):
            world = plan_world(model_of(behaviour))
            if await killed_or_done(world, first) or await killed_or_done(world, second):
                continue
            await PlannerAgent().run(world.attempt())
            assert sorted(task.id for task in written(world)) == ["1", "2", "3", "4", "5"]
            assert all(task in WHOLE for task in written(world))


def survivors() -> Iterator[tuple[int, list[int]]]:
    """Journaled turns, and which facts of the plan were written before the worker died.

    A paid turn is on disk before its facts are on the bus, so any first part of them may exist,
    and one may be missing before another.
    """
    for turns in (1, 2):
        last = 3 if turns == 1 else 5
        yield from ((turns, list(range(1, count + 1))) for count in range(last + 1))
        yield from ((turns, [n for n in range(1, last + 1) if n != hole]) for hole in (2, 3))


@pytest.mark.parametrize(("turns", "numbers"), list(survivors()))
async def test_a_replayed_turn_gives_every_task_the_number_it_had(
    turns: int, numbers: list[int]
) -> None:
    world = plan_world(script(*[says(SECOND)] * (2 - turns)))
    for n, text in enumerate([FIRST, SECOND][:turns], 1):
        reply = says(text)
        world.steps[n] = ModelStep(
            task=TaskId("plan-1"),
            n=n,
            message=reply.message,
            model=reply.model,
            finish=reply.finish,
            usage=reply.usage,
        )
    for n in numbers:
        world.plan[n] = Planned(revision=1, n=n, task=WHOLE[n - 1])
    await PlannerAgent().run(world.attempt())
    assert written(world) == WHOLE
    assert [(ended.count, len(ended.rejected)) for ended in world.ended] == [(5, 1)]


async def test_a_takeover_while_a_tool_worker_is_gone() -> None:
    world = plan_world(script(says(task_line(STATS) + task_line(NOTES))))
    assert not await killed_or_done(world, 12)
    assert written(world)[0] == STATS
    world.tools.clear()
    world.model = script(says(task_line(STATS) + task_line(NOTES)))
    await PlannerAgent().run(world.attempt())
    assert written(world) == [STATS, NOTES]
