"""SQL over files: what it reads, what it gives, and what it never reaches."""

import gzip
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidSettingsError, ToolError
from galerne.settings import DataSettings, ToolSettings
from galerne.tools import AnyTool
from galerne_tools.data import engine, offer
from galerne_tools.data.names import quoted, text
from galerne_tools.data.offer import tools
from galerne_tools.data.values import plain
from unit.tools import calls

pytestmark = pytest.mark.anyio

SECRET = "outside, and never to be seen"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "logs").mkdir(parents=True)
    (root / "sales.csv").write_text("name,amount,day\na,1.5,2024-01-02\nb,2.25,2024-01-03\n")
    for month in (1, 2):
        (root / f"logs/{month}.jsonl").write_text(f'{{"month": {month}, "n": [1, 2]}}\n')
    with gzip.open(root / "packed.csv.gz", "wt") as packed:
        packed.write("n\n1\n2\n")
    path = str(root / "t.parquet").replace("'", "''")
    duckdb.connect().execute(f"COPY (SELECT 1.10::DECIMAL(9,2) AS d) TO '{path}'")
    with sqlite3.connect(root / "shop.db") as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL, note TEXT)")
        shop.execute("INSERT INTO orders VALUES (1, 2.5, 'x'), (9007199254740993, 3, NULL)")
        shop.execute("CREATE TABLE mixed (v)")
        shop.execute("INSERT INTO mixed VALUES (1), ('two'), (x'ff'), (NULL)")
        shop.execute("CREATE VIEW dear AS SELECT * FROM orders WHERE price > 2.6")
    shop.close()
    (tmp_path / "secret.csv").write_text(f"s\n{SECRET}\n")
    (root / "link.csv").symlink_to("../secret.csv")
    return root


@pytest.fixture
def named(root: Path) -> dict[str, AnyTool]:
    settings = ToolSettings(root=str(root), data=DataSettings(enabled=True, rows=50))
    return {made.spec.name: made for made in tools(settings)}


ANSWERS: dict[str, tuple[str, list[list[Any]]]] = {
    "a CSV file": ("SELECT sum(amount), min(day) FROM 'sales.csv'", [[3.75, "2024-01-02"]]),
    "without quotes": ("SELECT count(*) FROM sales.csv", [[2]]),
    "compressed": ("SELECT sum(n) FROM 'packed.csv.gz'", [[3]]),
    "several files": (
        "SELECT month, sum(x) FROM 'logs/*.jsonl', unnest(n) AS u(x) GROUP BY 1 ORDER BY 1",
        [[1, 3], [2, 3]],
    ),
    "Parquet, with all its digits": ("SELECT d FROM 't.parquet'", [["1.10"]]),
    "SQLite": (
        'SELECT id, price, note FROM "shop.db".orders ORDER BY id',
        [[1, 2.5, "x"], [9007199254740993, 3.0, None]],
    ),
    "a view of SQLite": ('SELECT count(*) FROM "shop.db".dear', [[1]]),
    "a column of all types": (
        'SELECT v FROM "shop.db".mixed',
        [["1"], ["two"], ["ff"], [None]],
    ),
    "two files joined": (
        """SELECT s.name, o.note FROM 'sales.csv' s JOIN "shop.db".orders o ON o.price = 2.5
           ORDER BY 1""",
        [["a", "x"], ["b", "x"]],
    ),
    "a name of the query's own": (
        "WITH sales AS (SELECT 1 AS n) SELECT n + 1 FROM sales",
        [[2]],
    ),
    "described by SQL": (
        "SELECT column_name FROM (DESCRIBE 'sales.csv')",
        [["name"], ["amount"], ["day"]],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_files_are_asked_by_sql(named: dict[str, AnyTool], case: str) -> None:
    sql, rows = ANSWERS[case]
    answer = await calls.value_of(named["query_data"], sql=sql)
    assert (answer["rows"], answer["more"]) == (rows, False)


async def test_what_a_file_holds_is_told(named: dict[str, AnyTool]) -> None:
    describe = named["describe_data"]
    assert await calls.value_of(describe, path="sales.csv") == [
        {
            "name": "'sales.csv'",
            "columns": ["name VARCHAR", "amount DOUBLE", "day DATE"],
            "rows": 2,
            "sample": [["a", 1.5, "2024-01-02"], ["b", 2.25, "2024-01-03"]],
        }
    ]
    shop = await calls.value_of(describe, path="shop.db")
    assert [(one["name"], one["rows"]) for one in shop] == [
        ('"shop.db"."dear"', 1),
        ('"shop.db"."mixed"', 4),
        ('"shop.db"."orders"', 2),
    ]
    assert shop[2]["columns"] == ["id BIGINT", "price DOUBLE", "note VARCHAR"]
    logs = await calls.value_of(describe, path="logs/*.jsonl")
    assert (logs[0]["name"], logs[0]["rows"]) == ("'logs/*.jsonl'", 2)


ESCAPES = [
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '../secret.csv'",
    "SELECT * FROM 'link.csv'",
    'SELECT * FROM "link.csv"',
    "SELECT * FROM 'file:///etc/passwd'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM 'http://127.0.0.1:9/x.csv'",
    "SELECT * FROM '/proc/self/environ'",
    "SELECT * FROM '/proc/self/fd/0'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv(['../secret.csv'])",
    "SELECT * FROM read_csv_auto('sales.csv')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_parquet('t.parquet')",
    "SELECT * FROM parquet_metadata('t.parquet')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT * FROM query_table('/etc/passwd')",
    "SELECT getenv('HOME')",
    "SELECT * FROM SECRET",
    "SELECT * FROM settings",
    "SELECT * FROM duckdb_extensions()",
    "COPY (SELECT 1) TO '../escaped.csv'",
    "COPY (SELECT 1) TO 'escaped.csv'",
    "EXPORT DATABASE 'escaped'",
    "ATTACH 'shop.db' AS s",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "CREATE TABLE t AS SELECT 1",
    "CREATE SECRET s (TYPE s3)",
    "CREATE MACRO f() AS 1",
    "INSERT INTO 'sales.csv' VALUES (1)",
    "DELETE FROM 'sales.csv'",
    "CALL pragma_version()",
    "SELECT 1; COPY (SELECT 1) TO 'escaped.csv'",
    "SELECT 1; SELECT 2",
    "EXPLAIN ANALYZE SELECT 1",
    "CHECKPOINT",
    'SELECT * FROM "shop.db".orders; DROP TABLE x',
    'SELECT * FROM "../root/shop.db".orders',
]


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("sql", ESCAPES)
async def test_nothing_else_is_read_and_nothing_is_written(
    named: dict[str, AnyTool], root: Path, sql: str
) -> None:
    before = names(root)
    refused = await calls.refusal_of(named["query_data"], sql=sql)
    assert SECRET not in refused.message
    assert "root:x" not in refused.message
    assert names(root) == before
    assert names(root.parent) == ["root", "secret.csv"]


async def test_whatever_a_query_may_say_of_its_walls_they_stand(named: dict[str, AnyTool]) -> None:
    asked = "SELECT value FROM duckdb_settings() WHERE name = 'enable_external_access'"
    assert (await calls.value_of(named["query_data"], sql=asked))["rows"] == [["false"]]


MISTAKES = {
    "SELECT * FROM 'sale.csv'": "there is no sale.csv; there is sales.csv",
    "SELECT * FROM sales": "there is no sales",
    "SELECT * FROM 'no/*.csv'": "there is no no",
    "SELECT * FROM '*.xml'": "no file matches *.xml",
    "SELECT * FROM 'shop.db'": '"shop.db"."orders"',
    'SELECT * FROM "shop.db".none': '"shop.db"."orders"',
    "SELECT nme FROM 'sales.csv'": "name",
    "SELECT FROM": "no SQL",
    "SELECT * FROM read_csv('sales.csv')": "FROM 'sales.csv'",
    "SELECT repeat('x', 200000)": "left(column, 1000)",
    "SELECT repeat('x', 2000000000)": "",
}


@pytest.mark.parametrize("sql", MISTAKES)
async def test_a_mistake_is_one_line_that_helps(named: dict[str, AnyTool], sql: str) -> None:
    assert MISTAKES[sql] in (await calls.refusal_of(named["query_data"], sql=sql)).message


async def test_files_that_are_no_tables_say_so(root: Path, named: dict[str, AnyTool]) -> None:
    (root / "a.md").write_text("text")
    (root / "broken.parquet").write_bytes(b"PAR1 and no more")
    (root / "broken.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    (root / "empty.csv").write_text("")
    for path, why in {
        "a.md": "is no table",
        "broken.parquet": "",
        "broken.db": "cannot be read as SQLite",
        "none.csv": "there is no none.csv",
        "s*.[cd]*": "several forms",
    }.items():
        assert why in (await calls.refusal_of(named["describe_data"], path=path)).message


async def test_a_sqlite_file_with_changes_beside_it_is_not_read_half(
    root: Path, named: dict[str, AnyTool]
) -> None:
    live = sqlite3.connect(root / "live.db")
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("CREATE TABLE t (n)")
    live.commit()
    query = 'SELECT count(*) FROM "live.db".t'
    assert (
        "open in another program"
        in (await calls.refusal_of(named["query_data"], sql=query)).message
    )
    live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (await calls.value_of(named["query_data"], sql=query))["rows"] == [[0]]
    live.close()


async def test_answers_have_an_end(named: dict[str, AnyTool]) -> None:
    query = named["query_data"]
    some = await calls.value_of(query, sql="SELECT * FROM range(10)", max_rows=3)
    assert (some["rows"], some["more"]) == ([[0], [1], [2]], True)
    most = await calls.value_of(query, sql="SELECT * FROM range(1000)", max_rows=900)
    assert (len(most["rows"]), most["more"]) == (50, True)
    large = await calls.value_of(query, sql="SELECT repeat('x', 30000) FROM range(40)")
    assert (len(large["rows"]), large["more"]) == (3, True)


async def test_a_query_that_is_given_up_ends(named: dict[str, AnyTool]) -> None:
    """The thread is the proof: the limiter has all its places back."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    with anyio.move_on_after(0.3):
        await calls.call(named["query_data"], sql="SELECT count(*) FROM range(1e15::BIGINT)")
    with anyio.fail_after(20):
        while limiter.borrowed_tokens:
            await anyio.sleep(0.01)


def test_without_the_library_the_worker_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tools(ToolSettings(root=str(root))) == []

    def missing() -> Any:
        raise ImportError

    monkeypatch.setattr(engine, "_library", missing)
    with pytest.raises(InvalidSettingsError, match=r"galerne\[data\]"):
        offer.tools(ToolSettings(root=str(root), data=DataSettings(enabled=True)))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 127), 1 << 127)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
)


@given(
    st.recursive(
        SCALARS,
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=3), one),
        max_leaves=10,
    )
)
def test_every_value_is_json(value: Any) -> None:
    shown = msgspec.json.decode(msgspec.json.encode(plain(value)))
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        assert Decimal(str(shown)) == value


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(ToolError, match="cast it to VARCHAR"):
        plain(object())


@given(st.text(max_size=20).filter(lambda one: "\0" not in one))
def test_names_and_texts_cannot_end_their_quotes(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    asked = duckdb.connect().execute(f"SELECT {text(value)} AS {quoted(value or 'x')}")
    assert asked.fetchone() == (value,)
