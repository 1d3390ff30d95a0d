"""A text as a value of a schema: what stands in it, and nothing that does not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.answers import first_fault
from galerne.messages.chat import ChatMessage, ChatRequest
from galerne.models.standin.answers import Say
from galerne.models.standin.filling import filled
from galerne.models.standin.rules import respond

TEXT = """a.md has 7 words and 2 lines.
b.md has 9 words.
b.md is longer than a.md: 9 words against 7."""

ITEM = {"type": "object", "properties": {"words": {"type": "integer"}}, "required": ["words"]}
VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "a number by its name": (
        {"properties": {"lines": {"type": "integer"}, "words": {"type": "number"}}},
        {"lines": 2, "words": 7},
    ),
    "a line by its name": (
        {"type": "object", "properties": {"longer": {"type": "string"}}},
        {"longer": "b.md is longer than a.md: 9 words against 7."},
    ),
    "one of several values": ({"enum": ["a.md", "b.md"]}, "b.md"),
    "a list": ({"type": "array", "items": ITEM}, [{"words": 7}, {"words": 9}, {"words": 9}]),
    "a list with an end": ({"type": "array", "items": ITEM, "maxItems": 1}, [{"words": 7}]),
    "what may be null": ({"type": ["boolean", "null"]}, None),
    "a definition": (
        {"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer"}}},
        7,
    ),
    "whatever": ({}, TEXT),
}
NO_VALUES: dict[str, dict[str, Any]] = {
    "a field that nothing is said of": {
        "type": "object",
        "properties": {"sure": {"type": "boolean"}},
        "required": ["sure"],
    },
    "a bound that does not hold": {"type": "integer", "minimum": 100},
    "a definition in itself": {"$ref": "#/definitions/n", "definitions": {"n": {"$ref": "#"}}},
    "a definition that is none": {"$ref": "#/definitions/n"},
    "none of these": {"enum": ["c.md"]},
}


@pytest.mark.parametrize("case", VALUES)
def test_fields_take_what_is_said_of_them(case: str) -> None:
    schema, expected = VALUES[case]
    assert msgspec.json.decode(filled(schema, TEXT) or "") == expected


@pytest.mark.parametrize("case", NO_VALUES)
def test_nothing_is_made_up(case: str) -> None:
    assert filled(NO_VALUES[case], TEXT) is None


@given(
    st.text(max_size=60),
    st.sampled_from([schema for schema, _ in VALUES.values()] + list(NO_VALUES.values())),
)
def test_whatever_the_text_a_value_fits(text: str, schema: dict[str, Any]) -> None:
    value = filled(schema, text)
    assert value is None or not first_fault(msgspec.json.decode(value), schema)


def test_an_answer_without_a_value_stays_as_it_is() -> None:
    request = ChatRequest((ChatMessage("user", "Hello."),))
    plain = respond(request)
    wanting = msgspec.structs.replace(request, output={"type": "integer", "minimum": 10**9})
    assert isinstance(plain, Say)
    assert respond(wanting) == plain
