"""A person's answer, typed by the task that asked: JSON Schema, by the `jsonschema-rs` package.

A schema is a model's, and an answer may be anybody's. Patterns are matched in linear time, so none
of them can keep a coordinator busy; what cannot be matched so (look-around, back references) is
refused with the task.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

from galerne.errors import InvalidInputError

MOST = 300
"""Characters of a fault that a person is shown."""
PATTERN_SIZE = 1_000_000
"""Bytes of one compiled pattern: `(a{1000}){1000}` is larger."""


def check_schema(schema: dict[str, Any]) -> None:
    """Raises InvalidInputError, one line, where answers could not be checked against it.

    What a planner writes has no need of `$ref`, and so there are none that lead nowhere.
    """
    try:
        has_ref = _has_ref(schema)
        if not has_ref:
            validator(schema)
    except Exception as error:
        fault: Any = error
        raise InvalidInputError(
            f"it is no usable JSON Schema: {_line(str(getattr(fault, 'message', error)))}"
        ) from error
    if has_ref:
        raise InvalidInputError("write the JSON Schema in one piece, without $ref")


def check_answer(value: Any, schema: dict[str, Any] | None) -> None:
    """Raises InvalidInputError, one line that says what does not fit; None: any value will do."""
    if schema is None:
        return
    try:
        fault = first_fault(value, schema)
    except Exception as error:
        raise InvalidInputError(
            f"the task's own schema is not usable ({_line(str(error))}): deny it instead"
        ) from error
    if fault:
        raise InvalidInputError(f"the answer does not fit: {fault}")


def first_fault(value: Any, schema: dict[str, Any]) -> str:
    """What does not fit and where, of several the outermost; empty where all does.

    Raises what the library raises where the schema is not usable.
    """
    faults: list[Any] = list(validator(schema).iter_errors(value))
    if not faults:
        return ""
    fault = min(faults, key=_depth)
    return f"{_path(fault.instance_path)}: {_line(fault.message)}"


def validator(schema: dict[str, Any]) -> Any:
    """Draft 7 where the schema names none; it never asks the network."""
    # Late: half of what `galerne --help` may take.
    library: Any = import_module("jsonschema_rs")
    draft = library.Draft7Validator
    if "$schema" in schema:
        draft = library.validator_cls_for(schema)
    linear = library.RegexOptions(size_limit=PATTERN_SIZE)
    return draft(schema, pattern_options=linear, offline=True)


def _has_ref(value: Any) -> bool:
    match value:
        case dict():
            fields = cast("dict[str, Any]", value)
            return "$ref" in fields or any(map(_has_ref, fields.values()))
        case list():
            return any(map(_has_ref, cast("Sequence[Any]", value)))
        case _:
            return False


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST]


def _depth(fault: Any) -> int:
    return len(fault.instance_path)


def _path(steps: Sequence[str | int]) -> str:
    """`$.files[0].name`."""
    return "$" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)
