"""Functions and calls as real users write them: every recorded one is a tool, and takes its call.

`requests.jsonl` has 230 requests with their functions; two models' answers are the calls.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from galerne.messages.tools import ToolRefused, ToolResult
from galerne.models.names import sendable
from galerne.models.toolset import fault_of
from galerne.tools import AnyTool, ToolContext, invoke, schema_tool
from unit.tools.calls import context

DATA = Path(__file__).parents[4] / "shared" / "data" / "bfcl"
ANSWERS = ("open-mixtral-8x22b-FC-Auto.jsonl", "open-mistral-nemo-2407-FC-Auto.jsonl")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent: no recorded requests"),
]


def rows(name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (DATA / name).read_bytes().splitlines()]


async def _given_back(arguments: dict[str, Any], _: ToolContext) -> dict[str, Any]:
    return arguments


def made(row: dict[str, Any], name: str | None = None) -> dict[str, AnyTool]:
    """By the name that a model is given."""
    functions = [tool["function"] for tool in row["tools"]]
    tools = [
        schema_tool(
            name or f["name"], f["description"], f["parameters"], _given_back, effect="pure"
        )
        for f in functions
    ]
    return {sendable(tool.spec.name): tool for tool in tools}


def test_every_recorded_function_is_a_tool_that_mistral_takes() -> None:
    requests = rows("requests.jsonl")
    tools = [tool for row in requests for tool in made(row).values()]
    assert (len(requests), [fault_of(tool.spec.parameters) for tool in tools if
                            fault_of(tool.spec.parameters)]) == (230, [])  # fmt: skip
    for row in requests:
        for name in row.get("possible_answer") or ():
            own = name.split()[0]  # a second call of one function is numbered
            assert own == made(row, own).popitem()[1].spec.name


@pytest.mark.parametrize("recorded", ANSWERS)
async def test_calls_that_models_made_are_taken_or_refused_for_a_reason(recorded: str) -> None:
    requests = {row["id"]: row for row in rows("requests.jsonl")}
    taken, refused, invented = 0, list[str](), list[str]()
    for answer in rows(recorded):
        tools = made(requests[answer["id"]])
        calls: list[dict[str, str]] = answer["result"] if answer["result"].__class__ is list else []
        for call in calls:
            for name, text in call.items():
                arguments = msgspec.json.decode(text)
                if name not in tools:
                    invented.append(name)
                    continue
                match await invoke(tools[name], arguments, context()):
                    case ToolResult(value=value):
                        taken += value == arguments
                    case ToolRefused(message=message):
                        refused.append(message)
    assert len(invented) == 1
    assert taken + len(refused) >= 200
    assert len(refused) <= 0.03 * taken, refused
    assert all("Call it as" in message for message in refused)


@pytest.mark.parametrize(
    ("word", "value"),
    [("dict", {"a": 1}), ("float", 1.5), ("tuple", [1]), ("any", "x"), ("String", "x"),
     ("integer", 3), ("list", [1]), ("bool", True), ("double", 2)],
)  # fmt: skip
async def test_words_of_other_languages_are_read_as_they_are_meant(word: str, value: Any) -> None:
    schema = {"type": "dict", "properties": {"a": {"type": word}}, "required": ["a"]}
    tool = schema_tool("math.hypot", "", schema, _given_back)
    assert fault_of(tool.spec.parameters) == ""
    outcome = await invoke(tool, {"a": value}, context())
    assert isinstance(outcome, ToolResult)
    assert outcome.value == {"a": value}
