"""Queries over files, and nothing but those files: as the process for a call runs them."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from galerne_tools._root import Root
from galerne_tools.data.child import answer
from galerne_tools.data.engine import connected, lock
from galerne_tools.data.orders import (
    Describe,
    Described,
    Order,
    Queried,
    Query,
    Refused,
    Rows,
    Table,
)
from galerne_tools.data.sources import Sources
from unit.tools.data_cases import BEHIND, ESCAPES, EXACT, WRONG

MEGABYTE = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "sales").mkdir(parents=True)
    (folder / "sales/may.csv").write_text("id,name,price,day\n1,ann,1.10,2024-02-29\n2,,2.25,\n")
    (folder / "sales/june.csv").write_text("id,name,price,day\n3,bob,3,2024-06-01\n")
    (folder / "people.jsonl").write_text('{"name":"ann","tags":["a","b"],"spot":{"x":1}}\n')
    with duckdb.connect() as duck:
        made = "SELECT 7 AS n, 12.50::DECIMAL(9,2) AS price"
        duck.execute(f"COPY ({made}) TO '{folder}/one.parquet'")
        duck.execute(f"COPY ({made}) TO '{folder}/packed.csv.gz'")
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(
            """CREATE TABLE orders (id INTEGER PRIMARY KEY, day DATE, total REAL, odd, raw BLOB);
            INSERT INTO orders VALUES (1, '2024-01-02', 1.5, 'x', x'00ff'),
                (9007199254740993, NULL, 2, 3, NULL);
            CREATE VIEW "by day" AS SELECT day, count(*) AS n FROM orders GROUP BY day;"""
        )
        database.commit()
    return folder


@pytest.fixture
def ask(root: Path, tmp_path: Path) -> Callable[[str], Any]:
    """Runs SQL in this process; rows, or what the model reads instead."""
    order = order_over(root, tmp_path)

    def run(sql: str, rows: int = 100) -> Any:
        match answer(Query(order, sql, rows)):
            case Queried(made):
                return made.rows
            case Refused(message):
                assert "\n" not in message
                return message
            case other:
                return other

    return run


def order_over(root: Path, tmp_path: Path) -> Order:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return Order(str(root), 10, 256 * MEGABYTE, 1, 100_000, str(scratch))


def tables(root: Path, tmp_path: Path, path: str) -> list[Table]:
    made = answer(Describe(order_over(root, tmp_path), path))
    assert isinstance(made, Described), made
    return made.tables


def test_files_are_tables(ask: Callable[[str], Any]) -> None:
    assert ask("FROM 'sales/may.csv' WHERE id = 1") == [
        {"id": 1, "name": "ann", "price": 1.1, "day": "2024-02-29"}
    ]
    assert ask("SELECT count(*) AS n FROM 'sales/*.csv'") == [{"n": 3}]
    assert ask("SELECT tags, spot FROM 'people.jsonl'") == [{"tags": ["a", "b"], "spot": {"x": 1}}]
    assert ask("SELECT * FROM 'one.parquet'") == [{"n": 7, "price": "12.50"}]
    assert ask("FROM 'packed.csv.gz'") == [{"n": 7, "price": 12.5}]


def test_names_may_stand_without_quotes(root: Path, ask: Callable[[str], Any]) -> None:
    (root / "may.csv").write_text("n\n1\n")
    (root / "june.csv").write_text("n\n2\n")
    assert ask("SELECT may.n + june.n AS n FROM may.csv may, june.csv june") == [{"n": 3}]
    assert ask("SELECT count(*) AS n FROM may.csv, 'may.csv' AS other") == [{"n": 1}]


def test_readers_may_be_called(ask: Callable[[str], Any]) -> None:
    assert ask("SELECT id FROM read_csv('sales/june.csv', header=true);") == [{"id": 3}]
    assert ask("SELECT id FROM read_csv(['sales/may.csv', 'sales/june.csv']) ORDER BY 1 DESC") == [
        {"id": 3},
        {"id": 2},
        {"id": 1},
    ]
    assert ask("SELECT n FROM read_csv('packed.csv.gz')") == [{"n": 7}]
    assert ask("SELECT n FROM read_csv('packed.csv.gz', compression='gzip')") == [{"n": 7}]
    assert ask("SELECT n FROM parquet_scan('one.parquet') -- all of it") == [{"n": 7}]
    assert ask("SELECT max(id) AS n FROM read_csv('sales/*.csv')") == [{"n": 3}]


def test_sqlite_is_read_as_it_is(ask: Callable[[str], Any]) -> None:
    assert ask('FROM "shop.db".orders ORDER BY id') == [
        {"id": 1, "day": "2024-01-02", "total": 1.5, "odd": "x", "raw": "\\x00\\xFF"},
        {"id": "9007199254740993", "day": None, "total": 2.0, "odd": "3", "raw": None},
    ]
    assert ask('SELECT n FROM "shop.db"."by day" WHERE day IS NOT NULL') == [{"n": 1}]
    joined = """SELECT name FROM "shop.db".main.ORDERS o JOIN 'sales/may.csv' c ON o.id = c.id"""
    assert ask(joined) == [{"name": "ann"}]
    assert 'name a table in it: FROM "shop.db"."by day", FROM "shop.db"."orders"' in ask(
        "FROM 'shop.db'"
    )
    assert "its tables are: by day, orders" in ask('FROM "shop.db".order')
    assert "double quotes" in ask("SELECT * FROM 'shop.db'.orders")


def test_what_is_not_committed_is_not_there(root: Path, ask: Callable[[str], Any]) -> None:
    """Neither in a write-ahead log nor in a rollback journal; and what is in a log, is."""
    count = 'SELECT count(*) AS n FROM "{}".t'
    for mode in ("wal", "delete"):
        with closing(sqlite3.connect(root / f"{mode}.db", isolation_level=None)) as database:
            database.execute(f"PRAGMA journal_mode = {mode}")
            database.execute("PRAGMA cache_size = 1")
            database.execute("CREATE TABLE t (x)")
            database.execute("INSERT INTO t VALUES (1)")
            before = sorted(one.name for one in root.iterdir())
            assert ask(count.format(f"{mode}.db")) == [{"n": 1}]
            assert sorted(one.name for one in root.iterdir()) == before
            database.execute("BEGIN")
            many = "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c LIMIT 5000)"
            database.execute(f"INSERT INTO t {many} SELECT hex(randomblob(50)) FROM c")
            assert ask(count.format(f"{mode}.db")) == [{"n": 1}]
            database.execute("COMMIT")
            assert ask(count.format(f"{mode}.db")) == [{"n": 5001}]


@pytest.mark.parametrize("expression", EXACT)
def test_values_are_exact(expression: str, ask: Callable[[str], Any]) -> None:
    ((value,),) = (row.values() for row in ask(f"SELECT {expression} AS x"))
    assert value == EXACT[expression]
    assert type(value) is type(EXACT[expression])


def test_every_type_has_a_form(ask: Callable[[str], Any]) -> None:
    rows = ask("FROM test_all_types()")
    assert len(rows) == 3
    assert len(rows[0]) > 50


def look(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


@pytest.mark.parametrize("attempt", ESCAPES)
def test_nothing_else_is_reached(
    attempt: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "SECRET")
    out = tmp_path / "out"
    out.mkdir()
    (out / "secret.csv").write_text("word\nSECRET\n")
    with closing(sqlite3.connect(out / "secret.db")) as database:
        database.execute("CREATE TABLE t AS SELECT 'SECRET' AS word")
        database.commit()
    (root / "link.csv").symlink_to(out / "secret.csv")
    (root / "link.db").symlink_to(out / "secret.db")
    (root / "folder").symlink_to(out)
    os.mkfifo(root / "fifo.csv")
    before = look(tmp_path / "root" / "sales"), look(out), (root / "shop.db").read_bytes()
    made = answer(Query(order_over(root, tmp_path), attempt.format(out=out), 100))
    assert isinstance(made, Refused), made
    assert "SECRET" not in made.message.replace("getenv('SECRET')", "")
    assert "\n" not in made.message
    after = look(tmp_path / "root" / "sales"), look(out), (root / "shop.db").read_bytes()
    assert after == before


@pytest.mark.parametrize("statement", BEHIND)
def test_behind_the_check_there_is_a_second_wall(
    statement: str, root: Path, tmp_path: Path
) -> None:
    order = order_over(root, tmp_path)
    with Sources(Root(order.root), tmp_path) as sources, closing(connected(order)) as duck:
        lock(duck, sources)
        with pytest.raises(duckdb.Error):
            duck.execute(statement.format(out=tmp_path))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(root: Path, tmp_path: Path) -> None:
    inside, out, aside = root / "box", tmp_path / "out", root / "aside"
    for folder, word in ((inside, "inside"), (out, "OUTSIDE")):
        folder.mkdir()
        (folder / "a.csv").write_text(f"word\n{word}\n")
        with closing(sqlite3.connect(folder / "a.db")) as database:
            database.execute(f"CREATE TABLE t AS SELECT '{word}' AS word")
            database.commit()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            inside.rename(aside)
            inside.symlink_to(out)
            inside.unlink()
            aside.rename(inside)

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[str] = set()
    try:
        for turn in range(60):
            name = "'box/a.csv'" if turn % 2 else '"box/a.db".t'
            match answer(Query(order_over(root, tmp_path), f"SELECT word FROM {name}", 1)):
                case Queried(Rows(rows=[{"word": word}])):
                    seen.add(word)
                case other:
                    assert isinstance(other, Refused), other
    finally:
        done.set()
        thread.join()
    assert seen <= {"inside"}


@pytest.mark.parametrize("sql", WRONG)
def test_what_is_wrong_is_said_in_a_line(sql: str, root: Path, ask: Callable[[str], Any]) -> None:
    (root / "torn.parquet").write_bytes(b"PAR1 and no more")
    (root / "torn.db").write_bytes(b"SQLite format 3\0 and no more" * 100)
    made = ask(sql)
    assert isinstance(made, str), made
    assert WRONG[sql] in made
    assert "/proc/self" not in made


def test_no_more_rows_than_asked_for(root: Path, tmp_path: Path) -> None:
    made = answer(Query(order_over(root, tmp_path), "FROM range(1000000000000)", 3))
    assert isinstance(made, Queried)
    assert [row["range"] for row in made.rows.rows] == [0, 1, 2]
    assert "only the first 3 rows" in made.rows.note
    made = answer(Query(order_over(root, tmp_path), "FROM range(3)", 3))
    assert isinstance(made, Queried)
    assert made.rows.note == ""
    long = "SELECT repeat('x', 30000) AS x FROM range(10)"
    made = answer(Query(order_over(root, tmp_path), long, 100))
    assert isinstance(made, Queried)
    assert len(made.rows.rows) == 3
    assert "only 3 rows had room" in made.rows.note


def test_tables_are_described(root: Path, tmp_path: Path) -> None:
    (root / "notes.txt").write_text("no table")
    found = {one.table: one for one in tables(root, tmp_path, ".")}
    assert sorted(found) == [
        '"shop.db"."by day"',
        '"shop.db"."orders"',
        "'one.parquet'",
        "'packed.csv.gz'",
        "'people.jsonl'",
        "'sales/june.csv'",
        "'sales/may.csv'",
    ]
    may = found["'sales/may.csv'"]
    assert [(one.name, one.type) for one in may.columns] == [
        ("id", "BIGINT"),
        ("name", "VARCHAR"),
        ("price", "DOUBLE"),
        ("day", "DATE"),
    ]
    assert (may.rows, may.sample[0]["name"]) == (2, "ann")
    assert found['"shop.db"."orders"'].rows == 2
    (sales,) = tables(root, tmp_path, "sales/*.csv")
    assert (sales.table, sales.rows) == ("'sales/*.csv'", 3)
    for one in found.values():
        match answer(
            Query(order_over(root, tmp_path), f"SELECT count(*) AS n FROM {one.table}", 9)
        ):
            case Queried(Rows(rows=[{"n": count}])):
                assert count == one.rows
            case other:
                pytest.fail(f"{one.table}: {other}")


def test_nothing_to_describe_says_what_is_read(root: Path, tmp_path: Path) -> None:
    (root / "empty").mkdir()
    made = answer(Describe(order_over(root, tmp_path), "empty"))
    assert isinstance(made, Refused)
    assert "no data file in empty" in made.message
    (root / "empty").rmdir()
    made = answer(Describe(order_over(root, tmp_path), "empty"))
    assert isinstance(made, Refused)
    assert "there is no empty" in made.message
