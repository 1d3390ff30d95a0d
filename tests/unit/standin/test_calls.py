"""Calls that a goal spells out: cut out of the text, planned, made, and nothing else is lost."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.standin.answers import CallTools, Say, ToolUse
from galerne.models.standin.calls import LONGEST_ARGUMENTS, cut_calls
from galerne.models.standin.clauses import Call, Count, Unknown
from galerne.models.standin.executing import follow
from galerne.models.standin.grammar import read_clauses
from galerne.models.standin.phrasing import phrase
from galerne.models.standin.planning import plan

NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def encoded(arguments: dict[str, Any]) -> str:
    return msgspec.json.encode(arguments, order="deterministic").decode()


@given(NAMES, ARGUMENTS, st.booleans())
def test_a_phrase_reads_back_as_its_call(tool: str, arguments: dict[str, Any], told: bool) -> None:
    call = Call(tool, encoded(arguments), told)
    assert read_clauses(phrase(call)) == (call,)


@given(ARGUMENTS, st.booleans())
def test_what_stands_around_a_call_is_read_as_if_it_were_not_there(
    arguments: dict[str, Any], told: bool
) -> None:
    call = Call("book", encoded(arguments), told)
    goal = f"Count the words in a.txt. {phrase(call)} Then count the lines of b.txt."
    assert read_clauses(goal) == (Count(("words",), "a.txt"), call, Count(("lines",), "b.txt"))


@given(st.text(string.printable, max_size=200))
def test_everything_but_calls_keeps_its_place(text: str) -> None:
    cut, calls = cut_calls(f"{text} call x with {{}} {text}")
    assert len(cut) == 2 * len(text) + len(" call x with {} ")
    assert Call("x", "{}") in [call for _, call in calls]


@pytest.mark.parametrize(
    "goal",
    [
        'Call book with {"people": 4',
        "Call book with {people: 4}",
        'Call book with {"people": NaN}',
        "Call book with [4]",
        f'Call book with {{"text": "{"x" * LONGEST_ARGUMENTS}"}}',
    ],
)
def test_arguments_that_cannot_be_used_are_never_guessed(goal: str) -> None:
    assert not any(isinstance(clause, Call) for clause in read_clauses(goal))


def test_a_plain_call_is_planned_without_a_model_and_a_told_one_with_an_agent() -> None:
    direct, told = plan(
        'Call book with {"people": 4}. Call book with {"people": 5} and say what it answers.',
        ["book"],
    )
    assert (direct.kind, direct.tool, direct.args) == ("tool", "book", {"people": 4})
    assert (told.kind, told.tools) == ("agent", ("book",))


def test_a_tool_that_is_not_served_is_named() -> None:
    (task,) = plan('Call book with {"people": 4}.', [])
    assert task.kind == "agent"
    assert "The tool book is missing." in task.instruction
    assert not isinstance(read_clauses(task.instruction)[0], Unknown)


def test_the_executor_makes_the_call_and_says_what_came_of_it() -> None:
    instruction = 'Call book with {"people": 5} and say what it answers.'
    tools = (ToolSchema("book", "Book a table.", {"properties": {"people": {"type": "integer"}}}),)
    question = ChatMessage("user", instruction)
    turn = follow(instruction, (), ChatRequest((question,), tools))
    assert turn == CallTools((ToolUse("book", {"people": 5}),))
    called = ChatMessage("assistant", tool_calls=(ToolCall("c1", "book", '{"people":5}'),))
    for content, said in (
        ('{"table": 3}', 'book says:\n{"table": 3}'),
        ("Error: full", 'I cannot: the tool book failed for {"people":5}: full.'),
    ):
        answer = ChatMessage("tool", content, tool_call_id="c1", name="book")
        request = ChatRequest((question, called, answer), tools)
        assert follow(instruction, (), request) == Say(said)
