"""LLMCompiler's numbered plans, read as JSON lines are: each call once its line ends."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.ids import TaskId
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner import PlanReader
from unit.planner.examples import TOOLS, parameters, tool_task

RECORDED = Path(__file__).parents[4] / "shared/data/plans/fewshot_plans.json"
SEARCH = ToolSpec(
    name="search",
    description="Look something up.",
    parameters=parameters(["query"], query={"type": "string"}),
)
MATH = ToolSpec(
    name="math",
    description="Work it out.",
    parameters=parameters(["problem"], problem={"type": "string"}, context={"type": "array"}),
)
CALLED = re.compile(r"^\d+\. (?!join)", re.MULTILINE)


def read(text: str, size: int = 0, tools: tuple[ToolSpec, ...] = (SEARCH, MATH)) -> list[Any]:
    reader = PlanReader(tools)
    step = size or len(text) or 1
    read = [one for at in range(0, len(text), step) for one in reader.feed(text[at : at + step])]
    return read + reader.finish()


@pytest.mark.skipif(not RECORDED.is_file(), reason="../shared/data is absent: no recorded plans")
@pytest.mark.parametrize("size", [0, 1, 2, 7, 40])
def test_every_recorded_plan_is_read_at_any_size(size: int) -> None:
    for row in msgspec.json.decode(RECORDED.read_bytes()):
        tasks = read(row["plan"], size)
        assert all(isinstance(task, TaskSpec) for task in tasks), tasks
        assert len(tasks) == len(CALLED.findall(row["plan"]))


def test_references_become_needs() -> None:
    text = (
        "1. search(\"Mount Everest\")\n2. search('Mount Kilimanjaro')\n"
        'Thought: both are known.\n3. math("$1 / ${2} for $3 each?", ["$1", \'$2\']\n4. join()'
    )
    assert read(text) == [
        tool_task("1", "search", {"query": "Mount Everest"}),
        tool_task("2", "search", {"query": "Mount Kilimanjaro"}),
        tool_task(
            "3",
            "math",
            {"problem": "{{1}} / {{2}} for $3 each?", "context": [{"$ref": "1"}, {"$ref": "2"}]},
            "1",
            "2",
        ),
    ]


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ("1. search(In Cold Blood)", {"query": "In Cold Blood"}),
        ("1) search(query='a, b')", {"query": "a, b"}),
        ('  1. search("Arthur\'s Magazine")<END_OF_PLAN>', {"query": "Arthur's Magazine"}),
        ('1. search({"query": "as JSON"})', {"query": "as JSON"}),
        ('1. search("First for Women (magazine)")', {"query": "First for Women (magazine)"}),
        ('1. search("not closed', {"query": "not closed"}),
    ],
)
def test_arguments_are_read_as_models_write_them(line: str, args: dict[str, Any]) -> None:
    assert read(line) == [tool_task("1", "search", args)]


def test_a_task_is_there_when_its_line_ends() -> None:
    reader = PlanReader((SEARCH,))
    assert reader.feed('1. search("a")') == []
    (task,) = reader.feed("\n")
    assert task == tool_task("1", "search", {"query": "a"})


def test_an_unknown_tool_in_such_a_plan_is_told() -> None:
    first, second = read('1. search("a")\n2. find("b")\n')
    assert isinstance(first, TaskSpec)
    assert isinstance(second, Rejected)
    assert second.id == TaskId("2")
    assert "there is no tool 'find'; there are: search, math" in second.reason


def test_what_cannot_be_read_is_told_with_its_number() -> None:
    (rejected,) = read('1. search("a", "b", "c")\n')
    assert isinstance(rejected, Rejected)
    assert rejected.id == TaskId("1")
    assert "arguments of search cannot be read" in rejected.reason


def test_a_numbered_list_of_words_is_prose() -> None:
    text = (
        '1. First(ly) I look.\n2. read_file is a tool (see above)\n{"id": "1", "instruction": "x"}'
    )
    assert read(text, tools=TOOLS) == [TaskSpec(id=TaskId("1"), instruction="x")]


def test_json_may_hold_lines_that_look_numbered() -> None:
    text = '{"id": "1", "instruction": "write\n1. search(\\"a\\")\nas it stands"}'
    (task,) = read(text)
    assert isinstance(task, TaskSpec)
    assert "1. search" in task.instruction


pieces = st.sampled_from(
    [
        *('1. search("a")', '2. math("$1")', "3. join()", "4. f(", "5) search(x", "1."),
        *('{"id": "7", "instruction": "go"}', "{", "}", '"', "```", "Thought: "),
        *("\n", "\r\n", "\u2028", " "),
    ]
)


@given(st.lists(pieces, max_size=12).map("".join), st.integers(1, 9))
def test_nothing_depends_on_where_the_text_is_cut(text: str, size: int) -> None:
    assert read(text, size) == read(text)
