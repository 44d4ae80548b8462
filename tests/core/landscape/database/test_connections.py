"""Connections that record durably, and connections that only read."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database import connections as module
from elspeth.core.landscape.database.connections import (
    prepare_connections,
    read_only_connection,
    read_only_parameters,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a SQLite file with one table."""
    path = tmp_path / "a" / "x.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


# -- how a file is opened for reading --------------------------------------------------------------------------------

IMMUTABLE = {"mode": "ro", "immutable": "1"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"mode": "rw"}),
        ({"-wal": b""}, {"mode": "ro"}),
        ({"-wal": b"log"}, {"mode": "ro"}),
        ({"-journal": b"journal"}, {"mode": "rw"}),
        ({"-wal": b"log", "-journal": b"journal"}, {"mode": "rw"}),
    ],
)
def test_the_files_beside_a_database_decide_how_it_is_read(
    path: Path, files: dict[str, bytes], expected: dict[str, str]
) -> None:
    for suffix, content in files.items():
        Path(f"{path}{suffix}").write_bytes(content)
    assert read_only_parameters(path) == expected


@pytest.mark.parametrize("protected", ["x.db", "a"])
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, IMMUTABLE),
        ({"-wal": b""}, IMMUTABLE),
        ({"-wal": b"", "-journal": b""}, IMMUTABLE),
        ({"-wal": b"log"}, {"mode": "ro"}),
        ({"-journal": b"journal"}, {"mode": "rw"}),
    ],
)
def test_a_file_without_a_log_is_immutable_if_it_or_its_directory_is_protected(
    path: Path, monkeypatch: pytest.MonkeyPatch, protected: str, files: dict[str, bytes], expected: dict[str, str]
) -> None:
    for suffix, content in files.items():
        Path(f"{path}{suffix}").write_bytes(content)
    monkeypatch.setattr(os, "access", lambda place, _: Path(place).name != protected)
    assert read_only_parameters(path) == expected
    assert read_only_parameters(path.with_name("missing.db"))["mode"] != "rwc"


def test_a_missing_file_is_neither_read_nor_created(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError) as caught, read_only_connection(sqlite_url(tmp_path / "x.db"), what="database"):
        pass
    assert str(caught.value) == f"database sqlite:///{tmp_path}/x.db cannot be opened: unable to open database file"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError) as caught, read_only_connection(sqlite_url(tmp_path), what="database"):
        pass
    assert str(caught.value) == f"database {tmp_path} is a directory, expected a file"


def test_a_connection_for_reading_refuses_writes(database_url: str) -> None:
    LandscapeDB(database_url).close()
    said = {"sqlite": "attempt to write a readonly database", "postgresql": "cannot execute DELETE in a read-only tra"}
    url = make_url(database_url)
    with pytest.raises(LandscapeError) as caught, read_only_connection(url) as connection:
        connection.exec_driver_sql("DELETE FROM runs")
    beginning = f"audit database {mask_url(url)} cannot be opened: {said[url.get_backend_name()]}"
    assert str(caught.value).startswith(beginning)


@pytest.mark.postgres
def test_all_reads_of_a_connection_see_one_state_with_times_in_utc(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as other:
        other.exec_driver_sql(f"ALTER DATABASE {url.database} SET timezone TO 'Asia/Kathmandu'")
        other.exec_driver_sql("CREATE TABLE moments (at timestamptz)")
        other.exec_driver_sql("INSERT INTO moments VALUES ('2026-01-01 00:00Z'), ('infinity'), ('0044-03-15 BC')")
        with read_only_connection(url) as connection:
            first = connection.exec_driver_sql("SELECT at FROM moments ORDER BY at").scalars().all()
            other.exec_driver_sql("DELETE FROM moments")
            assert connection.exec_driver_sql("SELECT at FROM moments ORDER BY at").scalars().all() == first
            assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
    assert [str(each) for each in first] == ["0044-03-15 00:00:00+00 BC", "2026-01-01 00:00:00+00:00", "infinity"]


@pytest.mark.postgres
def test_a_connection_that_records_reads_impossible_times_as_text(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as database, database.connection() as connection:
        assert connection.exec_driver_sql("SELECT 'infinity'::timestamptz").scalar() == "infinity"


# -- a file that changes ---------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away write access within this process."""
    monkeypatch.setattr(os, "access", lambda *_: False)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("what", ["database", "audit database"])
def test_reading_an_immutable_file_that_changes_is_an_error(path: Path, end: str, what: str) -> None:
    def read(connection: Connection) -> None:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(0, 0))
        getattr(connection, end)()

    with pytest.raises(LandscapeError) as caught, read_only_connection(sqlite_url(path), what=what) as connection:
        read(connection)
    assert str(caught.value) == (
        f"{what} {path} was changed while it was read. Read it again when nobody writes to it."
    )


@pytest.mark.usefixtures("frozen")
def test_a_landscape_on_a_protected_file_notices_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.db"
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: True)
        LandscapeDB(f"sqlite:///{path}").close()
    with LandscapeDB(f"sqlite:///{path}", create_tables=False) as database:

        def read() -> None:
            with database.snapshot() as connection:
                connection.exec_driver_sql("SELECT * FROM runs").all()
                os.utime(path, ns=(0, 0))

        with pytest.raises(LandscapeError) as caught:
            read()
        assert str(caught.value) == (
            f"audit database {path} was changed while it was read. Read it again when nobody writes to it."
        )


# -- connections that record -----------------------------------------------------------------------------------------


def test_a_connection_that_cannot_be_prepared_is_closed() -> None:
    seen: list[DBAPIConnection] = []

    def prepare(connection: DBAPIConnection) -> None:
        seen.append(connection)
        raise KeyboardInterrupt

    engine = create_engine("sqlite://", poolclass=NullPool)
    prepare_connections(engine, prepare)
    with pytest.raises(KeyboardInterrupt):
        engine.connect()
    (connection,) = seen
    with pytest.raises(sqlite3.ProgrammingError, match="Cannot operate on a closed database"):
        connection.cursor()


def test_a_sqlite_that_does_not_know_a_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._SQLITE_PRAGMAS, "unheard_of", 1)
    with pytest.raises(LandscapeError) as caught:
        LandscapeDB(f"sqlite:///{tmp_path}/x.db")
    assert str(caught.value) == "SQLite did not accept PRAGMA unheard_of: expected 1, got None"


class Session:
    """A connection to a server with given settings."""

    def __init__(self, fsync: str, synchronous_commit: str) -> None:
        self._row = (fsync, synchronous_commit)
        self.ended = False

    def cursor(self) -> Session:
        return self

    def execute(self, _: str) -> None:
        """Do nothing."""

    def fetchone(self) -> tuple[str, str]:
        return self._row

    def close(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("fsync", "commit", "is_durable"),
    [
        ("on", "on", True),
        ("on", "local", True),
        ("on", "remote_apply", True),
        ("off", "on", False),
        ("on", "off", False),
    ],
)
def test_a_server_is_durable_if_it_syncs_and_waits_for_its_own_log(fsync: str, commit: str, is_durable: bool) -> None:
    session = Session(fsync, commit)
    check: Callable[[object], None] = module._require_postgresql_durability  # type: ignore[assignment]  # of a stand-in
    if is_durable:
        check(session)
    else:
        with pytest.raises(LandscapeError) as caught:
            check(session)
        assert str(caught.value) == (
            "PostgreSQL would lose committed audit records in a crash: expected fsync on, synchronous_commit not off,"
            f" got fsync {fsync} and synchronous_commit {commit}. Change the server's settings."
        )
    assert session.ended  # or the next user of the connection could not request a snapshot


switch: Callable[[sqlite3.Cursor], str] = module._switch_to_wal  # type: ignore[assignment]  # its cursors are SQLAlchemy's


def test_a_lock_that_is_soon_released_delays_the_switch_to_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(time, "sleep", lambda _: other.execute("ROLLBACK"))
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            assert switch(connection.cursor()) == "wal"


def test_a_lock_that_is_never_released_is_reported_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.db"
    monkeypatch.setattr(module, "_BUSY_TIMEOUT_MS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        with (
            closing(sqlite3.connect(path, timeout=0)) as connection,
            pytest.raises(sqlite3.OperationalError, match=r"^database is locked$"),
        ):
            switch(connection.cursor())


@pytest.mark.parametrize("what", ["reading", "frozen"])
def test_damage_that_cannot_be_decoded_is_reported_without_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "x.db"
    LandscapeDB(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = DELETE; CREATE TABLE zzzzzzzz (a); PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE zzzzzzzz (' WHERE name = 'zzzzzzzz'")
        connection.commit()
    path.write_bytes(path.read_bytes().replace(b"zzzzzzzz", b"\xff" * 8))
    if what == "frozen":
        monkeypatch.setattr(os, "access", lambda *_: False)
    engine = (
        module.durable_engine(sqlite_url(path), create=False)
        if what == "frozen"
        else module._read_only_engine(sqlite_url(path), "audit database", recover=True)
    )
    with pytest.raises(DBAPIError) as caught, engine.connect() as reader:
        reader.exec_driver_sql("SELECT * FROM runs").all()
    assert str(caught.value.orig) == "database disk image is malformed"
    engine.dispose()
