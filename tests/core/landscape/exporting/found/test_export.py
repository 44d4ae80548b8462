"""Exports of databases as found, on both engines."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, timedelta
from pathlib import Path

import jsonschema
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, create_engine, make_url

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found._postgresql import PostgresqlDatabase
from elspeth.core.landscape.exporting.found._sqlite import SqliteDatabase
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.found.reading import find_found_lines
from elspeth.core.landscape.exporting.found.source import FoundTable, Row
from elspeth.evidence.format.found import Form, UndecodableText, Value, read_value, record_schema
from elspeth.evidence.verifier.found import verify_found_export
from elspeth.evidence.verifier.procedure import Verdict, Verification
from elspeth.evidence.verifier.verify import verify_bag
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.effort import THOROUGH, law
from tests.fixtures.legacy import EPOCHS, IMPOSSIBLE, KEPT, LEGACY, OldDatabaseMaker, record_rows_of
from tests.fixtures.untouched import untouched

Record = Mapping[str, object]

HOSTILE = ['a"b', "a b", "a\nb", "..", "../x", "x" * 63, "%s %(x)s", "select", "ü☃", "'; drop table t; --", "a\\b", "A"]


def export_lines(url: str, directory: Path) -> list[Record]:
    """Return the records of an export, but for the manifest."""
    target = directory / "found.jsonl"
    export_found(make_url(url), target, format=ExportFormat.JSONL)
    records: list[Record] = [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n")[:-1]]
    assert records[-1]["record_type"] == "manifest"
    return records[:-1]


def tables_of(records: list[Record]) -> dict[str, Record]:
    return {str(each["table"]): each for each in records if each["record_type"] == "table"}


def values_of(records: list[Record], table: str) -> list[dict[str, Value]]:
    """Return the values of a table's rows, read back."""
    columns = tables_of(records)[table]["columns"]
    forms = {each["name"]: Form(each["form"]) for each in columns}  # type: ignore[attr-defined]
    return [
        {name: read_value(forms[name], value) for name, value in each["values"].items()}  # type: ignore[attr-defined]
        for each in records
        if each["record_type"] == "row" and each["table"] == table
    ]


def written_values(records: list[Record], table: str) -> list[object]:
    return [each["values"] for each in records if each["record_type"] == "row" and each["table"] == table]


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection to a new SQLite file, `x.db`."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        yield connection


@pytest.fixture
def lite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'x.db'}"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as session:
        for statement in statements:
            session.execute(statement.encode())


# -- SQLite ----------------------------------------------------------------------------------------------------------


def same(left: Value, right: Value) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return type(left) is type(right) and left == right


CELL = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)
DECLARED = st.sampled_from(
    ["", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "VARCHAR(3)", "DOUBLE", "DATETIME", "odd"]
)
NAME = st.sampled_from(HOSTILE)


@st.composite
def lite_tables(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]], list[list[object]], int]:
    """Draw name, columns, rows, and size of the key."""
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.lower))
    columns = [(name, draw(DECLARED)) for name in names]
    rows = draw(st.lists(st.tuples(*(CELL for _ in names)).map(list), max_size=5))
    return draw(NAME), columns, rows, draw(st.integers(0, len(names)))


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@law(100)
@given(lite_tables())
def test_values_of_sqlite_are_those_that_are_stored(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[str, list[tuple[str, str]], list[list[object]], int]
) -> None:
    name, columns, rows, key_size = table
    path = tmp_path_factory.mktemp("found") / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as lite:
        key = [quoted(column) for column, _ in columns[:key_size]]
        primary = f", PRIMARY KEY ({', '.join(key)})" if key else ""
        declared = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns)
        lite.execute(f"CREATE TABLE {quoted(name)} ({declared}{primary})")
        marks = ", ".join("?" for _ in columns)
        for row in rows:
            lite.execute(f"INSERT OR IGNORE INTO {quoted(name)} VALUES ({marks})", row)  # noqa: S608
        order = ", ".join([*(f"{each} COLLATE BINARY" for each in key), "rowid"])
        stored = lite.execute(f"SELECT * FROM {quoted(name)} ORDER BY {order}").fetchall()  # noqa: S608
    records = export_lines(f"sqlite:///{path}", path.parent)
    found = values_of(records, name)
    assert len(found) == len(stored)
    for got, expected in zip(found, stored, strict=True):
        assert all(same(got[column], value) for (column, _), value in zip(columns, expected, strict=True))
    assert verify_lines(path.parent / "found.jsonl").verdict is Verdict.UNSIGNED
    check_directories(f"sqlite:///{path}", path.parent)


def check_directories(url: str, directory: Path) -> None:
    """Check the forms of several files against `found.jsonl`."""
    lines = without_time((directory / "found.jsonl").read_bytes())[:-1]
    for form in (ExportFormat.CSV, ExportFormat.PARQUET):
        export_found(make_url(url), directory / form, format=form)
        found = find_found_lines(directory / form)
        assert found is not None
        assert without_time(b"\n".join(line for _, line in found)) == lines
        assert verify_lines(directory / form).verdict is Verdict.UNSIGNED


def verify_lines(path: Path) -> Verification:
    lines = find_found_lines(path)
    assert lines is not None
    return verify_found_export(lines)


def test_every_kind_of_sqlite_table_is_listed_and_what_stores_rows_is_read(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path
) -> None:
    lite.executescript(
        """
        CREATE TABLE plain (a, b INTEGER GENERATED ALWAYS AS (a + 1) VIRTUAL, c GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO plain (a) VALUES (20), (10);
        CREATE TABLE keyed (k TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
        INSERT INTO keyed VALUES ('b'), ('A'), ('C');
        CREATE TABLE empty (a);
        CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
        INSERT INTO counted DEFAULT VALUES;
        CREATE VIEW broken AS SELECT * FROM missing;
        CREATE VIRTUAL TABLE words USING fts5(word);
        INSERT INTO words VALUES ('one');
        CREATE TABLE nothing_else (rowid, _rowid_, oid);
        INSERT INTO nothing_else VALUES (2, 1, 1), (1, 1.0, 1), (1, 1, 1), (1, 1, 1);
        """
    )
    records = export_lines(lite_url, tmp_path)
    tables = tables_of(records)
    assert {name: (each["kind"], each["order"]) for name, each in tables.items() if not name.startswith("words_")} == {
        "plain": ("table", "rowid"),
        "keyed": ("table", "primary key"),
        "empty": ("table", "rowid"),
        "counted": ("table", "primary key"),
        "broken": ("view", None),
        "words": ("virtual table", None),
        "nothing_else": ("table", "all columns"),
        "sqlite_schema": ("table", "rowid"),
        "sqlite_sequence": ("table", "rowid"),
    }
    assert list(tables) == sorted(tables)
    assert written_values(records, "plain") == [{"a": 20, "b": 21, "c": 40}, {"a": 10, "b": 11, "c": 20}]
    assert written_values(records, "keyed") == [{"k": "A"}, {"k": "C"}, {"k": "b"}]
    assert written_values(records, "sqlite_sequence") == [{"name": "counted", "seq": 1}]
    assert [each["_rowid_"] for each in values_of(records, "nothing_else")] == [1, 1, 1.0, 1]
    assert [type(each["_rowid_"]) for each in values_of(records, "nothing_else")] == [int, int, float, int]
    check_directories(lite_url, tmp_path)
    assert tables["words_content"]["kind"] == "table"
    assert written_values(records, "words_content") == [{"id": 1, "c0": "one"}]
    assert verify_lines(tmp_path / "found.jsonl").verdict is Verdict.UNSIGNED


def test_text_that_is_not_utf8_keeps_its_bytes(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff00' AS TEXT)), ('\u20ac')")
    (row, text) = values_of(export_lines(lite_url, tmp_path), "t")
    assert isinstance(row["a"], UndecodableText)
    assert (row["a"], text["a"]) == (b"\xff\x00", "\u20ac")


@pytest.mark.parametrize("mode", ["delete", "wal", "persist", "truncate"])
@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.BAG])
def test_nothing_is_written_to_a_sqlite_file(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, mode: str, form: ExportFormat
) -> None:
    lite.executescript(f"PRAGMA journal_mode = {mode}; CREATE TABLE t (a); INSERT INTO t VALUES (1)")  # noqa: S608
    lite.close()
    (tmp_path / "out").mkdir()
    with untouched(tmp_path / "x.db"):
        export_found(make_url(lite_url), tmp_path / "out" / "found", format=form)


def test_what_stands_in_a_log_is_exported_and_the_log_stays(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        (tmp_path / "out").mkdir()
        with untouched(tmp_path / "x.db", tmp_path / "x.db-wal"):
            assert written_values(export_lines(lite_url, tmp_path / "out"), "t") == [{"a": 1}]


def test_a_log_that_a_crash_left_is_exported_and_stays(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db")) as lite:
        lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        for end in ("", "-wal"):
            (tmp_path / f"x.db{end}").write_bytes((tmp_path / f"new.db{end}").read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.glob("x.db*")}
    (tmp_path / "out").mkdir()
    assert written_values(export_lines(lite_url, tmp_path / "out"), "t") == [{"a": 1}]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("x.db*") if path.name != "x.db-shm"} == before


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.CSV, ExportFormat.BAG])
def test_a_file_that_changes_while_it_is_read_as_immutable_is_not_exported(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ExportFormat
) -> None:
    lite.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    monkeypatch.setattr("elspeth.core.landscape.database.connections._is_immutable", lambda _: True)
    read = SqliteDatabase.rows

    def watched(database: SqliteDatabase, table: FoundTable) -> Iterator[Row]:
        lite.execute("INSERT INTO t VALUES (2)")
        lite.commit()
        return read(database, table)

    monkeypatch.setattr(SqliteDatabase, "rows", watched)
    with pytest.raises(LandscapeError, match="was changed while it was read"):
        export_found(make_url(lite_url), tmp_path / "found", format=form)
    assert not (tmp_path / "found").exists()


def test_a_sqlite_file_is_read_in_one_transaction(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE a (n); CREATE TABLE b (n); INSERT INTO b VALUES (1)")
    read = SqliteDatabase.rows

    def watched(database: SqliteDatabase, table: FoundTable) -> Iterator[Row]:
        if table.name == "a":
            lite.execute("INSERT INTO b VALUES (2)")
            lite.commit()
        return read(database, table)

    monkeypatch.setattr(SqliteDatabase, "rows", watched)
    assert written_values(export_lines(lite_url, tmp_path), "b") == [{"n": 1}]
    assert lite.execute("SELECT count(*) FROM b").fetchone() == (2,)


def test_text_of_another_encoding_is_read(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a); INSERT INTO t VALUES ('\u2603\U0001f600')")
    records = export_lines(lite_url, tmp_path)
    assert records[0]["encoding"] == "UTF-16le"
    assert written_values(records, "t") == [{"a": "\u2603\U0001f600"}]


def test_a_name_that_is_not_utf8_is_refused(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (abc); PRAGMA writable_schema = ON")
    lite.execute("UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424c4520742028ff29' AS TEXT)")
    lite.commit()
    with pytest.raises(LandscapeError, match=r"expected names in UTF-8, got b'\\xff': rename it"):
        export_lines(lite_url, tmp_path)


def test_a_transaction_that_a_crash_cut_short_is_left_alone(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as lite:
        lite.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA cache_size = 1")
        lite.execute("BEGIN")
        for _ in range(6):
            lite.execute("INSERT INTO t SELECT randomblob(9000) FROM t")
        for end in ("", "-journal"):
            (tmp_path / f"x.db{end}").write_bytes((tmp_path / f"new.db{end}").read_bytes())
    (tmp_path / "out").mkdir()
    with (
        untouched(tmp_path / "x.db", tmp_path / "x.db-journal"),
        pytest.raises(LandscapeError, match="a crash cut short a transaction"),
    ):
        export_lines(lite_url, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_file_is_refused_with_its_name(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (a); INSERT INTO t SELECT randomblob(9000) FROM pragma_function_list LIMIT 20")
    lite.close()
    content = bytearray((tmp_path / "x.db").read_bytes())
    content[8192:] = b"\xff" * len(content[8192:])
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(LandscapeError, match=r"x\.db cannot be read \(table 't' of schema 'main'\): .*malformed"):
        export_lines(lite_url, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".found.jsonl.lock", "x.db"][1:]


# -- PostgreSQL ------------------------------------------------------------------------------------------------------

TYPED = {
    "smallint": "-32768",
    "bigint": "9223372036854775807",
    "numeric": "1.50",
    "numeric(40,10)": "123456789012345678901234567890.0123456789",
    "real": "0.1",
    "double precision": "0.1",
    "boolean": "t",
    "text": "\u2603 'x'",
    "varchar(9)": "abc",
    "char(5)": "ab   ",
    "bytea": "\\x00ff",
    "date": "infinity",
    "timestamp": "0044-03-15 12:00:00.000001 BC",
    "timestamptz": "2026-01-31 23:59:59.999999+00",
    "time": "24:00:00",
    "timetz": "12:00:00+05:30",
    "interval": "1 year 2 mons -3 days +04:05:06.7",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "json": '{"b": 1,  "a": 1.0}',
    "jsonb": '{"a": 1.0, "b": NaN}'.replace("NaN", "2"),
    "integer[]": "[0:1]={1,NULL}",
    "text[]": '{"a,b",NULL,"NULL"}',
    "int4range": "[1,5)",
    "tstzrange": '["2026-01-01 00:00:00+00",infinity)',
    "inet": "192.168.0.1/24",
    "bit(3)": "101",
    "point": "(0.1,2)",
    "money": "$1,234.50",
    "regclass": "pg_class",
    "mood": 'so "so"',
    "small": "7",
    "pair": '(1,"a b")',
}


@pytest.mark.postgres
def test_the_server_takes_every_value_back_as_it_was(postgresql_url: str, tmp_path: Path) -> None:
    columns = ", ".join(f'"{number}" {name}' for number, name in enumerate(TYPED))
    execute(
        postgresql_url,
        "CREATE TYPE mood AS ENUM ('so \"so\"')",
        "CREATE DOMAIN small AS int CHECK (VALUE < 10)",
        "CREATE TYPE pair AS (a int, b text)",
        "SET lc_monetary = 'C'; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; "  # noqa: S608
        f"CREATE TABLE t ({columns}); "
        f"INSERT INTO t VALUES ({', '.join(quoted_text(value) for value in TYPED.values())})",
        "SET TimeZone = 'Asia/Tokyo'; INSERT INTO t VALUES (NULL)",
    )
    records = export_lines(postgresql_url, tmp_path)
    found = values_of(records, "t")
    assert sorted(each["0"] is None for each in found) == [False, True]
    found = [each for each in found if each["0"] is not None]
    expected: list[Value] = [
        {"smallint": int, "bigint": int, "small": int, "real": float, "double precision": float}.get(name, str)(value)
        for name, value in TYPED.items()
    ]
    expected[list(TYPED).index("boolean")] = True
    expected[list(TYPED).index("bytea")] = b"\x00\xff"
    got = [found[0][str(number)] for number in range(len(TYPED))]
    assert list(zip(TYPED, got, strict=True)) == list(zip(TYPED, expected, strict=True))
    check_directories(postgresql_url, tmp_path)


def quoted_text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@pytest.mark.postgres
def test_every_kind_of_postgresql_table_is_listed_and_what_stores_rows_is_read(
    postgresql_url: str, tmp_path: Path
) -> None:
    execute(
        postgresql_url,
        'CREATE SCHEMA "Other .. / schema"',
        'CREATE TABLE "Other .. / schema".t (b text, a text PRIMARY KEY, c int GENERATED ALWAYS AS (1) STORED)',
        """INSERT INTO "Other .. / schema".t VALUES ('x', 'b'), ('y', 'B'), ('z', 'a')""",
        "CREATE TABLE bare ()",
        "INSERT INTO bare DEFAULT VALUES",
        "INSERT INTO bare DEFAULT VALUES",
        "CREATE TABLE empty (a int)",
        "CREATE TABLE parent (a int) PARTITION BY LIST (a)",
        "CREATE TABLE part PARTITION OF parent FOR VALUES IN (1)",
        "INSERT INTO parent VALUES (1)",
        "CREATE TABLE base (a numeric)",
        "CREATE TABLE derived (b int) INHERITS (base)",
        "INSERT INTO base VALUES (1.0), (1.00), (1)",
        "INSERT INTO derived VALUES (2, 3)",
        "CREATE VIEW seen AS SELECT a FROM base",
        "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM base",
        "CREATE MATERIALIZED VIEW unkept AS SELECT 1 AS n WITH NO DATA",
        "CREATE TEMPORARY TABLE passing (a int)",
    )
    records = export_lines(postgresql_url, tmp_path)
    assert {name: (each["kind"], each["order"]) for name, each in tables_of(records).items()} == {
        "t": ("table", "primary key"),
        "bare": ("table", "all columns"),
        "empty": ("table", "all columns"),
        "parent": ("partitioned table", None),
        "part": ("table", "all columns"),
        "base": ("table", "all columns"),
        "derived": ("table", "all columns"),
        "seen": ("view", None),
        "kept": ("materialized view", "all columns"),
        "unkept": ("materialized view", None),
    }
    assert next(each["schema"] for each in records if each["record_type"] == "table") == "Other .. / schema"
    assert written_values(records, "t") == [
        {"a": "B", "b": "y", "c": 1},
        {"a": "a", "b": "z", "c": 1},
        {"a": "b", "b": "x", "c": 1},
    ]
    assert written_values(records, "bare") == [{}, {}]
    assert written_values(records, "base") == [{"a": "1"}, {"a": "1.0"}, {"a": "1.00"}]
    assert written_values(records, "derived") == [{"a": "2", "b": 3}]
    assert written_values(records, "part") == [{"a": 1}]
    assert written_values(records, "kept") == [{"n": 4}]
    check_directories(postgresql_url, tmp_path)


SERVER_VALUES: dict[str, st.SearchStrategy[object]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double precision": st.floats(allow_nan=False),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "bytea": st.binary(),
    "boolean": st.booleans(),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=5),
    "bigint[]": st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3),
    "text[]": st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=3
    ),
    "timestamptz": st.datetimes(timezones=st.just(UTC)),
    "interval": st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    "uuid": st.uuids(),
}


@pytest.fixture(scope="module")
def shared_url(postgresql_server: URL) -> Iterator[str]:
    """Return the URL of a database for all examples."""
    url = create_database(postgresql_server)
    yield url.render_as_string(hide_password=False)
    drop_database(postgresql_server, url)


@pytest.mark.postgres
@law(40)
@given(st.lists(st.fixed_dictionaries({name: st.none() | each for name, each in SERVER_VALUES.items()}), max_size=4))
def test_what_is_read_back_equals_what_the_server_holds(
    shared_url: str, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    columns = {name: quoted(f"{name}.") for name in SERVER_VALUES}
    execute(
        shared_url,
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (n int PRIMARY KEY, " + ", ".join(f"{column} {name}" for name, column in columns.items()) + ")",
    )
    marks = ", ".join(["%s", *(f"%s::{name}" for name in columns)])
    plain = make_url(shared_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as session:
        for number, row in enumerate(rows):
            session.execute(f"INSERT INTO t VALUES ({marks})".encode(), [number, *(row[name] for name in columns)])  # noqa: S608
    found = values_of(export_lines(shared_url, tmp_path_factory.mktemp("found")), "t")
    same_as_stored = " AND ".join(f"{column} IS NOT DISTINCT FROM %s::{name}" for name, column in columns.items())
    with psycopg.connect(plain) as session:
        for got in found:
            values = [got[f"{name}."] for name in columns]
            query = f"SELECT {same_as_stored} FROM t WHERE n = %s".encode()  # noqa: S608
            assert session.execute(query, [*values, got["n"]]).fetchall() == [(True,)]
    assert len(found) == len(rows)


@pytest.mark.postgres
def test_columns_that_a_key_only_includes_are_not_of_the_key(postgresql_url: str, tmp_path: Path) -> None:
    execute(postgresql_url, "CREATE TABLE t (c int, b int, a int, PRIMARY KEY (a, c) INCLUDE (b))")
    assert tables_of(export_lines(postgresql_url, tmp_path))["t"]["key"] == ["a", "c"]


@pytest.mark.postgres
def test_names_in_postgresql_may_be_anything(postgresql_url: str, tmp_path: Path) -> None:
    columns = ", ".join(f"{quoted(name)} text DEFAULT 'x'" for name in HOSTILE)
    for name in HOSTILE:
        execute(
            postgresql_url, f"CREATE TABLE {quoted(name)} ({columns})", f"INSERT INTO {quoted(name)} DEFAULT VALUES"
        )
    records = export_lines(postgresql_url, tmp_path)
    assert set(tables_of(records)) == set(HOSTILE)
    for name in HOSTILE:
        assert written_values(records, name) == [dict.fromkeys(HOSTILE, "x")]
    check_directories(postgresql_url, tmp_path)


@pytest.mark.postgres
def test_rows_that_a_policy_hides_are_not_left_out_in_silence(postgresql_url: str, tmp_path: Path) -> None:
    execute(
        postgresql_url,
        "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "DROP ROLE IF EXISTS elspeth_reader",
        "CREATE ROLE elspeth_reader",
        "GRANT SELECT ON t TO elspeth_reader",
    )
    try:
        url = make_url(postgresql_url).update_query_dict({"options": "-c role=elspeth_reader"})
        with pytest.raises(LandscapeError, match="row-level security"):
            export_found(url, tmp_path / "found.jsonl", format=ExportFormat.JSONL)
    finally:
        execute(postgresql_url, "DROP OWNED BY elspeth_reader", "DROP ROLE elspeth_reader")
    assert not (tmp_path / "found.jsonl").exists()


@pytest.mark.postgres
def test_a_postgresql_database_is_read_in_one_read_only_transaction(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(postgresql_url, "CREATE TABLE a (n int)", "CREATE TABLE b (n int)", "INSERT INTO b VALUES (1)")
    seen: list[object] = []

    def watched(database: PostgresqlDatabase, table: FoundTable) -> Iterator[Row]:
        if table.name == "a":
            execute(postgresql_url, "INSERT INTO b VALUES (2)")
            seen.extend(database._connection.execute("SHOW transaction_read_only").fetchone() or ())
        return read(database, table)

    read = PostgresqlDatabase.rows
    monkeypatch.setattr(PostgresqlDatabase, "rows", watched)
    assert written_values(export_lines(postgresql_url, tmp_path), "b") == [{"n": 1}]
    assert seen == ["on"]


# -- both ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def some_url(database_url: str) -> str:
    """Return the URL of a database with two tables."""
    statements = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        "INSERT INTO t VALUES (2, 'b'), (1, NULL)",
        "CREATE TABLE u (x TEXT)",
        "INSERT INTO u VALUES ('same'), ('same'), ('other')",
    ]
    with create_engine(database_url).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.engine.dispose()
    return database_url


def without_time(content: bytes) -> list[bytes]:
    return [re.sub(rb'"(?:read_at|final_hash)":"[^"]*"', b"", line) for line in content.split(b"\n")]


def test_two_exports_of_a_database_differ_in_their_time_only(some_url: str, tmp_path: Path) -> None:
    contents = []
    for name in ("one.jsonl", "two.jsonl"):
        export_found(make_url(some_url), tmp_path / name, format=ExportFormat.JSONL)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] != contents[1]
    assert without_time(contents[0]) == without_time(contents[1])


def test_all_text_forms_hold_the_same_records(some_url: str, tmp_path: Path) -> None:
    for form in (ExportFormat.JSON, ExportFormat.JSONL):
        export_found(make_url(some_url), tmp_path / f"x.{form}", format=form)
        assert verify_lines(tmp_path / f"x.{form}").verdict is Verdict.UNSIGNED
    listed = json.loads((tmp_path / "x.json").read_bytes())
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [each for each in listed if each["record_type"] == "row"] == [
        each for each in lines if each["record_type"] == "row"
    ]


def test_a_bag_holds_the_same_lines_with_salts_of_its_own(some_url: str, tmp_path: Path) -> None:
    contents, salts = [], set()
    for name in ("one", "two"):
        export_found(make_url(some_url), tmp_path / name, format=ExportFormat.BAG)
        assert verify_bag(tmp_path / name).verdict is Verdict.UNSIGNED
        contents.append(without_time((tmp_path / name / "data/records.jsonl").read_bytes()))
        salts.add((tmp_path / name / "data/salts.json").read_bytes())
    export_found(make_url(some_url), tmp_path / "x.jsonl", format=ExportFormat.JSONL)
    lines = without_time((tmp_path / "x.jsonl").read_bytes())
    assert contents[0] == contents[1] == [*lines[:-2], b""]
    assert len(salts) == 2


def test_the_rows_fit_the_schema_of_their_table(some_url: str, tmp_path: Path) -> None:
    records = export_lines(some_url, tmp_path)
    validator = jsonschema.Draft202012Validator(json.loads(record_schema()))
    for record in records:
        validator.validate(record)
        if record["record_type"] == "row":
            schema = tables_of(records)[str(record["table"])]["row_schema"]
            jsonschema.Draft202012Validator(schema).validate(record["values"])  # type: ignore[arg-type]


def test_an_export_that_fails_leaves_what_was_there(
    some_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.jsonl"
    export_found(make_url(some_url), target, format=ExportFormat.JSONL)
    before = target.read_bytes()
    monkeypatch.setattr("elspeth.core.landscape.exporting.found.lines.MAX_LINE", 10)
    with pytest.raises(LandscapeError, match=r"database : expected a record of less than 10 bytes, got \d+"):
        export_found(make_url(some_url), target, format=ExportFormat.JSONL)
    assert target.read_bytes() == before


# -- databases of ours, and of the predecessor -------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", sorted({name for name in EPOCHS if (name, "postgresql") not in IMPOSSIBLE})[:: 1 if THOROUGH else 3]
)
def test_our_own_databases_are_exported_from_postgresql(
    name: str, old_database_of: OldDatabaseMaker, tmp_path: Path
) -> None:
    database = old_database_of(name, "postgresql")
    records = export_lines(database.url, tmp_path)
    expected = {table: len(rows) for table, rows in record_rows_of(database).items()}
    counts = Counter(str(each["table"]) for each in records if each["record_type"] == "row")
    assert {table: counts[table] for table in expected} == expected
    assert verify_lines(tmp_path / "found.jsonl").verdict is Verdict.UNSIGNED


@pytest.mark.parametrize("name", KEPT)
def test_our_own_databases_are_exported_whatever_their_epoch(name: str, tmp_path: Path) -> None:
    check_export_of_file(LEGACY / f"{name}.db", tmp_path)


def test_databases_of_the_predecessor_are_exported(predecessor_files: Path, tmp_path: Path) -> None:
    files = sorted(path for path in predecessor_files.rglob("*") if path.is_file() and is_database(path))
    assert files
    for number, path in enumerate(files[:: 1 if THOROUGH else 10]):
        check_export_of_file(path, tmp_path / str(number))


def is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"SQLite"


def check_export_of_file(source: Path, directory: Path) -> None:
    """Check that an export has every row, and changes nothing."""
    directory.mkdir(exist_ok=True)
    path = directory / "copy.db"
    path.write_bytes(source.read_bytes())
    (directory / "out").mkdir()
    with untouched(path):
        summary = export_found(make_url(f"sqlite:///{path}"), directory / "out" / "bag", format=ExportFormat.BAG)
    assert verify_bag(directory / "out" / "bag").verdict is Verdict.UNSIGNED
    with closing(sqlite3.connect(path)) as lite:
        names = [
            name
            for (name,) in lite.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
        ]
        rows = sum(lite.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in names)  # noqa: S608
    assert (summary.tables, summary.rows) == (len(names), rows)
