import msgspec
import pytest

from galerne.errors import BudgetExhaustedError, IncompleteError, PermanentError, TooLongError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.ids import ANSWER_TASK
from galerne.messages.plan import Succeeded, TaskSpec
from galerne_agents.doubts import DOUBT, HOW_MANY
from galerne_agents.synthesizer import EXAMPLE, SynthesizerAgent, without_strangers
from unit.agents.scripted import World, ready, says, script, unusable

pytestmark = pytest.mark.anyio

READY = ready(
    TaskSpec(id=ANSWER_TASK, kind="answer"),
    inputs={"1": {"instruction": "count", "value": {"words": 7}}},
)


async def test_the_answer_is_the_models_text() -> None:
    world = World(READY, script(says(" Seven.\n")))
    assert await SynthesizerAgent().run(world.attempt()) == "Seven."
    assert world.requests[0].messages[1].content == (
        '# Goal\nthe goal\n\n# Results\n\n## 1: count\n{"words":7}'
    )


async def test_an_empty_answer_is_none() -> None:
    with pytest.raises(PermanentError, match=r"nothing|empty"):
        await SynthesizerAgent().run(World(READY, script(says(" "), says(""))).attempt())


async def test_an_answer_that_cannot_be_used_is_asked_for_once_more() -> None:
    leaked = unusable("there is no tool 'fly'; there are: none")
    world = World(READY, script(leaked, says("Seven.")))
    assert await SynthesizerAgent().run(world.attempt()) == "Seven."
    assert "there is no tool 'fly'" in world.requests[1].messages[-1].content
    with pytest.raises(PermanentError, match="there is no tool 'fly'"):
        await SynthesizerAgent().run(World(READY, script(leaked, leaked)).attempt())


MORE = msgspec.structs.replace(READY, more=True)


@pytest.mark.parametrize(
    "text",
    [
        "MISSING: who wrote b.txt",
        "```\nMISSING: who wrote b.txt\n```",
        '{"missing": "who wrote b.txt"}',
        '```json\n{"missing": "who wrote b.txt"}\n```',
    ],
)
async def test_it_may_say_what_is_missing_where_more_may_be_had(text: str) -> None:
    with pytest.raises(IncompleteError, match=r"^who wrote b\.txt$"):
        await SynthesizerAgent().run(World(MORE, script(says(text))).attempt())
    assert await SynthesizerAgent().run(World(READY, script(says(text))).attempt()) == text


@pytest.mark.parametrize("missing", [EXAMPLE, "", "…"])
async def test_who_copies_the_example_is_asked_anew_without_that_way_out(missing: str) -> None:
    world = World(MORE, script(says(f"MISSING: {missing}"), says("Seven.")))
    assert await SynthesizerAgent().run(world.attempt()) == "Seven."
    first, second = (request.messages for request in world.requests)
    assert EXAMPLE in first[0].content
    assert "MISSING:" not in second[0].content
    assert first[1:] == second[1:]


async def test_it_is_told_that_more_may_be_had_only_where_it_may() -> None:
    for given, told in ((MORE, True), (READY, False)):
        world = World(given, script(says("Seven.")))
        await SynthesizerAgent().run(world.attempt())
        assert ("MISSING:" in world.requests[0].messages[0].content) == told


async def test_an_answer_in_a_schema_is_its_value_and_cites_nothing() -> None:
    task = msgspec.structs.replace(READY.task, output={"type": "integer"})
    world = World(msgspec.structs.replace(READY, task=task), script(says("seven"), says("7")))
    assert await SynthesizerAgent().run(world.attempt()) == 7
    assert "square brackets" not in world.requests[0].messages[0].content
    assert world.requests[0].output == {"type": "integer"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("7 words [1], 8 [2].", "7 words [1], 8 [2]."),
        ("7 words [1, 2]", "7 words [1, 2]"),
        ("7 words [9] and more", "7 words and more"),
        ("7 words [1, 9]", "7 words [1]"),
        ("a [link](http://x) and [sic]", "a [link](http://x) and [sic]"),
        ("array[0] = 1, since [2024]", "array[0] = 1, since [2024]"),
        ("The sorted list is [10, 20, 30].", "The sorted list is [10, 20, 30]."),
        ("It returns [5].", "It returns [5]."),
        ("Sorted: [9]", "Sorted: [9]"),
    ],
)
def test_marks_of_tasks_that_there_are_none_of_are_taken_out(text: str, kept: str) -> None:
    assert without_strangers(text, ("1", "2")) == kept


async def test_a_number_that_no_result_says_is_asked_back_once_and_then_marked() -> None:
    world = World(READY, script(says("Ten, or 10."), says("It has 7 words [1].")))
    task = msgspec.structs.replace(READY.task, needs=("1",))
    world.ready = msgspec.structs.replace(READY, task=task)
    assert await SynthesizerAgent().run(world.attempt()) == "It has 7 words [1]."
    assert world.requests[1].messages[-1].content == DOUBT.format("10")
    world = World(READY, script(says("It has 10."), says("It has 11.")))
    assert await SynthesizerAgent().run(world.attempt()) == Succeeded("It has 11.", ("11",))


async def test_a_usable_answer_stays_one_whatever_comes_when_it_is_asked_back() -> None:
    for second in ("", f"I read: {DOUBT.format('10')}"):
        world = World(READY, script(says("It has 10."), says(second)))
        assert await SynthesizerAgent().run(world.attempt()) == Succeeded("It has 10.", ("10",))


@pytest.mark.parametrize("error", [BudgetExhaustedError("used up"), TooLongError("too long")])
async def test_where_there_is_no_room_to_ask_back_a_usable_answer_stands(error: Exception) -> None:
    rest = [says("It has 10.")]

    def answer(_: ChatRequest) -> ChatReply:
        if not rest:
            raise error
        return rest.pop()

    world = World(READY, answer)
    world.larger = ["longer"]
    assert await SynthesizerAgent().run(world.attempt()) == Succeeded("It has 10.", ("10",))
    assert world.moves == {}


async def test_an_answer_with_more_of_its_own_is_no_better() -> None:
    world = World(READY, script(says("It has 10."), says("I counted 11, 12 and 13.")))
    assert await SynthesizerAgent().run(world.attempt()) == Succeeded("It has 10.", ("10",))


async def test_what_a_task_has_made_up_is_doubtful_in_the_answer_too() -> None:
    doubtful = {"instruction": "add", "value": "302", "unsupported": ["302"]}
    given = msgspec.structs.replace(READY, inputs={**READY.inputs, "2": doubtful})
    world = World(given, script(says("302 words."), says("302 words.")))
    assert await SynthesizerAgent().run(world.attempt()) == Succeeded("302 words.", ("302",))
    assert "unsupported" not in world.requests[0].messages[1].content


async def test_an_answer_that_is_asked_back_may_ask_for_what_is_missing() -> None:
    world = World(MORE, script(says("It has 10."), says("MISSING: the words of b.txt")))
    with pytest.raises(IncompleteError, match="the words of b"):
        await SynthesizerAgent().run(world.attempt())


async def test_an_answer_without_the_number_that_was_asked_for_is_asked_back_once() -> None:
    asked = msgspec.structs.replace(READY, goal="Which is longer, and how many words has it?")
    world = World(asked, script(says("The first one."), says("The first one, with 7.")))
    assert await SynthesizerAgent().run(world.attempt()) == "The first one, with 7."
    assert world.requests[1].messages[-1].content == HOW_MANY
    world = World(asked, script(says("The first one."), says("The first one.")))
    assert await SynthesizerAgent().run(world.attempt()) == "The first one."


async def test_a_denial_that_no_result_says_is_asked_about_afresh_and_then_marked() -> None:
    inputs = {"1": {"instruction": "search", "value": "a.txt"}}
    asked = msgspec.structs.replace(READY, goal="Which file mentions Bari?", inputs=inputs)
    world = World(asked, script(says("a.txt does not mention it."), says("a.txt")))
    assert await SynthesizerAgent().run(world.attempt()) == "a.txt"
    first, second = world.requests
    assert [one.role for one in second.messages] == ["system", "user", "user"]
    assert second.messages[:2] == first.messages
    assert "The last one says: a.txt\n" in second.messages[-1].content
    world = World(asked, script(says("a.txt does not mention it."), says("It does not.")))
    assert await SynthesizerAgent().run(world.attempt()) == Succeeded("It does not.", ("not",))
