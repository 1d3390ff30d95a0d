"""A SQLite file's tables, copied into the database of a query.

DuckDB reads SQLite by an extension that it would have to fetch, so Python's own library reads the
file: as bytes in memory, which no link and no writer can change while it is read.
"""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

import msgspec

from galerne.errors import ToolError
from galerne_tools._root import Root, check_wanted
from galerne_tools.data.engine import Database
from galerne_tools.data.names import quoted

MAGIC = b"SQLite format 3\0"
_VERSIONS = slice(18, 20)
"""Of the header: 2 and 2 say that the log of changes stands beside the file, 1 and 1 that none."""
_PIECE = 5_000


class Shape(msgspec.Struct, frozen=True):
    """A table's columns, each with DuckDB's type for what is in it, and its rows' number."""

    columns: dict[str, str]
    rows: int


@contextmanager
def opened(root: Root, path: str, file: BinaryIO, most: int) -> Generator[sqlite3.Connection]:
    """The file in memory. Raises ToolError for one that is too large, broken, or being written."""
    _check_quiet(root, path)
    data = bytearray(file.read(most + 1))
    if len(data) > most:
        raise ToolError(f"{path} is larger than {most >> 20} MB, the most for a SQLite file")
    data[_VERSIONS] = b"\x01\x01"
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        with _explained(path):
            connection.deserialize(bytes(data))
            connection.text_factory = _text
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(_go_on, 10_000)
        yield connection


def tables_of(connection: sqlite3.Connection, path: str) -> list[str]:
    with _explained(path):
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        ).fetchall()
    return [str(name) for (name,) in found]


def shape_of(connection: sqlite3.Connection, path: str, table: str) -> Shape:
    with _explained(path):
        described = connection.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description  # noqa: S608 - as above
        names = [str(column[0]) for column in described]
        counts = [f"sum(typeof({quoted(name)}) = '{kind}')" for name in names for kind in _KINDS]
        listed = ", ".join(["count(*)", *counts])
        rows, *kinds = connection.execute(f"SELECT {listed} FROM {quoted(table)}").fetchone()  # noqa: S608 - as above
    each = len(_KINDS)
    columns = {
        name: _type([bool(one) for one in kinds[n * each : (n + 1) * each]])
        for n, name in enumerate(names)
    }
    return Shape(columns, int(rows))


def copied(
    database: Database, connection: sqlite3.Connection, path: str, table: str, target: str
) -> Shape:
    """Make `target`, a table as SQL writes it, of a table of the file."""
    shape = shape_of(connection, path, table)
    fields = ", ".join(f"{quoted(name)} {kind}" for name, kind in shape.columns.items())
    database.execute(f"CREATE TABLE {target} ({fields})")
    lists = ", ".join(f"unnest(?::{kind}[])" for kind in shape.columns.values())
    casts = [_CASTS.get(kind, _same) for kind in shape.columns.values()]
    with _explained(path):
        cursor = connection.execute(f"SELECT * FROM {quoted(table)}")  # noqa: S608 - as above
        while rows := cursor.fetchmany(_PIECE):
            check_wanted()
            database.execute(f"INSERT INTO {target} SELECT {lists}", _columns(rows, casts))
    return shape


def _check_quiet(root: Root, path: str) -> None:
    try:
        with root.open(f"{path}-wal") as log:
            waiting = bool(log.read(1))
    except ToolError:
        return
    if waiting:
        raise ToolError(
            f"{path} is open in another program, whose last changes stand in {path}-wal: close that"
            " program, or run PRAGMA wal_checkpoint(TRUNCATE) in it"
        )


def _columns(
    rows: Sequence[Sequence[Any]], casts: Sequence[Callable[[Any], Any]]
) -> list[list[Any]]:
    return [
        [None if row[n] is None else cast(row[n]) for row in rows] for n, cast in enumerate(casts)
    ]


_KINDS = ("integer", "real", "text", "blob")


def _type(there: Sequence[bool]) -> str:
    """The narrowest type that takes every value of a column; a column of SQLite has none itself."""
    match tuple(there):
        case (True, False, False, False):
            return "BIGINT"
        case (_, True, False, False):
            return "DOUBLE"
        case (False, False, False, True):
            return "BLOB"
        case _:
            return "VARCHAR"


def _same(value: Any) -> Any:
    return value


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


_CASTS: dict[str, Callable[[Any], Any]] = {"VARCHAR": _as_text, "DOUBLE": float}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _go_on() -> int:
    """Called by SQLite in long queries."""
    check_wanted()
    return 0


@contextmanager
def _explained(path: str) -> Generator[None]:
    """The one place that maps SQLite's errors to ours."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise ToolError(f"{path} cannot be read as SQLite: {error}") from error
