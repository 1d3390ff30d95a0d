"""The tools that ask files by SQL, where `[tools.data]` switches them on."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

import msgspec

from galerne.errors import ToolError
from galerne.settings import DataSettings, ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root, check_wanted
from galerne_tools.data import sqlite
from galerne_tools.data.engine import Database, check_library, in_database
from galerne_tools.data.names import MAX_SQL, TableName, quoted, tables_in, text
from galerne_tools.data.sources import Source, Sources, reader
from galerne_tools.data.values import plain

SAMPLE = 3
"""Rows of each table that `describe_data` shows."""
MAX_TABLES = 50
MAX_ANSWER = 100_000
"""Characters of all rows, about; what is larger no model could read."""


class Rows(msgspec.Struct, frozen=True):
    """`more`: there are further rows that were not asked for, or were too many."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool


class Table(msgspec.Struct, frozen=True):
    """`name` is as FROM takes it; `columns` are `name TYPE`; `sample` are its first rows."""

    name: str
    columns: list[str]
    rows: int
    sample: list[list[Any]]


class DataTools:
    """The tools as plain methods over one root."""

    def __init__(self, root: Root, settings: DataSettings) -> None:
        self._root = root
        self._settings = settings

    async def query_data(
        self,
        sql: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SQL)],
        max_rows: Annotated[int, msgspec.Meta(ge=1)] = 100,
    ) -> Rows:
        """Ask files by SQL (DuckDB's): CSV, JSON, Parquet, SQLite. Files are only read.

        Args:
            sql: One SELECT. A file stands in single quotes in FROM: FROM 'data/sales.csv', many as
                FROM 'logs/*.csv', a table of SQLite as FROM "shop.db".orders.
            max_rows: How many rows to give; aggregate in SQL instead of asking for many.
        """
        most = min(max_rows, self._settings.rows)

        def work(database: Database) -> Rows:
            names = tables_in(database.serialized(sql))
            with ExitStack() as stack:
                sources = Sources(self._root, self._settings, stack)
                sources.provide(database, names)
                try:
                    database.execute(sql)
                except ToolError as error:
                    raise _better(error, names, sources) from error
                return _rows(database, most)

        return await in_database(self._settings, work)

    async def describe_data(self, path: str) -> list[Table]:
        """Tell the columns, the number of rows and the first rows of a file that has tables.

        Args:
            path: A CSV, JSON, Parquet or SQLite file, from the root folder, or a pattern of files.
        """

        def work(database: Database) -> list[Table]:
            with ExitStack() as stack:
                sources = Sources(self._root, self._settings, stack)
                source = sources.open(path)
                database.allow(source.descriptors)
                if source.form == "sqlite":
                    return list(_of_sqlite(database, sources, source))
                database.execute(f"CREATE VIEW described AS SELECT * FROM {reader(source)}")  # noqa: S608 - paths are our own
                return [_described(database, text(path))]

        return await in_database(self._settings, work)


def tools(settings: ToolSettings) -> list[AnyTool]:
    """The tools over `settings.root`; none where `settings.data` is off.

    Raises InvalidSettingsError where DuckDB is not installed, or the root is not a folder.
    """
    data = settings.data
    if not data.enabled:
        return []
    check_library()
    asked = DataTools(Root(settings.root), data)
    pure = tool(effect="pure", timeout=data.seconds, concurrency=data.concurrency)
    return [pure(asked.describe_data), pure(asked.query_data)]


def _rows(database: Database, most: int) -> Rows:
    kept: list[list[Any]] = []
    size = 0
    for row in database.rows():
        check_wanted()
        shown = [plain(value) for value in row]
        size += len(str(shown))
        if len(kept) == most or (kept and size > MAX_ANSWER):
            return Rows(database.columns(), kept, more=True)
        kept.append(shown)
    return Rows(database.columns(), kept, more=False)


def _described(database: Database, name: str) -> Table:
    database.execute("DESCRIBE described")
    columns = [f"{row[0]} {row[1]}"[:300] for row in database.rows()]
    database.execute("SELECT count(*) FROM described")
    ((count,),) = database.rows()
    database.execute(f"SELECT * FROM described LIMIT {SAMPLE}")  # noqa: S608 - a number
    sample = [[plain(value) for value in row] for row in database.rows()]
    return Table(name, columns, int(count), sample)


def _of_sqlite(database: Database, sources: Sources, source: Source) -> Iterable[Table]:
    connection = sources.sqlite(source)
    for table in sqlite.tables_of(connection, source.path)[:MAX_TABLES]:
        shape = sqlite.copied(database, connection, source.path, table, "described")
        database.execute(f"SELECT * FROM described LIMIT {SAMPLE}")  # noqa: S608 - a number
        sample = [[plain(value) for value in row] for row in database.rows()]
        database.execute("DROP TABLE described")
        name = f"{quoted(source.path)}.{quoted(table)}"
        columns = [f"{column} {kind}" for column, kind in shape.columns.items()]
        yield Table(name, columns, shape.rows, sample)


def _better(error: ToolError, names: Sequence[TableName], sources: Sources) -> ToolError:
    """DuckDB does not know what files there are: that is what a model needs to hear."""
    if "does not exist" not in str(error):
        return error
    for name in names:
        if name.table in str(error) and (why := sources.why_missing(name)):
            return ToolError(f"{why}; a file stands in quotes in FROM, as in FROM 'data/sales.csv'")
    return error
