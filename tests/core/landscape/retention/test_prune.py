"""Pruned runs are moved into bags without loss."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, event, func, insert, select, update

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.claim import RunClaimedError, claim_run
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.database.pruned_runs import PrunedRun, PrunedRunError, add_pruned_run, read_pruned_runs
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.queries.runs import resolve_run
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.reproducibility import set_run_grade
from elspeth.core.landscape.retention.prune import BagRefusedError, PrunableRun, find_prunable, prune_run
from elspeth.core.landscape.sealing.check import AlteredRunError, check_seals
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth.evidence.format.signatures import Signer
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth_schema.contracts import ReproducibilityGrade, Run, RunStatus
from elspeth_schema.tables import metadata, pruned_runs_table, run_log_table, runs_table, seals_table
from tests.core.landscape.sealing.test_log_check import write_log
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.effort import THOROUGH
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_graph
from tests.fixtures.rich_run import recorded, rich_run

LATER = datetime.now(UTC) + timedelta(days=1)


def finish(database: LandscapeDB, run_id: str) -> None:
    """Record a run without rows."""
    recorder = LandscapeRecorder(database)
    with recorder.unit_of_work():
        record_graph(recorder, run_id)
    recorder.complete_run(run_id, RunStatus.FAILED)


def prunable(database: LandscapeDB, archive: Path, run_id: str) -> PrunableRun:
    return next(run for run in find_prunable(database, LATER, archive) if run.run_id == run_id)


def prune(database: LandscapeDB, archive: Path, run_id: str, signer: Signer | None = None) -> PrunedRun:
    return prune_run(database, prunable(database, archive, run_id), signer=signer)


def lines_of(database: LandscapeDB, run_id: str) -> bytes:
    return b"".join(lines for _, lines in LandscapeExporter(database).export_chunks(run_id))


def rows_left(database: LandscapeDB, run_id: str) -> dict[str, int]:
    """Count the rows that are left of a run."""
    with database.snapshot() as connection:
        tables = [table for table in metadata.sorted_tables if "run_id" in table.c]
        counts = {
            table.name: connection.scalar(select(func.count()).where(table.c.run_id == run_id)) or 0 for table in tables
        }
    return {name: number for name, number in counts.items() if number}


def faults_of(database: LandscapeDB) -> list[str]:
    with database.snapshot() as connection:
        return [str(fault) for fault in (*check_seals(connection).faults, *check_log(connection).faults)]


@pytest.fixture
def finished(landscape: LandscapeDB) -> LandscapeDB:
    """Record two finished runs, a and b."""
    for run_id in "ab":
        finish(landscape, run_id)
    return landscape


@pytest.fixture(scope="module")
def pruned(new_landscape: NewLandscape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LandscapeDB]:
    """Record runs and prune one; no test changes them."""
    with new_landscape() as database:
        for run_id in ("a", "b", "bb"):
            finish(database, run_id)
        assert faults_of(database) == []
        prune(database, tmp_path_factory.mktemp("bags"), "b")
        LandscapeRecorder(database).begin_run({}, "v1", run_id="open")
        yield database


def test_no_record_of_a_pruned_run_is_left_and_no_other_is_touched(landscape: LandscapeDB, tmp_path: Path) -> None:
    for run_id in ("run-1", "run-2"):
        run, *others = rich_run(run_id, status=RunStatus.FAILED)
        assert isinstance(run, Run)
        recorded(landscape, [replace(run, completed_at=run.started_at), *others])
    before = lines_of(landscape, "run-1"), lines_of(landscape, "run-2")
    records = before[0].splitlines(keepends=True)[:-1]
    assert len(rows_left(landscape, "run-1")) > 15
    kept = prune(landscape, tmp_path, "run-1")
    assert rows_left(landscape, "run-1") == {"pruned_runs": 1}
    assert lines_of(landscape, "run-2") == before[1]
    assert (kept.record_count, kept.status) == (len(records), "failed")
    with LandscapeDB.in_memory() as other:
        import_export(other, Path(kept.bag_path))
        assert lines_of(other, "run-1").splitlines(keepends=True)[:-1] == records


def test_the_kept_summary_agrees_with_the_run(pruned: LandscapeDB) -> None:
    with pruned.snapshot() as connection:
        (kept,) = read_pruned_runs(connection)
    assert (kept.run_id, kept.status, kept.record_count, kept.row_count) == ("b", "failed", 8, 0)
    assert (kept.outputs_json, Path(kept.bag_path).name) == ("[]", "b.zip")
    assert rows_left(pruned, "b") == {"pruned_runs": 1, "seals": 1}


def test_seals_and_log_still_agree_after_pruning(pruned: LandscapeDB, signer: Signer) -> None:
    assert faults_of(pruned) == []
    with pruned.snapshot() as connection:
        assert check_seals(connection).verdict == "2 of 2 sealed runs unchanged; the records of 1 more are in bags"
        assert check_log(connection).verdict == "4 runs in the log of runs, 9 entries"
        unsigned = check_seals(connection, key=signer.public_key).faults
    assert sorted(fault.run_id for fault in unsigned) == ["a", "b", "bb"]


def test_only_runs_that_ended_before_the_given_time_are_found(pruned: LandscapeDB, tmp_path: Path) -> None:
    assert [run.run_id for run in find_prunable(pruned, LATER, tmp_path)] == ["a", "bb"]
    moment = prunable(pruned, tmp_path, "bb").completed_at
    for hours in (-12, 0, 12):
        there = moment.astimezone(timezone(timedelta(hours=hours)))
        assert [run.run_id for run in find_prunable(pruned, there, tmp_path)] == ["a"]


def test_runs_are_found_in_the_order_they_began_with_bags_of_any_id(
    landscape: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finish(landscape, "z/of others")
    recorder = LandscapeRecorder(landscape)
    record_graph(recorder, "a")
    recorder.create_row("a", "source", 0, {})
    recorder.complete_run("a", RunStatus.FAILED)
    found = find_prunable(landscape, LATER, Path("bags"))
    bags = [tmp_path / "bags" / name for name in ("z%2Fof%20others.zip", "a.zip")]
    assert [(run.bag, run.rows) for run in found] == [(bags[0], 0), (bags[1], 1)]


def test_the_id_of_a_pruned_run_leads_to_its_bag(pruned: LandscapeDB) -> None:
    with pytest.raises(PrunedRunError, match=r"^run b was pruned at .* --from .*b\.zip with explain"):
        resolve_run(pruned, "b")
    assert (resolve_run(pruned, "bb"), resolve_run(pruned, "latest")) == ("bb", "open")


def test_no_run_takes_the_id_of_a_pruned_one(pruned: LandscapeDB) -> None:
    with pytest.raises(PrunedRunError):
        LandscapeRecorder(pruned).begin_run({}, "v1", run_id="b")
    assert faults_of(pruned) == []


def test_an_existing_bag_is_used_and_cannot_be_imported_again(landscape: LandscapeDB, tmp_path: Path) -> None:
    finish(landscape, "a")
    write_bag(landscape, "a", tmp_path / "a.zip")
    before = (tmp_path / "a.zip").stat()
    prune(landscape, tmp_path, "a")
    assert (tmp_path / "a.zip").stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(PrunedRunError):
        import_export(landscape, tmp_path / "a.zip")
    assert rows_left(landscape, "a") == {"pruned_runs": 1, "seals": 1}
    with pytest.raises(RunNotFoundError, match="holds no run: 1 was pruned, see elspeth landscape runs"):
        resolve_run(landscape, "latest")


def test_an_existing_bag_is_synced_before_anything_is_deleted(
    finished: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer may have been killed before syncing it."""
    write_bag(finished, "a", tmp_path / "a.zip")
    inodes = {path.stat().st_ino: path.name for path in (tmp_path, tmp_path / "a.zip")}
    happened: list[str] = []

    def note(descriptor: int) -> None:
        happened.append(inodes.get(os.fstat(descriptor).st_ino, "another file"))

    def note_statement(*arguments: object) -> None:
        if str(arguments[2]).startswith("DELETE"):
            happened.append("delete")

    monkeypatch.setattr(os, "fsync", note)
    event.listen(finished.engine, "before_cursor_execute", note_statement)
    prune(finished, tmp_path, "a")
    assert {"a.zip", tmp_path.name} <= set(happened[: happened.index("delete")])


def forget(connection: Connection) -> None:
    connection.execute(delete(pruned_runs_table))


def exchange_bag(connection: Connection) -> None:
    connection.execute(update(pruned_runs_table).values(bag_hash="0" * 64))


def exchange_root(connection: Connection) -> None:
    connection.execute(update(pruned_runs_table).values(bag_root="0" * 64))


def exchange_seal(connection: Connection) -> None:
    connection.execute(update(seals_table).where(seals_table.c.run_id == "b").values(root="0" * 64))


def move_start(connection: Connection) -> None:
    connection.execute(update(pruned_runs_table).values(started_at=datetime(2020, 1, 1, tzinfo=UTC)))


def put_back(connection: Connection) -> None:
    other = dict(connection.execute(select(runs_table).where(runs_table.c.run_id == "a")).mappings().one())
    connection.execute(insert(runs_table), {**other, "run_id": "b"})


def cut_the_log(connection: Connection) -> None:
    entries = connection.scalars(select(run_log_table.c.entry_json).order_by(run_log_table.c.position))
    write_log(connection, list(entries)[:-2])


def add_another_run(connection: Connection) -> None:
    (kept,) = read_pruned_runs(connection)
    add_pruned_run(connection, replace(kept, run_id="bb"))


ATTACKS: Mapping[Callable[[Connection], None], str] = {
    forget: "run b: was pruned by entry 7, into the bag",
    exchange_bag: "run b: expected the bag",
    exchange_root: "run b: expected the bag",
    exchange_seal: "run b: expected a seal with the root",
    move_start: "run b: began otherwise than entry 3 says",
    put_back: "run b: was pruned by the log, at entry 7, but is in the database: it was put back",
    cut_the_log: "run b: is in pruned_runs, but was not pruned by the log",
    add_another_run: "run bb: is in pruned_runs, but was not pruned by the log",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_manual_changes_to_a_pruned_run_are_found(pruned: LandscapeDB, attack: Callable[[Connection], None]) -> None:
    with pruned.engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection:
        drop_guards(connection)
        attack(connection)
        faults = [str(fault) for fault in check_log(connection).faults]
        connection.rollback()
    assert any(fault.startswith(f"log of runs: {ATTACKS[attack]}") for fault in faults), faults


# -- bags --------------------------------------------------------------------------------------------------------------


def write_bag(database: LandscapeDB, run_id: str, path: Path) -> None:
    write_export(database, run_id, path, format=ExportFormat.BAG, archive=True)


def no_bag(_: LandscapeDB, path: Path) -> None:
    path.write_bytes(b"no bag")


def another_bag(database: LandscapeDB, path: Path) -> None:
    write_bag(database, "a", path)


def damaged_bag(database: LandscapeDB, path: Path) -> None:
    write_bag(database, "b", path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def older_bag(database: LandscapeDB, path: Path) -> None:
    write_bag(database, "b", path)
    set_run_grade(database, "b", ReproducibilityGrade.ATTRIBUTABLE_ONLY)


PROBLEMS: Mapping[Callable[[LandscapeDB, Path], None], str] = {
    no_bag: "expected a bag, a directory or zip archive, got another file",
    another_bag: "expected run b, got a",
    damaged_bag: r"bag/.*: expected .* bytes with the CRC-32 \w+, got .* with \w+: the archive is damaged",
    older_bag: "its records are not those of the database: the run was changed since, or the bag is older",
}


@pytest.mark.parametrize("make", PROBLEMS, ids=lambda make: make.__name__)
def test_nothing_is_deleted_for_a_bag_that_does_not_hold_the_run(
    finished: LandscapeDB, tmp_path: Path, make: Callable[[LandscapeDB, Path], None]
) -> None:
    path = tmp_path / "b.zip"
    make(finished, path)
    before = lines_of(finished, "b")
    with pytest.raises(BagRefusedError) as refused:
        prune(finished, tmp_path, "b")
    expected = (
        f"run b was not pruned: {path}: {PROBLEMS[make]}. Nothing was deleted. Move the bag away, and prune again"
    )
    assert re.fullmatch(expected, str(refused.value))
    assert lines_of(finished, "b") == before
    assert faults_of(finished) == []


def test_an_altered_run_is_not_pruned(landscape: LandscapeDB, tmp_path: Path) -> None:
    finish(landscape, "a")
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(update(runs_table).values(settings_json='{"altered":1}'))
    with pytest.raises(AlteredRunError):
        prune(landscape, tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
    assert "runs" in rows_left(landscape, "a")


def test_a_bag_is_signed_with_the_key(finished: LandscapeDB, tmp_path: Path, signer: Signer) -> None:
    prune(finished, tmp_path, "b", signer)
    assert verify_bag(tmp_path / "b.zip", key=signer.public_key).verdict is Verdict.VERIFIED
    write_bag(finished, "a", tmp_path / "a.zip")
    with pytest.raises(BagRefusedError, match="expected a signature by the key"):
        prune(finished, tmp_path, "a", signer)


# -- other processes, and stops ----------------------------------------------------------------------------------------


def test_a_run_in_another_process_is_not_pruned(database_url: str, tmp_path: Path) -> None:
    with LandscapeDB(database_url) as database, LandscapeDB(database_url) as other:
        finish(database, "a")
        run = prunable(database, tmp_path, "a")
        with claim_run(other, "a"), pytest.raises(RunClaimedError):
            prune_run(database, run)
        prune_run(database, run)


@contextmanager
def stopped_at(database: LandscapeDB, statement: int) -> Iterator[None]:
    """Raise KeyboardInterrupt before a statement, and before its cursor."""
    numbers = count(1)

    def stop(*_: object) -> None:
        if next(numbers) == statement:
            raise KeyboardInterrupt

    event.listen(database.engine, "before_execute", stop)
    try:
        yield
    finally:
        event.remove(database.engine, "before_execute", stop)


def test_a_stop_at_any_statement_loses_nothing_and_can_be_repeated(database_url: str, tmp_path: Path) -> None:
    with LandscapeDB(database_url) as database:
        stops = 0
        for statement in count(1, 1 if THOROUGH else 20):
            finish(database, run_id := f"run-{statement}")
            run, before = prunable(database, tmp_path, run_id), lines_of(database, run_id)
            try:
                with stopped_at(database, statement):
                    prune_run(database, run)
                break
            except KeyboardInterrupt:
                stops += 1
            assert lines_of(database, run_id) == before
            prune_run(database, run)
            assert verify_bag(run.bag).run_id == run_id
        assert stops > 2
        assert faults_of(database) == []
