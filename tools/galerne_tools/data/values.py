"""What DuckDB gives, exactly, as JSON. Pure.

Numbers that every reader of JSON takes as they are stay numbers. What one might round, or JSON has
no form for, is text as DuckDB writes it, and can be written so into SQL again: decimals, integers
of more than 53 bits, NaN and infinities, dates and times, intervals, UUIDs, bytes, and so on.
Lists, arrays, structs and maps (by the text of their keys) are lists and objects.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from galerne_tools.data.names import quoted
from galerne_tools.data.orders import Column

MOST_EXACT = 2**53 - 1
"""The largest integer that all readers of JSON agree on."""

_PLAIN = frozenset(
    {
        "boolean",
        "double",
        "float",
        "varchar",
        *(f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")),
        "integer",
        "uinteger",
    }
)


def exact_type(kind: Any) -> str:
    """Of a DuckDB type: the type to cast to before it is fetched, so that nothing is lost."""
    match kind.id:
        case "list":
            return f"{exact_type(_child(kind, 'child'))}[]"
        case "array":
            return f"{exact_type(_child(kind, 'child'))}[{_child(kind, 'size')}]"
        case "struct" if kind.children and all(name for name, _ in kind.children):
            fields = (f"{quoted(name)} {exact_type(child)}" for name, child in kind.children)
            return f"STRUCT({', '.join(fields)})"
        case "map":
            return f"MAP(VARCHAR, {exact_type(_child(kind, 'value'))})"
        case plain if plain in _PLAIN and str(kind) != "JSON":
            return str(kind)
        case _:
            return "VARCHAR"


def json_value(value: Any) -> Any:
    """Of a value whose type is an exact one."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return value if -MOST_EXACT <= value <= MOST_EXACT else str(value)
        case float():
            return value if math.isfinite(value) else _unbounded(value)
        case list() | tuple():
            return [json_value(one) for one in cast("Sequence[Any]", value)]
        case dict():
            fields = cast("Mapping[str, Any]", value).items()
            return {name: json_value(one) for name, one in fields}
        case _:
            return str(value)


def columns_of(names: list[str], types: list[Any]) -> list[Column]:
    """Columns with names of their own: the second `n` is `n_2`."""
    taken: set[str] = set()
    columns: list[Column] = []
    for name, kind in zip(names, types, strict=True):
        free, count = name, 1
        while free in taken:
            count += 1
            free = f"{name}_{count}"
        taken.add(free)
        columns.append(Column(free, str(kind)))
    return columns


def _child(kind: Any, name: str) -> Any:
    return next(child for named, child in kind.children if named == name)


def _unbounded(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
