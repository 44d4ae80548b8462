from __future__ import annotations

import shlex
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url

from elspeth.core.landscape.database import LandscapeDB, LandscapeError, SchemaCompatibilityError
from elspeth.core.landscape.database import connections as engines
from elspeth.core.landscape.database.state import DatabaseState, read_state
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata, runs_table

EXPECTED_URL = "Expected sqlite:///PATH or postgresql+psycopg://..."
NO_URL = "expected a SQLAlchemy URL such as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


def masked(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def refusal(url: str, *, create_tables: bool = True) -> str:
    with pytest.raises(LandscapeError) as caught:
        LandscapeDB(url, create_tables=create_tables)
    return str(caught.value)


# -- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_an_empty_database_gets_the_tables(database_url: str) -> None:
    with LandscapeDB(database_url) as landscape:
        assert set(inspect(landscape.engine).get_table_names()) == set(metadata.tables)


def test_records_survive_closing_and_reopening(database_url: str) -> None:
    with LandscapeDB.from_url(database_url) as landscape:
        run = LandscapeRecorder(landscape).begin_run({}, "v1")
    with LandscapeDB.from_url(database_url, create_tables=False) as landscape:
        assert LandscapeRecorder(landscape).get_run(run.run_id) == run


def test_a_database_in_memory_ends_with_its_object() -> None:
    with LandscapeDB.in_memory() as landscape:
        LandscapeRecorder(landscape).begin_run({}, "v1")
    with LandscapeDB.in_memory() as landscape:
        assert LandscapeRecorder(landscape).list_runs() == []


def test_missing_directories_are_created(tmp_path: Path) -> None:
    LandscapeDB(f"sqlite:///{tmp_path}/a/b/landscape.db").close()
    assert (tmp_path / "a" / "b" / "landscape.db").is_file()


def test_two_processes_may_open_one_database(database_url: str) -> None:
    with LandscapeDB(database_url) as first, LandscapeDB(database_url) as second:
        run = LandscapeRecorder(first).begin_run({}, "v1")
        assert LandscapeRecorder(second).list_runs() == [run]


def test_the_url_hides_the_password() -> None:
    message = refusal("postgresql://user:secret@localhost:1/audit")
    assert message.startswith("audit database postgresql://user:***@localhost:1/audit cannot be opened: ")


# -- transactions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [LandscapeDB.connection, LandscapeDB.write_transaction])
def test_a_transaction_is_committed_at_its_end_and_rolled_back_on_error(
    database_url: str, begin: Callable[[LandscapeDB], AbstractContextManager[Connection]]
) -> None:
    with LandscapeDB(database_url) as landscape:
        with begin(landscape) as connection:
            connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
            connection.execute(text("INSERT INTO numbers VALUES (1)"))
        with suppress(KeyError), begin(landscape) as connection:
            connection.execute(text("INSERT INTO numbers VALUES (2)"))
            raise KeyError
        with landscape.connection() as connection:
            assert connection.scalars(text("SELECT number FROM numbers")).all() == [1]


def test_a_snapshot_does_not_change_while_others_write(database_url: str) -> None:
    with LandscapeDB(database_url) as landscape:
        recorder = LandscapeRecorder(landscape)
        recorder.begin_run({}, "v1", run_id="before")
        with landscape.snapshot() as connection:
            first = connection.scalars(select(runs_table.c.run_id)).all()
            recorder.begin_run({}, "v1", run_id="meanwhile")
            assert connection.scalars(select(runs_table.c.run_id)).all() == first == ["before"]


# -- durability ------------------------------------------------------------------------------------------------------


def test_every_sqlite_connection_is_durable_and_strict(sqlite_url: str) -> None:
    names = ["journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout"]
    with LandscapeDB(sqlite_url) as landscape, landscape.connection() as one, landscape.connection() as two:
        for connection in (one, two):
            found = [connection.scalar(text(f"PRAGMA {name}")) for name in names]
            assert found == ["wal", 2, 1, 1, 30_000]


def test_a_sqlite_that_ignores_a_setting_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._SQLITE_PRAGMAS, "synchronous", 9)
    assert refusal(sqlite_url) == "SQLite did not accept PRAGMA synchronous: expected 9, got 1"


def test_a_sqlite_without_write_ahead_logging_is_refused(tmp_path: Path) -> None:
    LandscapeDB(f"sqlite:///{tmp_path}/landscape.db").close()
    with closing(sqlite3.connect(tmp_path / "landscape.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    message = refusal(f"sqlite:///file:{tmp_path}/landscape.db?vfs=unix-none&uri=true")
    assert message == "SQLite did not switch to write-ahead logging, got journal_mode 'delete'"


@pytest.mark.postgres
def test_a_postgresql_that_loses_commits_is_refused(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(text(f'ALTER DATABASE "{engine.url.database}" SET synchronous_commit = off'))
    engine.dispose()
    assert refusal(postgresql_url) == (
        "PostgreSQL would lose committed audit records in a crash: expected fsync on, synchronous_commit not off,"
        " got fsync on and synchronous_commit off. Change the server's settings."
    )


# -- databases that are not ours -------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_session_that_the_server_ended_while_it_was_idle_is_replaced(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as database:
        with database.connection() as connection:
            before = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with create_engine(postgresql_url, poolclass=NullPool).connect() as connection:
            assert connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (before,)).scalar_one()
        with database.connection() as connection:
            assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != before


@pytest.mark.parametrize(("query", "seconds"), [("", 60), ("?keepalives_idle=5", "5")])
def test_keepalives_are_set_unless_the_url_sets_them(query: str, seconds: object) -> None:
    given: dict[str, object] = {}

    def note(*arguments: object) -> None:
        given.update(arguments[-1])  # type: ignore[call-overload]  # the parameters
        raise KeyError

    engine = engines.durable_engine(make_url(f"postgresql+psycopg://localhost:1/audit{query}"), create=False)
    event.listen(engine, "do_connect", note)
    with pytest.raises(KeyError):
        engine.connect()
    assert given["keepalives_idle"] == seconds


def test_a_database_with_other_tables_is_refused(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER PRIMARY KEY)"))
    with pytest.raises(SchemaCompatibilityError) as caught:
        LandscapeDB(database_url)
    assert str(caught.value) == (
        f"audit database {masked(database_url)} is not an audit database: it holds other tables (customers)."
        " Nothing was changed. Use another database (landscape.url, or -d)."
    )
    assert inspect(engine).get_table_names() == ["customers"]
    engine.dispose()


def test_a_refused_sqlite_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "customers.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    connection.close()
    before = path.read_bytes()
    refusal(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_that_lacks_columns_is_refused(database_url: str) -> None:
    LandscapeDB(database_url).close()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for column in ("expand_group_id", "branch_name"):
            connection.execute(text(f"ALTER TABLE tokens DROP COLUMN {column}"))
    engine.dispose()
    with pytest.raises(SchemaCompatibilityError) as caught:
        LandscapeDB(database_url)
    assert str(caught.value) == (
        f"audit database {masked(database_url)} claims to be of epoch {EPOCH}, but differs from it:"
        " column tokens.expand_group_id is missing; column tokens.branch_name is missing. Nothing was changed."
        " It cannot be trusted as evidence until the differences are explained: restore a backup, or undo them."
        f" To list all of them, run: elspeth landscape status -d {shlex.quote(masked(database_url))}"
    )


def test_an_empty_database_is_refused_if_no_tables_may_be_created(database_url: str) -> None:
    engine = create_engine(database_url)
    engine.connect().close()  # which makes the SQLite file
    engine.dispose()
    with pytest.raises(SchemaCompatibilityError) as caught:
        LandscapeDB(database_url, create_tables=False)
    assert str(caught.value) == (
        f"audit database {masked(database_url)} is empty: it holds no runs."
        " A run with it as landscape.url creates the tables."
    )


# -- what cannot be opened -------------------------------------------------------------------------------------------


def test_a_missing_file_is_not_created_if_no_tables_may_be_created(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "landscape.db"
    assert refusal(f"sqlite:///{path}", create_tables=False) == f"audit database {path} does not exist"
    assert not path.parent.exists()


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    url = f"sqlite:///{path}"
    assert refusal(url) == f"audit database {url} cannot be opened: file is not a database"
    assert path.read_text() == "not a database\n" * 100


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(f"sqlite:///{tmp_path}") == f"audit database {tmp_path} is a directory, expected a file"


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below" / "landscape.db"
    message = f"audit database {path} cannot be created: directory {path.parent}: Not a directory"
    assert refusal(f"sqlite:///{path}") == message


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    LandscapeDB(f"sqlite:///{tmp_path}/landscape.db").close()
    with closing(sqlite3.connect(tmp_path / "landscape.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    url = f"sqlite:///file:{tmp_path}/landscape.db?mode=ro&uri=true"
    message = f"audit database {masked(url)} cannot be opened: attempt to write a readonly database"
    assert refusal(url) == message


@pytest.mark.parametrize(
    ("url", "shown_url", "problem"),
    [
        ("mysql://user:secret@host/audit", "mysql://user:***@host/audit", "mysql is not supported"),
        ("nosuch://host/audit", "nosuch://host/audit", "nosuch is not supported"),
        ("sqlite+aiosqlite:///a.db", "sqlite+aiosqlite:///a.db", "sqlite+aiosqlite is not supported"),
        ("postgresql+psycopg2://h/a", "postgresql+psycopg2://h/a", "postgresql+psycopg2 is not supported"),
    ],
)
def test_other_urls_are_refused(url: str, shown_url: str, problem: str) -> None:
    assert refusal(url) == f"audit database URL {shown_url!r} is not usable: {problem}. {EXPECTED_URL}"


@pytest.mark.parametrize(
    ("url", "shown_url", "problem"),
    [
        ("", "", NO_URL),
        ("landscape.db", "landscape.db", NO_URL),
        (
            "postgresql://user:secret@host:port/audit",
            "postgresql://user:***@host:***/audit",
            "expected a number as the port; several hosts are given as ?host=HOST:PORT&host=HOST:PORT",
        ),
        (
            "sqlite:///audit.db?password=secret",
            "sqlite:///audit.db?password=***",
            (
                "Query string argument(s) 'password' are not accepted by the pysqlite driver and are being ignored;"
                " SQLite URI arguments require that 'uri=true' also be present in the URL."
            ),
        ),
        ("sqlite:///a.db?timeout=x", "sqlite:///a.db?timeout=x", "could not convert string to float: 'x'"),
    ],
)
def test_an_unusable_url_is_refused(url: str, shown_url: str, problem: str) -> None:
    assert refusal(url) == f"audit database URL {shown_url!r} is not usable: {problem}"


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert refusal("postgresql://user:secret@host/audit") == (
        "audit database postgresql://user:***@host/audit needs psycopg, which is not installed:"
        " in a checkout of elspeth, pip install '.[postgres]'"
    )


# -- records that the schema forbids ---------------------------------------------------------------------------------


def forbidden_record(landscape: LandscapeDB) -> str:
    with pytest.raises(AuditIntegrityError) as caught, landscape.snapshot():
        raise AuditIntegrityError(table="rows", key={"row_id": "r"}, field="row_index", expected="an integer", got="x")
    return str(caught.value)


def test_an_error_about_a_record_read_from_a_snapshot_names_the_database(database_url: str) -> None:
    with LandscapeDB(database_url) as landscape:
        assert forbidden_record(landscape) == (
            f"audit database {masked(database_url)}: rows row_id='r': row_index: expected an integer, got 'x'"
        )


def test_errors_about_a_private_copy_name_its_original(sqlite_url: str) -> None:
    with LandscapeDB(sqlite_url, known_as="sqlite:///original.db") as landscape:
        assert forbidden_record(landscape).startswith("audit database sqlite:///original.db: rows row_id='r': ")


def test_a_database_that_another_process_creates_meanwhile_is_used(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "elspeth.core.landscape.database.landscape_db.read_state"

    def read_and_let_another_create(url: URL) -> DatabaseState:
        state = read_state(url)
        monkeypatch.setattr(place, read_state)
        LandscapeDB(database_url).close()
        return state

    monkeypatch.setattr(place, read_and_let_another_create)
    with LandscapeDB(database_url) as database:
        assert LandscapeRecorder(database).list_runs() == []
