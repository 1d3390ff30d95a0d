"""A tool task's arguments against the tool's JSON Schema, as far as a plan can know them.

    names, and the type of each value          told in our own words, in no time
    what stands deeper, enums, bounds …        by the `jsonschema-rs` package, the outermost fault
    what refers to another task's result       fits everything, and so does whatever depends on it
    content in the Object Store                what it is shows when the tool reads it

Formats are the tool's to refuse: what a server calls a `date` is anybody's guess. Types in words of
other languages are read as what they mean; a schema that is none is no fault of the plan's.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from galerne.core.answers import validator
from galerne.core.one_line import one_line
from galerne.core.refs import REF
from galerne.core.schema_words import in_words_of_json
from galerne.messages.blobs import is_blob
from galerne.messages.tools import ToolSpec
from galerne.planner.refs import holds_reference

_PLAIN: Final = frozenset({"type", "description", "title", "default", "examples"})
"""What a value without parts is checked for here."""
_OF_THE_OUTSIDE: Final = frozenset(
    {"type", "required", "additionalProperties"}
    | {"minItems", "maxItems", "minProperties", "maxProperties"}
)
"""What is wrong with a list or an object whatever its references stand for."""
_CONDITIONS: Final = frozenset({"then", "else", "dependencies"})
_TYPES: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_LONGEST: Final = 200
"""Characters of what the library says."""
_SCHEMAS: Final = 1_024
"""As many tools as one process meets."""


def argument_fault(args: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """The first fault in one clause, None when the arguments fit.

    `parameters` is a JSON Schema (Draft 7) of type object. Raises InvalidInputError when a `$ref`
    is not a usable reference.
    """
    parameters = in_words_of_json(parameters)
    properties: Mapping[str, Any] = parameters.get("properties") or {}
    missing = [name for name in parameters.get("required") or () if name not in args]
    if missing:
        return f"args lack {', '.join(missing)}"
    if not parameters.get("additionalProperties"):
        unknown = [name for name in args if name not in properties]
        if unknown:
            there = ", ".join(properties) or "none"
            return f"args has no parameter {', '.join(unknown)[:80]!r}; there are: {there}"
    for name, value in args.items():
        wanted = _types(properties.get(name))
        if wanted and not _is_open(value) and not any(_fits(value, one) for one in wanted):
            return f"args.{name} must be {' or '.join(wanted)}, not {_type_of(value)}"
    if all(_is_plain(value, properties.get(name)) for name, value in args.items()):
        return None
    return _deeper_fault(args, parameters)


def prepare(tools: Iterable[ToolSpec]) -> None:
    """Have ready what looks deeper, so that no task of a plan waits for it to be loaded."""
    for tool in tools:
        parameters = in_words_of_json(tool.parameters)
        properties: Mapping[str, Any] = parameters.get("properties") or {}
        if not all(_is_plain(None, schema) for schema in properties.values()):
            _compiled(msgspec.json.encode(parameters))


def _deeper_fault(args: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    compiled = _compiled(msgspec.json.encode(parameters))
    if compiled is None:
        return None
    try:
        faults: list[Any] = list(compiled.iter_errors(args))
    except Exception:  # noqa: BLE001 - what the library cannot take, the tool may
        return None
    for fault in sorted(faults, key=lambda one: len(one.instance_path)):
        if not _is_unsure(fault, args):
            return f"{_place(fault.instance_path)}: {one_line(str(fault.message), _LONGEST)}"
    return None


@lru_cache(maxsize=_SCHEMAS)
def _compiled(parameters: bytes) -> Any:
    """The library's validator; None where the schema is none, or has patterns without a bound."""
    try:
        return validator(msgspec.json.decode(parameters))
    except Exception:  # noqa: BLE001 - the tool's own matter: its names are checked all the same
        return None


def _is_unsure(fault: Any, args: Mapping[str, Any]) -> bool:
    """Whether a result that is not there yet may still make it right."""
    keyword, value = fault.schema_path[-1], args
    for step in fault.instance_path:
        value = value[step]
        if _is_open(value):
            return True
    if keyword == "format":
        return True
    if keyword in _OF_THE_OUTSIDE and _CONDITIONS.isdisjoint(fault.schema_path):
        return False
    return _has_open(value)


def _is_open(value: Any) -> bool:
    """Whether a value stands for another one. Raises InvalidInputError."""
    is_one = isinstance(value, str) or (isinstance(value, dict) and REF in value)
    return is_blob(value) or (is_one and holds_reference(value))


def _has_open(value: Any) -> bool:
    match value:
        case dict() if not _is_open(value):
            return any(map(_has_open, cast("Mapping[str, Any]", value).values()))
        case list():
            return any(map(_has_open, cast("Sequence[Any]", value)))
        case _:
            return _is_open(value)


def _is_plain(value: Any, schema: Any) -> bool:
    """Whether all that can be wrong with it is its type."""
    keywords = set(cast("Mapping[str, Any]", schema) if isinstance(schema, dict) else ())
    flat = keywords <= _PLAIN and not {"array", "object"} & set(_types(schema))
    return flat and not isinstance(value, dict | list)


def _place(steps: Sequence[str | int]) -> str:
    """`args.files[0].mode`."""
    return "args" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)


def _types(schema: Any) -> Sequence[str]:
    """The type names that a property's schema allows; none means any."""
    declared: Any = (
        cast("Mapping[str, Any]", schema).get("type") if isinstance(schema, dict) else ()
    )
    words = (declared,) if isinstance(declared, str) else cast("Sequence[str]", declared or ())
    return words if _TYPES.issuperset(words) else ()


def _fits(value: Any, wanted: str) -> bool:
    match wanted:
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            return whole or _type_of(value) == "integer"
        case "number":
            return _type_of(value) in ("integer", "number")
        case _:
            return _type_of(value) == wanted


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
