"""A database in memory for one query: it may open the descriptors it is given and nothing else.

The settings of the connection are the walls: no file system, no extensions, no variables of this
process, a limit on memory, and a lock on all of them before a model's SQL is run. Only a SELECT
comes this far. A query whose call is given up is interrupted.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread

from galerne.errors import InvalidSettingsError, ToolError
from galerne.settings import DataSettings
from galerne_tools.data.names import text

T = TypeVar("T")

_WALLS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # else a SELECT reads this process's own variables
    "temp_directory": "",
}
_PIECE = 100
_LONGEST = 600
"""Characters of an error, which shows the place in the query, and of a column's name, which may
be a whole value."""


class Connection(Protocol):
    """What is used of DuckDB's connection, which has no types of its own."""

    description: Sequence[Sequence[Any]] | None

    def execute(self, query: str, parameters: Any = None) -> Any: ...
    def fetchmany(self, size: int) -> list[tuple[Any, ...]]: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


class Database:
    """One query's database. Every method raises ToolError, one line for the model."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def serialized(self, sql: str) -> str:
        """The tree of a SELECT, or of an error, as JSON."""
        with _explained():
            self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql])
            return str(self._connection.fetchmany(1)[0][0])

    def allow(self, paths: Sequence[str]) -> None:
        """From now on these paths can be opened, no other, and no setting can be changed."""
        listed = ", ".join(map(text, paths))
        with _explained():
            self._connection.execute(f"SET allowed_paths = [{listed}]")
            self._connection.execute("SET enable_external_access = false")
            self._connection.execute("SET lock_configuration = true")

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> None:
        with _explained():
            self._connection.execute(sql, parameters)

    def columns(self) -> list[str]:
        """The names of the columns of what was executed last, without the end of long ones."""
        names = [str(one[0]) for one in self._connection.description or ()]
        return [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…" for name in names]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Of what was executed last."""
        while True:
            with _explained():
                piece = self._connection.fetchmany(_PIECE)
            if not piece:
                return
            yield from piece


async def in_database(settings: DataSettings, work: Callable[[Database], T]) -> T:
    """Do `work` in a thread with a database of its own; a cancelled call ends its query."""
    connection = _connect(settings)

    def run() -> T:
        try:
            return work(Database(connection))
        finally:
            connection.close()

    try:
        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        connection.interrupt()
        raise


def _connect(settings: DataSettings) -> Connection:
    limits = {"memory_limit": f"{settings.memory}B", "threads": str(settings.threads)}
    connection: Connection = _library().connect(":memory:", config=_WALLS | limits)
    return connection


def check_library() -> None:
    """Raises InvalidSettingsError where DuckDB is not installed."""
    try:
        _library()
    except ImportError as error:
        raise InvalidSettingsError(
            "tools.data.enabled needs an extra: pip install 'galerne[data]'"
        ) from error


def _library() -> Any:
    return import_module("duckdb")  # late: 60 MB that most workers never need


@contextmanager
def _explained() -> Generator[None]:
    """The one place that maps DuckDB's errors to ours."""
    try:
        yield
    except _library().Error as error:
        raise ToolError(_sentence(str(error))) from error


def _sentence(said: str) -> str:
    """One line, without the advice for people who could change settings."""
    if "Interrupted" in said or "INTERRUPT" in said:
        return "the query was interrupted"
    if "Out of Memory" in said:
        return "the query needs more memory than it may have; read fewer columns or rows"
    if "Permission Error" in said:
        return (
            "a query reads the files that it names in FROM, as in FROM 'sales.csv', and nothing"
            " else: functions that open files, settings and extensions are not there"
        )
    line = " ".join(said.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
