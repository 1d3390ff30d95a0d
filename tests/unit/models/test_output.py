"""Structured output: loose in reading, strict in checking, and exact in what it complains of."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ChatReply
from galerne.models.output import asked_for, valued

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["n"],
}


def reply(text: str, finish: str = "stop") -> ChatReply:
    return ChatReply(ChatMessage("assistant", text), "m", finish)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 1}', {"n": 1}),
        ('  {"n": 1}\n', {"n": 1}),
        ('```json\n{"n": 1}\n```', {"n": 1}),
        ('```\n{"n": 1,}\n```\n', {"n": 1}),
        ('Here you are:\n\n{"n": 2}\n\nAnything else?', {"n": 2}),
        ('So:\n```json\n{"n": 2}\n```\nThat is it.', {"n": 2}),
        ("{'n': 5, 'tags': ['a', None, True]}", {"n": 5, "tags": ["a", None, True]}),
        ('See [1], and {"a": "b"}: {"n": 3}', {"n": 3}),
        ('{"n": 1, "tags": ["a", "b",], } # done', {"n": 1, "tags": ["a", "b"]}),
    ],
)
def test_a_value_is_found_however_it_is_wrapped(text: str, value: Any) -> None:
    answer = valued(reply(text), SCHEMA)
    assert (answer.value, answer.complaint) == (value, "")
    assert msgspec.json.decode(answer.message.content) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"n": "x"}', 'your answer does not fit the schema: $.n: "x" is not of type "integer"'),
        ("{}", 'your answer does not fit the schema: $: "n" is a required property'),
        ('[{"n": 1}]', 'your answer does not fit the schema: $: [{"n":1}] is not of type "object"'),
        ('{"n": 1', "your answer was cut before its end"),
        ('```json\n{"n": [1, 2\n```', "your answer was cut before its end"),
        ('{"n" 1}', "your answer has members that are not valid JSON"),
        ("{n: 1}", "your answer has an object whose key is not a quoted text"),
        ("I do not know.", "your answer is not one JSON value"),
        ("A: [/AZ] See [1", "your answer is not one JSON value"),
        ('It is {"n": 1', "your answer was cut before its end"),
        (" ", "your answer is empty"),
    ],
)
def test_the_first_fault_is_named_exactly(text: str, complaint: str) -> None:
    answer = valued(reply(text), SCHEMA)
    assert answer.complaint == complaint
    assert answer.message.content == text


def test_a_limit_of_tokens_is_named() -> None:
    assert valued(reply('{"n": ', "length"), SCHEMA).complaint == (
        "your answer was cut before its end (the limit of tokens cut it; write less)"
    )


def test_plain_text_is_a_value_where_the_schema_takes_text() -> None:
    assert valued(reply("Paris"), {"type": "string"}).value == "Paris"
    assert valued(reply('"Paris"'), {"type": "string"}).value == "Paris"
    assert valued(reply("42"), {"type": "integer"}).value == 42
    assert valued(reply("Paris", "length"), {"type": "string"}).complaint


def test_a_schema_that_cannot_be_applied_is_a_complaint() -> None:
    answer = valued(reply('"x"'), {"pattern": "(?=x)"})
    assert answer.complaint.startswith("your answer could not be checked by the schema")


def test_the_schema_stands_in_the_system_message() -> None:
    user = ChatMessage("user", "How many?")
    (system, asked) = asked_for((user,), SCHEMA)
    assert asked == user
    assert system.role == "system"
    assert system.content.endswith(msgspec.json.encode(SCHEMA).decode())
    (both, _) = asked_for((ChatMessage("system", "Be brief."), user), SCHEMA)
    assert both.content == f"Be brief.\n\n{system.content}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, st.sampled_from(["{}", "\n{}\n", "```json\n{}\n```", "```\n{}\n```\n"]))
def test_any_value_comes_back_from_its_wrapping(value: Any, wrapping: str) -> None:
    text = wrapping.replace("{}", msgspec.json.encode(value).decode())
    assert valued(reply(text), {}).value == value


@given(st.text(alphabet="{}[]\"'`:,n1 \n\\"))
def test_no_text_breaks_the_reading(text: str) -> None:
    answer = valued(reply(text), SCHEMA)
    assert answer.complaint or isinstance(answer.value["n"], int)
