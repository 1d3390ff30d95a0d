"""Tools given by JSON Schema: validated, called with one object, refused in one line."""

from typing import Any

import pytest

from galerne.errors import InvalidInputError, ToolError
from galerne.messages.tools import ToolRefused, ToolResult
from galerne.tools import ToolContext, invoke, schema_tool
from unit.tools.calls import context, refusal_of, value_of

pytestmark = pytest.mark.anyio

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "days": {"type": "integer", "maximum": 14},
    },
    "required": ["city"],
    "additionalProperties": False,
}


async def _forecast(arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
    return {"key": context.key, **arguments}


def _plain(arguments: dict[str, Any], _: ToolContext) -> str:
    if arguments["city"] == "Atlantis":
        raise ToolError("there is no Atlantis: ask for another city")
    return f"fine in {arguments['city']}"


async def test_arguments_that_fit_come_as_they_are() -> None:
    tool = schema_tool("forecast", "Weather to come.", CITY, _forecast)
    assert (tool.spec.effect, tool.spec.parameters) == ("once", CITY)
    outcome = await invoke(tool, {"city": "Brest", "days": 3}, context())
    assert isinstance(outcome, ToolResult)
    assert outcome.value == {"key": context().key, "city": "Brest", "days": 3}


async def test_a_plain_function_may_refuse_too() -> None:
    tool = schema_tool("forecast", "", CITY, _plain, effect="pure")
    assert tool.spec.description == "forecast"
    assert await invoke(tool, {"city": "Brest"}, context()) == ToolResult(
        value="fine in Brest", content="fine in Brest"
    )
    outcome = await invoke(tool, {"city": "Atlantis"}, context())
    assert outcome == ToolRefused(code="tool", message="there is no Atlantis: ask for another city")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, '"city" is a required property'),
        ({"city": "B"}, "$.city: "),
        ({"city": "Brest", "days": 99}, "$.days: 99 is greater than the maximum of 14"),
        ({"city": "Brest", "dazs": 1}, "'dazs' was unexpected"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_way_to_call_it(
    arguments: dict[str, Any], fault: str
) -> None:
    outcome = await invoke(schema_tool("forecast", "", CITY, _forecast), arguments, context())
    assert isinstance(outcome, ToolRefused)
    assert outcome.code == "invalid_input"
    assert fault in outcome.message
    assert "Call it as forecast(city: string, days?: integer)" in outcome.message


@pytest.mark.parametrize("name", ["", "a b", "a.", ".a", "a..b", "a*", "a>b", "é", "a" * 129])
def test_a_name_that_no_subject_takes_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="a tool cannot be named"):
        schema_tool(name, "", CITY, _forecast)


def test_what_is_no_schema_is_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="tool odd: its parameters are no JSON Schema"):
        schema_tool("odd", "", {"properties": {"a": {"type": 5}}}, _forecast)


LOOK_AHEAD = r"^(?!\.)(?!.*\.\.)[a-z.]+@[a-z.]+$"
"""As a library for TypeScript writes the pattern of an e-mail address."""


async def test_a_pattern_that_cannot_be_matched_in_linear_time_is_told_in_words() -> None:
    field = {"type": "string", "pattern": LOOK_AHEAD, "description": "Where to."}
    parameters = {
        "properties": {
            "to": field,
            "pattern": {"type": "string", "pattern": "^a+$"},
            "by": {"patternProperties": {"(?=x)": {}, "^x": {"type": "integer"}}},
        }
    }
    made = schema_tool("mail", "Send.", parameters, lambda arguments, _: arguments["to"])
    told = made.spec.parameters["properties"]
    assert told["to"] == {"type": "string", "description": f"Where to. It matches {LOOK_AHEAD}"}
    assert told["pattern"]["pattern"] == "^a+$"
    assert told["by"] == {"patternProperties": {"^x": {"type": "integer"}}}
    assert await value_of(made, to="ada@example.org") == "ada@example.org"
    assert "a+" in (await refusal_of(made, to="a@b", pattern="b")).message


def test_arguments_are_an_object_and_nothing_else() -> None:
    with pytest.raises(InvalidInputError, match="give a schema of type object"):
        schema_tool("x", "", {"type": "array"}, lambda arguments, _: arguments)
    either = schema_tool("x", "", {"type": ["null", "object"]}, lambda arguments, _: arguments)
    assert either.spec.parameters["type"] == "object"
