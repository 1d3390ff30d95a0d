"""The tools `query_data` and `describe_data`: what a model is told of them."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool, tool
from galerne_tools._root import Root
from galerne_tools.data.orders import Describe, Order, Query, Rows, Table
from galerne_tools.data.running import START, rows_of, tables_of
from galerne_tools.data.sources import DESCRIPTORS

MAX_SQL = 20_000
"""Characters of a query."""

DataPath = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


def tools(settings: ToolSettings) -> list[AnyTool]:
    """Both, where `tools.data.enabled` says so; else none.

    Raises InvalidSettingsError where the root or the extra is missing.
    """
    if not settings.data.enabled:
        return []
    if find_spec("duckdb") is None:
        raise InvalidSettingsError("tools.data.enabled needs an extra: pip install 'galerne[data]'")
    if not Path(DESCRIPTORS).is_dir():
        raise InvalidSettingsError(f"tools.data.enabled: there is no {DESCRIPTORS} on this system")
    Root(settings.root)
    data = settings.data
    most = data.rows
    order = Order(
        root=os.path.realpath(settings.root),
        seconds=data.seconds,
        memory=data.memory,
        threads=data.threads,
        output=data.output,
    )

    async def describe_data(path: DataPath = ".") -> list[Table]:
        """Show tables in data files (CSV, JSON, Parquet, SQLite): columns, types, first rows.

        Call it before query_data: `table` is what to write after FROM there.

        Args:
            path: A file, a pattern such as sales/*.csv, or a folder, from the root folder.
        """
        return await tables_of(Describe(order, path))

    async def query_data(
        sql: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SQL)],
        max_rows: Annotated[int, msgspec.Meta(ge=1, le=most)] = min(100, most),
    ) -> Rows:
        """Run one SELECT of DuckDB's SQL over data files: FROM 'sales/may.csv', FROM 'sales/*.csv',
        FROM "shop.sqlite".orders. Nothing is written.

        Args:
            sql: The query. describe_data shows the names of tables and columns.
            max_rows: Give at most so many rows.
        """
        return await rows_of(Query(order, sql, max_rows))

    pure = tool(effect="pure", timeout=data.seconds + START + 5, concurrency=data.concurrency)
    return [pure(describe_data), pure(query_data)]
