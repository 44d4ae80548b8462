"""Reproducibility grades, and purging of payloads."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.reproducibility import (
    compute_grade,
    plan_purge,
    purge,
    set_run_grade,
    update_grade_after_purge,
)
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import Determinism, NodeType, ReproducibilityGrade, RunStatus
from tests.fixtures.records import record_graph

FULL, REPLAY, ATTRIBUTABLE = ReproducibilityGrade


def grade_of(recorder: LandscapeRecorder) -> ReproducibilityGrade | None:
    run = recorder.get_run("run")
    assert run is not None
    return run.reproducibility_grade


def test_the_grade_is_computed_from_the_nodes(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    recorder.begin_run({}, "v1", run_id="empty")
    record_graph(recorder)
    assert compute_grade(landscape, "empty") is FULL
    assert compute_grade(landscape, "run") is REPLAY
    assert grade_of(recorder) is None


@pytest.mark.parametrize("status", ["running", "completed"])
def test_the_grade_may_be_set_before_and_after_the_end(
    landscape: LandscapeDB, recorder: LandscapeRecorder, status: str
) -> None:
    recorder.begin_run({}, "v1", run_id="run")
    recorder.update_run_status("run", status)
    set_run_grade(landscape, "run", FULL)
    assert grade_of(recorder) is FULL


@pytest.mark.parametrize(
    ("before", "after"), [(FULL, FULL), (REPLAY, ATTRIBUTABLE), (ATTRIBUTABLE, ATTRIBUTABLE), (None, None)]
)
def test_a_purge_lowers_the_grade_of_a_run_that_needs_recorded_answers(
    landscape: LandscapeDB,
    recorder: LandscapeRecorder,
    before: ReproducibilityGrade | None,
    after: ReproducibilityGrade | None,
) -> None:
    recorder.begin_run({}, "v1", run_id="run", reproducibility_grade=before)
    recorder.complete_run("run", "completed")
    update_grade_after_purge(landscape, "run")
    assert grade_of(recorder) is after


def test_an_unknown_run_has_no_grade_to_set(landscape: LandscapeDB) -> None:
    unknown = "^runs run_id='nowhere': run_id: expected an existing record, got None$"
    with pytest.raises(AuditIntegrityError, match=unknown):
        set_run_grade(landscape, "nowhere", FULL)
    with pytest.raises(AuditIntegrityError, match=unknown):
        update_grade_after_purge(landscape, "nowhere")


DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)
CONTENTS = (b"old", b"used again", b"new")


@pytest.fixture
def payloads(tmp_path: Path) -> FilesystemPayloadStore:
    """Return a store with three payloads.

    Two were stored a hundred days ago; one of these was stored again today.
    """
    store = FilesystemPayloadStore(tmp_path / "payloads")
    for content in CONTENTS[:2]:
        place = next((tmp_path / "payloads").rglob(store.store(content)))
        before = (datetime.now(UTC) - timedelta(days=100)).timestamp()
        os.utime(place, (before, before))
    for content in CONTENTS[1:]:
        store.store(content)
    return store


@pytest.fixture
def db(database_url: str) -> LandscapeDB:
    """Return a database with a finished run that made calls."""
    database = LandscapeDB.from_url(database_url)
    recorder = LandscapeRecorder(database)
    run_id = recorder.begin_run({}, "1", run_id="asking").run_id
    recorder.register_node(
        run_id, "llm", NodeType.TRANSFORM, "1", {}, determinism=Determinism.EXTERNAL_CALL, schema_config=DYNAMIC
    )
    recorder.finalize_run(run_id, RunStatus.COMPLETED)
    return database


def kept(payloads: FilesystemPayloadStore) -> list[bytes]:
    later = datetime.now(UTC) + timedelta(days=1)
    return sorted(payloads.retrieve(content_hash) for content_hash, _ in payloads.last_used_before(later))


def test_payloads_last_used_before_the_retention_period_are_purged(
    db: LandscapeDB, payloads: FilesystemPayloadStore
) -> None:
    with db:
        plan = plan_purge(db, payloads, days=90, now=datetime.now(UTC))
        assert (len(plan.payloads), plan.size_bytes, plan.runs) == (1, 3, ())
        assert kept(payloads) == sorted(CONTENTS)
        purge(db, payloads, plan)
        assert kept(payloads) == [b"new", b"used again"]


def test_runs_whose_answers_may_be_purged_are_only_attributable(
    db: LandscapeDB, payloads: FilesystemPayloadStore
) -> None:
    with db:
        later = datetime.now(UTC) + timedelta(days=91)
        plan = plan_purge(db, payloads, days=90, now=later)
        assert (len(plan.payloads), plan.runs) == (3, ("asking",))
        purge(db, payloads, plan)
        run = LandscapeRecorder(db).get_run("asking")
        assert run is not None
        assert run.reproducibility_grade is ReproducibilityGrade.ATTRIBUTABLE_ONLY
        assert kept(payloads) == []


def test_a_purge_without_payloads_lowers_no_grade(db: LandscapeDB, tmp_path: Path) -> None:
    with db:
        empty = FilesystemPayloadStore(tmp_path / "empty")
        plan = plan_purge(db, empty, days=90, now=datetime.now(UTC) + timedelta(days=91))
        assert (plan.payloads, plan.runs) == ((), ())
        purge(db, empty, plan)
        run = LandscapeRecorder(db).get_run("asking")
        assert run is not None
        assert run.reproducibility_grade is ReproducibilityGrade.REPLAY_REPRODUCIBLE


def test_an_interrupted_purge_leaves_no_grade_too_high(
    db: LandscapeDB, payloads: FilesystemPayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = FilesystemPayloadStore.delete_unless_used

    def delete_and_fail(store: FilesystemPayloadStore, content_hash: str, cutoff: datetime) -> bool:
        delete(store, content_hash, cutoff)
        raise KeyboardInterrupt

    monkeypatch.setattr(FilesystemPayloadStore, "delete_unless_used", delete_and_fail)
    with db:
        plan = plan_purge(db, payloads, days=90, now=datetime.now(UTC) + timedelta(days=91))
        with pytest.raises(KeyboardInterrupt):
            purge(db, payloads, plan)
        assert len(kept(payloads)) == len(CONTENTS) - 1
        run = LandscapeRecorder(db).get_run("asking")
        assert run is not None
        assert run.reproducibility_grade is ATTRIBUTABLE


def test_a_run_that_has_not_ended_keeps_its_payloads(db: LandscapeDB, payloads: FilesystemPayloadStore) -> None:
    with db:
        LandscapeRecorder(db).begin_run({}, "1")
        payloads.store(b"its own")
        later = datetime.now(UTC) + timedelta(days=91)
        purge(db, payloads, plan_purge(db, payloads, days=90, now=later))
        assert kept(payloads) == [b"its own"]


def test_a_payload_that_is_used_while_others_are_purged_is_kept(
    db: LandscapeDB, payloads: FilesystemPayloadStore
) -> None:
    with db:
        plan = plan_purge(db, payloads, days=90, now=datetime.now(UTC))
        assert payloads.store(b"old") in plan.payloads  # a run began meanwhile
        purge(db, payloads, plan)
    assert kept(payloads) == sorted(CONTENTS)


def test_a_payload_is_not_deleted_between_being_found_and_being_used(
    payloads: FilesystemPayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a purge wait for a writer of the content.

    Afterwards the purge sees that it is in use.
    """
    old = hashlib.sha256(b"old").hexdigest()
    retrieve, deleted = FilesystemPayloadStore.retrieve, []
    purging = threading.Thread(
        target=lambda: deleted.append(payloads.delete_unless_used(old, datetime.now(UTC) - timedelta(days=1)))
    )

    def found(store: FilesystemPayloadStore, content_hash: str) -> bytes:
        purging.start()
        purging.join(0.2)
        return retrieve(store, content_hash)

    with monkeypatch.context() as patch:
        patch.setattr(FilesystemPayloadStore, "retrieve", found)
        payloads.store(b"old")
    purging.join()
    assert (deleted, payloads.exists(old)) == ([False], True)
