"""A migration that is interrupted anywhere changes nothing.

What is compared: on SQLite the bytes of the file, once SQLite has taken back what a crash left half-written (which
it does when the file is opened next); on PostgreSQL the identity of every table and index while the migration runs,
and afterwards all that can be reflected, and every row.
"""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import DBAPIConnection

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.database.tables import map_tables
from elspeth.core.landscape.migration import migrate as module
from elspeth.core.landscape.migration.contents import Meter, read_contents_before
from elspeth.core.landscape.migration.migrate import migrate
from elspeth_schema import EPOCH
from tests.core.landscape.migration.reflection import reflected
from tests.core.landscape.migration.statements import FaultError, before_each_statement, cut_at, plain, raise_at
from tests.fixtures.legacy import LEGACY, OldDatabase, OldDatabaseMaker

# -- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let SQLite write changed pages long before it commits."""

    def listen(connection: DBAPIConnection, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA cache_size = 5")

    event.listen(Engine, "connect", listen)
    yield
    event.remove(Engine, "connect", listen)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(("name", "journal"), [("epoch1-audit-export", "delete"), ("epoch4-rich", "wal")])
def test_a_sqlite_file_is_unchanged_whenever_the_process_is_killed(
    old_database_of: OldDatabaseMaker, name: str, journal: str, tmp_path: Path
) -> None:
    database = old_database_of(name, "sqlite")
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    before = database.path.read_bytes()
    crashed = tmp_path / "crashed"
    half_written = []

    def crash(_number: int, _connection: Connection) -> None:
        crashed.mkdir()
        for path in tmp_path.glob("audit.db*"):
            shutil.copy(path, crashed)
        log = crashed / "audit.db-wal"
        half_written.append((crashed / "audit.db").read_bytes() != before or (log.exists() and log.stat().st_size > 0))
        with closing(sqlite3.connect(crashed / "audit.db")) as connection:
            connection.execute("SELECT * FROM sqlite_schema").fetchall()
        assert (crashed / "audit.db").read_bytes() == before
        assert [path.name for path in crashed.iterdir()] == ["audit.db"]
        shutil.rmtree(crashed)

    with before_each_statement(crash):
        migrate(database.url, no_backup=True)
    assert read_state(make_url(database.url)).kind is StateKind.CURRENT
    assert len(half_written) > 300
    assert sum(half_written) > 250


KILLED = """
import os, sys
from sqlalchemy import Engine, event
from elspeth.core.landscape.migration.migrate import migrate

def kill_at(number):
    left = [number]
    def listen(*_):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
    event.listen(Engine, "before_cursor_execute", listen)

for argument in sys.argv[1:]:
    number, _, path = argument.partition(":")
    child = os.fork()
    if child == 0:
        kill_at(int(number))
        migrate(f"sqlite:///{path}", no_backup=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_killed_process_leaves_an_older_file_that_can_be_migrated(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.db" for number in (0, 15, 75, 150, 225, 300, 10_000)]
    for path in paths:
        shutil.copy(LEGACY / "epoch4-rich.db", path)
    arguments = [f"{path.stem}:{path}" for path in paths]
    result = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [*["9"] * 6, "0"]
    *killed, last = paths
    for path in killed:
        assert read_state(make_url(f"sqlite:///{path}")).kind is StateKind.OLDER
        assert path.read_bytes() == (LEGACY / "epoch4-rich.db").read_bytes()
    assert read_state(make_url(f"sqlite:///{last}")).kind is StateKind.CURRENT
    assert migrate(f"sqlite:///{killed[-1]}", no_backup=True).migrated


@pytest.mark.usefixtures("little_memory")
def test_an_error_at_any_statement_leaves_a_sqlite_file_unchanged(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-audit-export", "sqlite")
    before = database.path.read_bytes()
    number, done = 0, False
    while not done:
        with before_each_statement(raise_at(number)):
            try:
                migrate(database.url, no_backup=True)
            except FaultError:
                assert database.path.read_bytes() == before
                assert [path.name for path in database.path.parent.iterdir()] == ["audit.db"]
                number += 61
            else:
                done = True
    assert read_state(make_url(database.url)).kind is StateKind.CURRENT
    assert number > 250


# -- PostgreSQL ------------------------------------------------------------------------------------------------------

RELATIONS = """\
SELECT nspname, relname, pg_class.oid, relfilenode FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2"""


@pytest.mark.postgres
def test_no_change_is_visible_on_postgresql_before_the_commit(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch1-audit-export", "postgresql")
    with psycopg.connect(plain(database.url), autocommit=True) as other:
        before = other.execute(RELATIONS).fetchall()

        def compare(_number: int, _connection: Connection) -> None:
            assert other.execute(RELATIONS).fetchall() == before

        with before_each_statement(compare) as statements:
            migrate(database.url, no_backup=True)
        assert other.execute(RELATIONS).fetchall() != before
    assert len(statements) > 300


def contents(database: OldDatabase) -> object:
    """Return the reflected tables of the database and their content."""
    with create_engine(database.url, poolclass=NullPool).connect() as connection:
        maps = map_tables(database.epoch, database.epoch)
        return reflected(database.url), read_contents_before(connection, maps, Meter(None))


@pytest.mark.postgres
def test_an_error_at_any_statement_leaves_a_postgresql_database_unchanged(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "postgresql")
    before = contents(database)
    for number in (10, 130, 250, 330):
        with before_each_statement(raise_at(number)), pytest.raises(FaultError):
            migrate(database.url, no_backup=True)
        assert contents(database) == before


@pytest.mark.postgres
def test_a_lost_connection_leaves_a_postgresql_database_unchanged(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "postgresql")
    before = contents(database)
    for number in (40, 190, 300):
        with before_each_statement(cut_at(number, database.url)), pytest.raises(LandscapeError) as caught:
            migrate(database.url, no_backup=True)
        assert str(caught.value) == (
            f"audit database {mask_url(make_url(database.url))} was not migrated and not changed:"
            " terminating connection due to administrator command."
        )
        assert contents(database) == before


# -- at the commit ---------------------------------------------------------------------------------------------------


@pytest.fixture
def example(old_database_of: OldDatabaseMaker, engine_name: str) -> OldDatabase:
    """Return a historical database on each engine."""
    return old_database_of("epoch3-rich", engine_name)


def lost(driver: type[Exception]) -> Exception:
    return driver("the connection is lost")


@contextmanager
def commit_fails(monkeypatch: pytest.MonkeyPatch, *, persisted: bool) -> Iterator[None]:
    """Let the migration's commit fail, after the fact or instead."""
    last: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        last[:] = [*last, statement] if "INTO schema_migrations" in statement or last else []

    with monkeypatch.context() as patch:
        for dialect, error in (
            (SQLiteDialect_pysqlite, sqlite3.OperationalError),
            (PGDialect_psycopg, psycopg.OperationalError),
        ):
            commit: Callable[..., None] = dialect.do_commit

            def do_commit(
                self: object,
                connection: object,
                commit: Callable[..., None] = commit,
                error: type[Exception] = error,
            ) -> None:
                if not last or persisted:
                    commit(self, connection)
                if last:
                    last.clear()
                    raise lost(error)

            patch.setattr(dialect, "do_commit", do_commit)
        event.listen(Engine, "before_cursor_execute", listen)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", listen)


def test_a_failed_commit_leaves_the_database_unchanged(example: OldDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(example)
    with commit_fails(monkeypatch, persisted=False), pytest.raises(LandscapeError) as caught:
        migrate(example.url, no_backup=True)
    assert str(caught.value) == (
        f"audit database {mask_url(make_url(example.url))} was not migrated and not changed: the connection is lost."
    )
    assert contents(example) == before


def test_a_commit_that_only_seems_to_have_failed_is_recognised(
    example: OldDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with commit_fails(monkeypatch, persisted=True):
        report = migrate(example.url, no_backup=True)
    assert (report.from_epoch, report.rows["node_states"]) == (3, 51)
    assert read_state(make_url(example.url)).epoch == EPOCH


def test_a_commit_of_unknown_result_is_reported_as_such(example: OldDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_connect(_url: object) -> None:
        raise LandscapeError("no answer")

    monkeypatch.setattr(module, "read_only_connection", fail_to_connect)
    with commit_fails(monkeypatch, persisted=True), pytest.raises(LandscapeError) as caught:
        migrate(example.url, no_backup=True)
    name = mask_url(make_url(example.url))
    assert str(caught.value) == (
        f"audit database {name} may have been migrated or not: the connection was lost while it committed, and it does"
        f" not answer. When it does, run: elspeth landscape status -d {shlex.quote(name)}"
    )
