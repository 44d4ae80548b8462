"""The entries of the log of runs, without gaps."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, make_url, update
from sqlalchemy.exc import IntegrityError

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeDB, run_log
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import (
    Happening,
    append_entry,
    log_migration,
    log_origin,
    log_size,
    read_log,
    read_one_state,
)
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.reproducibility import plan_purge, purge
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_log_table
from tests.core.landscape.sealing.test_seal import drop_guards


def entries_of(database: LandscapeDB) -> list[dict[str, object]]:
    with database.snapshot() as connection:
        found = list(read_log(connection))
    assert [position for position, _ in found] == list(range(len(found)))
    assert [entry for _, entry in found] == [canonical_json(json.loads(entry)) for _, entry in found]
    return [json.loads(entry) for _, entry in found]


def happenings(database: LandscapeDB) -> list[tuple[object, object]]:
    return [(entry["entry"], entry.get("run_id")) for entry in entries_of(database)]


def test_the_log_of_a_new_database_begins_with_a_random_name(landscape: LandscapeDB) -> None:
    (first,) = entries_of(landscape)
    assert {**first, "log": "", "time": ""} == {"entry": "created", "epoch": EPOCH, "log": "", "time": ""}
    with landscape.snapshot() as connection:
        assert log_origin(connection) == f"elspeth.local/{first['log']}"
        assert log_size(connection) == 1


def test_two_databases_have_logs_of_different_names() -> None:
    with LandscapeDB.in_memory() as one, LandscapeDB.in_memory() as other:
        assert entries_of(one)[0]["log"] != entries_of(other)[0]["log"]


def test_a_run_is_logged_when_it_begins_and_when_it_ends(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    run = recorder.begin_run({"name": "x"}, "v1", run_id="a")
    recorder.begin_run({}, "v1", run_id="b")
    recorder.complete_run("a", RunStatus.FAILED)
    _, begun, other, ended = entries_of(landscape)
    assert (begun["entry"], begun["run_id"], begun["config_hash"]) == ("begun", "a", run.config_hash)
    assert (other["entry"], other["run_id"]) == ("begun", "b")
    with landscape.snapshot() as connection:
        root = connection.exec_driver_sql("SELECT root FROM seals").scalar_one()
    assert {**ended, "time": ""} == {"entry": "ended", "root": root, "run_id": "a", "status": "failed", "time": ""}


def test_a_run_that_is_refused_is_not_logged(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    recorder.begin_run({}, "v1", run_id="a")
    with pytest.raises(AuditIntegrityError):
        recorder.begin_run({}, "v1", run_id="a")
    assert happenings(landscape) == [("created", None), ("begun", "a")]


def test_payloads_are_logged_before_they_are_purged(landscape: LandscapeDB, tmp_path: Path) -> None:
    payloads = FilesystemPayloadStore(tmp_path)
    payloads.store(b"old")
    later = datetime.now(UTC) + timedelta(days=2)
    purge(landscape, payloads, plan_purge(landscape, payloads, days=1, now=later))
    _, purged = entries_of(landscape)
    assert (purged["entry"], purged["payloads"], purged["size_bytes"]) == ("purged", 1, 3)
    purge(landscape, payloads, plan_purge(landscape, payloads, days=1, now=later))
    assert len(entries_of(landscape)) == 2  # nothing was left to purge


@pytest.mark.parametrize("statement", ["UPDATE run_log SET entry_json = '{}'", "DELETE FROM run_log"])
def test_entries_cannot_be_changed_or_deleted(landscape: LandscapeDB, statement: str) -> None:
    with pytest.raises(IntegrityError, match="run_log: a record"), landscape.write_transaction() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("entry", ["[]", "{}", "{", '{"log":1}'])
def test_a_first_entry_that_does_not_name_the_log_is_refused(landscape: LandscapeDB, entry: str) -> None:
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(update(run_log_table).values(entry_json=entry))
    with landscape.snapshot() as connection, pytest.raises(LandscapeError, match="does not name the log: it was"):
        log_origin(connection)


def test_a_log_that_was_removed_is_restarted_and_says_so(landscape: LandscapeDB) -> None:
    for run_id in ("c", "a"):
        LandscapeRecorder(landscape).begin_run({}, "v1", run_id=run_id)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(delete(run_log_table))
    with landscape.snapshot() as connection, pytest.raises(LandscapeError, match="the log of runs is empty"):
        log_origin(connection)
    LandscapeRecorder(landscape).begin_run({}, "v1", run_id="b")
    assert happenings(landscape) == [("lost", None), ("found", "c"), ("found", "a"), ("begun", "b")]


def test_a_log_that_another_process_begins_meanwhile_is_continued(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(delete(run_log_table))
        monkeypatch.setattr(run_log, "lock_log", run_log.begin_log)
        run_log.ensure_log(connection)
        run_log.ensure_log(connection)
    assert happenings(landscape) == [("created", None)]


def test_an_entry_comes_after_those_that_were_committed_while_it_waited(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = run_log.lock_log

    def let_another_append(connection: Connection) -> None:
        monkeypatch.setattr(run_log, "lock_log", lock)
        append_entry(connection, Happening.BEGUN, run_id="other")

    monkeypatch.setattr(run_log, "lock_log", let_another_append)
    with landscape.write_transaction() as connection:
        append_entry(connection, Happening.BEGUN, run_id="own", note="\u00e9")
    assert happenings(landscape) == [("created", None), ("begun", "other"), ("begun", "own")]
    with landscape.snapshot() as connection:
        assert [position for position, _ in read_log(connection, 1)] == [1, 2]
        assert [position for position, _ in read_log(connection, 2)] == [2]
        assert list(read_log(connection, 3)) == []


def test_a_migration_is_logged_with_the_epoch_from_which_it_came(landscape: LandscapeDB) -> None:
    with landscape.write_transaction() as connection:
        log_migration(connection, 3)
    last = entries_of(landscape)[-1]
    assert {**last, "time": ""} == {"entry": "migrated", "epoch": EPOCH, "from_epoch": 3, "time": ""}


def test_a_position_is_never_used_again(landscape: LandscapeDB) -> None:
    with landscape.write_transaction() as connection:
        append_entry(connection, Happening.BEGUN, run_id="a")
        drop_guards(connection)
        connection.execute(delete(run_log_table).where(run_log_table.c.position == 0))
        assert log_size(connection) == 2


def test_all_reads_see_one_state_inside_a_transaction_and_outside(database_url: str) -> None:
    with LandscapeDB(database_url) as database, read_only_connection(make_url(database_url)) as connection:
        for _ in range(2):
            read_one_state(connection)
            assert log_size(connection) == 1
            LandscapeRecorder(database).begin_run({}, "v1")


WORK = """
import sys
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RunStatus

url, name = sys.argv[1:]
with LandscapeDB(url) as database:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(6):
        recorder = LandscapeRecorder(database)
        recorder.begin_run({}, "v1", run_id=f"{name}-{number}")
        recorder.complete_run(f"{name}-{number}", RunStatus.COMPLETED)
"""
"""A process that begins and ends runs, once it is told to."""


def test_simultaneous_runs_leave_no_gap(database_url: str) -> None:
    LandscapeDB(database_url).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, database_url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    with LandscapeDB(database_url) as database:
        assert len(entries_of(database)) == 1 + 2 * 2 * 6
        with database.snapshot() as connection:
            assert check_log(connection).faults == ()
