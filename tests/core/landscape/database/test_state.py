"""The seven states of a database, found without changing it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import (
    DivergedDatabaseError,
    ForeignDatabaseError,
    LandscapeError,
    NewerDatabaseError,
    OlderDatabaseError,
    SchemaCompatibilityError,
)
from elspeth.core.landscape.database.state import DatabaseState, StateKind, describe_state, read_state
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth.core.landscape.queries.runs import list_runs
from elspeth_schema import EPOCH
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.epochs import lacking, say_epoch
from tests.fixtures.legacy import EPOCHS, LEGACY, OldDatabase, OldDatabaseMaker
from tests.fixtures.untouched import untouched


def change(url: str, *statements: str) -> None:
    """Change a database as its owner could."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def current_url(database_url: str) -> str:
    """Create a database of today's epoch."""
    LandscapeDB(database_url).close()
    return database_url


def verdict(url: str) -> tuple[StateKind, int | None, tuple[str, ...]]:
    state = read_state(make_url(url))
    return state.kind, state.epoch, state.differences


# -- empty, current, older -------------------------------------------------------------------------------------------


def test_a_database_without_tables_is_empty(database_url: str) -> None:
    create_engine(database_url, poolclass=NullPool).connect().close()
    assert verdict(database_url) == (StateKind.EMPTY, None, ())
    assert describe_state(read_state(make_url(database_url)), "URL") == (
        "audit database URL is empty: it holds no runs. A run with it as landscape.url creates the tables."
    )


def test_a_file_that_does_not_exist_is_an_empty_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    assert verdict(url) == (StateKind.EMPTY, None, ())
    said = describe_state(read_state(make_url(url)), "URL")
    assert said == (
        "audit database URL does not exist: its path may be wrong. A run with it as landscape.url creates it."
    )


def test_a_new_database_is_current(current_url: str) -> None:
    assert verdict(current_url) == (StateKind.CURRENT, EPOCH, ())
    said = describe_state(read_state(make_url(current_url)), "URL")
    assert said == f"audit database URL is of epoch {EPOCH}, as this version expects."


def test_other_tables_beside_ours_do_not_matter(current_url: str) -> None:
    change(current_url, "CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    assert verdict(current_url) == (StateKind.CURRENT, EPOCH, ())


FOREIGN_TABLES = {
    "sqlite": (
        "CREATE TABLE untyped (a, b DEFAULT (1), c AS (a + b))",
        "CREATE VIRTUAL TABLE texts USING fts5(body)",
        "CREATE INDEX ix_untyped ON untyped (a + b)",
    ),
    "postgresql": (
        "CREATE TYPE pair AS (first integer, second text)",
        "CREATE DOMAIN always_null AS pair",
        "CREATE TABLE untyped (a pair, b xml, c point, d always_null[], e tid)",
        "CREATE INDEX ix_untyped ON untyped (((a).second))",
        "CREATE VIEW shown AS SELECT * FROM untyped",
    ),
}


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_foreign_tables_are_not_inspected_beyond_their_names(request: pytest.FixtureRequest, engine: str) -> None:
    url: str = request.getfixturevalue(f"{engine}_url")
    change(url, *FOREIGN_TABLES[engine])
    kind, epoch, names = verdict(url)
    assert (kind, epoch, "untyped" in names) == (StateKind.FOREIGN, None, True)
    with pytest.raises(ForeignDatabaseError, match="it holds other tables"):
        LandscapeDB(url)


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_foreign_tables_of_any_kind_may_exist_beside_ours(request: pytest.FixtureRequest, engine: str) -> None:
    url: str = request.getfixturevalue(f"{engine}_url")
    LandscapeDB(url).close()
    change(url, *FOREIGN_TABLES[engine])
    assert verdict(url) == (StateKind.CURRENT, EPOCH, ())
    for attempt in (list_runs, read):
        attempt(url)


def test_a_historical_database_is_older(old_database: OldDatabase) -> None:
    assert verdict(old_database.url) == (StateKind.OLDER, old_database.epoch, lacking(old_database.epoch))


def test_the_message_for_an_older_database_says_what_it_lacks_and_the_one_command(tmp_path: Path) -> None:
    url = f"sqlite:///{shutil.copy(LEGACY / 'epoch1-rich.db', tmp_path / 'old audit.db')}"
    with pytest.raises(OlderDatabaseError) as caught:
        LandscapeDB(url)
    tables, columns = lacking(1)
    assert tables.startswith(
        "tables missing: secret_resolutions, run_processes, operations, source_inputs, token_outcomes"
    )
    assert columns.count(",") >= 24
    assert str(caught.value) == (
        f"audit database {url} is of epoch 1, this version records in epoch {EPOCH}: {tables}; {columns}."
        " Nothing was changed."
        " Reading it is safe as it is (elspeth export, explain, landscape runs)."
        f" To record into it, run: elspeth landscape migrate -d '{url}'"
    )


# -- newer, foreign --------------------------------------------------------------------------------------------------


def test_a_later_epoch_is_newer(current_url: str) -> None:
    with LandscapeDB(current_url) as database, database.connection() as connection:
        say_epoch(connection, EPOCH + 2)
    assert refusal(current_url, NewerDatabaseError) == (
        f"audit database {mask_url(make_url(current_url))} is of epoch {EPOCH + 2}, this version knows epochs up to"
        f" {EPOCH}. Nothing was changed. Use the version of elspeth that wrote it, or a later one."
    )


def test_a_later_epoch_is_newer_whatever_its_tables(current_url: str) -> None:
    with LandscapeDB(current_url) as database, database.connection() as connection:
        say_epoch(connection, EPOCH + 1)
    change(
        current_url,
        "ALTER TABLE schema_migrations ADD COLUMN note TEXT",
        "ALTER TABLE runs RENAME TO pipeline_runs",
    )
    assert verdict(current_url) == (StateKind.NEWER, EPOCH + 1, ())


def test_an_unknown_version_of_the_predecessor_is_compared_with_the_nearest(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        epoch_tables(4).create_all(connection)
        connection.execute(text("ALTER TABLE runs ADD COLUMN later_json TEXT"))
        for number in range(22):
            connection.execute(text(f"CREATE TABLE later_{number:02} (id TEXT PRIMARY KEY)"))
    assert refusal(database_url, DivergedDatabaseError).startswith(
        f"audit database {mask_url(make_url(database_url))} does not name its epoch, and differs from the"
        " predecessor's tables of 2026-02-13 (19 tables, 191 columns), the nearest: column runs.later_json is not"
        " expected; table later_00 is not expected; table later_01 is not expected; table later_02 is not expected;"
        " table later_03 is not expected; and 18 more. Nothing was changed."
    )


def test_other_tables_alone_are_not_an_audit_database(database_url: str) -> None:
    change(database_url, "CREATE TABLE customers (id INTEGER PRIMARY KEY)", "CREATE TABLE runs (id INTEGER)")
    assert refusal(database_url, ForeignDatabaseError) == (
        f"audit database {mask_url(make_url(database_url))} is not an audit database: it holds other tables (customers,"
        " runs). Nothing was changed. Use another database (landscape.url, or -d)."
    )


# -- diverged --------------------------------------------------------------------------------------------------------

ON_BOTH = {
    "DROP TABLE checkpoints": "table checkpoints is missing",
    "ALTER TABLE rows ADD COLUMN note TEXT": "column rows.note is not expected",
    "ALTER TABLE tokens DROP COLUMN branch_name": "column tokens.branch_name is missing",
    "DROP INDEX ix_tokens_row": "index of tokens is missing: ix_tokens_row run_id row_id not unique all rows",
    "CREATE INDEX mine ON rows (row_index)": "index of rows is not expected: mine row_index not unique all rows",
}
ON_SQLITE = {
    "ALTER TABLE rows ADD COLUMN note": "column rows.note is not expected",
    "CREATE INDEX mine ON rows (row_index + 1)": ("index of rows is not expected: mine expression not unique all rows"),
    "DROP TRIGGER guard_rows_update": "trigger guard_rows_update is missing",
    "CREATE TRIGGER mine BEFORE INSERT ON artifacts BEGIN SELECT RAISE(IGNORE); END": (
        "trigger mine on artifacts is not expected"
    ),
}
ON_POSTGRESQL = {
    "ALTER TABLE rows ADD COLUMN note POINT": "column rows.note is not expected",
    "ALTER TABLE nodes ALTER COLUMN schema_mode TYPE XML USING NULL": (
        "column nodes.schema_mode: expected VARCHAR(32), got an unknown type"
    ),
    "CREATE INDEX mine ON rows ((row_index + 1))": (
        "index of rows is not expected: mine expression not unique all rows"
    ),
    "ALTER TABLE rows DROP CONSTRAINT ck_rows_row_index": "check of rows is missing: ck_rows_row_index row_index >= 0",
    "ALTER TABLE rows DROP CONSTRAINT uq_rows_row_index": "unique constraint of rows is missing: run_id row_index",
    "ALTER TABLE tokens DROP CONSTRAINT fk_tokens_row_id": (
        "foreign key of tokens is missing: run_id row_id rows run_id row_id on delete no action"
    ),
    "ALTER TABLE rows ALTER COLUMN row_index TYPE INTEGER": (
        "column rows.row_index: expected BIGINT NOT NULL, got INTEGER NOT NULL"
    ),
    "ALTER TABLE rows ALTER COLUMN row_index DROP NOT NULL": (
        "column rows.row_index: expected BIGINT NOT NULL, got BIGINT"
    ),
    "DROP TRIGGER guard_rows_row ON rows": "trigger guard_rows_row is missing",
    (
        "CREATE TRIGGER mine BEFORE INSERT ON artifacts FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ): "trigger mine on artifacts is not expected",
    "CREATE RULE mine AS ON INSERT TO artifacts DO INSTEAD NOTHING": "rule mine on artifacts is not expected",
    "ALTER TABLE artifacts ENABLE ROW LEVEL SECURITY": "row security of artifacts is not expected",
    (
        "CREATE OR REPLACE TRIGGER guard_rows_row BEFORE UPDATE OR DELETE ON rows FOR EACH ROW WHEN (false)"
        " EXECUTE FUNCTION guard_rows(); ALTER TABLE rows ENABLE ALWAYS TRIGGER guard_rows_row"
    ): "trigger guard_rows_row is switched off, or on only in part",
    (
        "CREATE OR REPLACE TRIGGER guard_rows_row BEFORE DELETE ON rows FOR EACH ROW EXECUTE FUNCTION guard_rows();"
        " ALTER TABLE rows ENABLE ALWAYS TRIGGER guard_rows_row"
    ): "trigger guard_rows_row is switched off, or on only in part",
    (
        "DROP TRIGGER guard_rows_row ON rows; CREATE TRIGGER guard_rows_row BEFORE UPDATE OR DELETE ON tokens"
        " FOR EACH ROW EXECUTE FUNCTION guard_rows()"
    ): "trigger guard_rows_row is missing",
    "ALTER TABLE rows DISABLE TRIGGER guard_rows_row": "trigger guard_rows_row is switched off, or on only in part",
    "ALTER TABLE rows ENABLE TRIGGER guard_rows_row": "trigger guard_rows_row is switched off, or on only in part",
    "CREATE OR REPLACE FUNCTION guard_rows() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'": (
        "trigger guard_rows_row is not the one of this epoch"
    ),
}
DAMAGE = [
    *(("sqlite", *damage) for damage in (ON_BOTH | ON_SQLITE).items()),
    *(pytest.param("postgresql", *damage, marks=pytest.mark.postgres) for damage in (ON_BOTH | ON_POSTGRESQL).items()),
]


@pytest.mark.parametrize(("engine", "statement", "difference"), DAMAGE)
def test_a_database_that_is_not_what_it_claims_to_be_has_diverged(
    request: pytest.FixtureRequest, engine: str, statement: str, difference: str
) -> None:
    url: str = request.getfixturevalue(f"{engine}_url")
    LandscapeDB(url).close()
    assert verdict(url) == (StateKind.CURRENT, EPOCH, ())  # which is remembered for this catalog, and no other
    change(url, statement)
    kind, epoch, (first, *more) = verdict(url)
    assert (kind, epoch, first) == (StateKind.DIVERGED, EPOCH, difference)
    explained = ("trigger guard_checkpoints_", "trigger guard_rows_row on tokens")
    assert [each for each in more if not each.startswith(explained)] == []


def test_triggers_on_other_tables_do_not_matter(current_url: str) -> None:
    body = "BEGIN SELECT 1; END" if current_url.startswith("sqlite") else "FOR EACH ROW EXECUTE FUNCTION guard_rows()"
    change(
        current_url,
        "CREATE TABLE customers (id INTEGER PRIMARY KEY)",
        f"CREATE TRIGGER guard_customers BEFORE DELETE ON customers {body}",
    )
    assert verdict(current_url) == (StateKind.CURRENT, EPOCH, ())


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (
            "status = 'running' OR status = 'interrupted' OR status = 'completed' OR status = 'failed'",
            "status = 'running' OR status = 'done'",
            "ck_runs_status status in 'running' 'done'",
        ),
        (
            "is_terminal = 1",
            "is_terminal = 0",
            "ix_token_outcomes_terminal run_id token_id unique where is_terminal = 0",
        ),
    ],
)
def test_a_changed_condition_is_noticed(sqlite_url: str, old: str, new: str, difference: str) -> None:
    LandscapeDB(sqlite_url).close()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name IN ('runs', 'ix_token_outcomes_terminal')",
            (old, new),
        )
        connection.commit()
    _, _, differences = verdict(sqlite_url)
    assert [each for each in differences if "is not expected" in each and each.endswith(difference)] != []


def test_conditions_may_use_a_list_of_values(sqlite_url: str) -> None:
    LandscapeDB(sqlite_url).close()
    alternatives, values = (
        "status = 'running' OR status = 'interrupted' OR status = 'completed' OR status = 'failed'",
        "status IN ('running', 'interrupted', 'completed', 'failed')",
    )
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        changed = connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE sql LIKE '%' || ? || '%'",
            (alternatives, values, alternatives),
        )
        assert changed.rowcount > 0
        connection.commit()
    kind, _, differences = verdict(sqlite_url)
    assert (kind, differences) == (StateKind.CURRENT, ())


def test_a_trigger_with_another_body_is_noticed(sqlite_url: str) -> None:
    LandscapeDB(sqlite_url).close()
    change(
        sqlite_url,
        "DROP TRIGGER guard_runs_delete",
        "CREATE TRIGGER guard_runs_delete BEFORE DELETE ON runs BEGIN SELECT 1; END",
    )
    assert verdict(sqlite_url)[2] == ("trigger guard_runs_delete is not the one of this epoch",)


def test_the_message_for_a_diverged_database_lists_the_first_differences(sqlite_url: str) -> None:
    LandscapeDB(sqlite_url).close()
    tables = ("runs", "nodes", "edges", "rows", "tokens", "calls")
    change(sqlite_url, *(f"DROP TRIGGER guard_{table}_update" for table in tables))
    assert refusal(sqlite_url, DivergedDatabaseError) == (
        f"audit database {sqlite_url} claims to be of epoch {EPOCH}, but differs from it: trigger guard_runs_update"
        " is missing; trigger guard_nodes_update is missing; trigger guard_edges_update is missing; trigger"
        " guard_rows_update is missing; trigger guard_tokens_update is missing; and 1 more. Nothing was changed. It"
        " cannot be trusted as evidence until the differences are explained: restore a backup, or undo them. To list"
        f" all of them, run: elspeth landscape status -d {sqlite_url}"
    )


def test_a_database_that_lost_its_history_has_diverged(current_url: str) -> None:
    change(current_url, "DROP TABLE schema_migrations")
    assert refusal(current_url, DivergedDatabaseError).startswith(
        f"audit database {mask_url(make_url(current_url))} does not name its epoch, and differs from epoch"
        f" {EPOCH}, the nearest: table schema_migrations is missing. Nothing was changed."
    )


@pytest.mark.parametrize("epoch", [-1, 0, 4])
def test_an_impossible_history_has_diverged(sqlite_url: str, epoch: int) -> None:
    LandscapeDB(sqlite_url).close()
    history = f"UPDATE schema_migrations SET to_epoch = {epoch}"  # noqa: S608 - a number
    change(sqlite_url, "DROP TRIGGER guard_schema_migrations_update", history)
    assert refusal(sqlite_url, DivergedDatabaseError).startswith(
        f"audit database {sqlite_url} has an impossible history of migrations: schema_migrations: expected"
        f" an epoch from 5 on, got {epoch}. Nothing was changed."
    )


def test_a_history_without_a_step_has_diverged(sqlite_url: str) -> None:
    LandscapeDB(sqlite_url).close()
    change(sqlite_url, "DROP TRIGGER guard_schema_migrations_delete", "DELETE FROM schema_migrations")
    assert verdict(sqlite_url) == (
        StateKind.DIVERGED,
        None,
        ("schema_migrations: expected an epoch from 5 on, got None",),
    )


def test_a_changed_historical_database_has_diverged_from_the_nearest_tables(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        epoch_tables(2).create_all(connection)
    change(database_url, "ALTER TABLE edges ADD COLUMN note TEXT", "CREATE TABLE notes (id INTEGER)")
    state = read_state(make_url(database_url))
    assert (state.kind, state.shape, state.differences) == (
        StateKind.DIVERGED,
        "2026-01-19 (16 tables, 138 columns)",
        ("column edges.note is not expected", "table notes is not expected"),
    )


# -- whatever it is, nothing happens to it ---------------------------------------------------------------------------


def refusal(url: str, error: type[SchemaCompatibilityError]) -> str:
    """Return the message of every way to open a database.

    None of them may change it.
    """
    messages = set()
    for attempt in ATTEMPTS:
        with unchanged(url), pytest.raises(error) as caught:
            attempt(url)
        messages.add(str(caught.value))
    (message,) = messages
    return message


def read(url: str) -> None:
    with open_for_reading(url):
        pass


ATTEMPTS: list[Callable[[str], object]] = [LandscapeDB, migrate, list_runs, read]


def unchanged(url: str) -> AbstractContextManager[None]:
    """Check that the block changes no SQLite file."""
    return untouched(Path(url.removeprefix("sqlite:///"))) if url.startswith("sqlite") else nullcontext()


@pytest.mark.parametrize("name", EPOCHS)
def test_inspecting_and_reading_change_nothing(old_database_of: OldDatabaseMaker, name: str) -> None:
    database = old_database_of(name, "sqlite")
    with untouched(database.path):
        read_state(make_url(database.url))
        assert [run.rows for run in list_runs(database.url)] != []
        with open_for_reading(database.url):
            pass
        with pytest.raises(OlderDatabaseError):
            LandscapeDB(database.url)


def test_inspecting_leaves_the_log_of_a_crash_unchanged(sqlite_url: str, tmp_path: Path) -> None:
    with LandscapeDB(sqlite_url):
        change(sqlite_url, "CREATE TABLE notes (id INTEGER)")
        for name in ("landscape.db", "landscape.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"crashed-{name}")
    url = f"sqlite:///{tmp_path / 'crashed-landscape.db'}"
    log = (tmp_path / "crashed-landscape.db-wal").read_bytes()
    assert log
    read_state(make_url(url))
    assert (tmp_path / "crashed-landscape.db-wal").read_bytes() == log


@pytest.mark.parametrize("has_log", [False, True])
def test_a_transaction_that_a_crash_cut_short_is_rolled_back(tmp_path: Path, has_log: bool) -> None:
    """A power cut can leave a log beside the journal."""
    path, crashed = tmp_path / "other.db", tmp_path / "crashed.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO notes VALUES (?)", [("x" * 1000,)] * 100)
        connection.execute("CREATE TABLE unfinished (text TEXT)")
        for suffix in ("", "-journal"):
            shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    if has_log:
        (tmp_path / "crashed.db-wal").touch()
    assert verdict(f"sqlite:///{crashed}") == (StateKind.FOREIGN, None, ("notes",))


# -- not a database at all --------------------------------------------------------------------------------------------


def problem_with(url: str) -> str:
    messages = set()
    for attempt in (LandscapeDB, list_runs, read):
        with pytest.raises(LandscapeError) as caught:
            attempt(url)
        messages.add(str(caught.value))
    (message,) = messages
    return message


def test_a_text_file_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with unchanged(f"sqlite:///{path}"):
        assert problem_with(f"sqlite:///{path}") == (
            f"audit database sqlite:///{path} cannot be opened: file is not a database"
        )


def test_a_directory_is_not_a_database(tmp_path: Path) -> None:
    assert problem_with(f"sqlite:///{tmp_path}") == f"audit database {tmp_path} is a directory, expected a file"


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "audit.db").touch()
    with unchanged(f"sqlite:///{tmp_path / 'audit.db'}"):
        assert read_state(make_url(f"sqlite:///{tmp_path / 'audit.db'}")) == DatabaseState(kind=StateKind.EMPTY)


def test_an_unreachable_server_is_reported() -> None:
    message = problem_with("postgresql+psycopg://auditor:secret@127.0.0.1:1/audit")
    assert message.startswith(
        "audit database postgresql+psycopg://auditor:***@127.0.0.1:1/audit cannot be opened: connection failed:"
    )
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize(("count", "listed"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, and 1 more")])
def test_a_message_lists_five_differences_and_counts_the_rest(count: int, listed: str) -> None:
    state = DatabaseState(kind=StateKind.FOREIGN, differences=tuple(map(str, range(count))))
    assert f"it holds other tables ({listed})." in describe_state(state, "sqlite:///x.db")


@pytest.mark.parametrize(
    ("count", "listed"),
    [(1, "a"), (5, "a, b, c, d, e"), (6, "a, b, c, d, e, and 1 more"), (7, "a, b, c, d, e, and 2 more")],
)
def test_a_message_lists_five_and_counts_the_others(count: int, listed: str) -> None:
    state = DatabaseState(kind=StateKind.FOREIGN, differences=tuple("abcdefg"[:count]))
    assert f"it holds other tables ({listed})." in describe_state(state, "URL")


def test_every_difference_is_named_those_of_triggers_last(current_url: str) -> None:
    trigger = "guard_rows_update" if current_url.startswith("sqlite") else "guard_rows_row ON rows"
    change(current_url, "DROP INDEX ix_tokens_row", "ALTER TABLE rows ADD COLUMN note TEXT", f"DROP TRIGGER {trigger}")
    assert verdict(current_url)[2] == (
        "column rows.note is not expected",
        "index of tokens is missing: ix_tokens_row run_id row_id not unique all rows",
        f"trigger {trigger.split(maxsplit=1)[0]} is missing",
    )


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_an_epoch_that_named_none_is_an_impossible_history(current_url: str, epoch: int) -> None:
    with LandscapeDB(current_url) as database, database.connection() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("DELETE FROM schema_migrations")
        say_epoch(connection, epoch)
    assert verdict(current_url) == (
        StateKind.DIVERGED,
        None,
        (f"schema_migrations: expected an epoch from 5 on, got {epoch}",),
    )
    assert " has an impossible history of migrations: schema_migrations: expected " in describe_state(
        read_state(make_url(current_url)), "URL"
    )
