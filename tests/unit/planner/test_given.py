"""Tools as a host service has them, and what is wrong with those that cannot be used."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError
from galerne.messages.facts import Turn
from galerne.messages.tools import ToolSpec
from galerne.models.standin import StandIn
from galerne.models.toolset import toolset
from galerne.planner import Planner, tool_specs
from galerne.planner.given import turns
from galerne.tools import tool
from unit.planner.examples import TEXT_STATS, parameters
from unit.planner.test_leaving import SlowServer

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parents[4] / "shared" / "data" / "bfcl"
SOON = 2.0
"""Seconds in which a busy machine has surely asked the server, which then says nothing more."""
GOAL = "Count the words of a.txt and b.txt and compare them"
STATS = {
    "type": "function",
    "function": {
        "name": "text_stats",
        "description": TEXT_STATS.description,
        "parameters": TEXT_STATS.parameters,
    },
}


@tool
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


def test_a_tool_is_the_same_in_all_of_its_forms() -> None:
    assert tool_specs([TEXT_STATS, shout]) == (TEXT_STATS, shout.spec)
    assert tool_specs([STATS]) == tool_specs([STATS["function"]]) == (TEXT_STATS,)


def test_names_stay_the_hosts_own_and_types_become_those_of_json() -> None:
    (spec,) = tool_specs(
        [
            {
                "name": "math.triangle",
                "parameters": {
                    "type": "dict",
                    "properties": {
                        "type": {"type": "float", "enum": [1.5], "default": "dict"},
                        "sides": {"type": "tuple", "items": {"type": "integer"}},
                        "more": {"type": "any"},
                        "either": {"anyOf": [{"type": "String"}, {"type": ["int", "null"]}]},
                    },
                    "required": ["sides"],
                },
            }
        ]
    )
    assert spec.name == "math.triangle"
    assert spec.description == "math.triangle"
    assert spec.parameters == parameters(
        ["sides"],
        type={"type": "number", "enum": [1.5], "default": "dict"},
        sides={"type": "array", "items": {"type": "integer"}},
        more={},
        either={"anyOf": [{"type": "string"}, {"type": ["integer", "null"]}]},
    )


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}])
def test_a_tool_without_parameters(schema: Any) -> None:
    (spec,) = tool_specs([{"name": "now", "description": "The time.", "parameters": schema}])
    assert spec.parameters == {"type": "object", "properties": {}}


WRONG: list[tuple[list[Any], str]] = [
    ([STATS, TEXT_STATS], "the tool 'text_stats' is on offer twice; leave one out"),
    ([{"name": "a.b"}, {"name": "a_b"}], "'a.b' and 'a_b' would both be 'a_b'"),
    ([TEXT_STATS, {"parameters": {}}], "tool 2 has no name"),
    ([{"name": 7}], "tool 1 has no name"),
    ([{"name": "a\nb"}], "the name of tool 1 is 'a\\nb' (str): keep it on one line"),
    ([{"type": "retrieval", "name": "x"}], "tool 1 is of type 'retrieval' (str): only fun"),
    ([{"type": "function", "function": "x"}], "tool 1: its function is 'x' (str); give a"),
    ([{"name": "x", "description": 5}], "the description of the tool 'x' must be a text"),
    ([{"name": "x", "parameters": []}], "the parameters of the tool 'x' are [] (list)"),
    ([{"name": "x", "parameters": {"type": "string"}}], "the tool 'x' are of type 'string'"),
    (
        [{"name": "x", "parameters": {"properties": {"a": {"type": 5}}}}],
        "the parameters of the tool 'x' are no JSON Schema of draft 7",
    ),
    (
        [ToolSpec(name="x", description="", parameters={"required": "a"})],
        "the parameters of the tool 'x' are no JSON Schema of draft 7",
    ),
    ([{"name": "x", "parameters": {"properties": {"a": {"d": object}}}}], "the tool 'x' are"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_a_wrong_tool_is_named_in_one_line(wrong: Any, said: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        tool_specs(wrong)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_schema_without_a_bottom_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"items": deep}
    with pytest.raises(InvalidInputError, match="the tool 'x' are nested too deeply"):
        tool_specs([{"name": "x", "parameters": deep}])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("type"), inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries({"name": _json}, optional={"function": _json, "parameters": _json}))
def test_any_json_is_a_tool_that_can_be_sent_or_a_line_that_says_why_not(given: Any) -> None:
    try:
        specs = tool_specs([given])
    except InvalidInputError as error:
        said = str(error)
    else:
        said = ""
        assert toolset(tuple(spec.schema() for spec in specs)).wire
    assert len(said.splitlines()) <= 1


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent: no recorded requests")
def test_the_tools_of_real_users_are_all_taken() -> None:
    lines = (DATA / "requests.jsonl").read_bytes().splitlines()
    requests = [msgspec.json.decode(line) for line in lines]
    taken = [tool_specs(request["tools"]) for request in requests]
    assert len(taken) == 230
    assert sum(map(len, taken)) == 359


def test_the_history_of_a_host_service_is_taken_as_it_is() -> None:
    earlier = Turn("Count a.txt", "9 words")
    assert turns([earlier]) == turns(iter([earlier])) == (earlier,)
    assert turns(()) == ()


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("earlier", "the history is 'earlier' (str): give a list of Turn"),
        (7, "the history is 7 (int): give a list of Turn"),
        ([Turn("a", "b"), {"goal": "x"}], "turn 2 of the history is {'goal': 'x'} (dict): give a"),
    ],
)
async def test_a_wrong_history_is_said_before_any_request(history: Any, said: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        await Planner("http://127.0.0.1:1").plan("goal", history=history)
    assert said in str(raised.value)


# in a host's own event loop


async def one_plan(url: str, name: str) -> list[str]:
    stats = {**STATS["function"], "name": name} if isinstance(STATS["function"], dict) else {}
    plan = await Planner(url).plan(GOAL, [stats], {"name": name})
    return [task.id for task in plan.tasks]


def test_many_plans_at_once_in_plain_asyncio() -> None:
    async def main() -> None:
        async with StandIn() as server:
            shared = Planner(server.url)
            plans = await asyncio.gather(
                *(one_plan(server.url, f"stats_{n}") for n in range(8)),
                *(asyncio.create_task(shared.plan(GOAL, [STATS])) for _ in range(8)),
            )
        assert len({str(plan) for plan in plans[8:]}) == 1
        assert all(plans)

    asyncio.run(main())


async def _wait_for(plan: Any) -> None:
    await asyncio.wait_for(plan, SOON)


async def _timeout(plan: Any) -> None:
    async with asyncio.timeout(SOON):
        await plan


async def _fail_after(plan: Any) -> None:
    with anyio.fail_after(SOON):
        await plan


@pytest.mark.parametrize("limit", [_wait_for, _timeout, _fail_after])
def test_a_plan_that_takes_too_long_closes_its_connection(limit: Any) -> None:
    async def main() -> None:
        async with SlowServer().serve() as server:
            with pytest.raises(TimeoutError):
                await limit(Planner(server.url, backend="openai").plan(GOAL, [STATS]))
            await asyncio.wait_for(server.closed.wait(), 20)

    asyncio.run(main())


def test_a_cancelled_task_closes_its_connection_and_the_next_plan_works() -> None:
    async def main() -> None:
        async with SlowServer().serve() as slow, StandIn() as server:
            planning = asyncio.create_task(Planner(slow.url, backend="openai").plan(GOAL, [STATS]))
            other = asyncio.create_task(Planner(server.url).plan(GOAL, [STATS]))
            await asyncio.wait_for(slow.asked.wait(), 20)
            planning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await planning
            await asyncio.wait_for(slow.closed.wait(), 20)
            assert (await other).tasks

    asyncio.run(main())
