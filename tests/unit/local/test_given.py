"""What a caller may give: models and tools in several forms, inputs, large content."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne import Budget, InvalidInputError, Plan, RunFailedError, Settings, ToolContext, tool
from galerne.errors import InvalidSettingsError
from galerne.local.given_tools import given_tools
from galerne.local.models import choose
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.settings import RoleSettings, ToolSettings
from galerne.tools import BlobFile
from unit.local.scripted import (
    Facts,
    agent_task,
    carry_out,
    executing,
    last,
    planning,
    tool_task,
)

pytestmark = pytest.mark.anyio

HERE = ToolSettings()
AT = RoleSettings(endpoint="http://here:1/v1", model="small", api_key="secret", rate=2.0)


# models


@pytest.mark.parametrize(
    ("text", "endpoint", "model"),
    [
        ("http://there:2/v1", "http://there:2/v1", "small"),
        ("large@http://there:2/v1", "http://there:2/v1", "large"),
        ("mixtral:8x22b@https://there", "https://there", "mixtral:8x22b"),
        ("http://me:word@there:2", "http://me:word@there:2", "small"),
    ],
)
def test_a_model_may_be_named_in_one_text(text: str, endpoint: str, model: str) -> None:
    chosen = choose(Settings(planner=AT, executor=AT), text, None).settings
    assert (chosen.planner.endpoint, chosen.planner.model) == (endpoint, model)
    assert chosen.planner.api_key is None, "a key is for its own endpoint"
    assert chosen.planner.rate is None
    assert chosen.executor == AT


def test_at_the_same_endpoint_the_key_stays() -> None:
    chosen = choose(Settings(planner=AT, executor=AT), None, "large@http://here:1/v1").settings
    assert (chosen.executor.model, chosen.executor.api_key) == ("large", "secret")


def test_a_role_that_has_nothing_takes_what_the_other_has() -> None:
    assert choose(Settings(), AT, None).settings.executor == AT
    assert choose(Settings(), None, AT).settings.planner == AT
    other = RoleSettings(endpoint="http://there:2/v1")
    assert choose(Settings(executor=other), AT, None).settings.executor == other


@pytest.mark.parametrize("text", ["mistral", "", "@http://there", "large@there"])
def test_a_text_that_names_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettingsError, match="MODEL@http"):
        choose(Settings(), text, None)


async def test_without_any_model_one_line_says_what_to_give() -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        await carry_out()
    assert "\n" not in str(caught.value)
    assert "GALERNE_PLANNER_ENDPOINT" in str(caught.value)
    assert "stand_in=True" in str(caught.value)
    with pytest.raises(InvalidSettingsError, match="client with an `ask`"):
        await carry_out(planner=5)


async def test_settings_come_from_variables_unless_they_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALERNE_WORKER_CONCURRENCY", "none")
    with pytest.raises(InvalidSettingsError, match="GALERNE_WORKER_CONCURRENCY"):
        await carry_out(settings=None, planner=planning())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"budget": 5}, "the budget is 5 .int.: give a galerne.Budget"),
        ({"inputs": 5}, "inputs is 5 .int.: give a dict"),
        ({"timeout": -1.0}, "give seconds above 0"),
        ({"budget": Budget(usd=-1.0)}, "the budget's usd is -1.0"),
    ],
)
async def test_what_cannot_be_used_is_refused_before_anything_is_asked(
    given: dict[str, Any], says: str
) -> None:
    model = planning()
    with pytest.raises(InvalidInputError, match=says):
        await carry_out(planner=model, **given)
    assert model.requests == []


# tools


def test_tools_are_functions_tools_and_names() -> None:
    def twice(number: int) -> int:
        """Twice a number."""
        return 2 * number

    @tool(name="thrice", effect="idempotent")
    def three_times(number: int) -> int:
        """Three times a number."""
        return 3 * number

    found = given_tools([twice, three_times, "text_stats"], HERE)
    assert list(found) == ["twice", "thrice", "text_stats"]
    assert (found["twice"].spec.effect, found["thrice"]) == ("pure", three_times)
    assert found["twice"].spec.description == "Twice a number."


def test_nothing_given_is_every_installed_tool_that_only_looks() -> None:
    found = given_tools(None, HERE)
    assert {"read_file", "text_stats", "calculate"} <= set(found)
    assert {one.spec.effect for one in found.values()} == {"pure"}
    assert given_tools([], HERE) == {}


def nameless(number: int) -> int:
    return number


nameless.__name__ = "<lambda>"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("text_stats", "give a list"),
        (["fly"], "no tool 'fly' is installed; there are: calculate"),
        ([5], "is no tool"),
        ([nameless], "cannot be named '<lambda>'"),
        (["text_stats", "text_stats"], "two tools are named 'text_stats'"),
    ],
)
def test_what_is_no_tool_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        given_tools(given, HERE)


async def test_a_tool_gets_its_context() -> None:
    seen: list[ToolContext] = []

    @tool(effect="idempotent")
    def order(item: str, context: ToolContext) -> str:
        """Order something."""
        seen.append(context)
        return item

    facts = Facts()
    await carry_out(
        planner=planning(tool_task("1", "order", {"item": "x"})), tools=[order], on_event=facts
    )
    (context,) = seen
    job = facts.all[0].job.id  # type: ignore[union-attr]
    assert context.key == f"{job}.1.1"
    assert context.deadline > context.clock()


async def test_a_tool_that_is_not_given_is_not_there() -> None:
    planner = planning(tool_task("1", "fly", {}))
    with pytest.raises(RunFailedError, match="fly"):
        await carry_out(planner=planner)


# plans


def names() -> list[str]:
    """Some names."""
    return ["a", "bb", "ccc"]


def size(name: str) -> int:
    """The length of a name."""
    return len(name)


async def test_a_given_plan_is_carried_out_without_a_planner() -> None:
    each = tool_task("2", "size", {"name": {"$ref": "item"}})
    model = planning(answer="three names")
    result = await carry_out(
        planner=model,
        tools=[names, size],
        plan=[tool_task("1", "names", {}), {**each, "foreach": {"$ref": "1"}}],
    )
    assert model.tasks == ["answer"], "nothing is planned"
    assert [task.result for task in result.tasks if task.id == "2"] == [[1, 2, 3]]
    assert result.answer == "three names"


async def test_a_plan_of_the_planner_is_taken_as_it_is() -> None:
    plan = Plan((TaskSpec(id=TaskId("1"), instruction="say one"),))
    model = planning(answer="one")
    await carry_out(planner=model, plan=plan)
    await carry_out(planner=model, plan=plan.tasks)
    assert model.tasks == ["1", "answer"] * 2


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([], "1 to 1000 may be"),
        ([tool_task("1", "size", {}, "2")], "needs task '2', which is not there"),
        ([tool_task("1", "size", {}), agent_task("1", "x")], "two tasks of the plan have the id"),
        ([{"id": "1", "kind": "agent"}], "its instruction is empty"),
        ([{"kind": "agent"}], "the plan is not usable"),
    ],
)
async def test_a_plan_that_cannot_be_is_refused_before_anything_is_asked(
    plan: Any, says: str
) -> None:
    model, facts = planning(), Facts()
    with pytest.raises(InvalidInputError, match=says):
        await carry_out(planner=model, plan=plan, on_event=facts)
    assert (model.requests, facts.all) == ([], [])


# inputs and large content


async def test_inputs_reach_the_planner_and_files_by_name(tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("seven words stand on this one page")

    @tool
    async def words(text: BlobFile) -> int:
        """Count the words of a text."""
        return len((await text.read()).split())

    facts = Facts()
    planner = planning(tool_task("1", "words", {"text": {"$ref": "never"}}), answer="7")
    await_inputs: dict[str, Any] = {"page": page, "numbers": (1, 2)}
    with pytest.raises(RunFailedError):
        await carry_out(planner=planner, tools=[words], inputs=await_inputs, on_event=facts)
    inputs = facts.all[0].job.inputs  # type: ignore[union-attr]
    assert inputs["numbers"] == [1, 2]
    assert inputs["page"]["name"] == "page.txt"
    assert "page.txt" in last(planner.requests[0])
    blob: dict[str, Any] = {"$blob": inputs["page"]["$blob"], "size": inputs["page"]["size"]}
    result = await carry_out(
        planner=planning(tool_task("1", "words", {"text": blob}), answer="7"),
        tools=[words],
        inputs={"page": page},
    )
    assert result.tasks[1].result == 7


@pytest.mark.parametrize(
    "inputs", [{"a": object()}, {"a": {1, 2j}}, {"a": Path("/nowhere/at/all")}]
)
async def test_inputs_that_are_no_json_are_refused(inputs: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        await carry_out(planner=planning(), inputs=inputs)


async def test_a_large_result_goes_on_by_name_and_is_read_where_it_is_meant() -> None:
    @tool
    def pages(count: int) -> dict[str, Any]:
        """Many pages."""
        return {"first": "page 1", "all": "x" * count}

    @tool
    async def size(text: BlobFile) -> int:
        """The size of a text in bytes."""
        return text.size

    @tool
    def echo(text: str) -> str:
        """The text itself."""
        return text

    executor = executing()
    result = await carry_out(
        planner=planning(
            tool_task("1", "pages", {"count": 400_000}),
            tool_task("2", "size", {"text": {"$ref": "1"}}, "1"),
            tool_task("3", "echo", {"text": {"$ref": "1.first"}}, "1"),
            agent_task("4", "look", "1"),
        ),
        executor=executor,
        tools=[pages, size, echo],
    )
    first, second, third = (task.result for task in result.tasks[1:4])
    assert (second, third) == (first["size"], "page 1")
    assert second > 400_000
    assert "content too large to show" in last(executor.requests[0])
    whole = msgspec.json.decode(await result.file(first).read())
    assert len(whole["all"]) == 400_000


async def test_an_answer_of_any_size_is_given_back() -> None:
    result = await carry_out(planner=planning(agent_task("1", "say"), answer="x" * 300_000))
    assert isinstance(result.answer, BlobFile)
    assert len(await result.answer.read()) == 300_000
