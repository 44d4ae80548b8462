"""PostgreSQL databases as found."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found._postgresql import PostgresqlDatabase
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.found.source import FoundTable, Row
from elspeth.evidence.format.found import Value
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.effort import law
from tests.fixtures.found_exports import (
    HOSTILE,
    check_directories,
    export_lines,
    quoted,
    tables_of,
    values_of,
    written_values,
)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as session:
        for statement in statements:
            session.execute(statement.encode())


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


SESSION_SETTINGS = (
    "TimeZone = 'Asia/Tokyo'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'iso_8601'",
    "extra_float_digits = -10",
    "bytea_output = 'escape'",
    "client_encoding = 'LATIN1'",
)
"""Defaults under which the server would write the same values in other words."""


@pytest.mark.postgres
def test_the_server_reads_every_written_value_back(postgresql_url: str, tmp_path: Path) -> None:
    name = make_url(postgresql_url).database
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
        *(f"ALTER DATABASE {name} SET {setting}" for setting in SESSION_SETTINGS),
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
def test_every_kind_of_relation_is_listed_and_those_that_store_rows_are_read(
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
        "CREATE TABLE empty (gone int, a int)",
        "ALTER TABLE empty DROP COLUMN gone",
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
def test_exported_values_equal_those_of_the_server(
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
def test_included_columns_are_not_part_of_the_key(postgresql_url: str, tmp_path: Path) -> None:
    execute(postgresql_url, "CREATE TABLE t (c int, b int, a int, PRIMARY KEY (a, c) INCLUDE (b))")
    assert tables_of(export_lines(postgresql_url, tmp_path))["t"]["key"] == ["a", "c"]


@pytest.mark.postgres
def test_a_database_without_encoding_is_exported_if_its_text_is_utf_8(postgresql_server: URL, tmp_path: Path) -> None:
    name = f"any_text_{uuid.uuid4().hex}"
    url = postgresql_server.set(database=name)
    address, server = (each.render_as_string(hide_password=False) for each in (url, postgresql_server))
    with psycopg.connect(server.replace("postgresql+psycopg", "postgresql"), autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode())
        try:
            execute(address, "CREATE TABLE t (a text)", "INSERT INTO t VALUES (E'\\xc3\\xa9')")
            database, *records = export_lines(address, tmp_path)
            execute(address, "INSERT INTO t VALUES (E'\\xff')")
            with pytest.raises(LandscapeError) as refused:
                export_lines(address, tmp_path)
        finally:
            session.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert (database["name"], database["encoding"]) == (name, "SQL_ASCII")
    assert values_of([database, *records], "t") == [{"a": "\xe9"}]
    problem = 'invalid byte sequence for encoding "UTF8": 0xff'
    assert str(refused.value) == f"database {mask_url(url)} cannot be read (table 't' of schema 'public'): {problem}"


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
def test_rows_hidden_by_a_policy_are_not_silently_left_out(postgresql_url: str, tmp_path: Path) -> None:
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
def test_a_password_that_the_server_repeats_is_not_shown(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(postgresql_url, "CREATE TABLE a (n int)")
    url = make_url(postgresql_url)
    url = url.set(password=url.password or "do-not-tell")

    def refused(_: PostgresqlDatabase, table: FoundTable) -> Iterator[Row]:
        raise psycopg.OperationalError(f"reading {table.name} with the password {url.password} was refused")

    monkeypatch.setattr(PostgresqlDatabase, "rows", refused)
    with pytest.raises(LandscapeError) as caught:
        export_found(url, tmp_path / "found.jsonl", format=ExportFormat.JSONL)
    problem = "cannot be read (table 'a' of schema 'public'): reading a with the password *** was refused"
    assert str(caught.value) == f"database {mask_url(url)} {problem}"


@pytest.mark.postgres
def test_a_postgresql_database_is_read_in_one_read_only_transaction(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ("statement_timeout", "idle_in_transaction_session_timeout")
    execute(
        postgresql_url,
        *("CREATE TABLE a (n int)", "CREATE TABLE b (n int)", "INSERT INTO b VALUES (1)"),
        *(f"ALTER DATABASE {make_url(postgresql_url).database} SET {limit} = '7min'" for limit in limits),
    )
    seen: list[object] = []

    def watched(database: PostgresqlDatabase, table: FoundTable) -> Iterator[Row]:
        if table.name == "a":
            execute(postgresql_url, "INSERT INTO b VALUES (2)")
            for name in ("transaction_read_only", *limits):
                seen.extend(database._connection.execute(f"SHOW {name}".encode()).fetchone() or ())
        return read(database, table)

    read = PostgresqlDatabase.rows
    monkeypatch.setattr(PostgresqlDatabase, "rows", watched)
    assert written_values(export_lines(postgresql_url, tmp_path), "b") == [{"n": 1}]
    assert seen == ["on", "0", "0"]
