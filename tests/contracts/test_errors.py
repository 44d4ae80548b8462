"""Recorded messages of errors repeat no values of rows."""

import datetime as dt
import logging
import math
import re
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import cast

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.errors import RecordableError, describe_kind, driver_message, recordable_message, short_repr
from elspeth.contracts.input_paths import matches_pattern
from elspeth.contracts.plugins import CallError, PluginError, RowRejectedError
from elspeth.core.payload_store import relative_path

VALUE = "Zqxjkv"
MAY = ", whose message may hold values of rows"


def raised_by(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:  # noqa: BLE001  any error
        return error
    raise AssertionError("nothing was raised")


def test_a_message_that_promises_to_repeat_no_value_is_kept() -> None:
    errors = [RecordableError("why"), PluginError("why"), RowRejectedError("why"), CallError("why", is_retryable=True)]
    assert [recordable_message(error) for error in errors] == ["why"] * 4


def raise_deeply(depth: int) -> None:
    if depth == 0:
        int(VALUE)
    raise_deeply(depth - 1)


def test_other_errors_keep_the_last_places_in_foreign_code() -> None:
    place = r"tests\.contracts\.test_errors line \d+"
    assert re.fullmatch(rf"raised at {place}(, {place})+", recordable_message(raised_by(lambda: raise_deeply(1))))
    deep = raised_by(lambda: raise_deeply(50))
    lines = [line for _, line in traceback.walk_tb(deep.__traceback__)]
    places = ", ".join(f"tests.contracts.test_errors line {line}" for line in lines[-3:])
    assert (recordable_message(deep), lines[0] == lines[-3]) == (f"raised at {places}", False)
    assert recordable_message(ValueError(VALUE)) == "raised at an unknown place"
    error = raised_by(lambda: relative_path(VALUE))
    for _ in range(2):  # without the frames of this module
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
    assert re.fullmatch(r"raised at elspeth\.core\.payload_store line \d+", recordable_message(error))


def test_an_error_within_elspeth_names_the_innermost_line() -> None:
    error = raised_by(lambda: matches_pattern(Path("a"), cast("str", 5)))
    for _ in range(2):  # without the frames of this module
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_globals["__name__"] == "elspeth.contracts.input_paths"
    assert re.fullmatch(r"raised at elspeth\.objects\.address line \d+", recordable_message(error))


@pytest.mark.parametrize("is_retryable", [True, False])
def test_the_error_of_a_call_keeps_what_is_known_about_it(*, is_retryable: bool) -> None:
    error = CallError("busy", is_retryable=is_retryable, retry_after=0.0, details={"status": 503}, answer={"body": ""})
    assert (str(error), error.is_retryable, error.retry_after) == ("busy", is_retryable, 0.0)
    assert (error.details, error.answer) == ({"status": 503}, {"body": ""})


def test_the_message_of_an_os_error_comes_from_its_number() -> None:
    for error in (OSError(28, VALUE, VALUE), OSError(28, "No space left on device")):
        assert recordable_message(error) == "No space left on device, raised at an unknown place"
    for error in (OSError(VALUE), OSError(999_999, VALUE)):
        assert recordable_message(error) == "raised at an unknown place"


def test_a_logger_gets_the_withheld_messages(caplog: pytest.LogCaptureFixture) -> None:
    error = raised_by(lambda: int(VALUE))
    recordable_message(error)
    assert caplog.text == ""
    with caplog.at_level(logging.DEBUG, logger="elspeth.withheld"):
        recordable_message(error)
    assert f"ValueError: invalid literal for int() with base 10: '{VALUE}'" in caplog.text


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM nobody", "no such table: nobody"),
        ("SELECT FROM", 'near "FROM": syntax error'),
        ("INSERT INTO t VALUES (1)", "UNIQUE constraint failed: t.a"),
        ("INSERT INTO t VALUES (-1)", "CHECK constraint failed: a > 0"),
        (f"SELECT json_extract('{{}}', '{VALUE}')", "OperationalError (SQLITE_ERROR)"),
        (f"INSERT INTO t VALUES ('{VALUE}')", "datatype mismatch"),  # noqa: S608
        (f"INSERT INTO u VALUES ('{VALUE}')", "IntegrityError (SQLITE_CONSTRAINT_TRIGGER)"),  # noqa: S608
        (f"SELECT CAST(X'ff' AS TEXT) || '{VALUE}'", f"OperationalError{MAY}"),
    ],
)
def test_sqlite_messages_without_values_are_kept(statement: str, message: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE t (a INTEGER PRIMARY KEY CHECK (a > 0)); INSERT INTO t VALUES (1); CREATE TABLE u (a TEXT);"
            "CREATE TRIGGER no BEFORE INSERT ON u BEGIN SELECT RAISE(ABORT, 'no Zqxjkv'); END"
        )
        found = driver_message(raised_by(lambda: connection.execute(statement).fetchall()))
    assert (found, VALUE in found) == (message, False)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM nobody", 'relation "nobody" does not exist'),
        ("SELECT FROM FROM", 'syntax error at or near "FROM"'),
        ("INSERT INTO t VALUES (1)", "UniqueViolation (SQLSTATE 23505, schema public, table t, constraint t_pkey)"),
        (
            "INSERT INTO t VALUES (-730288463917 / 1000)",
            "CheckViolation (SQLSTATE 23514, schema public, table t, constraint t_a_check)",
        ),
        (f"SELECT '{VALUE}'::integer", "InvalidTextRepresentation (SQLSTATE 22P02)"),
        (f"SELECT ('{VALUE}' || 'x')::date", "InvalidDatetimeFormat (SQLSTATE 22007)"),
        (f"DO $$ BEGIN RAISE EXCEPTION '%%', '{VALUE}'; END $$", "RaiseException (SQLSTATE P0001)"),
    ],
)
def test_postgresql_messages_without_values_are_kept(postgresql_url: str, statement: str, message: str) -> None:
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a BIGINT PRIMARY KEY CHECK (a > 0)); INSERT INTO t VALUES (1)")
        error = raised_by(lambda: connection.exec_driver_sql(statement))
    engine.dispose()
    assert recordable_message(error) == message


def test_failed_connections_are_explained_but_refused_values_are_not() -> None:
    error = raised_by(lambda: psycopg.connect("host=/nowhere dbname=x"))
    assert driver_message(error).startswith("connection is bad: connection to server on socket")
    assert driver_message(psycopg.DataError(f"date too large: {VALUE}")) == f"DataError{MAY}"
    assert driver_message(RuntimeError(VALUE)) == f"RuntimeError{MAY}"


def test_a_long_value_is_cut() -> None:
    assert short_repr("x" * 58) == f"'{'x' * 58}'"
    assert short_repr("x" * 59) == f"'{'x' * 59}..."


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "an integer"),
        (1.5, "a number"),
        (math.inf, "a number that is not finite"),
        (math.nan, "a number that is not finite"),
        ("", "empty text"),
        ("a", "text of 1 character"),
        ("a" * 1000, "text of 1,000 characters"),
        ({"a": 1}, "an object with 1 field"),
        (MappingProxyType({}), "an object with 0 fields"),
        ([1], "a list of 1 item"),
        ((1, 2), "a list of 2 items"),
        (Decimal("1.5"), "a decimal"),
        (dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "a date and time"),
        (dt.date(2026, 3, 1), "a date"),
        (dt.timedelta(), "a duration"),
        (b"x", "a value of type bytes"),
    ],
    ids=str,
)
def test_each_kind_of_value_has_its_words(value: object, kind: str) -> None:
    assert describe_kind(value) == kind


KINDS = re.compile(
    r"null|a boolean|an integer|a number( that is not finite)?|empty text|text of [\d,]+ characters?"
    r"|a list of [\d,]+ items?|an object with [\d,]+ fields?"
)


@given(ANY)
def test_the_kind_of_a_value_is_described_in_fixed_words(value: object) -> None:
    assert KINDS.fullmatch(describe_kind(value))
