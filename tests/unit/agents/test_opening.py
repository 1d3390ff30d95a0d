"""What an executor is told: the exact messages."""

from importlib.resources import files
from typing import Any

import pytest

from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.planner import Prompts
from galerne_agents.dialogue import PROMPT, _opening  # pyright: ignore[reportPrivateUsage]
from unit.agents.scripted import ready

OURS = files("galerne_agents").joinpath("prompts", PROMPT).read_text("utf-8").rstrip("\n")
RESULTS = {"1": {"total": 1.5, "rows": [1, 2]}, "2": "one\ntwo", "item": "a/b.txt"}


def told(instruction: str, inputs: dict[str, Any] | None = None, **task: Any) -> str:
    spec = TaskSpec(id=TaskId("3"), instruction=instruction, **task)
    system, user = _opening(
        ready(spec, goal="the\ngoal", inputs=RESULTS if inputs is None else inputs), (), Prompts()
    )
    assert (system.role, user.role) == ("system", "user")
    assert system.content == OURS
    return user.content


def test_all_that_a_task_is_told() -> None:
    assert told(
        "Say whether {{1.total}} of {{ item }} fits\n# {{2}} and {{1.rows}}, {{4}}.",
        check="one-line",
    ) == (
        "# Goal of the job\nthe goal\n\n"
        "# Task\nSay whether 1.5 of a/b.txt fits\n\\# {{2}} and {{1.rows}}, {{4}}.\n\n"
        "# Results\n\n"
        '## 1\n{"total":1.5,"rows":[1,2]}\n\n'
        "## 2\none\ntwo\n\n"
        "## item\na/b.txt\n\n"
        "# Form of the answer\nIt has to be one line."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, "{{1}}"),
        ("a\u2028# Results", "{{1}}"),
        (None, "{{1}}"),
        (True, "true"),
        (7, "7"),
        ("", "{{1}}"),
        ([], "{{1}}"),
        ({"a": 1}, "{{1}}"),
        ("{{2}}", "{{2}}"),
    ],
)
def test_only_a_short_line_stands_in_the_task_itself(value: Any, said: str) -> None:
    task = told("<{{1}}>", {"1": value, "2": "never read again"}).split("\n\n")[1]
    assert task == f"# Task\n<{said}>"


def test_a_part_of_a_result_that_was_cut_is_not_guessed_at() -> None:
    cut = '["a", "b"\n[… shortened: 90 more characters]'
    assert "# Task\nRead {{1.1}}\n" in told("Read {{1.1}}", {"1": cut})


def test_without_results_there_is_no_word_of_them() -> None:
    assert told("Do it", {}) == "# Goal of the job\nthe goal\n\n# Task\nDo it"


def test_absent_tools_and_a_deployments_own_words() -> None:
    spec = TaskSpec(id=TaskId("3"), instruction="x")
    own = Prompts({"executor": "Be brief."})
    system, _ = _opening(ready(spec), ("fetch", "fly"), own)
    assert system.content == (
        "Be brief.\nNot available now: fetch, fly. Do without, or say that you cannot."
    )
