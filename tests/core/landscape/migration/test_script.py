"""The migration as SQL, run by hand, does the same."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import NewerDatabaseError
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.migration.script import migration_sql
from elspeth_schema import EPOCH
from tests.core.landscape.migration.reflection import reflected
from tests.fixtures.epochs import say_epoch
from tests.fixtures.legacy import OldDatabase, OldDatabaseMaker, rows_of


def run(database: OldDatabase, script: list[str]) -> None:
    """Run the script in the database's shell.

    Only the shell knows its commands that are not SQL.
    """
    statements = "\n".join(line for line in script if not line.startswith((".", "\\")))
    if database.engine == "sqlite":
        with closing(sqlite3.connect(database.path)) as connection:
            connection.executescript(statements)
    else:
        url = make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statements.encode())


def test_the_script_does_what_the_migration_does(old_database_of: OldDatabaseMaker, engine_name: str) -> None:
    by_hand = old_database_of("epoch1-rich", engine_name)
    script = migration_sql(by_hand.url)
    assert read_state(make_url(by_hand.url)).kind is StateKind.OLDER
    run(by_hand, script)
    shape = reflected(by_hand.url)
    assert read_state(make_url(by_hand.url)).kind is StateKind.CURRENT
    by_us = old_database_of("epoch1-rich", engine_name)
    migrate(by_us.url, no_backup=True)
    assert reflected(by_us.url) == shape


def test_the_script_is_the_same_each_time(old_database_of: OldDatabaseMaker, engine_name: str) -> None:
    database = old_database_of("epoch3-rich", engine_name)
    first, second = ([re.sub(r"'\d{4}-\d\d-[^']*'", "NOW", line) for line in migration_sql(database.url)] for _ in "ab")
    assert first == second


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell")
def test_the_shell_stops_at_an_error_and_changes_nothing(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch3-rich", "sqlite")
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("UPDATE node_states SET token_id = 'nobody' WHERE rowid = 1")
        connection.commit()
    before = rows_of(database.path)
    script = "\n".join(migration_sql(database.url))
    result = subprocess.run(["sqlite3", database.path], input=script, capture_output=True, text=True, check=False)
    assert "NOT NULL constraint failed: _new_node_states.run_id" in result.stderr
    assert result.returncode != 0
    assert rows_of(database.path) == before


def test_a_current_database_needs_no_script(database_url: str) -> None:
    LandscapeDB(database_url).close()
    assert migration_sql(database_url) == []


def test_a_newer_database_has_no_script(sqlite_url: str) -> None:
    with LandscapeDB(sqlite_url) as database, database.connection() as connection:
        say_epoch(connection, EPOCH + 1)
    with pytest.raises(NewerDatabaseError):
        migration_sql(sqlite_url)
