"""The database sink: rows and tables that do not go together are found at the row, or before the first one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from elspeth.contracts.plugins import PluginError, RowRejectedError, Sink
from elspeth.contracts.rows import RowData
from elspeth.plugins.manager import PluginManager
from tests.fixtures.effort import examples_of

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
    """Rows that no new table can hold beside a column `a`, and why."""
    yield {"": 1}, "a field has no name"
    yield {"x\0y": 1}, "the name of a field has a NUL character"
    yield {"%(a)s": 1}, "the name of a field looks like a parameter of a statement"
    yield {f"c{number}": 1 for number in range(33_000)}, "the table would have more columns than the database takes"
    if is_sqlite:
        yield {"B": 1, "b": 2}, "two fields have names that are the same to the database"
        yield {"A": 1}, "two fields have names that are the same to the database"
    else:
        yield {"x" * 64: 1}, "the name of a field is longer than 63 bytes"
        yield {"ü" * 32: 1}, "the name of a field is longer than 63 bytes"
        yield {"ctid": 1}, "the name of a field is one that the database keeps for itself"
        yield {"a": "x\0y"}, "a text has a NUL character"


def test_names_that_no_table_can_have_are_refused_with_their_row(target: Target) -> None:
    sink = target.sink()
    sink.open("run1")
    sink.write({"a": "1"})
    for row, problem in hostile_rows(is_sqlite=target.is_sqlite):
        assert refusal(sink, row) == problem
    sink.write({"a": "2", "more": 3})
    publish(sink)
    assert target.execute("SELECT a, more FROM target ORDER BY a") == [("1", None), ("2", 3)]


def test_what_earlier_rows_have_named_counts_after_a_resumption(target: Target) -> None:
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


def test_names_that_differ_are_columns_that_differ_where_the_database_tells_them_apart(target: Target) -> None:
    rows: list[RowData] = [{"ä": 1, "Ä": 2}] if target.is_sqlite else [{"a": 1, "A": 2}]
    sink = target.sink()
    sink.open("run1")
    for row in rows:
        sink.write(row)
    publish(sink)
    assert target.execute("SELECT * FROM target") == [(1, 2)]


def test_a_row_without_fields_is_refused_while_there_is_no_column(target: Target, tmp_path: Path) -> None:
    for sink in (target.sink(), PLUGINS.sink("parquet", {"path": str(tmp_path / "out.parquet")})):
        sink.open("run1")
        assert refusal(sink, {}) == "the row has no fields, so that nothing would be written of it"
        sink.write({"a": 1})
        sink.write({})
        sink.sync()
        position = sink.position()
        sink.close()
        sink.reopen("run1", position)
        sink.write({})
        sink.discard()


def test_a_table_that_lacks_a_field_of_the_schema_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE target (id INTEGER, name TEXT)")
    schema = {"mode": "free", "fields": ["id: int", "amount: float?", "note: str?"]}
    assert fault(target.sink(schema=schema)) == ": the table has no columns 'amount', 'note', which the schema names"


def test_a_table_that_wants_more_than_the_schema_gives_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE target (id INTEGER, name TEXT NOT NULL, kind TEXT NOT NULL DEFAULT 'x')")
    schema = {"mode": "strict", "fields": ["id: int"]}
    assert fault(target.sink(schema=schema)) == (
        ": the column 'name' of the table must have a value, and the schema has no such field"
    )


def test_a_row_without_a_value_that_the_table_wants_is_refused(target: Target) -> None:
    key = "INTEGER PRIMARY KEY NOT NULL" if target.is_sqlite else "SERIAL PRIMARY KEY"
    target.execute(f"CREATE TABLE target (number {key}, id INTEGER, name TEXT NOT NULL)")
    sink = target.sink()
    sink.open("run1")
    wanted = "the column 'name' of the table must have a value"
    incomplete: list[RowData] = [{"id": 1}, {"id": 1, "name": None}]
    assert [refusal(sink, row) for row in incomplete] == [wanted, wanted]
    sink.write({"id": 1, "name": "x"})
    publish(sink)
    assert target.execute("SELECT * FROM target") == [(1, 1, "x")]


def test_a_schema_whose_names_no_table_can_have_is_a_fault_of_the_sink(target: Target) -> None:
    name = "x" * 64 if not target.is_sqlite else "A"
    schema = {"mode": "free", "fields": ["a: int", f"{name}: int"]}
    assert fault(target.sink(schema=schema)) == (
        ": the schema: two fields have names that are the same to the database"
        if target.is_sqlite
        else ": the schema: the name of a field is longer than 63 bytes"
    )


def test_what_cannot_be_written_to_is_a_fault_of_the_sink(target: Target) -> None:
    target.execute("CREATE TABLE other (id INTEGER)", "CREATE VIEW target AS SELECT id + 1 AS id FROM other")
    said = fault(target.sink())
    expected = ": is a view, expected a table" if target.is_sqlite else " cannot be written: cannot insert into"
    assert said.startswith(expected)


@pytest.mark.postgres
def test_a_table_that_one_may_not_write_to_is_a_fault_of_the_sink(postgresql_url: str, tmp_path: Path) -> None:
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
def test_what_a_new_table_takes_can_be_published(target: Target, rows: list[RowData]) -> None:
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
