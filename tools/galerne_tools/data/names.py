"""Which files a query names, read off the tree that DuckDB makes of it. Pure.

A file is named as a table (`FROM 'a/b.csv'`), or in a call of a reader (`read_csv('a/b.csv')`); a
SQLite file as what its tables are in (`FROM "a/shop.db".orders`). What else stands in a query is
DuckDB's own to refuse.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, cast

import msgspec

Kind = Literal["csv", "json", "parquet", "sqlite"]
Compression = Literal["none", "gzip", "zstd"]

_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".db": "sqlite",
    ".db3": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
_COMPRESSED: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
_READERS = re.compile(r"(?:read_(?:csv|json|json_objects|ndjson|ndjson_objects|parquet)(?:_auto)?)")
_OTHER_READERS = frozenset({"parquet_scan", "sniff_csv"})
_LITERAL_DATABASE = re.compile(r"'([^']+\.(?:db3?|sqlite3?))'\s*\.", re.IGNORECASE)

KINDS = ", ".join(suffix for suffix in _SUFFIXES if suffix != ".txt")


class Reading(msgspec.Struct, frozen=True):
    """A path in a call of a reader: bytes `start` to `end` of the query, quotes included.

    `compression`: whether the call says itself how the file is compressed, or has no say in it.
    `listed`: it stands in a list of paths.
    """

    path: str
    start: int
    end: int
    compression: bool
    listed: bool


class Names(msgspec.Struct, frozen=True):
    """Files that are named as tables, tables of SQLite files (file → tables), and readings.

    `files` goes from a table's name to the file: `sales.csv` without quotes is `csv` in `sales`.
    """

    files: dict[tuple[str, ...], str]
    databases: dict[str, list[str]]
    readings: list[Reading]


def kind_of(path: str) -> tuple[Kind | None, Compression]:
    """What a file is by its name; None: no kind that can be read."""
    name = path.lower()
    compression: Compression = "none"
    for suffix, how in _COMPRESSED.items():
        if name.endswith(suffix):
            name, compression = name.removesuffix(suffix), how
    kind = _SUFFIXES.get(PurePosixPath(name).suffix)
    if kind == "sqlite" and compression != "none":
        return None, compression
    return kind, compression


def names_in(tree: Any) -> Names:
    """`tree` is what `json_serialize_sql` gives."""
    files: dict[tuple[str, ...], str] = {}
    databases: dict[str, dict[str, None]] = {}
    readings: list[Reading] = []
    for node in _nodes(tree):
        match node:
            case {"type": "BASE_TABLE", "qualified_name": {"path": [str(name)]}}:
                if kind_of(name)[0]:
                    files[name,] = name
            case {"type": "BASE_TABLE", "qualified_name": {"path": [str(file), *_, str(table)]}}:
                if kind_of(file)[0] == "sqlite":
                    databases.setdefault(file, {})[table] = None
                elif kind_of(f"{file}.{table}")[0]:
                    files[file, table] = f"{file}.{table}"
            case {"type": "TABLE_FUNCTION", "function": {"function_name": str(name)} as call}:
                if _READERS.fullmatch(name.lower()) or name.lower() in _OTHER_READERS:
                    readings += _readings(name.lower(), call.get("arguments") or [])
            case _:
                pass
    tables = {file: list(named) for file, named in databases.items()}
    return Names(files, tables, sorted(readings, key=lambda one: one.start))


def spliced(sql: str, texts: list[tuple[Reading, str]]) -> str:
    """The query with another text in each reading's place; readings in the query's order."""
    data, at, parts = sql.encode(), 0, list[bytes]()
    for reading, text in texts:
        parts += [data[at : reading.start], text.encode()]
        at = reading.end
    return b"".join([*parts, data[at:]]).decode()


def quoted(name: str) -> str:
    """As an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """As a text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def advice_of(sql: str) -> str:
    """For a query that cannot be parsed: what the writer may have meant."""
    found = _LITERAL_DATABASE.search(sql)
    return f"; a SQLite file stands in double quotes: FROM {quoted(found[1])}.…" if found else ""


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, however deep, without recursion."""
    waiting = [tree]
    while waiting:
        item: Any = waiting.pop()
        if isinstance(item, dict):
            node = cast("dict[str, Any]", item)
            yield node
            waiting += list(node.values())
        elif isinstance(item, list):
            waiting += cast("Sequence[Any]", item)


def _readings(function: str, arguments: list[Any]) -> Iterator[Reading]:
    says = "parquet" in function or any(_is_compression(one) for one in arguments[1:])
    match arguments[:1]:
        case [{"expression": {"class": "CONSTANT"} as constant}]:
            yield from _reading(constant, says=says, listed=False)
        case [{"expression": {"function_name": "list_value", "arguments": items}}]:
            for item in items:
                match item:
                    case {"expression": {"class": "CONSTANT"} as constant}:
                        yield from _reading(constant, says=says, listed=True)
                    case _:
                        pass
        case _:
            pass


def _is_compression(argument: Any) -> bool:
    match argument:
        case {"name": str(name)} if name.lower() == "compression":
            return True
        case {"expression": {"left": {"column_names": [str(name)]}}}:
            return name.lower() == "compression"
        case _:
            return False


def _reading(constant: Any, *, says: bool, listed: bool) -> Iterator[Reading]:
    match constant:
        case {
            "literal": {"kind": "STRING", "text": str(text)},
            "query_location": int(start),
            "query_location_length": int(length),
        }:
            yield Reading(text, start, start + length, says, listed)
        case _:
            pass
