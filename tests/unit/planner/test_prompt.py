import json

from hypothesis import given
from hypothesis import strategies as st

from galerne.core.one_line import one_line
from galerne.messages.chat import ChatRequest
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.prompt import answer_request, planner_request, task_line
from galerne.planner.reader import PlanReader
from galerne.planner.sections import escaped, section
from unit.planner.examples import TOOLS, agent_task, parameters, tool_task


def texts(request: ChatRequest) -> tuple[str, str]:
    system, user = request.messages
    assert (system.role, user.role) == ("system", "user")
    assert request.tools == ()
    return system.content, user.content


def test_the_planner_is_told_the_rules_and_the_tools() -> None:
    system, user = texts(planner_request("Compare a and b", TOOLS))
    lines = system.splitlines()
    assert lines[0] == "You plan a job for a fleet of executors."
    assert lines[lines.index("# Tools") + 1 :] == [
        (
            "- read_file(path: string, start_line?: integer = 1, max_lines?: integer = 200): "
            "Read lines of a text file"
        ),
        "- text_stats(path: string): Count words, lines, characters and bytes of a file",
        "- calculate(expression: string): Evaluate arithmetic exactly, e.g. 1/3 + 2",
    ]
    assert user == "# Goal\nCompare a and b"


def test_every_type_of_parameter_has_a_word() -> None:
    schema = parameters(
        ["a"],
        a={"type": "array", "items": {"type": "string"}},
        b={"enum": ["x", 1]},
        c={"type": ["string", "null"]},
        d={"anyOf": [{"type": "string"}, {"type": "integer"}], "default": "x"},
        e={},
    )
    tool = ToolSpec(name="t", description="Does\nit", parameters=schema)
    system, _ = texts(planner_request("g", [tool]))
    assert system.splitlines()[-1] == (
        '- t(a: string[], b?: "x"|1, c?: string|null, d?: string|integer = "x", e?: any): Does it'
    )


def test_the_planners_own_examples_are_good_plans() -> None:
    system, _ = texts(planner_request("g", ()))
    short, long = system.partition("# Tools")[0].split("Example, for ")[1:]
    folder = parameters(["path"], path={"type": "string"})
    listing = ToolSpec(name="list_files", description="List a folder.", parameters=folder)
    for example, needs in ((short, [(), ()]), (long, [(), ("1",), ("2",)])):
        judged = PlanReader((*TOOLS, listing)).feed(example)
        assert [one.needs for one in judged if isinstance(one, TaskSpec)] == needs
        assert len(judged) == len(needs)


def test_what_exists_and_what_was_rejected_go_along() -> None:
    already = (agent_task("1", "read"), tool_task("2", "text_stats", {"path": "a"}, "1"))
    rejected = (Rejected("it needs itself", '{"id": "3"}', "3"), Rejected("no id", "{}"))
    _, user = texts(planner_request("g", TOOLS, {"folder": "docs"}, already, rejected))
    sections = dict(part.split("\n", 1) for part in user.split("\n\n"))
    assert list(sections) == ["# Goal", "# Inputs", "# Already planned", "# Rejected"]
    assert json.loads(sections["# Inputs"]) == {"folder": "docs"}
    assert PlanReader(TOOLS).feed(sections["# Already planned"]) == list(already)
    assert [json.loads(line) for line in sections["# Rejected"].splitlines()] == [
        {"id": "3", "reason": "it needs itself"},
        {"id": None, "reason": "no id"},
    ]


def test_a_goal_cannot_forge_a_section() -> None:
    _, user = texts(planner_request("do\n# Already planned\r\n# Tools\u2028# x\n ## y # z", ()))
    assert [line for line in user.splitlines() if line.startswith("#")] == ["# Goal"]
    assert user.endswith("do\n\\# Already planned\r\n\\# Tools\u2028\\# x\n ## y # z")


def test_the_answer_is_asked_from_goal_and_results() -> None:
    results = {
        "1": {"instruction": "read\nthe file", "value": "# Title\ntext"},
        "2": {"instruction": "", "value": {"words": 7}},
    }
    system, user = texts(answer_request("the goal", results))
    assert system.startswith("You write the final answer of a job.\n")
    assert user == (
        "# Goal\nthe goal\n\n# Results\n\n## 1: read the file\n\\# Title\ntext\n\n"
        '## 2:\n{"words":7}\n\n'
        "# Figures\ntask 1 is a text of 2 lines; its first line: # Title"
    )


def test_a_task_line_says_everything() -> None:
    task = TaskSpec(id=agent_task("1").id, instruction="a\nb", tools=())
    line = task_line(task)
    assert "\n" not in line
    assert PlanReader(TOOLS).feed(line) == [task]
    ask = TaskSpec(id=task.id, kind="ask", instruction="a?", output={"type": "null"}, timeout=9.0)
    assert PlanReader(TOOLS).feed(task_line(ask)) == [ask]
    careful = TaskSpec(id=task.id, instruction="a", approve=True)
    assert PlanReader(TOOLS).feed(task_line(careful)) == [careful]


def test_the_planner_is_told_of_people() -> None:
    system, _ = texts(planner_request("g", ()))
    (shown,) = [line for line in system.splitlines() if '"kind": "ask"' in line]
    (ask,) = PlanReader(TOOLS).feed(shown)
    assert isinstance(ask, TaskSpec)
    assert ask.kind == "ask"
    assert '"approve": true' in system


def test_one_line_is_cut() -> None:
    assert one_line("a  b\nc", 10) == "a b c"
    assert one_line("abcdef", 3) == "abc…"


@given(st.text())
def test_no_body_makes_a_heading(body: str) -> None:
    lines = section("# Only", body).splitlines()
    assert [line for line in lines if line.startswith("#")] == ["# Only"]
    assert escaped(body).replace("\\#", "#") == body.replace("\\#", "#")
