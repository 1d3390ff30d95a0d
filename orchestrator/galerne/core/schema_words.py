"""JSON Schemas in the words of JSON: `dict` is `object`, `float` is `number`, `any` is no type.

Functions are described by people and by other languages' tools, and a model's server refuses what
its own words do not know.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

_TYPES: Final = {
    "dict": "object",
    "map": "object",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "str": "string",
    "text": "string",
    "char": "string",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "bool": "boolean",
    "none": "null",
}
"""Words of other languages for the types of JSON."""
_ANY: Final = frozenset({"any", "anything", "unknown"})
_OF_SCHEMAS: Final = ("properties", "patternProperties", "definitions", "$defs")
_OF_ONE: Final = ("items", "additionalProperties", "not", "contains", "propertyNames")
_OF_SEVERAL: Final = ("items", "anyOf", "oneOf", "allOf")


def in_words_of_json(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its types as JSON Schema calls them; values in it stay as they are."""
    fields = dict(schema)
    _name_types(fields)
    for name in _OF_SCHEMAS:
        if isinstance(fields.get(name), Mapping):
            fields[name] = {key: _if_schema(one) for key, one in fields[name].items()}
    for name in _OF_ONE:
        if name in fields:
            fields[name] = _if_schema(fields[name])
    for name in _OF_SEVERAL:
        if isinstance(fields.get(name), list):
            fields[name] = [_if_schema(one) for one in fields[name]]
    return fields


def _if_schema(value: Any) -> Any:
    return in_words_of_json(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else value


def _name_types(fields: dict[str, Any]) -> None:
    match fields.get("type"):
        case str(word) if word.lower() in _ANY:
            del fields["type"]
        case str(word):
            fields["type"] = _type(word)
        case [*words]:
            fields["type"] = [_type(one) if isinstance(one, str) else one for one in words]
        case _:
            pass


def _type(word: str) -> str:
    return _TYPES.get(word.lower(), word.lower())
