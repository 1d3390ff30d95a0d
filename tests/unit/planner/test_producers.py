"""What a task will give is known before it runs, where it has a schema."""

from typing import Any

import msgspec
import pytest

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner import check_task
from unit.planner.examples import READ_FILE, agent_task, parameters, tool_task

ADD = ToolSpec(
    name="add",
    description="Add.",
    parameters=parameters(
        ["a"], a={"type": "integer"}, of={"type": "array"}, name={"type": ["string", "null"]}
    ),
)
TOTALS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "total": {"type": "integer"},
        "share": {"type": "number"},
        "name": {"type": "string"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {}}}},
    },
    "additionalProperties": False,
}
STATS = ToolSpec(
    name="stats",
    description="Count.",
    parameters=parameters(["path"], path={"type": "string"}),
    returns={
        "type": "object",
        "properties": {"words": {"type": "integer"}, "path": {"type": "string"}},
        "additionalProperties": False,
    },
)
BEFORE = {
    task.id: task
    for task in (
        TaskSpec(id=TaskId("1"), instruction="count", output=TOTALS),
        agent_task("2"),
        TaskSpec(id=TaskId("3"), kind="ask", instruction="how many?"),
        tool_task("4", "read_file", {"path": "a"}),
        TaskSpec(id=TaskId("5"), kind="ask", instruction="which?", output={"type": "string"}),
        tool_task("6", "stats", {"path": "a"}),
        msgspec.structs.replace(
            tool_task("7", "stats", {"path": {"$ref": "item"}}), foreach=["a", "b"]
        ),
    )
}


def check(args: dict[str, Any]) -> TaskSpec | Rejected:
    value = {"id": "9", "kind": "tool", "tool": "add", "args": args}
    return check_task(value, "text", {"add": ADD, "read_file": READ_FILE, "stats": STATS}, BEFORE)


@pytest.mark.parametrize(
    "args",
    [
        {"a": {"$ref": "1.total"}},
        {"a": {"$ref": "1.share"}},
        {"a": {"$ref": "1.rows.0.n"}},
        {"a": {"$ref": "2.found"}},
        {"a": {"$ref": "3"}},
        {"a": {"$ref": "4"}},
        {"a": {"$ref": "4.lines.0"}},
        {"a": 1, "of": {"$ref": "1.rows"}},
        {"a": 1, "of": ["{{2}}", {"$ref": "2"}]},
        {"a": 1, "name": {"$ref": "2"}},
        {"a": {"$ref": "6.words"}},
        {"a": {"$ref": "7.0.words"}},
        {"a": 1, "of": {"$ref": "7"}},
        {"a": 1, "name": "{{1.total}} of {{5}}"},
    ],
)
def test_what_may_fit_is_planned(args: dict[str, Any]) -> None:
    assert isinstance(check(args), TaskSpec)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            {"a": {"$ref": "1.totl"}},
            "add: args.a: task 1 gives no 'totl'; it gives: total, share, name, rows",
        ),
        (
            {"a": 1, "name": "about {{1.sum}}"},
            "add: args.name: task 1 gives no 'sum'; it gives: total, share, name, rows",
        ),
        ({"a": {"$ref": "1.name"}}, "add: args.a must be integer, but 1.name is string"),
        ({"a": {"$ref": "1"}}, "add: args.a must be integer, but 1 is object"),
        (
            {"a": 1, "name": {"$ref": "1.rows"}},
            "add: args.name must be string or null, but 1.rows is array",
        ),
        ({"a": {"$ref": "6.path"}}, "add: args.a must be integer, but 6.path is string"),
        (
            {"a": {"$ref": "7.1.lines"}},
            "add: args.a: task 7 gives no 'lines'; it gives: words, path",
        ),
        ({"a": {"$ref": "7"}}, "add: args.a must be integer, but 7 is array"),
        ({"a": {"$ref": "5"}}, "add: args.a must be integer, but 5 is string"),
        (
            {"a": {"$ref": "2"}},
            "add: args.a must be integer, but 2 is string: give task 2 an output schema",
        ),
    ],
)
def test_what_cannot_fit_is_told_to_the_planner(args: dict[str, Any], reason: str) -> None:
    rejected = check(args)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason
