"""Questions that a goal puts to a person: cut out whole, planned as such, their answers used."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.models.standin.asks import ANSWER, cut_asks
from galerne.models.standin.clauses import Ask, Count
from galerne.models.standin.grammar import read_clauses
from galerne.models.standin.phrasing import phrase
from galerne.models.standin.planning import plan
from unit.standin.prompting import TOOLS

WORDS = st.lists(st.text(string.ascii_lowercase, min_size=2, max_size=9), min_size=2, max_size=9)


@pytest.mark.parametrize(
    ("goal", "question"),
    [
        ("Ask me which file to count.", "which file to count"),
        ("ask which of a.txt, b.txt and c.txt is the right one", "which of a.txt"),
        ("Please ask me: how many?", "how many"),
        ("Ask me for a number between 1 and 9, then stop", "a number between 1 and 9"),
        ("Ask me about the deadline; it matters", "the deadline"),
    ],
)
def test_a_question_ends_where_its_sentence_does(goal: str, question: str) -> None:
    asks = [clause.question for clause in read_clauses(goal) if isinstance(clause, Ask)]
    assert [ask.partition(",")[0] for ask in asks] == [question]


@given(WORDS.filter(lambda words: "then" not in words))
def test_a_phrase_reads_back_as_its_question(words: list[str]) -> None:
    ask = Ask(f"which {' '.join(words)}")
    assert read_clauses(phrase(ask)) == (ask,)


@given(st.text(string.printable, max_size=200))
def test_everything_else_keeps_its_place(text: str) -> None:
    cut, asks = cut_asks(f"{text}\nask me which one.")
    assert len(cut) == len(text) + len("\nask me which one.")
    assert asks


def test_what_stands_around_a_question_is_read_too() -> None:
    goal = "Count the words in a.txt. Ask me whether to count and compare more. Count b.txt."
    assert read_clauses(goal) == (
        Count(("words",), "a.txt"),
        Ask("whether to count and compare more"),
        Count(("words",), "b.txt"),
    )


def test_an_answer_is_referred_to_by_the_task_that_asks() -> None:
    ask, count = plan("Ask me which file to count, then count the words of my answer.", TOOLS)
    assert (ask.kind, ask.instruction) == ("ask", "which file to count?")
    assert (count.kind, count.tool, count.needs) == ("tool", "text_stats", (ask.id,))
    assert count.args == {"path": {"$ref": ask.id}}


def test_without_a_question_an_answer_is_an_ordinary_word() -> None:
    assert ANSWER not in str(read_clauses("Count the words of the answer"))
