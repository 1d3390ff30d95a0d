"""A person's answer, typed by the task that asked: JSON Schema, by the `jsonschema` package."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

from galerne.errors import InvalidInputError

MOST = 300
"""Characters of a fault that a person is shown."""


def check_schema(schema: dict[str, Any]) -> None:
    """Raises InvalidInputError, one line, where answers could not be checked against it.

    What a planner writes has no need of `$ref`, and so there are none that lead nowhere.
    """
    if _has_ref(schema):
        raise InvalidInputError("write the JSON Schema in one piece, without $ref")
    validators: Any = import_module("jsonschema.validators")
    try:
        validators.validator_for(schema, default=validators.Draft7Validator).check_schema(schema)
    except Exception as error:
        fault: Any = error
        raise InvalidInputError(
            f"it is no usable JSON Schema: {_line(str(getattr(fault, 'message', error)))}"
        ) from error


def check_answer(value: Any, schema: dict[str, Any] | None) -> None:
    """Raises InvalidInputError, one line that says what does not fit; None: any value will do."""
    if schema is None:
        return
    # Late: half of what `galerne --help` may take. As a value: its types are not whole.
    validators: Any = import_module("jsonschema.validators")
    registry: Any = import_module("referencing").Registry()  # a `$ref` to the network is an error
    try:
        validator_class = validators.validator_for(schema, default=validators.Draft7Validator)
        faults: list[Any] = list(validator_class(schema, registry=registry).iter_errors(value))
    except Exception as error:
        raise InvalidInputError(
            f"the task's own schema is not usable ({_line(str(error))}): deny it instead"
        ) from error
    if faults:
        fault = min(faults, key=_depth)
        raise InvalidInputError(
            f"the answer does not fit: {fault.json_path}: {_line(fault.message)}"
        )


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
    return len(fault.absolute_path)
