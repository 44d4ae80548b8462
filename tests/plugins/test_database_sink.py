"""The database sink: which rows and tables fit together."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from elspeth.contracts.plugins import PluginError, RowRejectedError, Sink
from elspeth.contracts.rows import RowData
from elspeth.plugins import _target_columns, database_sink
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.row_spool import RowSpool, row_line
from tests.fixtures.effort import examples_of
from tests.plugins.typed_rows import EXPECTED, FIELDS, ROWS, TEXTS, TYPED, write

PLUGINS = PluginManager.installed()


class Target:
    """A table in a database of each kind."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._options = {"url": url, "table": "target", "staging_directory": str(directory / "staging")}

    def sink(self, **options: object) -> Sink:
        return PLUGINS.sink("database", self._options | options)

    def execute(self, *statements: str) -> list[Any]:
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            results = [connection.exec_driver_sql(statement) for statement in statements]
            found = list(results[-1]) if results[-1].returns_rows else []
        engine.dispose()
        return found


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Target:
    return Target(database_url, tmp_path)


def publish(sink: Sink) -> None:
    sink.sync()
    sink.finish()
    sink.publish()


def refusal(sink: Sink, row: RowData) -> str:
    with pytest.raises(RowRejectedError) as caught:
        sink.write(row)
    return str(caught.value)


def fault(sink: Sink) -> str:
    with pytest.raises(PluginError) as caught:
        sink.open("run1")
    return str(caught.value).partition("#target")[2]


def hostile_rows(*, is_sqlite: bool) -> Iterator[tuple[RowData, str]]:
    """Yield rows that no new table can hold, with reasons.

    The table has a column `a` already.
    """
    yield {"": 1}, "a field has no name"
    yield {"x\0y": 1}, "the name of a field has a NUL character"
    yield {"%(a)s": 1}, "the name of a field looks like a parameter of a statement"
    most = 2_000 if is_sqlite else 1_600
    yield {f"c{number}": 1 for number in range(most)}, "the table would have more columns than the database takes"
    if is_sqlite:
        yield {"B": 1, "b": 2}, "two fields have names that are the same to the database"
        yield {"A": 1}, "two fields have names that are the same to the database"
    else:
        yield {"x" * 64: 1}, "the name of a field is longer than 63 bytes"
        yield {"ü" * 32: 1}, "the name of a field is longer than 63 bytes"
        yield {"ctid": 1}, "the name of a field is one that the database keeps for itself"
        yield {"a": "x\0y"}, "a text has a NUL character"


def test_rows_with_impossible_column_names_are_refused(target: Target) -> None:
    sink = target.sink()
    sink.open("run1")
    sink.write({"a": "1"})
    for row, problem in hostile_rows(is_sqlite=target.is_sqlite):
        assert refusal(sink, row) == problem
    sink.write({"a": "2", "more": 3})
    publish(sink)
    assert target.execute("SELECT a, more FROM target ORDER BY a") == [("1", None), ("2", 3)]


def test_a_database_that_only_shares_names_with_an_audit_database_is_written_to(target: Target) -> None:
    target.execute("CREATE TABLE runs (id INTEGER)", "CREATE TABLE rows (id INTEGER)")
    sink = target.sink()
    sink.open("run1")
    sink.write({"a": 1})
    publish(sink)
    assert target.execute("SELECT a FROM target") == [(1,)]


def test_an_audit_database_is_not_written_to(target: Target) -> None:
    tables = ("token_outcomes", "runs", "nodes", "rows", "tokens")
    target.execute(*(f"CREATE TABLE {name} (id INTEGER)" for name in tables))
    assert fault(target.sink()) == ": is an audit database, which no sink may write to: name another one"


def test_columns_of_earlier_rows_are_remembered_after_resuming(target: Target) -> None:
    sink = target.sink()
    sink.open("run1")
    sink.write({"a": 1})
    sink.sync()
    position = sink.position()
    sink.close()
    sink = target.sink()
    sink.reopen("run1", position)
    if target.is_sqlite:
        assert refusal(sink, {"A": 2}) == "two fields have names that are the same to the database"
    sink.write({})
    publish(sink)
    assert target.execute("SELECT * FROM target ORDER BY a IS NULL") == [(1,), (None,)]
    assert target.execute("SELECT row_count FROM elspeth_publications") == [(2,)]


def test_names_that_the_database_distinguishes_are_different_columns(target: Target) -> None:
    rows: list[RowData] = [{"ä": 1, "Ä": 2}] if target.is_sqlite else [{"a": 1, "A": 2, "x" * 63: 3}]
    sink = target.sink()
    sink.open("run1")
    for row in rows:
        sink.write(row)
    publish(sink)
    assert [tuple(row) for row in target.execute("SELECT * FROM target")] == [tuple(row.values()) for row in rows]


def test_a_row_without_fields_is_refused_while_there_is_no_column(target: Target, tmp_path: Path) -> None:
    in_parquet = {"path": str(tmp_path / "out.parquet")}
    makers: list[Callable[[], Sink]] = [target.sink, lambda: PLUGINS.sink("parquet", in_parquet)]
    for make in makers:
        sink = make()
        sink.open("run1")
        assert refusal(sink, {}) == "the row has no fields, so that nothing would be written of it"
        sink.write({"a": 1})
        sink.write({})
        sink.sync()
        position = sink.position()
        sink.close()
        sink = make()
        sink.reopen("run1", position)
        sink.write({})
        sink.discard()


def test_a_row_without_fields_goes_to_a_table_once_its_columns_are_used(target: Target) -> None:
    target.execute("CREATE TABLE target (id INTEGER)")
    sink = target.sink()
    sink.open("run1")
    assert refusal(sink, {}) == "the row has no fields, so that nothing would be written of it"
    sink.write({"id": 1})
    sink.write({})
    publish(sink)
    assert target.execute("SELECT id FROM target ORDER BY id IS NULL") == [(1,), (None,)]


def test_a_table_that_lacks_a_field_of_the_schema_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE target (id INTEGER, name TEXT)")
    schema = {"mode": "free", "fields": ["id: int", "amount: float?", "note: str?"]}
    assert fault(target.sink(schema=schema)) == ": the table has no columns 'amount', 'note', which the schema names"
    schema["fields"] = ["id: int", "note: str?"]
    assert fault(target.sink(schema=schema)) == ": the table has no column 'note', which the schema names"


def test_a_table_that_requires_more_than_the_schema_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE target (id INTEGER, name TEXT NOT NULL, kind TEXT NOT NULL DEFAULT 'x')")
    schema = {"mode": "strict", "fields": ["id: int"]}
    assert fault(target.sink(schema=schema)) == (
        ": the column 'name' of the table must have a value, and the schema has no such field"
    )
    sink = target.sink(schema=schema | {"mode": "free"})
    sink.open("run1")  # each row may have it
    sink.discard()


def test_a_row_without_a_required_value_is_refused(target: Target) -> None:
    key = "INTEGER PRIMARY KEY NOT NULL" if target.is_sqlite else "INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    made = "twice INTEGER NOT NULL GENERATED ALWAYS AS (id * 2) STORED"
    target.execute(f"CREATE TABLE target (number {key}, id INTEGER, name TEXT NOT NULL, {made})")
    sink = target.sink()
    sink.open("run1")
    wanted = "the column 'name' of the table must have a value"
    incomplete: list[RowData] = [{"id": 1}, {"id": 1, "name": None}]
    assert [refusal(sink, row) for row in incomplete] == [wanted, wanted]
    made_by_itself: list[RowData] = [
        {"id": 1, "name": "x", name: 2} for name in ("twice", "number")[: 1 if target.is_sqlite else 2]
    ]
    makes_its_own = "a field is one whose column of the table makes its own values"
    assert {refusal(sink, row) for row in made_by_itself} == {makes_its_own}
    sink.write({"id": 1, "name": ""})
    publish(sink)
    assert target.execute("SELECT * FROM target") == [(1, 1, "", 2)]
    schema = {"mode": "free", "fields": ["id: int", "twice: int?"]}
    assert fault(target.sink(schema=schema)) == (
        ": the column 'twice' of the table makes its own values, and the schema names it"
    )


def test_a_schema_with_impossible_column_names_is_a_fault_of_the_sink(target: Target) -> None:
    name = "x" * 64 if not target.is_sqlite else "A"
    schema = {"mode": "free", "fields": ["a: int", f"{name}: int"]}
    assert fault(target.sink(schema=schema)) == (
        ": the schema: two fields have names that are the same to the database"
        if target.is_sqlite
        else ": the schema: the name of a field is longer than 63 bytes"
    )


def test_a_view_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE other (id INTEGER)", "CREATE VIEW target AS SELECT id + 1 AS id FROM other")
    said = fault(target.sink())
    expected = ": is a view, expected a table" if target.is_sqlite else " cannot be written: cannot insert into"
    assert said.startswith(expected)


@pytest.mark.postgres
def test_a_table_without_write_permission_is_a_fault_of_the_sink(postgresql_url: str, tmp_path: Path) -> None:
    target = Target(postgresql_url, tmp_path)
    target.execute("CREATE TABLE target (id INTEGER)", "CREATE ROLE reader LOGIN", "GRANT SELECT ON target TO reader")
    try:
        url = make_url(postgresql_url).set(username="reader").render_as_string(hide_password=False)
        assert fault(target.sink(url=url)) == " cannot be written: permission denied for table target"
    finally:
        target.execute("DROP OWNED BY reader", "DROP ROLE reader")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=70) | st.sampled_from(
    ["a", "A", "%(a)s", ":a", "a b", 'a"b', "a'b", "a.b", "xmin", "rowid", "select", "\\", "[a]", "a__1", "\u017f", "ß"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.law
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples_of(100))
@given(rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4))
def test_rows_that_a_new_table_accepts_can_be_published(target: Target, rows: list[RowData]) -> None:
    target.execute("DROP TABLE IF EXISTS target", "DROP TABLE IF EXISTS elspeth_publications")
    sink = target.sink()
    sink.open("run1")
    taken = 0
    for row in rows:
        try:
            sink.write(row)
        except RowRejectedError:
            continue
        taken += 1
    publish(sink)
    if taken:
        assert target.execute("SELECT count(*) FROM target") == [(taken,)]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Return the options of a table in a SQLite database."""
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


@pytest.mark.parametrize("chunk", [2, 1_000])
def test_a_table_is_created_and_filled_once_per_run(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(database_sink, "_CHUNK_ROWS", chunk)
    write(PLUGINS.sink("database", options), ROWS)
    assert stored(options) == EXPECTED
    assert [list(row) for row in stored(options)] == [list(row) for row in EXPECTED]
    write(PLUGINS.sink("database", options), ROWS[2:], run="run2")
    assert [row["id"] for row in stored(options)] == [1, 2, 3, 3]
    publications = stored(options, "SELECT run_id, table_name, row_count FROM elspeth_publications ORDER BY run_id")
    assert publications == [
        {"run_id": "run1", "table_name": "customers", "row_count": 3},
        {"run_id": "run2", "table_name": "customers", "row_count": 1},
    ]
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize("declared", [[], FIELDS], ids=["inferred", "declared"])
def test_decimals_dates_times_and_durations_get_columns_of_their_types(target: Target, declared: list[str]) -> None:
    """SQLite has no such types, and holds their canonical text."""
    options = {"schema": {"mode": "strict", "fields": declared}} if declared else {}
    write(target.sink(**options), [TYPED])
    [row] = target.execute("SELECT paid, day, at, took FROM target")
    assert tuple(row) == tuple((TEXTS if target.is_sqlite else TYPED).values())
    if not target.is_sqlite:
        types = target.execute(
            "SELECT data_type, numeric_precision, numeric_scale FROM information_schema.columns "
            "WHERE table_name = 'target' ORDER BY ordinal_position"
        )
        assert [tuple(each) for each in types] == [
            ("numeric", 38, 2),
            ("date", None, None),
            ("timestamp with time zone", None, None),
            ("interval", None, None),
        ]


def test_decimals_dates_times_and_durations_fit_columns_of_text_and_of_other_types(target: Target) -> None:
    target.execute("CREATE TABLE target (paid TEXT, day TEXT, at TIMESTAMP, took TEXT, rate DOUBLE PRECISION)")
    write(target.sink(), [{**TYPED, "rate": Decimal("0.5")}])
    [row] = target.execute("SELECT paid, day, CAST(at AS TEXT), took, rate FROM target")
    assert tuple(row) == ("12.30", "2026-03-01", "2026-03-01 12:30:00.000005", "PT23H59M", 0.5)


def test_the_table_holds_the_values_that_the_schema_makes(target: Target) -> None:
    schema = {"mode": "strict", "fields": ["id: int", "paid: decimal(2)"]}
    write(target.sink(schema=schema), [{"id": "7", "paid": "1.5"}])
    [(number, paid)] = target.execute("SELECT id, paid FROM target")
    assert (number, str(paid)) == (7, "1.50")


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


def test_equal_rows_of_another_run_or_table_do_not_count_as_published(options: dict[str, Any]) -> None:
    write(PLUGINS.sink("database", options), [{"id": 1}])
    for run, table in (("run2", "customers"), ("run1", "others")):
        sink = PLUGINS.sink("database", options | {"table": table})
        sink.open(run)
        sink.write({"id": 1})
        output = sink.finish()
        assert output is not None
        assert not sink.confirm(run, output)
        sink.publish()
        assert sink.confirm(run, output)
    assert stored(options) == [{"id": 1}] * 2
    assert stored(options, "SELECT * FROM others") == [{"id": 1}]


def test_rows_that_a_killed_process_published_wait_no_longer(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = PLUGINS.sink("database", options)
    sink.open("run1")
    sink.write({"id": 1})
    output = sink.finish()
    assert output is not None
    with monkeypatch.context() as patch:
        patch.setattr(RowSpool, "discard", lambda _: None)
        sink.publish()
    sink.close()
    assert PLUGINS.sink("database", options).confirm("run1", output)
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_table_may_have_as_many_columns_as_the_database_allows(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_target_columns, "_column_limit", lambda _: 3)
    row: RowData = {"a": 1, "b": 2, "c": 3}
    write(PLUGINS.sink("database", options), [row])
    assert stored(options) == [row]


@pytest.mark.parametrize("limit", [sqlite3.SQLITE_LIMIT_COLUMN, sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER])
def test_both_limits_of_sqlite_bound_the_columns(limit: int) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        raw: object = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.setlimit(limit, 5)
        assert _target_columns._column_limit(connection) == 5
    engine.dispose()


@pytest.mark.postgres
def test_a_column_that_may_make_its_own_value_takes_a_given_one(postgresql_url: str, tmp_path: Path) -> None:
    target = Target(postgresql_url, tmp_path)
    target.execute("CREATE TABLE target (id INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a TEXT)")
    sink = target.sink()
    sink.open("run1")
    sink.write({"id": 7, "a": "x"})
    sink.write({"id": 8})
    publish(sink)
    assert target.execute("SELECT id, a FROM target ORDER BY id") == [(7, "x"), (8, None)]


def test_other_rows_of_the_same_run_do_not_count_as_published(options: dict[str, Any]) -> None:
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


def test_a_field_without_a_column_is_rejected(options: dict[str, Any]) -> None:
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
    options["url"] = "postgresql+psycopg://me:secret@127.0.0.1:1/shop"
    with pytest.raises(PluginError) as caught:
        PLUGINS.sink("database", options).open("run1")
    assert str(caught.value).startswith("postgresql+psycopg://me:***@127.0.0.1:1/shop#t cannot be reached: ")
    (tmp_path / "file").write_text("")
    options["url"] = f"sqlite:///{tmp_path / 'file' / 'target.db'}"
    with pytest.raises(PluginError) as caught:
        PLUGINS.sink("database", options).open("run1")
    assert str(caught.value) == f"{options['url']}#t cannot be created: File exists"


def test_the_output_is_described_by_its_rows_as_lines(options: dict[str, Any]) -> None:
    sink = PLUGINS.sink("database", options)
    sink.open("run1")
    rows: list[RowData] = [{"id": 1}, {"id": 2, "paid": Decimal("1.50")}]
    for row in rows:
        sink.write(row)
    output = sink.finish()
    lines = b"".join(map(row_line, rows))
    assert output is not None
    assert (output.artifact_type, output.path) == ("database", f"{options['url']}#customers")
    assert (output.content_hash, output.size_bytes) == (hashlib.sha256(lines).hexdigest(), len(lines))
    sink.discard()


@pytest.mark.postgres
def test_a_time_without_zone_is_that_of_utc_wherever_the_server_is(postgresql_url: str, tmp_path: Path) -> None:
    target = Target(postgresql_url, tmp_path)
    target.execute(
        "CREATE TABLE target (at TIMESTAMP)",
        f"ALTER DATABASE \"{make_url(postgresql_url).database}\" SET timezone TO 'Asia/Tokyo'",
    )
    write(target.sink(), [{"at": TYPED["at"]}])
    assert [str(at) for (at,) in target.execute("SELECT at FROM target")] == ["2026-03-01 12:30:00.000005"]
