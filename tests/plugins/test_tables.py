"""Parquet and SQL: typed rows in, typed columns out."""

import datetime as dt
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import parquet

from elspeth.contracts.plugins import PluginError, RowRejectedError, Sink
from elspeth.contracts.rows import InvalidRow, RowData, convert_value
from elspeth.contracts.schema import FieldDefinition
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.staging import ColumnType, column_types

PLUGINS = PluginManager.installed()

ROWS: list[RowData] = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": ["a"], "mixed": 1},
    {"id": 2, "x": 1, "mixed": "two", "late": "here"},
    {"id": 3, "x": 2.5, "tags": None},
]


def write(sink: Sink, rows: list[RowData], run: str = "run1") -> None:
    sink.open(run)
    for row in rows:
        sink.write(row)
    sink.sync()
    output = sink.finish()
    assert output is not None
    sink.publish()
    sink.publish()  # again: what a resumed run may do


def test_the_type_of_a_column_holds_all_its_values() -> None:
    declared = [FieldDefinition.parse("n: float"), FieldDefinition.parse("any: any")]
    assert column_types(ROWS, declared) == {
        "n": ColumnType.REAL,
        "any": ColumnType.TEXT,
        "id": ColumnType.INTEGER,
        "x": ColumnType.REAL,
        "name": ColumnType.TEXT,
        "ok": ColumnType.BOOLEAN,
        "tags": ColumnType.JSON,
        "mixed": ColumnType.JSON,
        "late": ColumnType.TEXT,
    }


EXPECTED = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": '["a"]', "mixed": "1", "late": None},
    {"id": 2, "x": 1.0, "name": None, "ok": None, "tags": None, "mixed": '"two"', "late": "here"},
    {"id": 3, "x": 2.5, "name": None, "ok": None, "tags": None, "mixed": None, "late": None},
]


def test_a_parquet_file_is_read_back_by_the_source(tmp_path: Path) -> None:
    path = tmp_path / "out" / "rows.parquet"
    write(PLUGINS.sink("parquet", {"path": str(path)}), ROWS)
    assert parquet.read_table(path).to_pylist() == EXPECTED
    source = PLUGINS.source("parquet", {"path": str(path)})
    assert list(source.read()) == EXPECTED
    assert source.fraction_read() == 1.0
    assert sorted(each.name for each in path.parent.iterdir()) == ["rows.parquet"]


def test_a_parquet_file_without_rows_has_the_columns_of_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    schema = {"mode": "strict", "fields": ["a: int", "b: str"]}
    write(PLUGINS.sink("parquet", {"path": str(path), "schema": schema}), [])
    assert parquet.read_table(path).schema.names == ["a", "b"]
    path = tmp_path / "none.parquet"
    write(PLUGINS.sink("parquet", {"path": str(path)}), [])
    assert parquet.read_table(path).schema.names == []
    assert list(PLUGINS.source("parquet", {"path": str(path)}).read()) == []


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("just some text")
    with pytest.raises(PluginError, match=r"x\.parquet cannot be read: Parquet magic bytes not found"):
        list(PLUGINS.source("parquet", {"path": str(tmp_path / "x.parquet")}).read())
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("parquet", {"path": str(tmp_path / "gone")}).read())
    assert str(caught.value) == f"{tmp_path / 'gone'} cannot be read: No such file or directory"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A table in a SQLite database."""
    return {
        "url": f"sqlite:///{tmp_path / 'target.db'}",
        "table": "customers",
        "staging_directory": str(tmp_path / "staging"),
    }


def stored(options: dict[str, Any], query: str = "SELECT * FROM customers") -> list[dict[str, object]]:
    engine = sa.create_engine(options["url"])
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(sa.text(query)).mappings()]
    engine.dispose()
    return found


def test_a_table_is_made_and_filled_once_per_run(options: dict[str, Any], tmp_path: Path) -> None:
    write(PLUGINS.sink("database", options), ROWS)
    assert stored(options) == EXPECTED
    write(PLUGINS.sink("database", options), ROWS[2:], run="run2")
    assert [row["id"] for row in stored(options)] == [1, 2, 3, 3]
    publications = stored(options, "SELECT run_id, table_name, row_count FROM elspeth_publications ORDER BY run_id")
    assert publications == [
        {"run_id": "run1", "table_name": "customers", "row_count": 3},
        {"run_id": "run2", "table_name": "customers", "row_count": 1},
    ]
    assert list((tmp_path / "staging").iterdir()) == []


def test_tables_of_one_name_in_two_databases_do_not_share_their_staging(
    options: dict[str, Any], tmp_path: Path
) -> None:
    other = options | {"url": f"sqlite:///{tmp_path / 'other.db'}"}
    sinks = [PLUGINS.sink("database", each) for each in (options, other)]
    for sink in sinks:
        sink.open("run1")
    for number, sink in enumerate(sinks):
        sink.write({"id": number})
    for sink in sinks:
        sink.finish()
        sink.publish()
    assert (stored(options), stored(other)) == ([{"id": 0}], [{"id": 1}])


def test_other_rows_of_the_same_run_are_not_taken_for_published(options: dict[str, Any]) -> None:
    write(PLUGINS.sink("database", options), [{"id": 1}])
    sink = PLUGINS.sink("database", options)
    sink.open("run1")
    sink.write({"id": 2})
    output = sink.finish()
    assert output is not None
    with pytest.raises(PluginError) as caught:
        sink.publish()
    (published,) = stored(options, "SELECT content_hash FROM elspeth_publications")
    assert str(caught.value) == (
        f"{options['url']}#customers has other rows of run run1 already: expected those with SHA-256 "
        f"{output.content_hash}, got {published['content_hash']}; give each sink a table of its own"
    )
    assert stored(options) == [{"id": 1}]
    sink.discard()


def test_a_field_that_is_no_column_of_the_table_is_rejected(options: dict[str, Any]) -> None:
    write(PLUGINS.sink("database", options), [{"id": 1}])
    sink = PLUGINS.sink("database", options)
    sink.open("run2")
    with pytest.raises(RowRejectedError) as caught:
        sink.write({"id": 2, "more": 3})
    assert str(caught.value) == "fields that are not among the columns of the table customers: 1"
    sink.discard()


def test_rows_that_the_database_refuses_leave_nothing_behind(options: dict[str, Any], tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "target.db")) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    sink = PLUGINS.sink("database", options)
    sink.open("run1")
    for number in (1, 2, 2):
        sink.write({"id": number})
    sink.finish()
    with pytest.raises(PluginError) as caught:
        sink.publish()
    assert str(caught.value) == (
        f"sqlite:///{tmp_path / 'target.db'}#customers cannot be written: UNIQUE constraint failed: customers.id"
    )
    assert stored(options) == []
    place = sink.close()
    assert place is not None
    assert len(Path(place).read_text().splitlines()) == 3


def test_a_database_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    options = {"url": f"sqlite:///{tmp_path}", "table": "t"}
    with pytest.raises(PluginError) as caught:
        PLUGINS.sink("database", options).open("run1")
    assert str(caught.value) == f"{options['url']}#t cannot be reached: unable to open database file"
    (tmp_path / "file").write_text("")
    options["url"] = f"sqlite:///{tmp_path / 'file' / 'target.db'}"
    with pytest.raises(PluginError) as caught:
        PLUGINS.sink("database", options).open("run1")
    assert str(caught.value) == f"{options['url']}#t cannot be created: File exists"


@pytest.fixture
def people(tmp_path: Path) -> str:
    """The URL of a database with a table of people."""
    with closing(sqlite3.connect(tmp_path / "people.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER, name TEXT, photo BLOB)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", [(1, "Zoë", b"\xff"), (2, None, None)])
        connection.commit()
    return f"sqlite:///{tmp_path / 'people.db'}"


def test_rows_come_from_a_query(people: str) -> None:
    options: dict[str, Any] = {"url": people, "query": "SELECT * FROM people ORDER BY id"}
    assert list(PLUGINS.source("sql", options).read()) == [
        {"id": 1, "name": "Zoë", "photo": "/w=="},
        {"id": 2, "name": None, "photo": None},
    ]
    options["schema"] = {"mode": "free", "fields": ["name: str"]}
    _, second = PLUGINS.source("sql", options).read()
    assert second == InvalidRow(
        data={"id": 2, "name": None, "photo": None}, error="row 1: field 'name': expected text, got null"
    )


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT * FROM nobody", " cannot be read: no such table: nobody"),
        ("SELECT id, name AS id FROM people", ": two columns are named 'id': name them with AS"),
        ("DELETE FROM people", ": the query returns no rows: expected a SELECT"),
    ],
)
def test_a_query_that_cannot_be_read_is_explained(people: str, query: str, problem: str) -> None:
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("sql", {"url": people, "query": query}).read())
    assert str(caught.value) == f"database {people}{problem}"
    assert len(list(PLUGINS.source("sql", {"url": people, "query": "SELECT * FROM people"}).read())) == 2


def test_a_database_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("sql", {"url": f"sqlite:///{tmp_path / 'x.db'}", "query": "SELECT 1"}).read())
    assert str(caught.value) == f"database sqlite:///{tmp_path / 'x.db'} does not exist"
    assert list(tmp_path.iterdir()) == []


def test_values_from_outside_become_what_json_can_hold() -> None:
    values = {
        "time": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        "date": dt.date(2026, 1, 2),
        "span": dt.timedelta(minutes=1),
        "price": Decimal("1.10"),
        "bytes": b"\x00\x01",
        "list": [(1, Decimal(2))],
    }
    assert convert_value(values) == {
        "time": "2026-01-02T03:04:05+00:00",
        "date": "2026-01-02",
        "span": 60.0,
        "price": "1.10",
        "bytes": "AAE=",
        "list": [[1, "2"]],
    }
    assert json.dumps(convert_value(values))
    with pytest.raises(ValueError, match="a value of type set has no form in a row"):
        convert_value({1})


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("parquet", {"path": str(path)}).read())
    assert str(caught.value) == f"{path}: two columns are named 'a'"


def test_times_keep_their_nanoseconds_whatever_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    moments = pa.array([0, 1_000, 1, -1, None], type=pa.timestamp("ns"))
    zoned = pa.array([1_500_000_000_000_000_001] * 5, type=pa.timestamp("ns", tz="UTC"))
    parquet.write_table(pa.table({"at": moments, "zoned": zoned}), path)
    rows = list(PLUGINS.source("parquet", {"path": str(path)}).read())
    assert [row["at"] for row in rows if isinstance(row, dict)] == [
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.000001",
        "1970-01-01T00:00:00.000000001",
        "1969-12-31T23:59:59.999999999",
        None,
    ]
    assert rows[0] == {"at": "1970-01-01T00:00:00", "zoned": "2017-07-14T02:40:00.000000001+00:00"}


@pytest.mark.parametrize(
    "hostile",
    [
        pa.array([0, 10**15, 0], type=pa.timestamp("s")),
        pa.array([0, 2**31 - 1, 0], type=pa.date32()),
        pa.array([0, 2**60, 0], type=pa.duration("s")),
        pa.array([[0], [1], [0]], type=pa.list_(pa.timestamp("ns"))),
    ],
    ids=["time", "date", "duration", "nested"],
)
def test_a_value_that_no_type_of_python_holds_makes_one_invalid_row(tmp_path: Path, hostile: pa.Array) -> None:
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table({"id": [1, 2, 3], "x": hostile}), path)
    first, bad, last = PLUGINS.source("parquet", {"path": str(path)}).read()
    assert bad == InvalidRow(data={"id": 2}, error="row 1: column 'x': the value cannot be read")
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert (first["id"], last["id"]) == (1, 3)


def test_text_of_a_sqlite_database_that_is_not_utf_8_makes_one_invalid_row(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "in.db")) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.execute("INSERT INTO t VALUES ('x'), (CAST(X'ff41' AS TEXT)), ('ü')")
        connection.commit()
    options = {"url": f"sqlite:///{tmp_path / 'in.db'}", "query": "SELECT a FROM t"}
    assert list(PLUGINS.source("sql", options).read()) == [
        {"a": "x"},
        InvalidRow(data={"a": "\\xffA"}, error="row 1: column 'a': bytes that are not UTF-8"),
        {"a": "ü"},
    ]
