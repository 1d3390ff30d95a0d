"""The files that a query names, each as a view or a table of its database.

    'sales.csv'            a view of the file          'logs/*.csv'   one view of all that match
    "shop.db".orders       a table of a SQLite file    sales.csv      as 'sales.csv', unquoted

All files are opened first; then the database is closed to everything else, and the views are made.
A name that is no file is left to the database: it may be a part of the query itself.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from sqlite3 import Connection
from typing import BinaryIO, Literal

import msgspec

from galerne.errors import ToolError
from galerne.settings import DataSettings
from galerne_tools._root import Root
from galerne_tools.data import sqlite
from galerne_tools.data.engine import Database
from galerne_tools.data.names import TableName, quoted, text
from galerne_tools.files import Pattern

Form = Literal["csv", "json", "parquet", "sqlite"]

MAX_FILES = 500
"""That one pattern may stand for."""

_SUFFIXES: dict[str, Form] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson"), "json"),
    ".parquet": "parquet",
}
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_READERS: dict[Form, str] = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}
_HEAD = 512


class Source(msgspec.Struct, frozen=True):
    """Open files of one form: `descriptors` are the paths by which the database opens them."""

    path: str
    form: Form
    descriptors: tuple[str, ...]
    compression: str
    file: BinaryIO


class Sources:
    """The files of one query; they are closed with the stack."""

    def __init__(self, root: Root, settings: DataSettings, stack: ExitStack) -> None:
        self._root = root
        self._most = settings.memory // 4
        self._stack = stack

    def provide(self, database: Database, names: Iterable[TableName]) -> None:
        """Make each name that is a file a view or a table of the database. Raises ToolError."""
        found = [(name, source) for name in names if (source := self._source(name)) is not None]
        database.allow([one for _, source in found for one in source.descriptors])
        for name, source in found:
            if name.schema:
                database.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name.schema)}")
            target = ".".join(quoted(part) for part in (name.schema, name.table) if part)
            if source.form == "sqlite":
                self._copy(database, source, name, target)
            else:
                database.execute(f"CREATE VIEW {target} AS SELECT * FROM {reader(source)}")  # noqa: S608 - paths are our own

    def open(self, path: str) -> Source:
        """One file, or all that a pattern matches. Raises ToolError."""
        paths = self._matching(path) if set(path) & set("*?[") else [path]
        files = [self._stack.enter_context(self._root.open(one)) for one in paths]
        forms: set[tuple[Form, str]] = {
            (_form(one, file), _compression(one)) for one, file in zip(paths, files, strict=True)
        }
        if len(forms) > 1:
            raise ToolError(f"{path} matches files of several forms; name those of one")
        (form, compression), *_ = forms
        if form == "sqlite" and len(files) > 1:
            raise ToolError(f"{path} matches several SQLite files; name one")
        descriptors = tuple(f"/proc/self/fd/{file.fileno()}" for file in files)
        return Source(path, form, descriptors if form != "sqlite" else (), compression, files[0])

    def sqlite(self, source: Source) -> Connection:
        """Closed with the stack. Raises ToolError."""
        return self._stack.enter_context(
            sqlite.opened(self._root, source.path, source.file, self._most)
        )

    def why_missing(self, name: TableName) -> str:
        """What there is instead of a file that is not there; empty where there is one."""
        try:
            with self._root.open(name.path):
                return ""
        except ToolError as error:
            return str(error)

    def _source(self, name: TableName) -> Source | None:
        if name.is_path:
            return self.open(name.table)
        if name.schema and self._is_there(name.schema):
            return self.open(name.schema)
        return self.open(name.path) if self._is_there(name.path) else None

    def _is_there(self, path: str) -> bool:
        try:
            with self._root.open(path):
                return True
        except ToolError:
            return False

    def _matching(self, pattern: str) -> list[str]:
        parts = PurePosixPath(pattern).parts
        first = next((n for n, part in enumerate(parts) if set(part) & set("*?[")), 0)
        folder, rest = "/".join(parts[:first]) or ".", "/".join(parts[first:])
        wanted = Pattern(rest if "/" in rest else f"./{rest}")
        found: list[str] = []
        for one in self._root.walk(folder, wanted.literals):
            if wanted.matches(one.inside) and ("/" in rest or "/" not in one.inside):
                found.append(one.path)
            if len(found) > MAX_FILES:
                raise ToolError(f"{pattern} matches more than {MAX_FILES} files; narrow it")
        if not found:
            raise ToolError(f"no file matches {pattern}; list_files shows what there is")
        return found

    def _copy(self, database: Database, source: Source, name: TableName, target: str) -> None:
        connection = self.sqlite(source)
        there = sqlite.tables_of(connection, source.path)
        lower = {table.lower(): table for table in there}
        wanted = name.table.lower() if name.schema else next(iter(lower), "")
        if wanted not in lower or (not name.schema and len(there) > 1):
            forms = ", ".join(f"{quoted(source.path)}.{quoted(table)}" for table in there[:20])
            raise ToolError(f"{source.path} is a SQLite file: write FROM {forms or 'nothing'}")
        sqlite.copied(database, connection, source.path, lower[wanted], target)


def reader(source: Source) -> str:
    """The call that reads the files of a source."""
    listed = f"[{', '.join(map(text, source.descriptors))}]"
    options = [listed]
    if source.form != "parquet":
        options.append(f"compression = {text(source.compression)}")
    if len(source.descriptors) > 1:
        options.append("union_by_name = true")
    return f"{_READERS[source.form]}({', '.join(options)})"


def _form(path: str, file: BinaryIO) -> Form:
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith(sqlite.MAGIC):
        return "sqlite"
    if head.startswith(b"PAR1"):
        return "parquet"
    suffixes: Sequence[str] = [one.lower() for one in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes = suffixes[:-1]
    named = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if named is None:
        raise ToolError(
            f"{path} is no table: CSV (.csv, .tsv, .txt), JSON (.json, .jsonl, .ndjson), each also"
            " with .gz or .zst, Parquet and SQLite are"
        )
    return named


def _compression(path: str) -> str:
    return _COMPRESSED.get(PurePosixPath(path).suffix.lower(), "none")
