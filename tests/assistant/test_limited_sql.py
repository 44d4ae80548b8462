"""SQL from somebody else, on both databases."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from elspeth.assistant.limited_sql import READABLE, Found, QueryLimits, QueryRefusedError, query
from elspeth.core.landscape.database import LandscapeDB

REFUSED = [
    "DELETE FROM runs",
    "INSERT INTO runs (run_id) VALUES ('x')",
    "UPDATE runs SET status = 'failed'",
    "DROP TABLE runs",
    "CREATE TABLE x (a INTEGER)",
    "SELECT 1; DROP TABLE runs",
    "COMMIT; DROP TABLE runs",
    "COMMIT",
    "PRAGMA writable_schema = ON",
    "ATTACH DATABASE 'other.db' AS other",
    "VACUUM INTO 'copy.db'",
    "SELECT load_extension('x')",
    "WITH d AS (DELETE FROM runs RETURNING run_id) SELECT * FROM d",
    "COPY runs TO '/tmp/copy'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT nothing FROM nowhere",
    "",
]

CONTENTS = [
    "SELECT row_data_json FROM transform_errors",
    "SELECT * FROM validation_errors",
    "SELECT count(row_data_json) FROM validation_errors",
    "SELECT error_hash FROM (SELECT row_data_json AS error_hash FROM transform_errors)",
    "WITH t(a) AS (SELECT contents_json FROM adopted_values) SELECT a FROM t",
    "SELECT run_id FROM runs WHERE EXISTS (SELECT 1 FROM transform_errors WHERE row_data_json LIKE '%a%')",
    "SELECT run_id FROM runs ORDER BY (SELECT max(row_data_json) FROM validation_errors)",
    "SELECT state_json FROM held_items",
    "SELECT sql FROM sqlite_schema",
    "SELECT name FROM pragma_table_info('held_items')",
]

LIMITS = QueryLimits(seconds=0.5, rows=3, characters=100)
COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{}) SELECT {} FROM n"


def ask(db: LandscapeDB, sql: str) -> Found:
    with db.snapshot() as connection:
        return query(connection, sql, LIMITS)


@pytest.fixture
def db(database_url: str) -> Iterator[LandscapeDB]:
    with closing(LandscapeDB(database_url)) as opened:
        yield opened


def test_a_query_returns_columns_and_rows(db: LandscapeDB) -> None:
    assert ask(db, "SELECT 1 AS a, 'x' AS b, NULL AS c, '%s :y' AS d") == Found(
        columns=("a", "b", "c", "d"), rows=[(1, "x", None, "%s :y")], is_cut=False
    )
    assert ask(db, "SELECT run_id FROM runs").rows == []


SHOWN = {
    "sqlite": ("SELECT x'00ff', 9e999", ("2 bytes", "inf")),
    "postgresql": (
        r"SELECT '\x00ff'::bytea, 'NaN'::float8, 1.50::numeric, TIMESTAMPTZ '2026-01-02 03:04:05Z' AT TIME ZONE 'UTC'",
        ("2 bytes", "nan", "1.50", "2026-01-02T03:04:05"),
    ),
}


def test_values_without_a_json_type_are_returned_as_text(db: LandscapeDB) -> None:
    sql, row = SHOWN[db.engine.dialect.name]
    assert ask(db, sql).rows == [row]


def test_rows_and_characters_are_limited(db: LandscapeDB) -> None:
    found = ask(db, COUNTING.format(" WHERE i < 9", "i"))
    assert ([row[0] for row in found.rows], found.is_cut) == ([1, 2, 3], True)
    found = ask(db, COUNTING.format(" WHERE i < 3", "i"))
    assert ([row[0] for row in found.rows], found.is_cut) == ([1, 2, 3], False)
    assert not ask(db, f"SELECT '{'x' * 60}' UNION ALL SELECT '{'x' * 40}'").is_cut
    wide = ask(db, "SELECT '" + "x" * 60 + "' UNION ALL SELECT '" + "x" * 61 + "'")
    assert (len(wide.rows), wide.is_cut) == (1, True)


def refusal(db: LandscapeDB, sql: str) -> str:
    with pytest.raises(QueryRefusedError) as raised:
        ask(db, sql)
    return str(raised.value)


def test_only_a_single_query_is_accepted(db: LandscapeDB) -> None:
    assert [sql for sql in REFUSED if not refusal(db, sql).startswith("the query is refused: ")] == []
    assert ask(db, "SELECT count(*) FROM runs").rows == [(0,)]


@pytest.mark.parametrize("sql", CONTENTS)
def test_contents_of_rows_cannot_be_read_on_sqlite(sql: str) -> None:
    with LandscapeDB.in_memory() as db:
        with db.connection() as connection:
            connection.exec_driver_sql(sql)  # a query that the database itself accepts
        assert re.search("prohibited|not authorized", refusal(db, sql))


def test_exported_columns_can_be_read_on_sqlite() -> None:
    with LandscapeDB.in_memory() as db:
        for table, columns in READABLE.items():
            assert ask(db, f"SELECT {', '.join(sorted(columns))} FROM {table}").rows == []  # noqa: S608  fixed names
        assert ask(db, "SELECT count(*) FROM validation_errors").rows == [(0,)]
        assert ask(db, "SELECT json_extract('[1, 2]', '$[1]')").rows == [(2,)]
        assert ask(db, "WITH n AS (SELECT 1) SELECT count(*) FROM n").rows == [(1,)]


def test_an_endless_query_is_stopped(db: LandscapeDB) -> None:
    problem = refusal(db, COUNTING.format("", "count(*)"))
    assert "0.5 seconds" in problem or "statement timeout" in problem


def test_a_huge_value_is_refused_or_truncated(db: LandscapeDB) -> None:
    if db.url.startswith("sqlite"):
        assert "too big" in refusal(db, "SELECT hex(zeroblob(1000000))")
    else:
        assert ask(db, "SELECT repeat('x', 1000000)").is_cut


def test_the_connection_can_write_again_afterwards(db: LandscapeDB) -> None:
    if not db.url.startswith("sqlite"):
        return
    with db.snapshot() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        longest = driver.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        query(connection, "SELECT 1", QueryLimits(seconds=0, rows=1, characters=1))
        assert driver.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == longest
        assert driver.execute(COUNTING.format(" WHERE i < 9999", "count(*)")).fetchone() == (9999,)
        assert driver.execute("CREATE TEMP TABLE again (a)").fetchall() == []
