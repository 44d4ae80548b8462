"""Reasons not to migrate a database, which then stays unchanged."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from alembic.operations import Operations
from sqlalchemy import URL, MetaData, NullPool, create_engine, make_url

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.errors import ForeignDatabaseError, LandscapeError
from elspeth.core.landscape.database.state import DatabaseState, StateKind, read_state
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.migration import _steps as steps_module
from elspeth.core.landscape.migration import migrate as module
from elspeth.core.landscape.migration._steps import rebuild
from elspeth.core.landscape.migration.migrate import MigrationReport, migrate
from elspeth.schema.steps import Step
from elspeth_schema import EPOCH
from tests.core.landscape.migration.reflection import reflected
from tests.fixtures.legacy import OldDatabase, OldDatabaseMaker


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no lock."""
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_MS", 1)


@pytest.fixture
def example(old_database_of: OldDatabaseMaker, engine_name: str) -> OldDatabase:
    """Return a historical database on each engine."""
    return old_database_of("epoch4-rich", engine_name)


def change(url: str, *statements: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def refusal(database: OldDatabase, *, backup: Path | None = None, no_backup: bool = True) -> str:
    """Return why a migration is refused; check that nothing changed.

    The beginning that all messages share is left out.
    """
    before = reflected(database.url), state_of_files(database)
    with pytest.raises(LandscapeError) as caught:
        migrate(database.url, backup=backup, no_backup=no_backup)
    assert (reflected(database.url), state_of_files(database)) == before
    beginning, _, problem = str(caught.value).partition(" was not migrated and not changed: ")
    assert beginning == f"audit database {mask_url(make_url(database.url))}"
    return problem


def state_of_files(database: OldDatabase) -> object:
    if database.engine == "postgresql":
        return None
    directory = database.path.parent
    return database.path.read_bytes(), sorted(path.name for path in directory.iterdir())


# -- others ----------------------------------------------------------------------------------------------------------


@contextmanager
def other_process(database: OldDatabase, statement: str) -> Iterator[None]:
    """Hold a transaction as another process would."""
    if database.engine == "sqlite":
        with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute(statement).fetchall()
            yield
            connection.execute("ROLLBACK")
    else:
        url = make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())
            yield
            connection.rollback()


@pytest.mark.parametrize("statement", ["SELECT * FROM calls", "UPDATE calls SET call_index = call_index"])
def test_a_database_in_use_is_refused(example: OldDatabase, statement: str) -> None:
    said = {"sqlite": "database is locked", "postgresql": "canceling statement due to lock timeout"}
    with other_process(example, statement), pytest.raises(LandscapeError) as caught:
        migrate(example.url, no_backup=example.engine == "postgresql")
    assert str(caught.value) == (
        f"audit database {mask_url(make_url(example.url))} was not migrated and not changed: {said[example.engine]}."
        " Another process is using it: stop that process, then migrate again."
    )
    assert read_state(make_url(example.url)).kind is StateKind.OLDER
    if example.engine == "sqlite":
        assert [path.name for path in example.path.parent.iterdir()] == ["audit.db"]


def test_one_of_two_simultaneous_migrations_has_nothing_to_do(
    example: OldDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_MS", 60_000)
    looked = threading.Barrier(2)

    def read_state_together(url: URL) -> DatabaseState:
        state = read_state(url)
        looked.wait(60)
        return state

    monkeypatch.setattr(module, "read_state", read_state_together)
    reports: list[MigrationReport] = []
    threads = [threading.Thread(target=lambda: reports.append(migrate(example.url, no_backup=True))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.from_epoch for report in reports) == [4, EPOCH]


@pytest.mark.parametrize("name", ["epoch4-rich", "epoch5-rich"])  # the later form names its epoch
def test_a_database_that_changes_before_the_migration_is_refused(
    old_database_of: OldDatabaseMaker, engine_name: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = old_database_of(name, engine_name)
    state = read_state(make_url(example.url))
    change(example.url, "ALTER TABLE runs ADD COLUMN note TEXT")
    monkeypatch.setattr(module, "read_state", lambda _: state)
    assert refusal(example) == "another process changed its tables meanwhile."


# -- what is in it ---------------------------------------------------------------------------------------------------


def test_a_dangling_reference_is_refused(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    change(database.url, "UPDATE edges SET to_node_id = 'nowhere' WHERE rowid IN (1, 2)")
    assert refusal(database) == (
        "the database holds references to records that it does not hold: row 1 of edges to nodes;"
        " row 2 of edges to nodes."
    )


def test_a_record_of_unknown_run_is_refused(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    change(database.url, "UPDATE tokens SET row_id = 'nothing' WHERE rowid = 1")
    assert refusal(database) == "NOT NULL constraint failed: _new_tokens.run_id."


def test_a_value_that_todays_schema_lacks_is_refused(example: OldDatabase) -> None:
    change(example.url, "UPDATE calls SET call_type = 'telepathy'")
    assert "ck_calls_call_type" in refusal(example)


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_foreign_triggers_are_refused(old_database_of: OldDatabaseMaker, engine: str) -> None:
    database = old_database_of("epoch3-rich", engine)
    body = "BEGIN SELECT 1; END" if engine == "sqlite" else "FOR EACH ROW EXECUTE FUNCTION mine()"
    function = "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    change(
        database.url,
        *([function] if engine == "postgresql" else []),
        f"CREATE TRIGGER mine BEFORE INSERT ON calls {body}",
    )
    assert refusal(database) == (
        "the migration would drop triggers that are not elspeth's (mine on calls):"
        " drop them, migrate, and create them again."
    )


def test_foreign_views_are_refused(example: OldDatabase) -> None:
    change(example.url, "CREATE VIEW mine AS SELECT * FROM calls")
    said = refusal(example)
    assert "view mine" in said
    assert "HINT" not in said


class Harm(NamedTuple):
    """A change that a faulty step makes, and its message."""

    statement: str
    problem: str


@pytest.mark.parametrize(
    "harm",
    [
        Harm("DELETE FROM calls", "the migration would change what calls held."),
        Harm("UPDATE rows SET row_index = row_index + 1000", "the migration would change what rows held."),
        Harm(
            "UPDATE checkpoints SET upstream_topology_hash = 'none'",
            "the migration would fill checkpoints.upstream_topology_hash with 'none',"
            " expected text matching ^[0-9a-f]{64}$.",
        ),
        Harm(
            "DROP INDEX ix_tokens_row",
            f"the migration would not end in epoch {EPOCH}: index of tokens is missing: ix_tokens_row run_id row_id"
            " not unique all rows.",
        ),
    ],
    ids=lambda harm: harm.statement,
)
def test_a_harmful_step_is_rolled_back(example: OldDatabase, monkeypatch: pytest.MonkeyPatch, harm: Harm) -> None:
    def wrong(operations: Operations, metadata: MetaData, step: Step) -> None:
        rebuild(operations, metadata, step)
        if metadata is epoch_tables(EPOCH):
            operations.execute(harm.statement)

    monkeypatch.setattr(steps_module, "rebuild", wrong)
    assert refusal(example) == harm.problem


# -- the backup ------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_on_postgresql_the_backup_is_the_administrators(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "postgresql")
    assert refusal(database, no_backup=False) == (
        "a PostgreSQL database is backed up by its administrator, for example with: pg_dump --format=custom"
        f" --file=audit.dump {make_url(database.url).database}. After that, migrate with --no-backup."
    )


@pytest.fixture
def sqlite_example(old_database_of: OldDatabaseMaker) -> OldDatabase:
    """Return a historical SQLite file."""
    return old_database_of("epoch4-rich", "sqlite")


def test_an_existing_backup_is_not_replaced(sqlite_example: OldDatabase, tmp_path: Path) -> None:
    (tmp_path / "saved").write_text("precious")
    assert refusal(sqlite_example, backup=tmp_path / "saved", no_backup=False) == (
        f"backup {tmp_path / 'saved'}: the file exists already, give another path (--backup PATH)."
    )
    assert (tmp_path / "saved").read_text() == "precious"


def test_a_backup_needs_an_existing_directory(sqlite_example: OldDatabase, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "saved"
    assert refusal(sqlite_example, backup=path, no_backup=False) == (
        f"backup {path}: there is no directory {tmp_path / 'nowhere'}."
    )


def test_a_backup_that_cannot_be_written_stops_the_migration(
    sqlite_example: OldDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_database: Path, target: Path) -> None:
        target.write_text("half of it")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module, "copy_database", full)
    path = tmp_path / "saved"
    assert refusal(sqlite_example, backup=path, no_backup=False) == (
        f"backup {path} cannot be written: database or disk is full."
    )


def test_a_backup_that_differs_stops_the_migration(
    sqlite_example: OldDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[[Path, Path], None] = module.copy_database

    def lossy(database: Path, target: Path) -> None:
        copy(database, target)
        change(f"sqlite:///{target}", "DELETE FROM calls WHERE rowid = 1")

    monkeypatch.setattr(module, "copy_database", lossy)
    path = tmp_path / "saved"
    before = sqlite_example.path.read_bytes()
    with pytest.raises(LandscapeError) as caught:
        migrate(sqlite_example.url, backup=path)
    assert str(caught.value) == (
        f"audit database {sqlite_example.url} was not migrated and not changed: backup {path} does not hold what the"
        " database holds (integrity check: ok; tables that differ: calls); another process may have written meanwhile."
        f" The backup {path} was written."
    )
    assert sqlite_example.path.read_bytes() == before


def test_a_backup_with_hidden_damage_stops_the_migration(
    sqlite_example: OldDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[[Path, Path], None] = module.copy_database

    def damaging(database: Path, target: Path) -> None:
        copy(database, target)
        index = "CREATE INDEX empty ON calls (call_index)"
        change(
            f"sqlite:///{target}",
            f"{index} WHERE call_index < 0",
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET sql = '{index}' WHERE name = 'empty'",  # noqa: S608
        )

    monkeypatch.setattr(module, "copy_database", damaging)
    path = tmp_path / "saved"
    with pytest.raises(LandscapeError) as caught:
        migrate(sqlite_example.url, backup=path)
    assert str(caught.value) == (
        f"audit database {sqlite_example.url} was not migrated and not changed: backup {path} does not hold what the"
        " database holds (integrity check: row 1 missing from index empty; tables that differ: none); another process"
        f" may have written meanwhile. The backup {path} was written."
    )


def test_a_migration_without_room_is_refused(sqlite_example: OldDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int = 1_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    assert refusal(sqlite_example, no_backup=False) == (
        f"it needs about 2 MB in {sqlite_example.path.parent}, 1 MB are free."
    )
    assert refusal(sqlite_example, no_backup=True) == (
        f"it needs about 1 MB in {sqlite_example.path.parent}, 1 MB are free."
    )


def test_a_migration_without_room_for_the_log_is_refused(
    sqlite_example: OldDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int = 1_500_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with closing(sqlite3.connect(sqlite_example.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for _ in range(200):
            connection.execute("UPDATE rows SET row_index = row_index")
        log = Path(f"{sqlite_example.path}-wal").stat().st_size
        needed = f"{3 * (sqlite_example.path.stat().st_size + log) / 1e6:,.0f}"
        assert refusal(sqlite_example, no_backup=True) == (
            f"it needs about {needed} MB in {sqlite_example.path.parent}, 2 MB are free."
        )


# -- a file that cannot be written -----------------------------------------------------------------------------------


def test_a_read_only_file_is_refused(sqlite_example: OldDatabase) -> None:
    url = f"sqlite:///file:{sqlite_example.path}?mode=ro&uri=true"
    with pytest.raises(LandscapeError) as caught:
        migrate(url)
    assert str(caught.value) == (
        f"audit database {mask_url(make_url(url))} was not migrated and not changed:"
        " attempt to write a readonly database."
    )
    assert [path.name for path in sqlite_example.path.parent.iterdir()] == ["audit.db"]


def test_an_empty_database_is_refused(database_url: str) -> None:
    with pytest.raises(ForeignDatabaseError) as caught:
        migrate(database_url)
    how = "does not exist: its path may be wrong" if "sqlite" in database_url else "is empty: it holds no runs"
    assert f" {how}. A run with it as landscape.url creates " in str(caught.value)
