import pytest

from galerne.errors import PermanentError
from galerne.messages.ids import ANSWER_TASK
from galerne.messages.plan import TaskSpec
from galerne_agents.synthesizer import SynthesizerAgent
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
        await SynthesizerAgent().run(World(READY, script(says(" "))).attempt())


async def test_an_answer_that_cannot_be_used_is_asked_for_once_more() -> None:
    leaked = unusable("there is no tool 'fly'; there are: none")
    world = World(READY, script(leaked, says("Seven.")))
    assert await SynthesizerAgent().run(world.attempt()) == "Seven."
    assert "there is no tool 'fly'" in world.requests[1].messages[-1].content
    with pytest.raises(PermanentError, match="there is no tool 'fly'"):
        await SynthesizerAgent().run(World(READY, script(leaked, leaked)).attempt())
