"""Goals → plans: what natural phrasings become, and what holds for any goal at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.plan import TaskSpec
from galerne.models.standin.planning import MAX_TASKS, plan, remaining, revised
from galerne.models.standin.rules import respond
from unit.standin.prompting import TOOLS, plan_of, planner_request

Short = tuple[str, tuple[str, ...]]


def short(goal: str) -> list[Short]:
    """Each task as (instruction or expression, needs)."""
    return [
        (task.instruction or str((task.args or {})["expression"]), tuple(task.needs))
        for task in plan(goal, TOOLS)
    ]


COUNT_README = ("Count the words of README.md.", ())
COUNT_PROTOCOL = ("Count the words of docs/protocol.md.", ())


@pytest.mark.parametrize(
    "goal",
    [
        "Count the words in README.md and in docs/protocol.md, then say which is longer",
        "Count the words in README.md and docs/protocol.md and tell me which is longer.",
        "count words of `README.md`, docs/protocol.md; say which is longer",
        "Please count the words in 'README.md' and in “docs/protocol.md”. Which is longer?",
        "Which is longer, README.md or docs/protocol.md?",
        "- count words in README.md\n- count words in docs/protocol.md\n- say which is longer",
        "1. Count the words in README.md\n2. Count docs/protocol.md\n3) Say which is longer",
        "## Count the words in README.md and docs/protocol.md\n\n* Then say which is longer",
        "Could you find out which is longer: README.md or docs/protocol.md?",
        (
            "How many words are there in the files README.md and docs/protocol.md? "
            "Determine which is longer, and report the results."
        ),
    ],
)
def test_one_wish_has_many_phrasings(goal: str) -> None:
    assert short(goal) == [COUNT_README, COUNT_PROTOCOL, ("Say which is longer.", ("1", "2"))]


@pytest.mark.parametrize(
    ("goal", "tasks"),
    [
        (
            "How many words are in a.txt, b.txt and c.txt? Which has the most?",
            [
                *((f"Count the words of {name}.txt.", ()) for name in "abc"),
                ("Say which has the most.", ("1", "2", "3")),
            ],
        ),
        ("Compute 2**64 / 3, then add 1", [("2**64 / 3", ()), ("Add 1 to the result.", ("1",))]),
        ("What is 2 plus 2? What's 3*4 and 5^2?", [("2 + 2", ()), ("3*4", ()), ("5**2", ())]),
        ("What is the sum of 3 and 4?", [("3 + 4", ())]),
        ("Compute 1,000 / 8", [("1000 / 8", ())]),
        (
            "List the files in docs and count the lines of each",
            [("Count the lines of each file in docs.", ())],
        ),
        ("How many files are in docs?", [("List the files in docs.", ())]),
        ("Find all the markdown files in docs", [("List the *.md files in docs.", ())]),
        ("Count the words in docs/*.md", [("Count the words of each *.md file in docs.", ())]),
        (
            "How many lines in docs mention NATS and how many mention JetStream?",
            [('Search for "NATS" in docs.', ()), ('Search for "JetStream" in docs.', ())],
        ),
        ("find text in a.txt", [('Search for "text" in a.txt.', ())]),
        (
            'find "exactly once" in the *.md files of docs',
            [('Search for "exactly once" in the *.md files of docs.', ())],
        ),
        (
            "Show me the first 3 lines of README.md, and count its words",
            [("Read the first 3 lines of README.md.", ()), COUNT_README],
        ),
        (
            "What is the total number of lines in a.txt and b.txt?",
            [
                ("Count the lines of a.txt.", ()),
                ("Count the lines of b.txt.", ()),
                ("Calculate the total of the results, by lines.", ("1", "2")),
            ],
        ),
        (
            (
                "Count the words and lines of a.txt and b.txt; sort them by lines, shortest first; "
                "and the average"
            ),
            [
                ("Count the words and lines of a.txt.", ()),
                ("Count the words and lines of b.txt.", ()),
                ("Rank the results from least to most, by lines.", ("1", "2")),
                ("Calculate the average of the results.", ("1", "2")),
            ],
        ),
        (
            "Count the words in a.txt and b.txt, add them, divide the result by 2",
            [
                ("Count the words of a.txt.", ()),
                ("Count the words of b.txt.", ()),
                ("Calculate the total of the results.", ("1", "2")),
                ("Divide the result by 2.", ("3",)),
            ],
        ),
        (
            "Count the words in a.txt and b.txt, then say which has more lines",
            [
                ("Count the words of a.txt.", ()),
                ("Count the words of b.txt.", ()),
                ("Count the lines of a.txt.", ()),
                ("Count the lines of b.txt.", ()),
                ("Say which has more, by lines.", ("3", "4")),
            ],
        ),
        (
            "Count the words in a.txt and translate b.txt into French.",
            [("Count the words of a.txt.", ()), ("translate b.txt into French", ())],
        ),
    ],
)
def test_goals_are_planned(goal: str, tasks: list[Short]) -> None:
    assert short(goal) == tasks


def test_each_task_gets_the_tools_it_calls_and_no_other() -> None:
    goal = "List the files in docs, count the words in docs/*.md, read a.txt, count words in a.txt"
    tools = [
        task.tools for task in plan(f"{goal}, then the total, then say which is longer", TOOLS)
    ]
    assert tools == [
        ("list_files",),
        ("list_files", "text_stats"),
        ("read_file",),
        ("text_stats",),
        ("calculate",),
        (),
    ]


def test_arithmetic_is_a_direct_tool_task() -> None:
    (line,) = plan_of(respond(planner_request("Calculate (1 + 2) * 3")))
    assert line == {
        "id": "1",
        "kind": "tool",
        "tool": "calculate",
        "args": {"expression": "(1 + 2) * 3"},
        "needs": [],
    }


def test_a_missing_tool_is_done_without_and_said() -> None:
    (line,) = plan_of(respond(planner_request("Count the words in a.txt", tools=["read_file"])))
    assert line["tools"] == []
    assert line["instruction"] == "Count the words of a.txt. The tool text_stats is missing."
    (computed,) = plan_of(respond(planner_request("Compute 1 + 1", tools=[])))
    assert (computed["kind"], computed["tools"]) == ("agent", [])


@pytest.mark.parametrize(
    "goal", ["Write a poem about the sea", "Hello!", "?", "7!", "Compute love"]
)
def test_a_goal_that_no_rule_reads_is_handed_on_whole(goal: str) -> None:
    (line,) = plan_of(respond(planner_request(goal)))
    assert line["instruction"] == goal
    assert line["tools"] == []


def test_headings_in_a_goal_are_only_text() -> None:
    goal = "Count the words in a.txt\n# Already planned\n## Tools"
    (count, rest) = plan_of(respond(planner_request(goal)))
    assert count["instruction"] == "Count the words of a.txt."
    assert rest["instruction"] == "Already planned\n## Tools"


def test_a_task_rejected_for_its_tool_is_written_again_without_it() -> None:
    goal = "Count the words in a.txt and compute 1 + 1"
    kept = respond(planner_request(goal))
    first, _ = plan_of(kept)
    reason = {"id": "2", "reason": "there is no tool 'calculate'; there are: text_stats"}
    already = [msgspec.json.encode(first).decode()]
    (again,) = plan_of(respond(planner_request(goal, already=already, rejected=[reason])))
    assert (again["id"], again["kind"], again["tools"]) == ("2", "agent", [])
    assert "calculate is missing" in again["instruction"]


def test_a_plan_goes_on_after_tasks_that_another_model_named() -> None:
    tasks = plan("Count the words in a.txt and b.txt, then say which is longer", TOOLS)
    theirs = {"id": "2", "instruction": "Count the words of a.txt.", "tools": ["text_stats"]}
    rest = remaining(tasks, [theirs, {"id": "nonsense", "kind": 7}])
    assert [(task.instruction, tuple(task.needs)) for task in rest] == [
        ("Count the words of b.txt.", ()),
        ("Say which is longer.", ("2", rest[0].id)),
    ]
    assert len({"2", *(task.id for task in rest)}) == 3


def test_a_plan_has_a_largest_size() -> None:
    goal = "Compute " + ", ".join(f"{n} + 1" for n in range(1000))
    tasks = plan(goal, TOOLS)
    assert len(tasks) == MAX_TASKS
    assert "801 parts" in tasks[-1].instruction


PATHS = st.sampled_from(["a.txt", "docs/b.md", "README.md", "LICENSE", '"my file.txt"', "`x`"])
UNITS = st.sampled_from(["words", "lines", "characters", "bytes", "words and lines"])
JOINERS = st.sampled_from([", ", "; ", ". ", " and ", ", then ", ". Then ", " and also ", "\n"])
LISTS = st.lists(PATHS, min_size=1, max_size=4).map(" and ".join)
MEASURING = st.one_of(
    st.builds("count the {} in {}".format, UNITS, LISTS),
    st.builds("how many {} are in {}".format, UNITS, LISTS),
    st.builds("list the *.md files in {}".format, st.sampled_from(["docs", ".", "docs/adr"])),
    st.builds("search for {} in {}".format, st.sampled_from(['"NATS"', "JetStream"]), PATHS),
    st.builds("read {}".format, PATHS),
    st.builds("compute {} + {}".format, st.integers(0, 99), st.integers(0, 99)),
)
CONCLUDING = st.sampled_from(
    [
        "say which is longer",
        "which has the fewest lines",
        "add them up",
        "the average",
        "tell me the difference",
        "sort them from shortest to longest",
        "add 7",
        "report the results",
        "translate it into French",
    ]
)


@st.composite
def goals(draw: st.DrawFn) -> str:
    clauses = draw(st.lists(st.one_of(MEASURING, CONCLUDING), min_size=1, max_size=7))
    return "".join(f"{clause}{draw(JOINERS)}" for clause in clauses)


ANY_GOAL = st.one_of(goals(), st.text(max_size=300))
SOME_TOOLS = st.sets(st.sampled_from(sorted(TOOLS)))


@given(ANY_GOAL, SOME_TOOLS)
def test_any_plan_is_sound(goal: str, tools: set[str]) -> None:
    lines = plan_of(respond(planner_request(goal, sorted(tools))))
    assert lines
    seen: set[str] = set()
    for line in lines:
        task = msgspec.convert(line, TaskSpec)
        assert set(task.needs) <= seen, "needs stand before the task, so there is no cycle"
        assert task.id not in seen
        assert task.instruction or task.tool
        assert set(task.tools or ()) | ({task.tool} if task.tool else set()) <= tools
        seen.add(task.id)
    assert lines == plan_of(respond(planner_request(goal, sorted(tools))))


@given(ANY_GOAL, SOME_TOOLS, st.data())
def test_a_plan_goes_on_after_any_prefix(goal: str, tools: set[str], data: st.DataObject) -> None:
    lines = plan_of(respond(planner_request(goal, sorted(tools))))
    done = data.draw(st.integers(0, len(lines)))
    already = [msgspec.json.encode(line).decode() for line in lines[:done]]
    answer = respond(planner_request(goal, sorted(tools), already=already))
    assert plan_of(answer) == lines[done:]


def test_a_revision_replaces_what_the_goal_means_otherwise_or_gives_up() -> None:
    tasks = plan("Count the words in a.txt and in b.txt", ("text_stats",))
    wrong = {
        "id": "2",
        "kind": "agent",
        "instruction": "Count the words of c.txt.",
        "tools": ["text_stats"],
        "state": "failed",
        "error": "no c.txt\nthere",
    }
    done = {"id": "1", "kind": "tool", "tool": "text_stats", "state": "succeeded"}
    (line,) = revised(tasks, (done, wrong))
    assert (line["id"], line["instruction"]) == ("2", "Count the words of b.txt.")
    same = {**wrong, "instruction": tasks[1].instruction}
    assert revised(tasks, (done, same)) == ({"give_up": "no c.txt"},)
    assert revised(tasks, ({**wrong, "id": "9"},)) == ({"give_up": "no c.txt"},)
    assert revised(tasks, (done,)) == ({"give_up": "the rules know nothing more to try"},)
