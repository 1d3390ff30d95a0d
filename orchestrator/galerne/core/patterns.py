"""Patterns of a schema that cannot be matched in linear time: look-around, back references.

Other languages' libraries write such (that of an e-mail address begins with a look-ahead in one of
them). Nobody here may be kept busy by one, so it is not compared: it is told in words, and whoever
serves the tool looks himself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from galerne.core.answers import validator

_VALUES = frozenset({"default", "const", "enum", "examples"})


def without_unusable_patterns(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without them; a description then says what a text has to match."""
    return cast("dict[str, Any]", _mended(schema))


def _mended(node: Any) -> Any:
    match node:
        case list():
            return [_mended(one) for one in cast("Sequence[Any]", node)]
        case Mapping():
            fields = {
                key: value if key in _VALUES else _mended(value)
                for key, value in cast("Mapping[str, Any]", node).items()
            }
            _without_its_own(fields)
            return fields
        case _:
            return node


def _without_its_own(fields: dict[str, Any]) -> None:
    pattern = fields.get("pattern")
    if isinstance(pattern, str) and not _is_usable(pattern):
        del fields["pattern"]
        words = fields.get("description")
        said = f"It matches {pattern[:200]}"
        fields["description"] = f"{words} {said}" if isinstance(words, str) and words else said
    named = fields.get("patternProperties")
    if isinstance(named, dict):
        of_names = cast("dict[str, Any]", named)
        fields["patternProperties"] = {
            pattern: one for pattern, one in of_names.items() if _is_usable(pattern)
        }


def _is_usable(pattern: str) -> bool:
    try:
        validator({"pattern": pattern})
    except ValueError:
        return False
    return True
