"""Types in other languages' words, and what older forms of JSON Schema say differently."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.schema_words import in_words_of_json

KINDS = ["object", "array", "string", "integer", "number", "boolean", "null"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("List[int]", "array"),
        ("Optional[str]", ["null", "string"]),
        ("Optional[List[int]]", ["null", "array"]),
        ("Union[int, str]", ["integer", "string"]),
        ("int | None", ["integer", "null"]),
        ("integer|null", ["integer", "null"]),
        ("string?", ["string", "null"]),
        ("string or number", ["string", "number"]),
        ("array of strings", "array"),
        ("String[]", "array"),
        ("Dict<string, int>", "object"),
        ("HashMap", "object"),
        ("number (0-100)", "number"),
        ("BigInt", "integer"),
        (["str", "None"], ["string", "null"]),
        (["int", "integer"], "integer"),
    ],
)
def test_words_of_other_languages_are_read(word: Any, kind: Any) -> None:
    assert in_words_of_json({"type": word}) == {"type": kind}


@pytest.mark.parametrize(
    "word", ["any", "Any", "Color", "", "Optional", "string or Color", ["string", "any"], [], None]
)
def test_a_word_that_nobody_knows_is_any_type(word: Any) -> None:
    assert in_words_of_json({"type": word, "description": "d"}) == {"description": "d"}


def test_a_field_that_says_that_it_is_required_is() -> None:
    old = {
        "properties": {"a": {"type": "str", "required": True}, "b": {"required": False}, "c": None},
        "required": None,
    }
    assert in_words_of_json(old) == {
        "properties": {"a": {"type": "string"}, "b": {}, "c": {}},
        "required": ["a"],
    }
    assert in_words_of_json({**old, "required": ["c", "a"]})["required"] == ["c", "a"]


def test_limits_and_null_of_older_forms_are_said_as_draft_7_says_them() -> None:
    old = {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "exclusiveMaximum": False}
    assert in_words_of_json(old) == {"type": "integer", "exclusiveMinimum": 1}
    old = {"type": "string", "enum": ["a"], "nullable": True, "default": None, "format": None}
    assert in_words_of_json(old) == {
        "type": ["string", "null"],
        "enum": ["a", None],
        "default": None,
    }


@pytest.mark.parametrize("name", ["required", "nullable", "type", "pattern", "properties"])
def test_a_parameter_may_have_any_name(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}
    assert in_words_of_json(schema) == schema


_words = st.one_of(st.sampled_from([*KINDS, "any", "Optional[x]", "int|str"]), st.text(max_size=20))


@given(st.one_of(_words, st.lists(_words, max_size=4)))
def test_whatever_the_word_the_schema_is_one_and_twice_is_once(word: Any) -> None:
    schema = in_words_of_json({"type": word})
    jsonschema_rs.Draft7Validator(schema)
    assert in_words_of_json(schema) == schema


@given(st.one_of(st.sampled_from(KINDS), st.lists(st.sampled_from(KINDS), min_size=2, unique=True)))
def test_words_of_json_stay(kind: Any) -> None:
    assert in_words_of_json({"type": kind}) == {"type": kind}


def test_what_may_be_null_without_a_type_is_one_of_two() -> None:
    wide = {"nullable": True, "description": "d", "oneOf": [{"type": "int"}, {"type": "string"}]}
    assert in_words_of_json(wide) == {
        "description": "d",
        "anyOf": [{"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"type": "null"}],
    }
    assert in_words_of_json({"nullable": True, "enum": ["a"]}) == {"enum": ["a", None]}
    assert in_words_of_json({"nullable": True, "title": "t"}) == {"title": "t"}
    assert in_words_of_json({"properties": {"nullable": {"type": "bool"}}}) == {
        "properties": {"nullable": {"type": "boolean"}}
    }
