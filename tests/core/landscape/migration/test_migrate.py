"""Migrating each historical database, on both engines: what becomes of it, and what it can do afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, select, text

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporter import LandscapeExporter
from elspeth.core.landscape.migration.bookkeeping import steps_taken
from elspeth.core.landscape.migration.migrate import MigrationReport, migrate, migrate_if_older
from elspeth.core.landscape.migration.progress import Report
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth_schema import EPOCH
from elspeth_schema.tables import runs_table
from tests.core.landscape.migration.reflection import reflected
from tests.fixtures.legacy import OldDatabase, OldDatabaseMaker, rows_of
from tests.fixtures.records import record_everything


def migrated(database: OldDatabase, report: Report | None = None) -> MigrationReport:
    return migrate(database.url, no_backup=database.engine == "postgresql", report=report)


def test_a_migrated_database_is_what_a_new_one_is(old_database: OldDatabase, database_url_like: Callable[[str], str]) -> None:
    migrated(old_database)
    new = database_url_like(old_database.engine)
    LandscapeDB(new).close()
    assert reflected(old_database.url) == reflected(new)


@pytest.fixture
def database_url_like(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The URL of an empty database on an engine."""

    def url(engine: str) -> str:
        found: str = request.getfixturevalue(f"{engine}_url")
        return found

    return url


def test_the_report_counts_the_rows_of_every_table(old_database: OldDatabase) -> None:
    report = migrated(old_database)
    assert (report.from_epoch, report.migrated) == (old_database.epoch, True)
    assert report.rows == {name: len(rows) for name, rows in rows_of(old_database.source).items()}


def test_the_step_is_recorded_with_what_each_table_held_before_and_after(old_database: OldDatabase) -> None:
    migrated(old_database)
    with LandscapeDB(old_database.url) as database, database.connection() as connection:
        (step,) = steps_taken(connection)
    assert (step.from_epoch, step.to_epoch) == (old_database.epoch, EPOCH)
    assert re.fullmatch(r"elspeth \d+\.\d+\.\d+", step.tool)
    assert timedelta(0) <= datetime.now(UTC) - step.migrated_at < timedelta(minutes=5)
    counts = {name: len(rows) for name, rows in rows_of(old_database.source).items()}
    recorded = json.loads(step.tables_json)
    assert {name: table["rows_before"] for name, table in recorded.items()} == counts
    assert {name: table["rows_after"] for name, table in recorded.items()} == counts
    assert {name: table["digest_before"] for name, table in recorded.items()} == {
        name: table["digest_after"] for name, table in recorded.items()
    }
    assert len({table["digest_before"] for table in recorded.values()}) > len(counts) / 2


def test_a_second_migration_has_nothing_to_do(old_database: OldDatabase) -> None:
    migrated(old_database)
    before = history_of(old_database.url)
    assert migrated(old_database) == MigrationReport(from_epoch=EPOCH, rows={})
    assert migrate_if_older(old_database.url) == MigrationReport(from_epoch=EPOCH, rows={})
    assert history_of(old_database.url) == before


def history_of(url: str) -> list[tuple[object, ...]]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM schema_migrations"))]


def test_a_second_migration_of_a_file_changes_no_byte(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    migrated(database)
    before = database.path.read_bytes(), database.path.stat().st_mtime_ns, sorted(database.path.parent.iterdir())
    migrated(database)
    assert (database.path.read_bytes(), database.path.stat().st_mtime_ns, sorted(database.path.parent.iterdir())) == before


def test_the_backup_holds_what_the_database_held(old_database_of: OldDatabaseMaker, tmp_path: Path) -> None:
    database = old_database_of("epoch1-rich", "sqlite")
    report = migrate(database.url, backup=tmp_path / "saved.db")
    assert report.backup == tmp_path / "saved.db"
    assert rows_of(tmp_path / "saved.db") == rows_of(database.source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.db", "saved.db"]


def test_the_backup_goes_beside_the_database_and_says_when_and_from_which_epoch(old_database_of: OldDatabaseMaker) -> None:
    report = migrate(old_database_of("epoch2-rich", "sqlite").url)
    assert report.backup is not None
    assert re.fullmatch(r"audit\.db\.epoch2-\d{8}T\d{6}Z\.bak", report.backup.name)
    assert rows_of(report.backup)


def test_a_new_run_can_be_recorded_into_it_and_signed_exports_are_complete(old_database: OldDatabase) -> None:
    migrated(old_database)
    with LandscapeDB(old_database.url) as database:
        with database.connection() as connection:
            old_runs = list(connection.scalars(select(runs_table.c.run_id)))
        record_everything(LandscapeRecorder(database), "a new run")
        for run_id in [*old_runs, "a new run"]:
            records = list(LandscapeExporter(database, signing_key=b"key").export_run(run_id, sign=True))
            manifest = records[-1]
            assert (manifest["record_type"], manifest["record_count"]) == ("manifest", len(records) - 1)
            assert len({record["signature"] for record in records}) == len(records)


def test_progress_ends_at_the_total(old_database: OldDatabase) -> None:
    told: list[tuple[str, int, int]] = []
    rows = migrated(old_database, lambda *progress: told.append(progress)).rows
    done = [count for _, count, _ in told]
    totals = {total for _, _, total in told}
    assert done == sorted(done)
    assert totals == {done[-1]}
    assert {table for table, _, _ in told} >= {name for name, count in rows.items() if count}
