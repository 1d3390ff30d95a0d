"""A task whose answers do not pass goes up the ladder, and nothing finished is done again."""

from typing import Any

import msgspec
import pytest

from galerne.errors import PermanentError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.messages.plan import Effort, ModelClass, TaskSpec
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult
from galerne_agents.checks import NOT_USED
from galerne_agents.dialogue import MAX_TURNS
from galerne_agents.executor import ExecutorAgent
from unit.agents.scripted import Killed, World, call, calls, ready, says, script, unusable
from unit.planner.examples import TOOLS, agent_task

pytestmark = pytest.mark.anyio

LISTED = tuple(tool.name for tool in TOOLS)
FOUND = ToolResult(value=["a"], content="3 lines")
CANNOT = "I cannot read it."
NUMBER = TaskSpec(id=agent_task("3", "x").id, instruction="Count it", output={"type": "integer"})


def world_of(
    *replies: ChatReply,
    larger: tuple[str, ...] = ("nemo", "large"),
    task: TaskSpec | None = None,
    outcomes: tuple[ToolOutcome, ...] = (),
    **fields: Any,
) -> World:
    fields.setdefault("job_tools", LISTED)
    world = World(
        ready(task or agent_task("3", "Read it"), **fields), script(*replies), TOOLS, outcomes
    )
    world.larger = list(larger)
    return world


async def run(world: World) -> Any:
    return await ExecutorAgent().run(world.attempt())


async def test_one_retry_with_the_reason_then_a_move_and_the_next_model_starts_afresh() -> None:
    world = world_of(says(CANNOT), says(CANNOT), says("the result"))
    assert await run(world) == "the result"
    assert world.asked_on == ["a-model", "a-model", "nemo"]
    (moved,) = world.moves.values()
    assert (moved.n, moved.from_model, moved.to_model) == (1, "a-model", "nemo")
    assert moved.reason == "the model gave up: I cannot read it."
    first, _, third = world.requests
    assert third.messages == first.messages


async def test_the_schema_of_a_task_is_asked_of_the_back_end() -> None:
    """How it is put, by a field or in words, is the model client's to say."""
    world = world_of(says("3"), task=NUMBER)
    assert await run(world) == 3
    (request,) = world.requests
    assert request.output == {"type": "integer"}
    assert "integer" not in "".join(turn.content for turn in request.messages)


async def test_who_gives_up_where_a_value_was_wanted_has_given_up() -> None:
    given_up = msgspec.structs.replace(says(CANNOT), complaint="your answer holds no JSON value")
    world = world_of(given_up, says(CANNOT), says("3"), task=NUMBER)
    assert await run(world) == 3
    (moved,) = world.moves.values()
    assert moved.reason == "the model gave up: I cannot read it."


async def test_a_retry_that_passes_moves_nothing() -> None:
    world = world_of(says(CANNOT), says("after all"))
    assert await run(world) == "after all"
    assert world.moves == {}


CUT = "The call was cut off."


async def test_a_fault_of_another_kind_is_told_too_once_a_call_has_succeeded() -> None:
    """Each once: a truncated call, mended, does not cost the answer its own second chance."""
    world = world_of(
        unusable(CUT),
        calls(call("read_file")),
        says("three"),
        says("3"),
        task=NUMBER,
        outcomes=(FOUND,),
    )
    assert await run(world) == 3
    assert world.moves == {}
    first, second = [turn.content for turn in world.requests[-1].messages if turn.role == "user"][
        1:
    ]
    assert first == NOT_USED.format(CUT)
    assert second.startswith("Your answer cannot be used: the answer is not JSON. Answer again")


@pytest.mark.parametrize(
    ("between", "outcomes"),
    [
        ((), ()),
        ((calls(call("no_such_tool")),), ()),
        ((calls(call("read_file")),), (ToolRefused(code="tool", message="not now"),)),
    ],
    ids=["at once", "after no call", "after a failed call"],
)
async def test_who_gets_no_further_after_a_fault_is_left_at_the_next_one(
    between: tuple[ChatReply, ...], outcomes: tuple[ToolOutcome, ...]
) -> None:
    world = world_of(
        unusable(CUT),
        *between,
        says("three"),
        says("3"),
        task=NUMBER,
        outcomes=outcomes,
        inputs={"1": "three"},
    )
    assert await run(world) == 3
    assert world.asked_on == ["a-model"] * (2 + len(between)) + ["nemo"]
    assert world.moves[1].reason == "the answer is not JSON"


@pytest.mark.parametrize("fault", [says(CANNOT), says(" "), unusable(CUT)])
async def test_the_same_is_never_told_twice_whatever_was_called_meanwhile(fault: ChatReply) -> None:
    world = world_of(fault, calls(call("read_file")), fault, says("done"), outcomes=(FOUND,))
    assert await run(world) == "done"
    assert world.asked_on == ["a-model"] * 3 + ["nemo"]


async def test_a_result_that_an_earlier_model_got_is_a_step_forward_too() -> None:
    reading = calls(call("read_file"))
    world = world_of(
        reading,
        unusable(CUT),
        unusable(CUT),
        says(" "),
        reading,
        says(CANNOT),
        says("done"),
        outcomes=(FOUND,),
        larger=("nemo",),
    )
    assert await run(world) == "done"
    assert world.asked_on == ["a-model"] * 3 + ["nemo"] * 4
    assert len(world.called) == 1


async def test_after_the_last_rung_it_fails_with_the_reason_of_each() -> None:
    replies = [*[says(CANNOT)] * 2, *[says(" ")] * 2, *[says("12"), says("twelve")]]
    world = world_of(*replies, task=NUMBER, larger=("nemo", "large"))
    assert await run(world_of(*replies[:4], says("12"), task=NUMBER)) == 12
    replies[4] = says("a dozen")
    world = world_of(*replies, task=NUMBER)
    with pytest.raises(PermanentError) as failure:
        await run(world)
    assert str(failure.value) == (
        "no model could do it: a-model: the model gave up: I cannot read it.; "
        "nemo: the model answered with nothing; large: the answer is not JSON"
    )
    assert len(world.requests) == 6


async def test_a_ladder_of_one_fails_as_one_model() -> None:
    with pytest.raises(PermanentError, match="there is no larger model to ask"):
        await run(world_of(says(CANNOT), says(CANNOT), larger=()))


async def test_a_loop_is_not_asked_once_more_but_moved() -> None:
    turns = [calls(call("read_file"))] * MAX_TURNS["medium"]
    world = world_of(*turns, says("done"), outcomes=(FOUND,) * MAX_TURNS["medium"])
    assert await run(world) == "done"
    assert world.asked_on == ["a-model"] * MAX_TURNS["medium"] + ["nemo"]
    assert world.moves[1].reason == "no answer after 12 turns"


async def test_a_complaint_about_calls_is_told_to_the_model_word_for_word() -> None:
    bad = ChatReply(ChatMessage("assistant", "[{"), "a-model", complaint="The call was cut off.")
    world = world_of(bad, bad, says("done"))
    assert await run(world) == "done"
    assert world.requests[1].messages[-1] == ChatMessage(
        "user", NOT_USED.format("The call was cut off.")
    )
    assert world.moves[1].reason == "The call was cut off."


async def test_the_next_model_sees_what_was_called_and_a_call_again_is_not_made_again() -> None:
    send = call("read_file", '{"path": "a", "n": 1}', "aaaaaaaa1")
    again = call("read_file", '{"n": 1, "path": "a"}', "bbbbbbbb1")
    other = call("read_file", '{"path": "b"}', "bbbbbbbb2")
    world = world_of(
        calls(send),
        says(CANNOT),
        says(CANNOT),
        calls(again, other),
        says("done"),
        outcomes=(FOUND, FOUND),
    )
    assert await run(world) == "done"
    assert [arguments for _, _, arguments in world.called] == [{"path": "a", "n": 1}, {"path": "b"}]
    on_nemo = world.requests[3].messages
    assert on_nemo[2:] == (
        ChatMessage("assistant", tool_calls=(send,)),
        ChatMessage("tool", "3 lines", tool_call_id="aaaaaaaa1", name="read_file"),
    )
    assert world.requests[4].messages[-2].content == "3 lines"


async def test_what_failed_before_the_move_may_be_called_again() -> None:
    refused = ToolRefused(code="tool", message="not now")
    asked = calls(call("read_file", '{"path": "a"}'))
    world = world_of(
        asked, says(CANNOT), says(CANNOT), asked, says("done"), outcomes=(refused, FOUND)
    )
    assert await run(world) == "done"
    assert len(world.called) == 2


async def test_an_answer_on_failed_calls_alone_goes_up_and_stands_where_nobody_knows_better() -> (
    None
):
    refused = ToolRefused(code="tool", message="no such file")
    asked = calls(call("read_file", '{"path": "a"}'))
    world = world_of(
        asked,
        says("there is none"),
        says("there is none"),
        asked,
        says("no such file"),
        says("no such file"),
        larger=("nemo",),
        outcomes=(refused, refused),
    )
    assert await run(world) == "no such file"
    assert world.moves[1].reason == "no tool call has succeeded"


def by_model_and_turn(request: ChatRequest) -> ChatReply:
    """One model calls and gives up; the next one finds the call in its conversation, and ends."""
    turns = [turn for turn in request.messages if turn.role == "assistant"]
    if len(turns) == 0:
        return calls(call("read_file", '{"path": "a"}', "aaaaaaaa1"))
    retried = any(turn.content == CANNOT for turn in turns)
    moved = by_model_and_turn.on == "nemo"  # type: ignore[attr-defined]
    return says("the end") if moved and not retried else says(CANNOT)


async def test_killed_at_every_point_it_takes_the_same_way_up() -> None:
    point = 0
    while True:
        world = world_of(outcomes=(FOUND,))

        def answer(request: ChatRequest, world: World = world) -> ChatReply:
            by_model_and_turn.on = world.asked_on[-1]  # type: ignore[attr-defined]
            return by_model_and_turn(request)

        world.model = answer
        try:
            await ExecutorAgent().run(world.attempt(kill_at=point))
            break
        except Killed:
            steps, moves = dict(world.steps), dict(world.moves)
        assert await run(world) == "the end"
        assert sorted(world.steps) == [1, 2, 3, 4, 5]
        assert [move.to_model for move in world.moves.values()] == ["nemo"]
        assert {n: world.steps[n] for n in steps} == steps
        assert {n: world.moves[n] for n in moves} == moves
        assert len(world.called) <= 1 + (2 not in steps)
        point += 1
    assert point > 12


@pytest.mark.parametrize(
    ("model", "asked"), [("medium", "nemo"), ("large", "large"), ("small", "a-model")]
)
async def test_a_task_begins_with_the_model_class_that_the_plan_says(
    model: ModelClass, asked: str
) -> None:
    task = msgspec.structs.replace(agent_task("3", "Prove it"), model=model)
    world = world_of(says("so"), task=task)
    assert await run(world) == "so"
    assert world.asked_on == [asked]
    assert all(move.reason.startswith("the plan asks for a") for move in world.moves.values())


async def test_a_killed_worker_begins_a_large_task_with_the_same_model() -> None:
    task = msgspec.structs.replace(agent_task("3", "Prove it"), model="large")
    for point in range(4):
        world = world_of(says("so"), says("so"), task=task)
        with pytest.raises(Killed):
            await ExecutorAgent().run(world.attempt(kill_at=point))
        await run(world)
        assert world.asked_on[-1] == "large"
        assert [move.to_model for _, move in sorted(world.moves.items())] == ["nemo", "large"]


async def test_no_larger_model_is_no_reason_to_stop() -> None:
    task = msgspec.structs.replace(agent_task("3", "Prove it"), model="large")
    assert await run(world_of(says("so"), larger=(), task=task)) == "so"


@pytest.mark.parametrize(("effort", "turns"), [("low", 4), ("high", 24)])
async def test_effort_is_how_many_turns_a_model_may_take(effort: Effort, turns: int) -> None:
    task = msgspec.structs.replace(agent_task("3", "Read it"), effort=effort)
    replies = [calls(call("read_file"))] * turns
    world = world_of(*replies, larger=(), task=task, outcomes=(FOUND,) * turns)
    with pytest.raises(PermanentError, match=f"no answer after {turns} turns"):
        await run(world)


async def test_short_results_stand_in_the_instruction_and_long_ones_under_it() -> None:
    task = agent_task("3", "Is {{1.n}} more than {{item}}? See {{2}}, not {{9}}.", "1", "2")
    inputs = {"1": {"n": 7}, "2": "long " * 100, "item": "three"}
    world = world_of(says("yes"), task=task, inputs=inputs)
    await run(world)
    told = world.requests[0].messages[1].content
    assert "# Task\nIs 7 more than three? See {{2}}, not {{9}}." in told
    assert "## item\nthree" in told


@pytest.mark.parametrize(("model", "larger"), [("medium", ("b", "c")), ("large", ("b",))])
async def test_a_later_move_is_not_taken_for_the_one_that_the_plan_asked_for(
    model: ModelClass, larger: tuple[str, ...]
) -> None:
    """No larger model was served at first; one was when the small one had failed."""
    task = msgspec.structs.replace(agent_task("3", "Prove it"), model=model)
    world = world_of(says(CANNOT), says(CANNOT), says("so"), larger=(), task=task)
    scripted = world.model

    def then_served(request: ChatRequest) -> ChatReply:
        world.larger = list(larger)
        return scripted(request)

    world.model = then_served
    assert await run(world) == "so"
    assert world.asked_on == ["a-model", "a-model", "b"]
    assert await run(world) == "so"  # a worker that takes it over says the same, and pays nothing
    assert world.asked_on == ["a-model", "a-model", "b"]
    assert [move.to_model for move in world.moves.values()] == ["b"]


async def test_from_there_a_task_goes_up_like_any_other() -> None:
    task = msgspec.structs.replace(agent_task("3", "Prove it"), model="medium")
    world = world_of(*[says(CANNOT)] * 4, task=task)
    with pytest.raises(
        PermanentError, match=r"no model could do it: nemo, large: the model gave up"
    ):
        await run(world)
    assert world.asked_on == ["nemo", "nemo", "large", "large"]
