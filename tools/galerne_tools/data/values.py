"""What DuckDB gives, as JSON that loses nothing. Pure.

Decimals and integers beyond 64 bits are texts with all their digits, times are in ISO 8601, bytes
are text where they are UTF-8 and hexadecimal where not, and what is no number says so.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from galerne.errors import ToolError

MAX_CELL = 40_000
"""Characters of one value."""
_WIDEST = 1 << 63


def plain(value: Any) -> Any:
    """Raises ToolError for a value that is too large for a model, or of a kind that is unknown."""
    match value:
        case None | bool():
            return value
        case int():
            return value if -_WIDEST <= value < _WIDEST else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return _short(value)
        case list() | tuple():
            return [plain(one) for one in cast("Sequence[Any]", value)]
        case dict():
            pairs = cast("Mapping[Any, Any]", value).items()
            return {key if isinstance(key, str) else str(plain(key)): plain(v) for key, v in pairs}
        case _:
            return _written(value)


def _written(value: Any) -> str:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case Decimal() | UUID():
            return str(value)
        case bytes():
            return _short(_bytes(value))
        case _:
            raise ToolError(
                f"a value of type {type(value).__name__} cannot be shown; cast it to VARCHAR"
            )


def _bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()


def _short(text: str) -> str:
    if len(text) > MAX_CELL:
        raise ToolError(
            f"one value has {len(text)} characters; ask for a part of it, as by left(column, 1000)"
        )
    return text
