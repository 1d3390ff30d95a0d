"""What an MCP server's tools are on the bus: names, effects, what is left out; and log lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import Tool, ToolAnnotations, ToolExecution

from galerne.errors import InvalidInputError, InvalidSettingsError
from galerne.messages.ids import is_id
from galerne.messages.tools import Effect
from galerne.settings import McpSettings
from galerne.tools.by_schema import OfArguments
from galerne_tools.mcp.described import Names, described_effect, described_tools, effect_of
from galerne_tools.mcp.limited import Limited, printable
from galerne_tools.mcp.offer import passed_on, split_command

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
SETTINGS = McpSettings(server="any")


def call_of(tool: Tool, effect: Effect) -> OfArguments:
    async def call(arguments: dict[str, Any], _: object) -> Any:
        return [tool.name, effect, arguments]

    return call


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), st.text(max_size=80)), max_size=20))
def test_each_name_is_fit_for_the_bus_and_belongs_to_one_tool(asked: list[tuple[str, str]]) -> None:
    names = Names({"read_file"})
    owners: dict[str, tuple[str, str]] = {}
    for server, tool in asked:
        name = names.claim(server, tool)
        if name is not None:
            assert is_id(name)
            assert name != "read_file"
            assert owners.setdefault(name, (server, tool)) == (server, tool)
        assert names.claim(server, tool) == name


def test_a_name_that_is_taken_gets_the_servers_in_front() -> None:
    names = Names({"read_file"})
    assert names.claim("disk", "read_file") == "disk_read_file"
    assert names.claim("disk", "repo/get.it") == "repo_get_it"
    assert names.claim("other", "repo.get.it") == "other_repo_get_it"
    assert names.claim("other", "n" * 65) is None


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        (None, "once"),
        (ToolAnnotations(), "once"),
        (ToolAnnotations(read_only_hint=True), "pure"),
        (ToolAnnotations(read_only_hint=False, idempotent_hint=True), "idempotent"),
        (ToolAnnotations(read_only_hint=True, idempotent_hint=True), "pure"),
        (ToolAnnotations(destructive_hint=False), "once"),
    ],
)
def test_hints_are_effects(annotations: ToolAnnotations | None, effect: Effect) -> None:
    assert effect_of(annotations) == effect


def test_the_first_pattern_that_fits_is_the_effect() -> None:
    tool = Tool(name="delete_row", input_schema=SCHEMA)
    effects: dict[str, Effect] = {"delete_*": "idempotent", "*": "pure"}
    assert described_effect(tool, effects) == "idempotent"
    assert described_effect(Tool(name="list", input_schema=SCHEMA), effects) == "pure"
    assert described_effect(tool, {}) == "once"


def test_what_cannot_be_served_is_named_and_the_rest_is_there() -> None:
    listed = [
        Tool(name="good", description=" Does\n good. ", input_schema=SCHEMA),
        Tool(name="good", input_schema=SCHEMA),
        Tool(name="bad", input_schema={"type": "object", "properties": {"a": {"type": 7}}}),
        Tool(name="titled", title="A title", input_schema={"type": "object"}),
        Tool(name="🦊", input_schema=SCHEMA),
        Tool(name="slow", input_schema=SCHEMA, execution=ToolExecution(task_support="required")),
    ]
    found, faults = described_tools("s", listed, "not a version", SETTINGS, Names(()), call_of)
    assert [tool.spec.name for tool in found] == ["good", "titled"]
    assert [tool.spec.description for tool in found] == ["Does good.", "A title"]
    assert {tool.spec.version for tool in found} == {"1"}
    assert len(faults) == 4
    assert "no JSON Schema" in faults[1]


def test_only_what_the_settings_allow() -> None:
    listed = [Tool(name=name, input_schema=SCHEMA) for name in ("get_a", "get_b", "set_a")]
    settings = McpSettings(server="any", tools=("get_*", "nothing"), approve=("*_b",))
    found, faults = described_tools("s", listed, "1.2", settings, Names(()), call_of)
    assert {tool.spec.name: tool.spec.approve for tool in found} == {
        "get_a": "never",
        "get_b": "always",
    }
    assert not faults


def test_commands_are_split_without_a_shell() -> None:
    assert split_command("uvx 'a b' $HOME;rm", "here") == ["uvx", "a b", "$HOME;rm"]
    with pytest.raises(InvalidSettingsError, match="no command"):
        split_command("'", "here")


def test_variables_that_are_passed_on_have_to_be_there() -> None:
    assert passed_on(("A",), "here", {"A": "1", "B": "2"}) == {"A": "1"}
    with pytest.raises(InvalidInputError, match="C is not set"):
        passed_on(("C",), "here", {"A": "1"})


def test_a_log_line_steers_no_terminal_and_a_flood_ends() -> None:
    assert printable("\x1b[31mred\r\nand more\x07") == "[31mred and more"
    now, said = [0.0], list[str]()
    say = Limited(said.append, most=3, seconds=60.0, clock=lambda: now[0])
    for _ in range(10):
        say("line")
    assert said[:2] == ["line", "line"]
    assert len(said) == 3
    assert "too much" in said[2]
    now[0] = 61.0
    say("later")
    assert said[-1] == "later"
