"""Questions in words: all of what is agreed to is shown, and what is typed means one thing."""

from typing import Any

import pytest

from galerne.cli.prompting import word_of
from galerne.cli.questions import asked_text, decided_text, listing, settle_text, value_of
from galerne.client import OpenQuestion
from galerne.core.asks import VERDICTS
from galerne.core.open_question import Word, open_question
from galerne.errors import InvalidInputError
from galerne.messages.facts import Asked, Decided, Question, Verdict
from galerne.messages.ids import JobId, TaskId

TWO = TaskId("2")
APPROVAL = Asked(
    task=TWO,
    n=1,
    what="approval",
    question="May book_table be called with these arguments?",
    tool="book_table",
    arguments={"people": 4, "note": "x" * 500},
    hash="ab",
    at=5.0,
    until=3605.0,
)
DOUBT = Asked(task=TWO, n=1, round=2, what="doubt", question="it died", tool="pay", at=5.0)
ASK = Asked(task=TWO, n=0, what="question", question="How\nmany\x1b[2J?", at=5.0)


def decided(verdict: Verdict, **more: Any) -> Decided:
    return Decided(task=TWO, n=1, verdict=verdict, at=6.0, **more)


def test_arguments_are_never_shortened() -> None:
    assert asked_text(APPROVAL) == (
        f'2.1 asks for leave: book_table({{"people":4,"note":"{"x" * 500}"}})'
    )


def test_a_reason_is_shown_beside_the_call() -> None:
    assert asked_text(DOUBT) == "2.1 is IN DOUBT, it may have happened or not: pay({}) (it died)"
    assert asked_text(ASK) == "2.0 asks you: How many?"


@pytest.mark.parametrize("what", VERDICTS)
def test_every_question_names_a_command_that_there_is(what: Question) -> None:
    command = settle_text("j-1", "2.1", what).split()[:4]
    assert command[0] == "galerne"
    assert command[1] in {"approve", "resolve", "answer", "review"}
    assert command[2:] == (["j-1", "(--approve,"] if what == "review" else ["j-1", "2.1"])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (decided("approved", by="anna"), "2.1 is approved by anna"),
        (decided("denied", by="anna", why="no\nmoney"), "2.1 is denied by anna: no money"),
        (decided("answered", value={"a": 1}, by="b"), '2.1 is answered by b: {"a":1}'),
        (decided("happened", value=3), "2.1 has happened, it is said"),
        (
            decided("happened"),
            "2.1 has happened, it is said; its result is not known, and is null",
        ),
        (
            decided("not_happened", by="b"),
            "2.1 has not happened, it is said by b: it is begun anew",
        ),
        (
            decided("expired", why="nobody decided in time"),
            "2.1 is expired: nobody decided in time",
        ),
    ],
)
def test_what_was_said_is_one_line(said: Decided, text: str) -> None:
    assert decided_text(said) == text


def test_a_listing_says_since_when_and_until_when() -> None:
    ones: list[OpenQuestion] = [open_question(JobId("j-1"), ask) for ask in (APPROVAL, ASK)]
    lines = listing(ones, 65.0).splitlines()
    assert lines[0] == "j-1 2.1  asks for leave, since 1m00s, 59m00s left"
    assert lines[4] == "j-1 2.0  asks you, since 1m00s"
    assert lines[6] == "  galerne answer j-1 2.0 VALUE  (or: deny … --why TEXT)"


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("4", None, "4"),
        ("4", {"type": "string"}, "4"),
        ("4", {"type": "integer"}, 4),
        ('{"a": [1]}', {"type": "object"}, {"a": [1]}),
        ("yes please", {"enum": ["yes please", "no"]}, "yes please"),
    ],
)
def test_a_value_is_text_unless_the_schema_wants_otherwise(
    text: str, schema: dict[str, Any] | None, value: Any
) -> None:
    assert value_of(text, schema) == value


@pytest.mark.parametrize("text", ["four", "4.5", "[4]", "{"])
def test_a_value_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="does not fit"):
        value_of(text, {"type": "integer"})


@pytest.mark.parametrize(
    ("ask", "line", "word"),
    [
        (APPROVAL, "y", Word("approved", by="me")),
        (APPROVAL, " YES \n", Word("approved", by="me")),
        (APPROVAL, "n", Word("denied", by="me")),
        (APPROVAL, "no, too many", Word("denied", why="too many", by="me")),
        (APPROVAL, "  ", None),
        (DOUBT, "y", Word("happened", by="me")),
        (DOUBT, "n", Word("not_happened", by="me")),
        (ASK, "y", Word("answered", "y", by="me")),
        (ASK, "", None),
    ],
)
def test_a_typed_line_says_one_thing(ask: Asked, line: str, word: Word | None) -> None:
    assert word_of(ask, line, "me") == word


@pytest.mark.parametrize("line", ["maybe", "y but only once", "yn", "approve"])
def test_what_is_no_clear_yes_or_no_is_asked_again(line: str) -> None:
    with pytest.raises(InvalidInputError, match="write y or n"):
        word_of(APPROVAL, line, "me")
