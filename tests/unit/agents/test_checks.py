"""Each fault of an answer, and what is said about it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError
from galerne.messages.chat import ChatMessage, ChatReply
from galerne.messages.ids import TaskId
from galerne.messages.plan import Succeeded, TaskSpec
from galerne.models.output import valued
from galerne_agents.checks import (
    DOUBT,
    HOW_MANY,
    NOT_USED,
    REPEATS,
    REPEATS_BUT_LOOKED,
    WORDS,
    Accepted,
    Evidence,
    Fault,
    echoes,
    judged,
    not_repeated,
    typed,
    weighed,
    with_its_number,
)

OBJECT = {
    "type": "object",
    "properties": {"words": {"type": "integer"}},
    "required": ["words"],
}


def verdict(text: str, evidence: Evidence | None = None, **task: Any) -> Accepted | Fault:
    spec = TaskSpec(id=TaskId("1"), instruction="x", **task)
    return judged(spec, ChatReply(ChatMessage("assistant", text), "m"), evidence or Evidence())


def reason(text: str, evidence: Evidence | None = None, **task: Any) -> str:
    fault = verdict(text, evidence, **task)
    assert isinstance(fault, Fault), fault
    assert fault.say
    return fault.reason


def test_a_text_is_its_own_value() -> None:
    assert verdict(" 42 ") == Accepted("42")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the model answered with nothing"),
        ("I cannot, for\nno reason", "the model gave up: I cannot, for no reason"),
    ],
)
def test_what_is_no_answer(text: str, said: str) -> None:
    assert reason(text) == said


@pytest.mark.parametrize(
    "text",
    [
        '{"words": 3}',
        ' {"words": 3}\n',
        'Here it is:\n```json\n{"words": 3}\n```\nDone.',
        '```\n{"words": 3}\n```',
        'First:\n```\n{"no": 1}\n```\nthen\n```json\n{"words": 3}\n```',
    ],
)
def test_a_schema_types_the_value(text: str) -> None:
    assert verdict(text, output=OBJECT) == Accepted({"words": 3})


def test_what_does_not_fit_the_schema_is_said_exactly() -> None:
    assert reason('{"words": "3"}', output=OBJECT) == (
        'the answer does not fit: $.words: "3" is not of type "integer"'
    )
    assert reason("three words", output=OBJECT) == "the answer is not JSON"
    fault = verdict("three words", output=OBJECT)
    assert isinstance(fault, Fault)
    assert fault.say.startswith("Your answer cannot be used: the answer is not JSON. Answer again")


def test_where_a_text_fits_the_text_is_taken() -> None:
    assert verdict("12", output={"type": "string"}) == Accepted("12")
    assert verdict("twelve", output={"type": "string"}) == Accepted("twelve")
    assert verdict("yes", output={"enum": ["yes", "no"]}) == Accepted("yes")


def test_a_named_check_says_what_the_answer_has_to_do() -> None:
    assert verdict("17", check="integer") == Accepted("17")
    assert reason("about 17", check="integer") == (
        "the answer does not pass its check: it has to be one whole number and nothing else"
    )


@pytest.mark.parametrize(
    ("check", "text", "passes"),
    [
        ("regex:^[a-z]+$", "abc", True),
        ("regex:^[a-z]+$", "a1", False),
        ("integer", "12", True),
        ('contains:"hi"', 'say "hi"', True),
        ("one-line", "one\ntwo", False),
        ("json", "abc", True),
    ],
)
def test_a_check_reads_the_text_that_the_model_client_has_put_into_json(
    check: str, text: str, passes: bool
) -> None:
    output = {"type": "string"}
    reply = valued(ChatReply(ChatMessage("assistant", text), "m"), output)
    assert reply.message.content == json.dumps(text)
    task = TaskSpec(id=TaskId("1"), instruction="x", output=output, check=check)
    assert isinstance(judged(task, reply, Evidence()), Accepted) == passes


def test_an_answer_on_failed_calls_alone_is_a_soft_fault() -> None:
    fault = verdict("there is none", Evidence(failed=2))
    assert isinstance(fault, Fault)
    assert (fault.soft, fault.value) == (True, "there is none")
    assert verdict("x", Evidence(failed=2, calls=("7",))) == Accepted("x")


def test_a_complaint_comes_first() -> None:
    reply = ChatReply(ChatMessage("assistant", "fine"), "m", complaint="it was cut")
    fault = judged(TaskSpec(id=TaskId("1")), reply, Evidence())
    assert fault == Fault("it was cut", NOT_USED.format("it was cut"))


@given(st.text(max_size=2000), st.sampled_from([None, OBJECT, {"type": "number"}, {}]))
def test_any_text_is_accepted_or_has_a_reason_in_one_line(
    text: str, output: dict[str, Any] | None
) -> None:
    match verdict(text, output=output):
        case Accepted():
            assert text.strip()
        case Fault(reason=said, say=say):
            assert said == " ".join(said.split())
            assert 0 < len(said) <= WORDS + 1
            assert say


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists))
def test_a_value_that_fits_comes_back(value: Any) -> None:
    import msgspec

    text = msgspec.json.encode(value).decode()
    schema = {"type": ["null", "boolean", "integer", "array"]}
    if isinstance(value, str):
        with pytest.raises(InvalidInputError):
            typed(text, schema)
    else:
        assert typed(text, schema) == value


def test_numbers_that_no_result_says_are_named_and_asked_back() -> None:
    results = {"1": {"words": 388}, "2": '{"words": 314}'}
    answer = weighed("302 words", Evidence(results=results))
    assert answer == Accepted("302 words", ("302",), DOUBT.format("302"))
    assert answer.result == Succeeded("302 words", ("302",))
    assert weighed("702 words", Evidence(results=results)).result == "702 words"
    assert weighed("702 words", Evidence(results=results, doubtful=("702",))).unsupported == (
        "702",
    )
    assert weighed("500 words", Evidence(results=results, words=("Has it 500?",))).say == ""


@pytest.mark.parametrize(("closing", "say"), [(False, ""), (True, DOUBT.format("7"))])
def test_who_has_only_texts_may_rate_them(closing: bool, say: str) -> None:
    evidence = Evidence(results={"1": "A lively book."}, closing=closing)
    assert weighed(
        "7 of 10", msgspec.structs.replace(evidence, words=("from 1 to 10",))
    ) == Accepted("7 of 10", ("7",), say)


def test_what_nothing_was_looked_at_for_is_the_models_own_word() -> None:
    assert weighed("A tale of 7 pirates", Evidence()) == Accepted("A tale of 7 pirates")


def test_what_was_given_is_asked_back_as_it_stands() -> None:
    given = Evidence(results={"1": {"words": 388}, "2": {"words": 314}})
    for value in ('{"words": 314}', {"words": 314}, '## 2\n{"words":314}'):
        assert not_repeated(Accepted(value), given) == Accepted(value, say=REPEATS.format("2"))
    for taken in (Accepted("314"), Accepted({"words": 702}), Accepted({"words": 314}, say="x")):
        assert not_repeated(taken, given) == taken
    alone = Evidence(results={"1": ["a.txt"]})
    looked = msgspec.structs.replace(alone, calls=("a line",))
    listed = msgspec.structs.replace(alone, calls=('["a.txt"]',))
    says = [not_repeated(Accepted(["a.txt"]), one).say for one in (alone, looked, listed)]
    assert says == ["", REPEATS_BUT_LOOKED.format("1", "a line"), ""]


@pytest.mark.parametrize(
    ("goal", "text", "asks"),
    [
        ("Which is longer, and how many words has it?", "The first one is.", True),
        ("Combien de mots ?", "Beaucoup.", True),
        ("Wie viele Wörter?", "Viele.", True),
        ("How many files are there?", "There are none.", False),
        ("How many files are there?", "Twelve.", False),
        ("How many files are there?", "It has 7.", False),
        ("Which is longer?", "The first one is.", False),
    ],
)
def test_who_is_asked_how_many_says_a_number(goal: str, text: str, asks: bool) -> None:
    assert with_its_number(Accepted(text), goal).say == (HOW_MANY if asks else "")
    assert with_its_number(Accepted({"no": "text"}), goal).say == ""


def test_an_answer_of_what_was_told_is_known_by_its_beginning() -> None:
    told = REPEATS_BUT_LOOKED.format("1", "# a line")
    assert echoes(f'The first line is "{told}"', [told])
    assert echoes(told.replace("\n", " "), [DOUBT.format("7"), told])
    assert not echoes("The first line is # a line", [told])
    assert not echoes("", [])
