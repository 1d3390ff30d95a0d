from typing import Any

import pytest

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, TaskSpec
from galerne.planner.check import MAX_TASKS, check_task, excerpt
from galerne.planner.kinds import MAX_INSTRUCTION
from unit.planner.examples import TOOLS, agent_task, tool_task

SPECS = {tool.name: tool for tool in TOOLS}
ONE = agent_task("1")
TWO = agent_task("2", "do it", "1")
BEFORE = {ONE.id: ONE, TWO.id: TWO}


def check(value: dict[str, Any]) -> TaskSpec | Rejected:
    return check_task(value, "the text", SPECS, BEFORE)


@pytest.mark.parametrize(
    ("value", "task"),
    [
        ({"id": "3", "kind": "agent", "instruction": " x "}, agent_task("3", "x")),
        (
            {"id": "3", "kind": "ask", "question": "Is {{1}} it?", "output": {"type": "integer"}},
            TaskSpec(
                id=TaskId("3"),
                kind="ask",
                instruction="Is {{1}} it?",
                needs=(TaskId("1"),),
                output={"type": "integer"},
            ),
        ),
        (
            {"id": "3", "instruction": "x", "timeout": 60, "approve": True},
            TaskSpec(id=TaskId("3"), instruction="x", timeout=60.0, approve=True),
        ),
        ({"id": 3, "instruction": "x", "needs": [1, "2", 1]}, agent_task("3", "x", "1", "2")),
        ({"id": "3", "task": "x", "depends_on": ["1"]}, agent_task("3", "x", "1")),
        ({"id": "3", "description": "x", "dependencies": "1"}, agent_task("3", "x", "1")),
        ({"id": "3", "instruction": "x", "needs": None, "tool": None}, agent_task("3", "x")),
        ({"id": "3", "instruction": "sum {{2}}, {{name}}"},
         agent_task("3", "sum {{2}}, {{name}}", "2")),
        ({"id": "3", "instruction": "x", "note": {"any": 1}}, agent_task("3", "x")),
        ({"id": "3", "tool": "read_file", "args": {"path": "a"}},
         tool_task("3", "read_file", {"path": "a"})),
        ({"id": "3", "kind": "tool", "tool": "read_file", "arguments": '{"path": "a"}'},
         tool_task("3", "read_file", {"path": "a"})),
        ({"id": "3", "tool": "read_file", "args": {"path": {"$ref": "2.0.path"}}},
         tool_task("3", "read_file", {"path": {"$ref": "2.0.path"}}, "2")),
        ({"id": "3", "tool": "read_file", "args": {"path": "a", "max_lines": "{{1}}"},
          "needs": ["2"]},
         tool_task("3", "read_file", {"path": "a", "max_lines": "{{1}}"}, "2", "1")),
        ({"id": "3", "tool": "read_file", "args": {"path": "a", "max_lines": 2.0}},
         tool_task("3", "read_file", {"path": "a", "max_lines": 2.0})),
        ({"id": "1", "instruction": "do it"}, ONE),  # the same task again
    ],
)  # fmt: skip
def test_what_is_taken(value: dict[str, Any], task: TaskSpec) -> None:
    assert check(value) == task


def test_absent_tools_are_any_and_an_empty_list_is_none() -> None:
    spec = check({"id": "3", "instruction": "x", "tools": []})
    assert isinstance(spec, TaskSpec)
    assert spec.tools == ()
    spec = check({"id": "3", "instruction": "x", "tools": ["read_file", "read_file"]})
    assert isinstance(spec, TaskSpec)
    assert spec.tools == ("read_file",)
    assert ONE.tools is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"instruction": "x"}, "has no id"),
        ({"id": "a b", "instruction": "x"}, "id 'a b' is not usable"),
        ({"id": True, "instruction": "x"}, "is not usable"),
        ({"id": 1.5, "instruction": "x"}, "is not usable"),
        ({"id": ["1"], "instruction": "x"}, "is not usable"),
        ({"id": "answer", "instruction": "x"}, "reserved"),
        ({"id": "plan-2", "instruction": "x"}, "reserved"),
        ({"id": "1", "instruction": "another"}, "id '1' names another task"),
        ({"id": "3", "kind": "agent"}, "instruction is empty"),
        ({"id": "3", "instruction": "  "}, "instruction is empty"),
        ({"id": "3", "instruction": ["x"]}, "instruction must be a text"),
        ({"id": "3", "instruction": "x" * (MAX_INSTRUCTION + 1)}, "8001 characters"),
        ({"id": "3", "kind": "plan"}, "say what the nested plan"),
        ({"id": "3", "kind": "plan", "instruction": "x", "model": "large"}, "model is for tasks"),
        ({"id": "3", "instruction": "x", "model": "gpt"}, "one of small, medium, large"),
        ({"id": "3", "instruction": "x", "effort": 7}, "one of low, medium, high"),
        ({"id": "item", "instruction": "x"}, "reserved"),
        ({"id": "3--1", "instruction": "x"}, "reserved"),
        ({"id": "3", "instruction": "x", "replaces": "1"}, "cannot be replaced"),
        ({"id": "3", "instruction": "x", "foreach": "all files"}, "foreach is a list"),
        ({"id": "3", "instruction": "x", "foreach": list(range(1001))}, "at most 1000"),
        ({"id": "3", "kind": "ask", "instruction": "x", "foreach": [1]}, "takes no 'foreach'"),
        ({"id": "3", "tool": "text_stats", "args": {"path": "{{item}}"}}, "with 'foreach'"),
        ({"id": "3", "kind": "ask"}, "write the question"),
        ({"id": "3", "kind": "ask", "instruction": "x", "output": "text"}, "must be a JSON Schema"),
        (
            {"id": "3", "kind": "ask", "instruction": "x", "output": {"type": "words"}},
            'output: it is no usable JSON Schema: "words" is not valid',
        ),
        (
            {"id": "3", "kind": "ask", "instruction": "x", "output": {"items": {"$ref": "#/a"}}},
            "without $ref",
        ),
        ({"id": "3", "kind": "ask", "instruction": "x", "approve": True}, "leave approve out"),
        ({"id": "3", "instruction": "x", "approve": "yes"}, "approve is true or false"),
        ({"id": "3", "instruction": "x", "timeout": 0}, "seconds above 0"),
        ({"id": "3", "instruction": "x", "timeout": True}, "seconds above 0"),
        ({"id": "3", "instruction": "x", "timeout": "5m"}, "seconds above 0"),
        ({"id": "3", "instruction": "x", "timeout": 1e300}, "seconds above 0"),
        ({"id": "3", "kind": "answer", "instruction": "x"}, "leave this task out"),
        ({"id": "3", "kind": "llm", "instruction": "x"}, "kind 'llm' is unknown"),
        ({"id": "3", "kind": {"a": 1}, "instruction": "x"}, "is unknown"),
        ({"id": "3", "kind": "agent", "tool": "read_file", "instruction": "x"}, "'tools', a list"),
        ({"id": "3", "instruction": "x", "tools": ["nope"]}, "no tool 'nope'; there are: read_f"),
        ({"id": "3", "instruction": "x", "tools": [["read_file"]]}, "no tool"),
        ({"id": "3", "instruction": "x", "tools": {"a": 1}}, "tools must be a list"),
        ({"id": "3", "kind": "tool"}, "names its tool in 'tool'"),
        ({"id": "3", "tool": "nope", "args": {}}, "no tool 'nope'"),
        ({"id": "3", "tool": "read_file"}, "read_file: args lack path"),
        ({"id": "3", "tool": "read_file", "args": ["a"]}, "args must be an object"),
        ({"id": "3", "tool": "read_file", "args": "a.txt"}, "args must be an object"),
        ({"id": "3", "tool": "read_file", "args": {"path": "a", "lines": 2}}, "parameter 'lines'"),
        ({"id": "3", "tool": "read_file", "args": {"path": 7}}, "args.path must be string, not in"),
        ({"id": "3", "tool": "read_file", "args": {"path": "a", "max_lines": True}}, "not boolean"),
        ({"id": "3", "tool": "read_file", "args": {"path": "a", "max_lines": "5"}}, "not string"),
        ({"id": "3", "tool": "read_file", "args": {"path": {"$ref": "9"}}}, "needs task '9'"),
        ({"id": "3", "tool": "read_file", "args": {"path": "{{9}}"}}, "needs task '9'"),
        ({"id": "3", "tool": "read_file", "args": {"path": {"$ref": "3"}}}, "needs itself"),
        ({"id": "3", "tool": "read_file", "args": {"path": {"$ref": "a b"}}}, "no reference"),
        ({"id": "3", "tool": "read_file", "args": {"path": {"$ref": "1", "x": 1}}}, "alone"),
        ({"id": "3", "instruction": "x", "needs": ["4"]}, "'4', which does not stand before it"),
        ({"id": "3", "instruction": "x", "needs": ["answer"]}, "does not stand before it"),
        ({"id": "3", "instruction": "x", "needs": ["3"]}, "needs itself"),
        ({"id": "3", "instruction": "x", "needs": ["the first"]}, "need 'the first' is not us"),
        ({"id": "3", "instruction": "x", "needs": [None]}, "no id"),
        ({"id": "3", "instruction": "x", "needs": [{"id": "1"}]}, "need"),
        ({"id": "3", "instruction": "x", "needs": {"1": 1}}, "needs must be a list"),
    ],
)
def test_what_is_refused(value: dict[str, Any], reason: str) -> None:
    refused = check(value)
    assert isinstance(refused, Rejected)
    assert reason in refused.reason
    assert "\n" not in refused.reason
    assert refused.text == "the text"
    usable = isinstance(value.get("id"), str) and value["id"] != "a b"
    assert refused.id == (value["id"] if usable else None)


def test_a_plan_has_a_limit_that_repeats_do_not_count_against() -> None:
    full = {TaskId(str(n)): agent_task(str(n)) for n in range(MAX_TASKS)}
    again = check_task({"id": "7", "instruction": "do it"}, "", SPECS, full)
    assert again == full[TaskId("7")]
    refused = check_task({"id": "next", "instruction": "x"}, "", SPECS, full)
    assert isinstance(refused, Rejected)
    assert str(MAX_TASKS) in refused.reason


def test_an_id_in_use_is_refused_although_it_does_not_stand_before() -> None:
    refused = check_task({"id": "2", "instruction": "other"}, "", SPECS, {}, BEFORE)
    assert isinstance(refused, Rejected)


def test_long_texts_are_cut() -> None:
    assert len(excerpt("x" * 5000)) == 1001
    assert excerpt("short") == "short"
