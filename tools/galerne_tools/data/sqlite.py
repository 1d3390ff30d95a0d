"""SQLite files, read by Python's own sqlite3 into tables of DuckDB.

    the file, its -wal and -journal, opened under the root ─▶ copied until they held still
        ─▶ opened by SQLite, which takes back what was half written in the copy
        ─▶ each table that is wanted: types by what is in it ─▶ rows into DuckDB

SQLite opens files by path and may write beside them, so it gets a copy: nothing outside the root
is reached by a swapped folder, and whoever writes to the file meanwhile is not disturbed.
"""

import os
import shutil
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from galerne.errors import ToolError
from galerne_tools._root import Root
from galerne_tools.data.names import quoted

MAX_DATABASE = 1024 * 1024 * 1024
"""Bytes of a SQLite file: copied in seconds, and as much as anybody's memory takes in."""

_TRIES = 5
_BATCH = 10_000
_MOST_COLUMNS = 300


class Shape(msgspec.Struct, frozen=True):
    """A table or view: rows, and its columns with the types that they have in DuckDB."""

    name: str
    rows: int
    columns: list[tuple[str, str]]


class Held(NamedTuple):
    """What a column holds, in the order of `_measures`; the last two of all values together."""

    integers: bool
    reals: bool
    texts: bool
    blobs: bool
    no_dates: bool
    no_times: bool


@contextmanager
def opened(root: Root, path: str, scratch: Path) -> Generator[sqlite3.Connection]:
    """The database in the file. Raises ToolError."""
    copy = _copied(root, path, scratch)
    try:
        with closing(sqlite3.connect(copy)) as database:
            database.text_factory = _text
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA query_only = ON")
            yield database
    except sqlite3.Error as error:
        raise ToolError(f"{path} cannot be read as a SQLite database: {error}") from error
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)


def tables_of(database: sqlite3.Connection) -> list[str]:
    """Names of tables and views, sorted."""
    found = database.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in found]


def shape_of(database: sqlite3.Connection, path: str, table: str) -> Shape:
    """Raises ToolError where there is no such table; sqlite3.Error."""
    known = tables_of(database)
    name = next((one for one in known if one.lower() == table.lower()), None)
    if name is None:
        named = ", ".join(known[:50]) or "none"
        raise ToolError(f"{path} has no table {table!r}; its tables are: {named}")
    declared = [
        (column, str(kind or "").upper())
        for _, column, kind, *_ in database.execute(f"PRAGMA table_xinfo({quoted(name)})")
    ]
    if len(declared) > _MOST_COLUMNS:
        raise ToolError(f"{table} has more than {_MOST_COLUMNS} columns, the most that are read")
    measured = [one for column, kind in declared for one in _measures(column, kind)]
    query = f"SELECT {', '.join(['count(*)', *measured])} FROM {quoted(name)}"  # noqa: S608 - quoted
    count, *found = database.execute(query).fetchone()
    columns = [
        (column, type_of(kind, Held(*(bool(one) for one in found[6 * n : 6 * n + 6]))))
        for n, (column, kind) in enumerate(declared)
    ]
    return Shape(name, count, columns)


def type_of(declared: str, held: Held) -> str:
    """DuckDB's type for a column that holds such values; a column of SQLite may hold any. Pure."""
    match held:
        case Held(integers=False, reals=False, texts=False, blobs=False):
            return _of_declared(declared)
        case Held(reals=False, texts=False, blobs=False):
            return "BIGINT"
        case Held(texts=False, blobs=False):
            return "DOUBLE"
        case Held(integers=False, reals=False, texts=False):
            return "BLOB"
        case Held(integers=False, reals=False, blobs=False, no_dates=False):
            return "DATE"
        case Held(integers=False, reals=False, blobs=False, no_times=False):
            return "TIMESTAMP"
        case _:
            return "VARCHAR"


def load(
    database: sqlite3.Connection, shape: Shape, duck: Any, target: str, most: int | None = None
) -> None:
    """Put the table's rows (the first `most`) into a new table of DuckDB, `target`, as quoted."""
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in shape.columns)
    duck.execute(f"CREATE TABLE {target} ({columns})")
    named = ", ".join(quoted(name) for name, _ in shape.columns)
    limit = "" if most is None else f" LIMIT {most}"
    rows = database.execute(f"SELECT {named} FROM {quoted(shape.name)}{limit}")  # noqa: S608 - quoted
    given = ", ".join(f"unnest(?::{_sent(kind)}[])::{kind}" for _, kind in shape.columns)
    while batch := rows.fetchmany(_BATCH):
        lists = [
            [_as(value, kind) for value in values]
            for values, (_, kind) in zip(zip(*batch, strict=True), shape.columns, strict=True)
        ]
        duck.execute(f"INSERT INTO {target} SELECT {given}", lists)


def _copied(root: Root, path: str, scratch: Path) -> Path:
    """A copy of the file, in a folder of its own, as it was at one moment. Raises ToolError."""
    folder = scratch / f"{len(list(scratch.iterdir()))}"
    folder.mkdir()
    for _ in range(_TRIES):
        before = _states(root, path)
        for suffix, state in before.items():
            if state is not None:
                with root.open(path + suffix) as source, (folder / f"db{suffix}").open("wb") as to:
                    _copy(source, to, path)
        if _states(root, path) == before:
            return folder / "db"
        shutil.rmtree(folder)
        folder.mkdir()
    raise ToolError(f"{path} is being written to just now; try again in a while")


def _states(root: Root, path: str) -> dict[str, tuple[int, int, int] | None]:
    """Of the file and what SQLite may keep beside it: which file, how large, when changed."""
    states: dict[str, tuple[int, int, int] | None] = {}
    for suffix in ("", "-wal", "-journal"):
        try:
            with root.open(path + suffix) as file:
                info = os.fstat(file.fileno())
        except ToolError:
            if not suffix:
                raise
            states[suffix] = None
        else:
            known = (info.st_ino, info.st_size, info.st_mtime_ns)
            states[suffix] = known if info.st_size or not suffix else None
    return states


def _copy(source: Any, to: Any, path: str) -> None:
    size = os.fstat(source.fileno()).st_size
    if size > MAX_DATABASE:
        raise ToolError(f"{path} is larger than {MAX_DATABASE >> 20} MB, the most for SQLite")
    shutil.copyfileobj(source, to, 1024 * 1024)


def _measures(column: str, declared: str) -> Iterable[str]:
    name = quoted(column)
    for kind in ("integer", "real", "text", "blob"):
        yield f"max(typeof({name}) = '{kind}')"
    is_time = "DATE" in declared or "TIME" in declared
    for function in ("date", "datetime"):
        yield f"max({function}({name}) IS NOT {name})" if is_time else "1"


def _of_declared(declared: str) -> str:
    """By the rules of SQLite's affinities, for a column that is empty."""
    if "INT" in declared:
        return "BIGINT"
    if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")):
        return "DOUBLE"
    return "BLOB" if "BLOB" in declared else "VARCHAR"


def _sent(kind: str) -> str:
    return "VARCHAR" if kind in {"DATE", "TIMESTAMP"} else kind


def _as(value: Any, kind: str) -> Any:
    match value, kind:
        case None, _:
            return None
        case bytes(), "VARCHAR":
            return _text(value)
        case ((int() | float()), "VARCHAR"):
            return str(value)
        case int(), "DOUBLE":
            return float(value)
        case _:
            return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
