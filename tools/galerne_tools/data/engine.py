"""One call over a DuckDB of its own, which is locked before it sees the SQL.

What it may read is a list of descriptors; whatever else a query tries (other files, the network,
extensions, settings) DuckDB refuses. Only one statement is run, and only one that selects: it is
what DuckDB can write down as a tree.
"""

from collections.abc import Generator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from galerne.errors import ToolError
from galerne_tools._root import Root
from galerne_tools.data.names import (
    KINDS,
    Names,
    advice_of,
    kind_of,
    literal,
    names_in,
    quoted,
    spliced,
)
from galerne_tools.data.orders import Describe, Order, Query, Rows, Table
from galerne_tools.data.sources import Sources
from galerne_tools.data.values import columns_of, exact_type, json_value

MAX_TABLES = 50
"""Tables in one description."""

_SAMPLE = 3
_LONG_SAMPLE = 100
_BATCH = 100
_MAX_WORDS = 700
_START = (
    "SET temp_directory = ''",
    "SET autoload_known_extensions = false",
    "SET autoinstall_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET python_enable_replacements = false",
    "SET enable_external_file_cache = false",
    "SET TimeZone = 'UTC'",
)


def query(asked: Query) -> Rows:
    """Raises ToolError, one line that says what is wrong with the SQL or a file."""
    with _opened(asked.order) as (duck, sources):
        names = _names(duck, asked.sql)
        readers = {name: sources.reader(path) for name, path in names.files.items()}
        texts = [(reading, sources.argument(reading)) for reading in names.readings]
        for path, wanted in names.databases.items():
            sources.tables(path, wanted, duck, None)
        lock(duck, sources)
        for name, reader in readers.items():
            _make_view(duck, name, reader)
        return _rows(duck, spliced(asked.sql, texts), asked.rows, asked.order.output)


def describe(asked: Describe) -> list[Table]:
    """Of a file, of a pattern's files, or of all data files in a folder. Raises ToolError."""
    with _opened(asked.order) as (duck, sources):
        return [
            table
            for path in _data_files(Root(asked.order.root), asked.path)
            for table in _described(duck, sources, path, asked.order.output)
        ]


def connected(order: Order) -> Any:
    """A DuckDB in memory, limited, and not yet locked."""
    duck = import_module("duckdb").connect(":memory:")
    for statement in (
        *_START,
        f"SET memory_limit = '{order.memory}B'",
        f"SET threads = {order.threads}",
    ):
        duck.execute(statement)
    return duck


def lock(duck: Any, sources: Sources) -> None:
    """From here on DuckDB reads the sources, and nothing else; this cannot be taken back."""
    allowed = ", ".join(literal(place) for place in sources.allowed)
    duck.execute(f"SET allowed_paths = [{allowed}]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")


@contextmanager
def _opened(order: Order) -> Generator[tuple[Any, Sources]]:
    """Both, closed at the end; DuckDB's errors are mapped here."""
    with Sources(Root(order.root), Path(order.scratch)) as sources:
        try:
            with closing(connected(order)) as duck:
                yield duck, sources
        except import_module("duckdb").Error as error:
            raise ToolError(_readable(error, sources)) from error


def _names(duck: Any, sql: str) -> Names:
    tree = duck.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
    match msgspec.json.decode(tree):
        case {"error": True, "error_type": "not implemented"}:
            raise ToolError(
                "only SELECT can be run here: files are read and never changed; one statement that"
                " begins with SELECT, WITH or FROM"
            )
        case {"error": True, "error_message": message, **rest}:
            raise ToolError(f"{message}{_near(sql, rest.get('position'))}{advice_of(sql)}")
        case {"statements": [statement]}:
            return names_in(statement)
        case _:
            raise ToolError("give one SELECT, not several statements or none")


def _near(sql: str, position: Any) -> str:
    at = int(position) if str(position).isdigit() else None
    rest = "" if at is None else sql.encode()[at : at + 60].decode("utf-8", "ignore")
    return f", before: {rest}" if rest else ""


def _make_view(duck: Any, name: tuple[str, ...], reader: str) -> None:
    for schema in name[:-1]:
        duck.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    named = ".".join(map(quoted, name))
    duck.execute(f"CREATE VIEW {named} AS SELECT * FROM {reader}")  # noqa: S608 - quoted


def _rows(duck: Any, sql: str, most: int, room: int) -> Rows:
    """So many rows at most, of so many bytes together. Raises ToolError, and DuckDB's errors."""
    relation = duck.sql(sql)
    columns = columns_of(relation.columns, relation.types)
    exact = ", ".join(
        f"CAST(#{n} AS {exact_type(kind)}) AS {quoted(column.name)}"
        for n, (column, kind) in enumerate(zip(columns, relation.types, strict=True), 1)
    )
    result = duck.execute(f"SELECT {exact} FROM {_within(sql)}")  # noqa: S608 - quoted
    names = [column.name for column in columns]
    rows: list[dict[str, Any]] = []
    while batch := result.fetchmany(_BATCH):
        for values in batch:
            row = dict(zip(names, map(json_value, values), strict=True))
            room -= len(msgspec.json.encode(row))
            if len(rows) == most or (room < 0 and rows):
                return Rows(columns, rows, _more(len(rows), most))
            if room < 0:
                raise ToolError("one row is too large; select fewer columns, or substr(text, 1, n)")
            rows.append(row)
    return Rows(columns, rows)


def _within(sql: str) -> str:
    """The query as what another selects from: `query()`, which loses what DESCRIBE says."""
    statement = sql.strip().rstrip(";")
    tells = statement.partition(" ")[0].upper() in {"DESCRIBE", "SUMMARIZE", "SHOW", "DESC"}
    return f"(\n{statement}\n)" if tells else f"query({literal(sql)})"


def _more(given: int, most: int) -> str:
    why = f"only the first {given} rows" if given == most else f"only {given} rows had room"
    return f"{why}, there are more: aggregate or filter in SQL, or page with ORDER BY … OFFSET"


def _data_files(root: Root, path: str) -> list[str]:
    """The files to describe. Raises ToolError."""
    kind, _ = kind_of(path)
    if kind is not None:
        return [path]
    found = [one.path for one in root.walk(path) if kind_of(one.path)[0] and _is_data(one.name)]
    if not found:
        raise ToolError(f"there is no data file in {path} (read are {KINDS}); list_files shows all")
    if len(found) > MAX_TABLES:
        raise ToolError(
            f"there are {len(found)} data files in {path}; describe one of its folders, one file,"
            f" or a pattern, such as {found[0]}"
        )
    return found


def _is_data(name: str) -> bool:
    """Text files are seldom tables, so one is looked at only where it is named."""
    return not name.lower().endswith((".txt", ".txt.gz", ".txt.zst"))


def _described(duck: Any, sources: Sources, path: str, room: int) -> list[Table]:
    if kind_of(path)[0] != "sqlite":
        source = sources.reader(path)
        count: int = duck.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]  # noqa: S608
        return [_table(duck, literal(path), source, room, count)]
    names = sources.tables(path, None, duck, _SAMPLE)
    return [_table(duck, name, name, room, sources.rows[name]) for name in names[:MAX_TABLES]]


def _table(duck: Any, name: str, source: str, room: int, count: int) -> Table:
    sample = _rows(duck, f"SELECT * FROM {source} LIMIT {_SAMPLE}", _SAMPLE, room)  # noqa: S608
    rows = [{column: _short(value) for column, value in row.items()} for row in sample.rows]
    return Table(name, count, sample.columns, rows)


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return value if len(text) <= _LONG_SAMPLE else f"{text[:_LONG_SAMPLE]}…"


def _readable(error: BaseException, sources: Sources) -> str:
    """DuckDB's words without the drawing under them, and with the files' own names."""
    words = sources.readable(str(error)).partition("\n\nLINE ")[0]
    line = " ".join(words.split())
    if "file system operations are disabled" in line:
        return (
            "only files under the root folder can be read, named in the SQL itself, as in"
            " FROM 'folder/file.csv'"
        )
    if "Out of Memory" in line:
        return "this takes too much memory; select fewer columns or rows, or aggregate sooner"
    if "Table with name" in line:
        line = f"{line.partition('! Did you mean')[0].rstrip('.')}; a file is named 'folder/a.csv'"
    line = line.partition(", but it exists in the")[0]
    return line[:_MAX_WORDS]
