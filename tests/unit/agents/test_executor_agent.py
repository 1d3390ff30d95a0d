from typing import Any

import pytest

from galerne.errors import (
    BudgetExhaustedError,
    InDoubtError,
    InvalidInputError,
    PermanentError,
    ToolError,
    TooLongError,
)
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.messages.plan import Succeeded, TaskSpec
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult, ToolSpec
from galerne_agents.checks import LOOK_AGAIN, MEND_A_CALL, NOT_USED, SAY_SOMETHING
from galerne_agents.dialogue import MAX_TURNS
from galerne_agents.doubts import DOUBT, REPEATS
from galerne_agents.executor import ExecutorAgent
from unit.agents.scripted import Answerer, Killed, World, call, calls, ready, says, script, unusable
from unit.planner.examples import READ_FILE, TOOLS, agent_task, tool_task

pytestmark = pytest.mark.anyio

TASK = agent_task("3", "Read it\n# Task\nwell", "1", "2")
LISTED = tuple(tool.name for tool in TOOLS)
FOUND = ToolResult(value=["a"], content="line one")
NO_FILE = ToolRefused(code="invalid_input", message="no such file")


async def run(world: World) -> Any:
    return await ExecutorAgent().run(world.attempt())


def agent_world(
    *replies: ChatReply, outcomes: tuple[ToolOutcome, ...] = (), **fields: Any
) -> World:
    fields.setdefault("job_tools", LISTED)
    return World(ready(TASK, **fields), script(*replies), TOOLS, outcomes)


def tool_turns(world: World) -> list[str]:
    return [turn.content for turn in world.requests[-1].messages if turn.role == "tool"]


async def test_a_text_is_the_value() -> None:
    world = agent_world(says(" 7 \n"), inputs={"1": "# one\nx", "2": {"words": 7}})
    assert await run(world) == "7"
    (request,) = world.requests
    system, user = request.messages
    assert system.content.startswith("You carry out one task of a larger job.\n")
    assert user.content == (
        "# Goal of the job\nthe goal\n\n# Task\nRead it\n\\# Task\nwell\n\n"
        '# Results\n\n## 1\n\\# one\nx\n\n## 2\n{"words":7}\n\n'
        "# Figures\ntask 1 is a text of 2 lines; its first line: # one"
    )
    assert request.tools == tuple(tool.schema() for tool in TOOLS)


async def test_of_a_long_goal_an_executor_is_told_one_line() -> None:
    """Its own part of it stands in its instruction, and tokens of every turn are paid for."""
    goal = "Look at each of these files:\n" + "a-rather-long-name.txt\n" * 500
    world = agent_world(says("42"), goal=goal)
    assert await run(world) == "42"
    told = world.requests[0].messages[1].content.split("\n\n")[0]
    assert told.startswith(
        "# Goal of the job\nLook at each of these files: a-rather-long-name.txt a-"
    )
    assert told.count("\n") == 1
    assert len(told) < 450


async def test_calls_are_made_in_order_until_there_is_a_text() -> None:
    one, two = call("read_file", '{"path": "a"}', "aaaaaaaa1"), call("text_stats", "", "aaaaaaaa2")
    world = agent_world(calls(one, two), says("done"), outcomes=(FOUND, NO_FILE))
    assert await run(world) == "done"
    assert world.called == [
        ("aaaaaaaa1", "read_file", {"path": "a"}),
        ("aaaaaaaa2", "text_stats", {}),
    ]
    assert world.requests[1].messages[2:] == (
        ChatMessage("assistant", tool_calls=(one, two)),
        ChatMessage("tool", "line one", tool_call_id="aaaaaaaa1", name="read_file"),
        ChatMessage("tool", "Error: no such file", tool_call_id="aaaaaaaa2", name="text_stats"),
    )


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("fly", "{}", "Error: there is no tool 'fly'; there are: read_file, text_stats, calculate"),
        ("read_file", '{"path": ', "Error: the arguments are not valid JSON"),
        ("read_file", '{"path": "\\ud800"}', "Error: the arguments are not valid JSON"),
        ("read_file", '["a"]', "Error: the arguments must be one JSON object"),
        ("read_file", "null", "Error: the arguments must be one JSON object"),
    ],
)
async def test_a_call_that_cannot_be_made_is_explained_without_a_step(
    name: str, arguments: str, told: str
) -> None:
    world = agent_world(calls(call(name, arguments)), says("done"), inputs={"1": "known"})
    assert await run(world) == "done"
    assert world.called == []
    assert list(world.steps) == [1, 2]
    assert tool_turns(world)[0].startswith(told)


async def test_where_nothing_is_listed_every_call_is_a_step_whatever_is_served() -> None:
    refused = ToolRefused(code="not_found", message="there is no tool 'fly'")
    world = agent_world(
        calls(call("fly", "{}")),
        says("done"),
        outcomes=(refused,),
        job_tools=None,
        inputs={"1": "known"},
    )
    assert await run(world) == "done"
    assert [name for _, name, _ in world.called] == ["fly"]
    assert tool_turns(world) == ["Error: there is no tool 'fly'"]


async def test_only_the_tasks_tools_are_offered_and_absent_ones_are_named() -> None:
    task = TaskSpec(id=TASK.id, instruction="x", tools=("read_file", "fetch"))
    world = World(ready(task), script(says("done")), TOOLS)
    await run(world)
    (request,) = world.requests
    assert request.tools == (READ_FILE.schema(),)
    assert request.messages[0].content.endswith(
        "\nNot available now: fetch. Do without, or say that you cannot."
    )


async def test_a_task_may_have_no_tools_at_all() -> None:
    world = World(ready(TaskSpec(id=TASK.id, instruction="x", tools=())), script(says("a")), TOOLS)
    await run(world)
    assert world.requests[0].tools == ()
    assert "Not available" not in world.requests[0].messages[0].content


async def test_a_listed_tool_that_went_away_is_still_a_step_on_takeover() -> None:
    task = TaskSpec(id=TASK.id, instruction="x", tools=("read_file",))
    world = World(
        ready(task), script(calls(call("read_file")), says("done")), TOOLS, outcomes=(FOUND,)
    )
    with pytest.raises(Killed):
        await ExecutorAgent().run(world.attempt(kill_at=5))
    assert len(world.steps) == 2
    world.tools.clear()
    assert await run(world) == "done"
    assert len(world.called) == 1


async def test_an_empty_answer_is_asked_for_once_more() -> None:
    world = agent_world(says(""), says("now"))
    assert await run(world) == "now"
    assert world.requests[1].messages[-1] == ChatMessage("user", SAY_SOMETHING)
    with pytest.raises(PermanentError, match=r"nothing|empty"):
        await run(agent_world(says(" "), says("\n")))


async def test_giving_up_is_a_failure_in_the_models_words() -> None:
    replies = (says("I cannot open it."), says("I cannot open it:\nno tool."))
    world = World(ready(TASK), script(*replies))
    with pytest.raises(PermanentError, match="I cannot open it: no tool"):
        await run(world)
    assert world.requests[1].messages[-1] == ChatMessage("user", LOOK_AGAIN)


async def test_who_gives_up_before_looking_has_to_call_a_tool_that_only_looks_once() -> None:
    writing = ToolSpec(name="write", description="x", parameters={}, effect="once")
    replies = [says("I cannot read it."), calls(call("read_file", '{"path": "a"}')), says("x")]
    world = World(ready(TASK, job_tools=None), script(*replies), (*TOOLS, writing), (FOUND,))
    assert await run(world) == "x"
    assert [request.tool_choice for request in world.requests] == ["auto", "any", "auto"]
    assert world.requests[1].messages == world.requests[0].messages
    assert "cannot read" not in str(world.requests[2].messages)
    offered = [{tool.name for tool in request.tools} for request in world.requests]
    assert offered == [{*LISTED, "write"}, {*LISTED}, {*LISTED, "write"}]


async def test_who_has_looked_or_has_nothing_to_look_with_may_give_up() -> None:
    looked = [calls(call("read_file")), says("I cannot."), says("I cannot.")]
    for replies, tools in ((looked, TOOLS), (looked[1:], ())):
        world = World(ready(TASK, job_tools=LISTED), script(*replies), tools, (FOUND,))
        with pytest.raises(PermanentError, match="gave up"):
            await run(world)
        assert {request.tool_choice for request in world.requests} == {"auto"}


async def test_an_answer_after_nothing_but_failed_calls_is_asked_for_again_and_may_stand() -> None:
    replies = [calls(call("read_file")), says("there is none"), says("there is none, really")]
    world = agent_world(*replies, outcomes=(NO_FILE,))
    assert await run(world) == "there is none, really"
    assert world.requests[2].messages[-1] == ChatMessage("user", MEND_A_CALL)


async def test_beside_calls_that_are_made_the_model_is_told_of_the_others() -> None:
    half = unusable("your call of 'text_stats' was cut", call("read_file", '{"path": "a"}'))
    world = agent_world(half, says("done"), outcomes=(FOUND,))
    assert await run(world) == "done"
    result, told = world.requests[1].messages[-2:]
    assert (result.role, result.content) == ("tool", "line one")
    assert told == ChatMessage("user", NOT_USED.format("your call of 'text_stats' was cut"))


async def test_an_endless_loop_ends() -> None:
    turns = [calls(call("read_file"))] * MAX_TURNS["medium"]
    world = agent_world(*turns, outcomes=(FOUND,) * MAX_TURNS["medium"])
    with pytest.raises(PermanentError, match="no answer after 12 turns"):
        await run(world)


async def test_an_effect_in_doubt_stops_the_task() -> None:
    doubt = ToolRefused(code="in_doubt", message="paid or not?")
    with pytest.raises(InDoubtError, match="paid or not"):
        await run(agent_world(calls(call("read_file")), outcomes=(doubt,)))
    task = tool_task("3", "read_file", {"path": "a"})
    with pytest.raises(InDoubtError, match="paid or not"):
        await run(World(ready(task), script(), TOOLS, (doubt,)))


async def test_a_tool_task_is_one_call_with_its_references_resolved() -> None:
    task = tool_task("3", "read_file", {"path": {"$ref": "1.0.path"}, "note": "{{2}}!"}, "1", "2")
    inputs = {"1": [{"path": "b.txt"}], "2": 5}
    world = World(ready(task, inputs=inputs), script(), TOOLS, (FOUND,))
    assert await run(world) == ["a"]
    assert world.called == [("direct", "read_file", {"path": "b.txt", "note": "5!"})]


async def test_a_tool_task_fails_with_the_tools_words() -> None:
    with pytest.raises(ToolError, match="no such file"):
        await run(World(ready(tool_task("3", "read_file", {})), script(), TOOLS, (NO_FILE,)))
    task = tool_task("3", "read_file", {"path": "{{9}}"})
    with pytest.raises(InvalidInputError, match="9 refers to a task"):
        await run(World(ready(task), script(), TOOLS))


def by_turn(*replies: ChatReply) -> Answerer:
    """A model that looks at how far the conversation is, so that it can be asked again."""

    def answer(request: ChatRequest) -> ChatReply:
        return replies[sum(turn.role == "assistant" for turn in request.messages)]

    return answer


async def test_killed_at_every_point_nothing_finished_is_repeated() -> None:
    point = 0
    while True:
        replies = [
            calls(call("read_file", '{"path": "a"}', "aaaaaaaa1"), call("fly", "{}", "aaaaaaaa2")),
            says(""),
            calls(call("text_stats", '{"path": "a"}', "aaaaaaaa3")),
            says("the end"),
        ]
        world = World(ready(TASK, job_tools=LISTED), by_turn(*replies), TOOLS, [FOUND] * 3)
        try:
            await ExecutorAgent().run(world.attempt(kill_at=point))
            break
        except Killed:
            finished = dict(world.steps)
        assert await run(world) == "the end"
        assert sorted(world.steps) == [1, 2, 3, 4, 5, 6]
        assert {n: world.steps[n] for n in finished} == finished
        point += 1
    assert point > 10


async def test_a_number_that_no_result_says_is_asked_back_once_and_then_marked() -> None:
    inputs = {"1": ["a"] * 17}
    world = agent_world(says("10"), says("17"), inputs=inputs)
    assert await run(world) == "17"
    assert "## 1 (a list of 17)\n" in world.requests[0].messages[1].content
    assert world.requests[1].messages[-1] == ChatMessage("user", DOUBT.format("10"))
    world = agent_world(says("10"), says("10"), inputs=inputs)
    assert await run(world) == Succeeded("10", ("10",))
    assert world.moves == {}


async def test_what_a_call_has_said_supports_an_answer() -> None:
    found = ToolResult(value={"words": 388}, content='{"words": 388}')
    reading = calls(call("read_file", '{"path": "a"}'))
    world = agent_world(reading, says("388 words"), outcomes=(found,))
    assert await run(world) == "388 words"
    world = agent_world(reading, says("389 words"), says("389 words"), outcomes=(found,))
    assert await run(world) == Succeeded("389 words", ("389",))


async def test_who_repeats_one_record_of_several_is_asked_back_once() -> None:
    inputs = {"1": {"words": 388}, "2": {"words": 314}}
    world = agent_world(says('{"words":388}'), says("The first, with 388."), inputs=inputs)
    assert await run(world) == "The first, with 388."
    assert world.requests[1].messages[-1] == ChatMessage("user", REPEATS.format("1"))
    world = agent_world(says('{"words":388}'), says('{"words":388}'), inputs=inputs)
    assert await run(world) == '{"words":388}'


async def test_a_usable_answer_that_follows_a_fault_is_asked_back_once_too() -> None:
    """A fault and a doubt are two matters; after a doubt whatever comes ends the dialogue."""
    inputs = {"1": {"words": 388}, "2": {"words": 314}}
    replies = says(""), says('{"words": 314}'), says("702")
    world = agent_world(*replies, inputs=inputs)
    assert await run(world) == "702"
    told = [request.messages[-1].content for request in world.requests[1:]]
    assert told == [SAY_SOMETHING, REPEATS.format("2")]
    world = agent_world(says(""), says('{"words": 314}'), says("10 words"), inputs=inputs)
    assert await run(world) == Succeeded("10 words", ("10",))


async def test_a_usable_answer_stays_one_whatever_comes_when_it_is_asked_back() -> None:
    inputs = {"1": ["a"] * 17}
    for second in ("", "I cannot count.", f"It says: {DOUBT.format('10')}"):
        world = agent_world(says("10"), says(second), inputs=inputs)
        assert await run(world) == Succeeded("10", ("10",))


def refusing_after(replies: int, error: Exception, *said: ChatReply) -> Answerer:
    answer = script(*said)
    left = [None] * replies

    def asked(request: ChatRequest) -> ChatReply:
        if not left:
            raise error
        left.pop()
        return answer(request)

    return asked


@pytest.mark.parametrize("error", [BudgetExhaustedError("used up"), TooLongError("too long")])
async def test_where_there_is_no_room_to_ask_back_a_usable_answer_stands(error: Exception) -> None:
    asked = refusing_after(1, error, says("10"))
    world = World(ready(TASK, job_tools=LISTED, inputs={"1": ["a"] * 17}), asked, TOOLS)
    world.larger = ["large"]
    assert await run(world) == Succeeded("10", ("10",))
    assert world.moves == {}
    with pytest.raises(PermanentError):
        await run(World(ready(TASK, job_tools=LISTED), refusing_after(0, error), TOOLS))


async def test_who_calls_without_end_when_it_is_asked_back_has_answered_before() -> None:
    turns = [calls(call("read_file"))] * (MAX_TURNS["medium"] - 1)
    world = agent_world(
        says("10"), *turns, inputs={"1": ["a"] * 17}, outcomes=(FOUND,) * len(turns)
    )
    assert await run(world) == Succeeded("10", ("10",))


async def test_an_answer_is_asked_back_once_whatever_it_has_called_since() -> None:
    replies = says("10"), calls(call("read_file")), says("11")
    world = agent_world(*replies, inputs={"1": ["a"] * 17}, outcomes=(FOUND,))
    assert await run(world) == Succeeded("11", ("11",))


async def test_a_record_of_the_form_that_the_task_asks_for_is_taken() -> None:
    """It chooses one of them; a sentence would not be of that form."""
    inputs = {"1": {"words": 388}, "2": {"words": 314}}
    task = TaskSpec(id=TASK.id, instruction="Choose", needs=TASK.needs, output={"type": "object"})
    world = World(ready(task, inputs=inputs), script(says('{"words": 388}')), TOOLS)
    assert await run(world) == {"words": 388}


async def test_who_repeats_what_it_was_told_has_not_answered() -> None:
    with pytest.raises(PermanentError, match="repeats what it was told"):
        await run(agent_world(says(""), says(SAY_SOMETHING)))
