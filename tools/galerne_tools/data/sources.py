"""The files that a query names, opened under the root and known to DuckDB as descriptors."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

from galerne.errors import ToolError
from galerne_tools._root import Root
from galerne_tools.data import sqlite
from galerne_tools.data.names import KINDS, Compression, Kind, Reading, kind_of, literal, quoted
from galerne_tools.files import Pattern

MAX_FILES = 200
"""Files that one query reads: a descriptor each."""

DESCRIPTORS = "/proc/self/fd"
"""Where a process finds its open files by number; opened there, each has a place of its own."""

_READER = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}


class Sources:
    """Opens files while it is open itself; closing it closes them."""

    def __init__(self, root: Root, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._stack = ExitStack()
        self._named: dict[str, str] = {}
        self.rows: dict[str, int] = {}
        """Rows of each table of a SQLite file, also of those that are not loaded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def allowed(self) -> list[str]:
        """Paths that DuckDB may read: the descriptors."""
        return list(self._named)

    def reader(self, path: str) -> str:
        """The call that reads a file, or all files of a pattern, as a table. Raises ToolError."""
        kind, compression, places = self._opened(path)
        if kind == "sqlite":
            raise ToolError(f"{path} is a SQLite file; name a table in it: {self._tables(path)}")
        options = "" if kind == "parquet" else f", compression={literal(compression)}"
        options += ", union_by_name=true" if len(places) > 1 else ""
        listed = ", ".join(literal(place) for place in places)
        return f"{_READER[kind]}([{listed}]{options})"

    def argument(self, reading: Reading) -> str:
        """What stands in a reader's call in the path's place. Raises ToolError."""
        _, compression, places = self._opened(reading.path)
        listed = ", ".join(literal(place) for place in places)
        if reading.listed:
            return listed
        named = f"[{listed}]" if len(places) > 1 else listed
        return named if reading.compression else f"{named}, compression={literal(compression)}"

    def tables(self, path: str, wanted: list[str] | None, duck: Any, most: int | None) -> list[str]:
        """Load tables of a SQLite file (None: all) into DuckDB; their names, as quoted there.

        With `most`, only that many rows of each. Raises ToolError.
        """
        with sqlite.opened(self._root, path, self._scratch) as database:
            names = sqlite.tables_of(database) if wanted is None else wanted
            duck.execute(f"ATTACH ':memory:' AS {quoted(path)}")
            loaded: dict[str, str] = {}
            for name in names:
                shape = sqlite.shape_of(database, path, name)
                target = f"{quoted(path)}.{quoted(shape.name)}"
                if shape.name not in loaded:
                    sqlite.load(database, shape, duck, target, most)
                loaded[shape.name], self.rows[target] = target, shape.rows
        return list(loaded.values())

    def readable(self, message: str) -> str:
        """A message of DuckDB's, with the files' own names."""
        for place, path in sorted(self._named.items(), key=lambda one: -len(one[0])):
            message = message.replace(place, path)
        return message

    def _tables(self, path: str) -> str:
        with sqlite.opened(self._root, path, self._scratch) as database:
            names = sqlite.tables_of(database)[:20]
        named = (f"FROM {quoted(path)}.{quoted(name)}" for name in names)
        return ", ".join(named) or "it has none"

    def _opened(self, path: str) -> tuple[Kind, Compression, list[str]]:
        """What kind of files these are, and the descriptors' paths. Raises ToolError."""
        kind, compression = kind_of(path)
        if kind is None:
            raise ToolError(f"{path} is no data file by its name; read are {KINDS}, and .gz, .zst")
        if not set(path) & set("*?["):
            file = self._stack.enter_context(self._root.open(path))
            return kind, compression, [self._place(file, path)]
        places = self._matching(path)
        if not places:
            raise ToolError(f"no file matches {path}; list_files shows what there is")
        return kind, compression, places

    def _matching(self, path: str) -> list[str]:
        pattern = Pattern(path)
        places: list[str] = []
        for found in self._root.walk(".", pattern.literals):
            if not pattern.matches(found.inside):
                continue
            if len(places) == MAX_FILES:
                raise ToolError(f"more than {MAX_FILES} files match {path}; give a narrower one")
            places.append(self._place(self._stack.enter_context(found.open()), found.path))
        return places

    def _place(self, file: BinaryIO, path: str) -> str:
        place = f"{DESCRIPTORS}/{file.fileno()}"
        self._named[place] = path
        return place
