"""What a query names, and what it gives, as data."""

import json
import math
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne_tools.data.names import Names, kind_of, names_in, quoted, spliced
from galerne_tools.data.sqlite import Held, type_of
from galerne_tools.data.values import columns_of, json_value


def names_of(sql: str) -> Names:
    with duckdb.connect() as duck:
        tree = duck.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
    return names_in(json.loads(tree))


def test_files_are_named_as_tables_wherever_they_stand() -> None:
    names = names_of(
        """WITH a AS (FROM 'x/ä.csv'), b AS (SELECT * FROM a WHERE n IN (FROM "B.Parquet"))
        SELECT (SELECT max(i) FROM 'c.jsonl.gz') FROM a JOIN b ON true JOIN plain ON true
        UNION ALL FROM 's.db'"""
    )
    assert sorted(names.files.values()) == ["B.Parquet", "c.jsonl.gz", "s.db", "x/ä.csv"]
    assert names.databases == {}


def test_tables_of_a_database_are_gathered() -> None:
    names = names_of('FROM "a/s.db".t JOIN "a/s.db".main.u ON true JOIN "a/s.db".t v ON true')
    assert {file: sorted(tables) for file, tables in names.databases.items()} == {
        "a/s.db": ["t", "u"]
    }


def test_paths_in_calls_are_put_in_place_to_the_byte() -> None:
    sql = "SELECT 'ü', * FROM read_csv('ä''s.csv', header=true), read_json(['b.json', 'c.json'])"
    readings = names_of(sql).readings
    assert [one.path for one in readings] == ["ä's.csv", "b.json", "c.json"]
    assert [one.listed for one in readings] == [False, True, True]
    given = [(one, f"<{n}>") for n, one in enumerate(readings)]
    assert spliced(sql, given) == (
        "SELECT 'ü', * FROM read_csv(<0>, header=true), read_json([<1>, <2>])"
    )


def test_a_call_may_say_itself_how_a_file_is_compressed() -> None:
    said = names_of("FROM read_csv('a.csv', compression='gzip'), read_csv('b.csv')").readings
    assert [one.compression for one in said] == [True, False]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.CSV", ("csv", "none")),
        ("a.csv.gz", ("csv", "gzip")),
        ("a.ndjson.zst", ("json", "zstd")),
        ("a.parquet", ("parquet", "none")),
        ("a/b.db", ("sqlite", "none")),
        ("b.db.gz", (None, "gzip")),
        ("csv", (None, "none")),
        ("a.md", (None, "none")),
    ],
)
def test_kinds_are_told_by_names(path: str, kind: object) -> None:
    assert kind_of(path) == kind


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_name_can_be_quoted(name: str) -> None:
    with duckdb.connect() as duck:
        assert duck.execute(f"SELECT 1 AS {quoted(name)}").description[0][0] == name


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
def test_what_json_holds_is_the_same_again(value: Any) -> None:
    made = json.loads(json.dumps(json_value(value), allow_nan=False))
    match value:
        case bool() | None | str():
            assert made == value
        case int():
            assert int(made) == value
            assert isinstance(made, str) == (abs(value) >= 2**53)
        case _:
            again = float(made)
            assert again == value or (math.isnan(again) and math.isnan(value))


def test_columns_of_one_name_keep_apart() -> None:
    assert [one.name for one in columns_of(["a", "a", "a_2", "a"], ["T"] * 4)] == [
        "a",
        "a_2",
        "a_2_2",
        "a_3",
    ]


@pytest.mark.parametrize(
    ("declared", "held", "kind"),
    [
        ("INTEGER", (1, 0, 0, 0, 1, 1), "BIGINT"),
        ("DECIMAL(9,2)", (1, 1, 0, 0, 1, 1), "DOUBLE"),
        ("TEXT", (0, 0, 1, 0, 1, 1), "VARCHAR"),
        ("INTEGER", (1, 0, 1, 0, 1, 1), "VARCHAR"),
        ("", (0, 0, 1, 1, 1, 1), "VARCHAR"),
        ("DATE", (0, 0, 1, 0, 0, 1), "DATE"),
        ("DATETIME", (0, 0, 1, 0, 1, 0), "TIMESTAMP"),
        ("DATETIME", (1, 0, 1, 0, 1, 0), "VARCHAR"),
        ("BLOB", (0, 0, 0, 1, 1, 1), "BLOB"),
        ("BIGINT", (0, 0, 0, 0, 0, 0), "BIGINT"),
        ("VARCHAR(3)", (0, 0, 0, 0, 0, 0), "VARCHAR"),
    ],
)
def test_a_column_of_sqlite_has_the_type_of_what_it_holds(
    declared: str, held: tuple[int, ...], kind: str
) -> None:
    assert type_of(declared, Held(*(bool(one) for one in held))) == kind
