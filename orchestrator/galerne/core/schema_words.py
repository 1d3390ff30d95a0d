"""JSON Schemas in the words of JSON: `dict` is `object`, `float` is `number`, `any` is no type.

Functions are described by people and by other languages' tools, and a model's server refuses what
its own words do not know. `List[int]`, `string | null` and `array of text` are read by their words;
a word that nobody knows is no type, so that any value fits. What older forms of JSON Schema say
differently (`required: true` in a field, `exclusiveMinimum: true`, `nullable`) is said as Draft 7
says it, and a keyword that is null is not there.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

_JSON: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_WORDS: Final = {
    "object": "object dict dictionary map mapping hashmap hashtable record struct",
    "array": "array list tuple set frozenset sequence iterable vector arraylist queue stack",
    "string": "string str text char date datetime time uuid uri url email path bytes",
    "integer": "integer int long short byte bigint int32 int64 uint",
    "number": "number float double decimal real numeric float32 float64",
    "boolean": "boolean bool",
    "null": "null none nonetype nil void undefined",
}
_TYPES: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}
"""Words of other languages for the types of JSON."""
_SEVERAL: Final = frozenset({"optional", "union", "or", "nullable"})
"""Words before or between types, of which each may be meant."""
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*|[\[\](){}<>|?]")
_NULL_IS_A_VALUE: Final = frozenset({"default", "const"})
_BESIDE: Final = frozenset({"description", "default", "title"})
"""What stays outside where a schema becomes one of two."""
_SAYS_NOTHING: Final = _BESIDE | {"enum"}
_OF_SCHEMAS: Final = ("properties", "patternProperties", "definitions", "$defs")
_OF_ONE: Final = ("items", "additionalProperties", "not", "contains", "propertyNames")
_OF_SEVERAL: Final = ("items", "anyOf", "oneOf", "allOf")
_LIMITS: Final = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))


def in_words_of_json(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its types as JSON Schema calls them; values in it stay as they are."""
    fields: dict[str, Any] = {
        key: value for key, value in schema.items() if value is not None or key in _NULL_IS_A_VALUE
    }
    _name_types(fields)
    _say_as_draft7(fields)
    for name in _OF_SCHEMAS:
        schemas: Any = fields.get(name)
        if isinstance(schemas, Mapping):
            named = cast("Mapping[str, Any]", schemas)
            fields[name] = {key: _if_schema(one) for key, one in named.items()}
    for name in _OF_ONE:
        if name in fields:
            fields[name] = _if_schema(fields[name])
    for name in _OF_SEVERAL:
        match fields.get(name):
            case [*several]:
                fields[name] = [_if_schema(one) for one in several]
            case _:
                pass
    return fields


def _if_schema(value: Any) -> Any:
    if value is None:
        return {}
    return in_words_of_json(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else value


def _name_types(fields: dict[str, Any]) -> None:
    match fields.get("type"):
        case None:
            return
        case str(word) if word in _JSON:
            return
        case str(word):
            found = _types_in(word)
        case [*words]:
            named = [_types_in(one) if isinstance(one, str) else [one] for one in words]
            found = [one for types in named for one in types] if all(named) else []
        case _:
            return
    types = list(dict.fromkeys(found)) if all(isinstance(one, str) for one in found) else found
    if types:
        fields["type"] = types[0] if len(types) == 1 else types
    else:
        del fields["type"]


def _types_in(word: str) -> list[str]:
    """The types that a word or several mean; none where any value may be meant."""
    tokens = _WORD.findall(word.lower())
    if word.rstrip().endswith("[]"):
        return ["array"]
    found: list[str] = []
    depth = 0
    for place, token in enumerate(tokens):
        match token:
            case "[" | "<" | "(" | "{":
                depth += place == 0 or tokens[place - 1] not in _SEVERAL
            case "]" | ">" | ")" | "}":
                depth = max(depth - 1, 0)
            case "of":  # what follows is what it holds
                break
            case "|" | "or" | "union":
                continue
            case "?" | "optional" | "nullable":
                found.append("null")
            case _ if depth == 0 and token not in _TYPES:
                return []
            case _ if depth == 0:
                found.append(_TYPES[token])
            case _:
                continue
    return [] if found == ["null"] and tokens[0] not in _TYPES else found


def _say_as_draft7(fields: dict[str, Any]) -> None:
    properties: Any = fields.get("properties")
    if isinstance(properties, Mapping):
        _gather_required(fields, cast("Mapping[str, Any]", properties))
    if isinstance(fields.get("required"), bool):
        del fields["required"]
    for exclusive, limit in _LIMITS:
        said = fields.get(exclusive)
        if isinstance(said, bool):
            del fields[exclusive]
            if said and limit in fields:
                fields[exclusive] = fields.pop(limit)
    if fields.pop("nullable", False) is True:
        _let_be_null(fields)


def _let_be_null(fields: dict[str, Any]) -> None:
    """Also where no type is said, but other schemas are."""
    if isinstance(fields.get("enum"), list) and None not in fields["enum"]:
        fields["enum"] = [*fields["enum"], None]
    kind = fields.get("type")
    if isinstance(kind, str):
        fields["type"] = [kind, "null"]
    elif kind is None and fields.keys() - _SAYS_NOTHING:
        inner = {key: fields.pop(key) for key in list(fields) if key not in _BESIDE}
        fields["anyOf"] = [inner, {"type": "null"}]


def _gather_required(fields: dict[str, Any], properties: Mapping[str, Any]) -> None:
    """`required: true` in a field is said of the object."""
    named = [
        name
        for name, one in properties.items()
        if isinstance(one, Mapping) and cast("Mapping[str, Any]", one).get("required") is True
    ]
    listed: Any = fields.get("required", [])
    if named and isinstance(listed, list | bool):
        before = cast("list[str]", listed) if isinstance(listed, list) else []
        fields["required"] = list(dict.fromkeys([*before, *named]))
