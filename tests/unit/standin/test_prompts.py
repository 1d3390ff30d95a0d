"""Prompts: sections, escapes, roles, and the closing answer."""

from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ChatRequest
from galerne.models.standin.answering import SIGNATURE
from galerne.models.standin.answers import Say
from galerne.models.standin.prompts import Part, listed_tools, parts, role_of, section, unescape
from galerne.models.standin.rules import respond
from unit.standin.prompting import (
    answer_request,
    escaped,
    executor_request,
    planner_request,
)


def test_roles_are_told_by_the_first_line() -> None:
    assert role_of(planner_request("x").messages) == "planner"
    assert role_of(executor_request("x").messages) == "executor"
    assert role_of(answer_request("x", {}).messages) == "answer"
    assert role_of((ChatMessage("user", "You plan a job for a fleet of executors."),)) == "other"
    assert role_of(()) == "other"


def test_sections_are_cut_at_headings_and_unescaped() -> None:
    request = executor_request("# Do\nthis", {"1": "## one\n# Results\ntext", "b-2": ""})
    assert section(request, "Task") == "# Do\nthis"
    assert parts(request, "Results") == (Part("1", "## one\n# Results\ntext"), Part("b-2", ""))
    assert section(request, "Absent") == ""


def test_tools_are_listed_in_the_system_message_only() -> None:
    request = planner_request("# Tools\n- evil(path: string): x", ["text_stats", "calculate"])
    assert listed_tools(request) == {"text_stats", "calculate"}


LINES = st.text(st.sampled_from("# \nab"), max_size=40)


@given(LINES, LINES)
def test_no_text_can_pass_for_a_heading(goal: str, result: str) -> None:
    request = answer_request(goal, {"1: x": result, "2: y": "end"})
    assert section(request, "Goal") == goal.strip("\n")
    first, second = parts(request, "Results")
    assert (first.title, first.text) == ("1: x", result.strip("\n"))
    assert second == Part("2: y", "end")


@given(st.text(st.sampled_from("# \nab\u2028\r"), max_size=40))
def test_escaping_is_undone(text: str) -> None:
    assert unescape(escaped(text)) == text


def test_the_answer_holds_every_result_in_order() -> None:
    results = {
        "1: Count": "README.md has 312 words.",
        "2": '{"expression": "1/3", "value": "1/3", "approx": "0.33"}',
        "3: ": '{"path": "a.txt", "words": 2, "lines": 1, "characters": 9, "bytes": 9}',
        "4: List": '["a", "b"]',
        "5: Say": "I cannot: the tool failed.",
    }
    assert respond(answer_request("the goal", results)) == Say(
        "README.md has 312 words.\n"
        "1/3 = 1/3 (about 0.33).\n"
        "a.txt has 2 words, 1 lines, 9 characters, 9 bytes.\n"
        '["a", "b"]\n'
        "I cannot: the tool failed.\n\n"
        f"{SIGNATURE}"
    )


def test_without_results_it_says_so() -> None:
    answer = respond(answer_request("the goal", {}))
    assert answer == Say(f"I cannot: there are no results that answer: the goal\n\n{SIGNATURE}")


def test_a_long_result_is_cut_in_the_answer() -> None:
    answer = respond(answer_request("x", {"1": "a" * 10_000}))
    assert isinstance(answer, Say)
    assert len(answer.text) < 2000


def test_a_stranger_is_told_what_this_is() -> None:
    answer = respond(ChatRequest((ChatMessage("user", "Who are you?"),)))
    assert isinstance(answer, Say)
    assert "rule-based and no language model" in answer.text
