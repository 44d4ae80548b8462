"""Older databases are read through private copies."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import LandscapeError, RunNotFoundError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.migration import private_copy as module
from elspeth.core.landscape.migration.migrate import MigrationReport
from elspeth.core.landscape.migration.private_copy import open_for_reading, rehearse
from elspeth.core.landscape.sealing.check import SealReport
from elspeth_schema import EPOCH
from tests.fixtures.legacy import OldDatabase, OldDatabaseMaker, rows_of
from tests.fixtures.predecessor import SHAPES, create_filled


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of temporary files."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def example(old_database_of: OldDatabaseMaker, engine_name: str) -> OldDatabase:
    """Return a historical database on each engine."""
    return old_database_of("epoch4-rich", engine_name)


def test_the_copy_is_removed_at_the_end(example: OldDatabase, temporary: Path) -> None:
    progress: list[tuple[int, int]] = []
    with open_for_reading(example.url, lambda _, *numbers: progress.append(numbers)):
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
    assert progress[-1] == (progress[0][1],) * 2


def test_messages_name_the_original(example: OldDatabase) -> None:
    with open_for_reading(example.url) as database, pytest.raises(RunNotFoundError) as caught:
        list(LandscapeExporter(database).export_run("nothing"))
    assert str(caught.value) == f"run 'nothing' is not in the audit database {mask_url(make_url(example.url))}"


def require_hidden_secret(url: str) -> None:
    original = make_url(url).update_query_dict({"sslpassword": "HUNTER2"})
    progress: list[tuple[int, int]] = []
    with (
        open_for_reading(
            original.render_as_string(hide_password=False), lambda _, *numbers: progress.append(numbers)
        ) as database,
        pytest.raises(RunNotFoundError) as caught,
    ):
        list(LandscapeExporter(database).export_run("nothing"))
    assert str(caught.value) == f"run 'nothing' is not in the audit database {mask_url(original)}"
    assert "HUNTER2" not in str(caught.value)
    assert progress[-1] == (progress[0][1],) * 2


@pytest.mark.postgres
def test_messages_about_a_copy_hide_the_secrets_of_the_original(old_database_of: OldDatabaseMaker) -> None:
    require_hidden_secret(old_database_of("epoch4-rich", "postgresql").url)


@pytest.mark.postgres
def test_messages_about_an_adopted_copy_hide_the_secrets_of_the_original(postgresql_url: str) -> None:
    create_filled(postgresql_url, list(SHAPES.values())[-1])
    require_hidden_secret(postgresql_url)


def test_a_current_database_is_read_directly(database_url: str, temporary: Path) -> None:
    LandscapeDB(database_url).close()
    with open_for_reading(database_url) as database:
        assert list(temporary.iterdir()) == []
        assert database.url == mask_url(make_url(database_url))


@pytest.mark.postgres
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "Asia/Kathmandu"])
def test_the_time_zone_of_a_server_does_not_change_times(old_database_of: OldDatabaseMaker, zone: str) -> None:
    database = old_database_of("epoch1-audit-export", "postgresql")
    url = make_url(database.url)
    server = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} SET timezone TO '{zone}'")
    (run,) = rows_of(database.source)["runs"]
    with open_for_reading(database.url) as copy:
        record = next(LandscapeExporter(copy).export_run(str(run["run_id"])))
    assert record["started_at"] == f"{str(run['started_at']).replace(' ', 'T')}Z"


def test_a_rehearsal_reports_what_would_happen(example: OldDatabase) -> None:
    rows = {name: len(rows) for name, rows in rows_of(example.source).items()}
    seals = SealReport(
        sealed=0,
        unchanged=0,
        pruned=0,
        faults=(),
        signers={},
        unsealed=("run-completed", "run-failed"),
        unfinished={"run-running": "running"},
    )
    assert rehearse(example.url) == MigrationReport(from_epoch=4, backup=None, rows=rows, seals=seals)
    progress: list[tuple[int, int]] = []
    assert rehearse(example.url, lambda _, *numbers: progress.append(numbers)).from_epoch == 4
    assert progress[-1] == (progress[0][1],) * 2


def test_a_rehearsal_of_nothing_to_do_says_so(database_url: str) -> None:
    LandscapeDB(database_url).close()
    assert rehearse(database_url) == MigrationReport(from_epoch=EPOCH, rows={})


def test_a_copy_without_room_is_an_error(example: OldDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "temporary"
    (directory / "copy.db").mkdir(parents=True)
    monkeypatch.setattr(module, "TemporaryDirectory", lambda **_: nullcontext(str(directory)))
    said = {
        "sqlite": f"unable to open database: {directory / 'copy.db'}",
        "postgresql": "unable to open database file",
    }
    with pytest.raises(LandscapeError) as caught, open_for_reading(example.url):
        pass
    assert str(caught.value) == (
        f"audit database {mask_url(make_url(example.url))} cannot be copied to {directory} to be read:"
        f" {said[example.engine]}. For another directory, set TMPDIR. It was not changed."
    )


def test_a_directory_without_room_for_a_copy_is_named(
    old_database_of: OldDatabaseMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "copy_database", fail)
    with (
        pytest.raises(
            LandscapeError, match=r"cannot be copied to .*: \[Errno 28\] No space left on device\. For another"
        ),
        open_for_reading(old_database_of("epoch4-rich", "sqlite").url),
    ):
        pass


def test_a_database_that_cannot_be_migrated_cannot_be_read(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    with create_engine(database.url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql("UPDATE edges SET to_node_id = 'nowhere' WHERE rowid = 1")
    with pytest.raises(LandscapeError) as caught, open_for_reading(database.url):
        pass
    assert str(caught.value) == (
        f"audit database {database.url} cannot be read as one of epoch {EPOCH}: the database holds references to"
        " records that it does not hold: row 1 of edges to nodes. It was not changed."
    )


def test_a_database_with_a_row_that_a_newer_epoch_refuses_cannot_be_read(old_database_of: OldDatabaseMaker) -> None:
    database = old_database_of("epoch4-rich", "sqlite")
    with create_engine(database.url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("UPDATE runs SET status = 'odd' WHERE rowid = 1")
    with pytest.raises(LandscapeError) as caught, open_for_reading(database.url):
        pass
    assert str(caught.value).startswith(
        f"audit database {database.url} cannot be read as one of epoch {EPOCH}: CHECK constraint failed: "
    )
    assert str(caught.value).endswith(". It was not changed.")
