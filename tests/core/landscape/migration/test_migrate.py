"""Historical databases, migrated and used on both engines."""

from __future__ import annotations

import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import NullPool, create_engine, text

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.tables import load_snapshot, read_migrations
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.migration import migrate as migration
from elspeth.core.landscape.migration.migrate import MigrationReport, migrate, migrate_if_older
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema import EPOCH
from tests.core.landscape.migration.conftest import Migrated
from tests.core.landscape.migration.reflection import reflected
from tests.fixtures.legacy import OldDatabaseMaker, Values, rows_of
from tests.fixtures.records import record_everything


def test_a_migrated_database_equals_a_new_one(migrated: Migrated, request: pytest.FixtureRequest) -> None:
    new: str = request.getfixturevalue(f"{migrated.database.engine}_url")
    LandscapeDB(new).close()
    assert reflected(migrated.database.url) == reflected(new)


def test_the_report_counts_the_rows_of_every_table(migrated: Migrated) -> None:
    assert (migrated.report.from_epoch, migrated.report.migrated) == (migrated.database.epoch, True)
    assert migrated.report.rows == counts(migrated)


def counts(migrated: Migrated) -> dict[str, int]:
    tables = {table.name for table in load_snapshot(migrated.database.epoch).tables}
    return {name: len(rows) for name, rows in rows_of(migrated.database.source).items() if name in tables}


def test_the_step_is_recorded_with_what_each_table_held_before_and_after(migrated: Migrated) -> None:
    with LandscapeDB(migrated.database.url) as database, database.connection() as connection:
        *_, step = read_migrations(connection)
    assert (step.from_epoch, step.to_epoch) == (migrated.database.epoch, EPOCH)
    assert re.fullmatch(r"elspeth \d+\.\d+\.\d+", step.tool)
    assert timedelta(0) <= datetime.now(UTC) - step.migrated_at < timedelta(hours=1)
    recorded: dict[str, Values] = json.loads(step.tables_json)
    for moment in ("before", "after"):
        assert {name: table[f"rows_{moment}"] for name, table in recorded.items()} == counts(migrated)
    digests = {name: table["digest_before"] for name, table in recorded.items()}
    assert digests == {name: table["digest_after"] for name, table in recorded.items()}
    assert {name for name, digest in digests.items() if digest != "0" * 64} == {
        name for name, count in counts(migrated).items() if count
    }


def test_progress_ends_at_the_total(migrated: Migrated) -> None:
    done = [count for _, count, _ in migrated.progress]
    assert done == sorted(done)
    assert {total for _, _, total in migrated.progress} == {done[-1]}
    assert {table for table, _, _ in migrated.progress} >= {name for name, count in counts(migrated).items() if count}


def test_a_second_migration_has_nothing_to_do(migrated: Migrated) -> None:
    nothing = MigrationReport(from_epoch=EPOCH, rows={})
    before = history_of(migrated.database.url)
    assert migrate(migrated.database.url) == nothing
    assert migrate_if_older(migrated.database.url) == nothing
    assert history_of(migrated.database.url) == before


def history_of(url: str) -> list[tuple[object, ...]]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM schema_migrations"))]


def test_a_second_migration_does_not_change_the_file(old_database_of: OldDatabaseMaker) -> None:
    path = old_database_of("epoch4-rich", "sqlite").path
    migrate(f"sqlite:///{path}")
    before = path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())
    migrate(f"sqlite:///{path}")
    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())) == before


def test_a_new_run_can_be_recorded_into_it_and_signed_exports_are_complete(migrated: Migrated) -> None:
    runs = [str(run["run_id"]) for run in rows_of(migrated.database.source)["runs"]]
    with LandscapeDB(migrated.database.url) as database:
        record_everything(LandscapeRecorder(database), "a new run")
        for run_id in [*runs, "a new run"]:
            *records, manifest = LandscapeExporter(database, signing_key=b"key").export_run(run_id, sign=True)
            assert (manifest["record_type"], manifest["record_count"]) == ("manifest", len(records))
            assert all(re.fullmatch("[0-9a-f]{64}", record["signature"]) for record in [*records, manifest])


# -- the backup ------------------------------------------------------------------------------------------------------


def test_the_backup_holds_what_the_database_held(
    old_database_of: OldDatabaseMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = old_database_of("epoch1-rich", "sqlite")
    (tmp_path / "saved.db.partial").write_text("left by a crash")
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    report = migrate(database.url, backup=tmp_path / "saved.db")
    assert synced >= {path.stat().st_ino for path in (tmp_path, tmp_path / "saved.db")}
    assert report.backup == tmp_path / "saved.db"
    assert rows_of(tmp_path / "saved.db") == rows_of(database.source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.db", "saved.db"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_backup_has_the_permissions_of_the_database_from_the_start(
    old_database_of: OldDatabaseMaker, tmp_path: Path, mode: int
) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    database.path.chmod(mode)
    before = os.umask(0o022)
    try:
        migrate(database.url, backup=tmp_path / "saved.db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "saved.db").stat().st_mode) == mode
    assert stat.S_IMODE(database.path.stat().st_mode) == mode


def test_the_backup_goes_beside_the_database_named_after_epoch_and_time(old_database_of: OldDatabaseMaker) -> None:
    report = migrate(old_database_of("epoch2-rich", "sqlite").url)
    assert report.backup is not None
    assert re.fullmatch(r"audit\.db\.epoch2-\d{8}T\d{6}\.\d{6}Z\.bak", report.backup.name)


def test_two_backups_within_a_second_have_names_of_their_own(
    old_database_of: OldDatabaseMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(datetime(2026, 1, 1, microsecond=each, tzinfo=UTC) for each in (1, 2))
    monkeypatch.setattr(migration, "datetime", SimpleNamespace(now=lambda _: next(moments)))
    database = old_database_of("epoch2-rich", "sqlite")
    names = {migration._backup_path(database.path, 2).name for _ in range(2)}
    assert len(names) == 2


def test_no_backup_is_made_if_none_is_wanted(old_database_of: OldDatabaseMaker, tmp_path: Path) -> None:
    assert migrate(old_database_of("epoch2-rich", "sqlite").url, no_backup=True).backup is None
    assert [path.name for path in tmp_path.iterdir()] == ["audit.db"]
