"""Each fault of an answer, and what is said about it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError
from galerne.messages.chat import ChatMessage, ChatReply
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.models.output import valued
from galerne_agents.checks import NOT_USED, WORDS, Accepted, Evidence, Fault, judged, typed

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
