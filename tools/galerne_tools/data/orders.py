"""What a worker tells the process that reads, and what it answers: one JSON value each way."""

from typing import Any

import msgspec


class Order(msgspec.Struct, frozen=True):
    """Limits for one call, over the folder `root`; sizes in bytes.

    `scratch` is an empty folder for copies of SQLite files; whoever starts the process makes it.
    """

    root: str
    seconds: float
    memory: int
    threads: int
    output: int
    scratch: str = ""


class Query(msgspec.Struct, frozen=True, tag="query"):
    """Run `sql`; give at most `rows` rows."""

    order: Order
    sql: str
    rows: int


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """Say what tables there are in the file or folder `path`."""

    order: Order
    path: str


class Column(msgspec.Struct, frozen=True):
    """A column; `type` is DuckDB's."""

    name: str
    type: str


class Rows(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows as objects, their columns in order. `note` says so if there were more rows."""

    columns: list[Column]
    rows: list[dict[str, Any]]
    note: str = ""


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table as SQL names it after FROM, how many rows it has, and its first ones."""

    table: str
    rows: int
    columns: list[Column]
    sample: list[dict[str, Any]]


class Queried(msgspec.Struct, frozen=True, tag="queried"):
    """A query's answer."""

    rows: Rows


class Described(msgspec.Struct, frozen=True, tag="described"):
    """A description's answer."""

    tables: list[Table]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why there is no answer, in one line for a model."""

    message: str


Ask = Query | Describe
Answer = Queried | Described | Refused
