"""A tool task's arguments against the tool's JSON Schema, as far as a plan can know them.

Only what models get wrong is checked, and only at the top level: required names, unknown names
and the primitive type of each value. Nested schemas, formats and ranges are the tool's to refuse.
A value that refers to another task's result fits every type.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from galerne.messages.blobs import is_blob
from galerne.planner.refs import holds_reference


def argument_fault(args: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """The first fault in one clause, None when the arguments fit.

    `parameters` is a JSON Schema (Draft 7) of type object.
    """
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
        if is_blob(value):  # content put aside: what it is shows when the tool reads it
            continue
        if wanted and not holds_reference(value) and not any(_fits(value, one) for one in wanted):
            return f"args.{name} must be {' or '.join(wanted)}, not {_type_of(value)}"
    return None


def _types(schema: Any) -> Sequence[str]:
    """The type names that a property's schema allows; none means any."""
    declared: Any = (
        cast("Mapping[str, Any]", schema).get("type") if isinstance(schema, dict) else ()
    )
    if isinstance(declared, str):
        return (declared,)
    return cast("Sequence[str]", declared or ())


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
