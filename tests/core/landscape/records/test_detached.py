"""Records of a process without a database."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from elspeth.contracts.enums import NodeStateStatus, RowOutcome
from elspeth.contracts.errors import AuditIntegrityError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.recording.base import now
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.detached import DetachedStore
from elspeth.core.landscape.records.store import WaitingRows
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import HASH, record_graph


@pytest.fixture
def landscape(new_landscape: NewLandscape) -> Iterator[LandscapeDB]:
    """Return a database with a run and its graph."""
    with new_landscape() as db:
        record_graph(LandscapeRecorder(db))
        yield db


def record_elsewhere(dialect: str) -> WaitingRows:
    """Record a row and its token as another process."""
    store = DetachedStore(dialect)
    recorder = LandscapeRecorder(store)
    with recorder.unit_of_work():
        recorder.create_row("run", "source", 0, {"id": 1}, row_id="row-0")
        recorder.create_token("row-0", run_id="run", token_id="token-0")
        pending = recorder.record_visit(
            *("token-0", "gate", 0, NodeStateStatus.PENDING), run_id="run", input_hash=HASH, started_at=now()
        )
        recorder.end_visit(pending, NodeStateStatus.COMPLETED, output_hash=HASH)  # type: ignore[arg-type]
        recorder.record_token_outcome("run", "token-0", RowOutcome.DROPPED)
        rows = store.take_rows()
    assert store.take_rows() == {}
    taken: WaitingRows = pickle.loads(pickle.dumps(rows))  # noqa: S301  as they travel
    return taken


def test_rows_recorded_by_a_worker_equal_those_recorded_here(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    with recorder.unit_of_work():
        recorder.add_rows(record_elsewhere(landscape.engine.dialect.name))
    found = LandscapeExporter(landscape).export_run_grouped("run")
    assert [each["row_id"] for each in found["row"]] == ["row-0"]
    assert [each["status"] for each in found["node_state"]] == ["completed"]
    assert [each["outcome"] for each in found["token_outcome"]] == ["dropped"]


def test_duplicate_rows_are_refused(landscape: LandscapeDB) -> None:
    recorder, rows = LandscapeRecorder(landscape), record_elsewhere(landscape.engine.dialect.name)

    def add_twice() -> None:
        with recorder.unit_of_work():
            recorder.add_rows(rows)
            recorder.add_rows(rows)

    with pytest.raises(AuditIntegrityError, match="row-0"):
        add_twice()
    recorder.add_rows(rows)
    with pytest.raises(AuditIntegrityError, match="row-0"):
        recorder.add_rows(rows)
