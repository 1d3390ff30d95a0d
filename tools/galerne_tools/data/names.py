"""The tables that a SELECT reads, from the tree that DuckDB's own parser makes of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from galerne.errors import ToolError

MAX_SQL = 20_000
"""Characters of a query."""

_ONE_SELECT = "give one SELECT: data is only read here, and one query at a time"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class TableName(msgspec.Struct, frozen=True):
    """As in `"shop.db".orders`; `schema` is empty for a table that stands alone."""

    schema: str
    table: str

    @property
    def path(self) -> str:
        """The file that it may be."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    @property
    def is_path(self) -> bool:
        """Whether it can be nothing but a file: `sales` may be a part of the query."""
        return not self.schema and bool(set(self.table) & set("/.*?["))


def tables_in(tree: str) -> list[TableName]:
    """The names, each once, in the order in which they stand.

    `tree` is what `json_serialize_sql` gives. Raises ToolError for what is no single SELECT.
    """
    root = _decode(tree)
    if root.get("error"):
        said = str(root.get("error_message", ""))
        if "SELECT" in said and "serialize" in said:
            raise ToolError(_ONE_SELECT)
        raise ToolError(f"this is no SQL: {said}")
    if len(root.get("statements", ())) != 1:
        raise ToolError(_ONE_SELECT)
    found = list(_tables(root))
    return list(dict.fromkeys(found))


def _tables(root: Any) -> Iterator[TableName]:
    """Without recursion: SQL may be nested deeper than Python can call."""
    left: list[Any] = [root]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left.extend(reversed(cast("Sequence[Any]", node)))
        elif isinstance(node, dict):
            fields = cast("Mapping[str, Any]", node)
            if fields.get("type") == "BASE_TABLE":
                yield TableName(str(fields.get("schema_name", "")), str(fields["table_name"]))
            left.extend(reversed(list(fields.values())))


def quoted(name: str) -> str:
    """An identifier as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
