"""Rows written as tuples, compared with what SQLAlchemy's types write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, DateTime, Float, Integer, MetaData, Table, Text, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database.writing import insert_rows, stored_times, update_rows
from tests.fixtures.landscapes import NewLandscape

MOMENTS = st.datetimes(timezones=st.just(UTC))
VALUES = Table(
    "values_of_all_kinds",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("text", Text),
    Column("number", Float),
    Column("time", DateTime(timezone=True)),
)
TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["", "\\N", "\\.", "\t\n\r\b\f\v\\", '"', "'", "null", "\x7f\u2028\U0001f600"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(rows=st.lists(st.tuples(TEXTS, NUMBERS, st.none() | MOMENTS), min_size=1, max_size=4))
@settings(max_examples=30)
def test_rows_equal_those_that_sqlalchemy_writes(new_landscape: NewLandscape, rows: list[tuple[object, ...]]) -> None:
    with new_landscape() as landscape, landscape.engine.connect() as connection, connection.begin() as transaction:
        VALUES.create(connection)
        names = list(VALUES.columns.keys())
        keyed = [(key, *row) for key, row in enumerate(rows)]
        connection.execute(insert(VALUES), [dict(zip(names, row, strict=True)) for row in keyed])
        expected = kept(connection)
        connection.execute(VALUES.delete())
        of_moment = stored_times(connection.dialect.name).of_moment
        insert_rows(
            connection,
            VALUES,
            [tuple(of_moment(each) if isinstance(each, datetime) else each for each in row) for row in keyed],
        )
        assert kept(connection) == expected
        transaction.rollback()


def kept(connection: Connection) -> list[tuple[object, ...]]:
    """Return the rows, with times as text."""
    statement = text('SELECT key, text, number, CAST("time" AS TEXT) FROM values_of_all_kinds ORDER BY key')
    return [tuple(row) for row in connection.execute(statement)]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@given(moment=MOMENTS)
def test_a_time_from_an_export_is_stored_unchanged(dialect: str, moment: datetime) -> None:
    times = stored_times(dialect)
    found = times.of_text(timestamp_text(moment))
    assert str(found).replace("T", " ").removesuffix("Z") == f"{moment:%Y-%m-%d %H:%M:%S.%f}".rjust(26, "0")
    if dialect == "sqlite":
        assert found == times.of_moment(moment)


@pytest.mark.parametrize("count", [1, 2])
def test_a_refused_row_refuses_the_whole_group(new_landscape: NewLandscape, count: int) -> None:
    with new_landscape() as landscape, landscape.engine.connect() as connection, connection.begin() as transaction:
        VALUES.create(connection)
        insert_rows(connection, VALUES, [(0, "first", None, None)])
        new: list[tuple[object, ...]] = [(1, "new", None, None), (0, "again", None, None)]
        with pytest.raises(IntegrityError), connection.begin_nested():
            insert_rows(connection, VALUES, new[-count:])
        assert connection.execute(select(VALUES.c.text)).scalars().all() == ["first"]
        transaction.rollback()


def test_an_update_changes_the_rows_with_the_keys(new_landscape: NewLandscape) -> None:
    with new_landscape() as landscape, landscape.engine.connect() as connection, connection.begin() as transaction:
        VALUES.create(connection)
        insert_rows(connection, VALUES, [(key, "old", 0.5, None) for key in range(4)])
        update_rows(connection, VALUES, ["number", "text"], ["key"], [(1.5, "new", 1), (None, "newer", 3)])
        found = connection.execute(select(VALUES.c.text, VALUES.c.number).order_by(VALUES.c.key)).all()
        assert [tuple(row) for row in found] == [("old", 0.5), ("new", 1.5), ("old", 0.5), ("newer", None)]
        transaction.rollback()


def test_a_lost_connection_raises_the_error_of_sqlalchemy(on_postgresql: NewLandscape) -> None:
    with on_postgresql() as landscape:
        with landscape.engine.connect() as connection, pytest.raises(OperationalError):  # noqa: PT012 - the second call raises
            VALUES.create(connection)
            process = connection.scalar(text("SELECT pg_backend_pid()"))
            with landscape.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
            insert_rows(connection, VALUES, [(1, "", None, None), (2, "", None, None)])
        assert connection.invalidated or connection.closed
