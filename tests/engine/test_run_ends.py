"""The end of a run, which is final."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine

from elspeth.contracts.audit import Run
from elspeth.contracts.enums import OperationStatus, OperationType, RunStatus
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.tables import create_triggers
from elspeth.core.landscape.database.urls import parse_url
from elspeth.core.landscape.recording import _runs as runs_module
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.engine.errors import ResumeError
from elspeth.engine.resuming import get_resumable_run
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.engine.pipelines import assert_sound, groups_of, trail
from tests.engine.test_claims import INPUT, OUTPUTS, OneProcess


@pytest.fixture
def process(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> OneProcess:
    groups_of(monkeypatch, 4)
    (tmp_path / "in.csv").write_text(INPUT)
    return OneProcess(tmp_path, database_url)


def forge(url: str, *statements: str) -> None:
    """Change a database as an owner who hides it could."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        drop_guards(connection)
        for statement in statements:
            connection.exec_driver_sql(statement)
        create_triggers(connection)


def sink_writes(process: OneProcess) -> set[OperationStatus]:
    with LandscapeDB.from_url(process.url) as db:
        operations = LandscapeRecorder(db).get_operations_for_run(process.run_id)
    return {each.status for each in operations if each.operation_type is OperationType.SINK_WRITE}


def test_a_run_that_has_ended_is_not_sealed_again(process: OneProcess) -> None:
    process.work(lambda each: each.run())
    forge(
        process.url,
        "DELETE FROM seals",
        "DELETE FROM seal_leaves",
        "UPDATE runs SET status = 'interrupted', completed_at = NULL",
        "UPDATE rows SET source_data_ref = 'forged' WHERE row_index = 0",
    )
    expected = (
        f"run {process.run_id} has the status interrupted, yet all of its outputs are published, as after its end: its"
        " seal was removed, and its status changed. It is not resumed, so that no altered record is sealed: find"
        " out who changed it"
    )
    for attempt in (process.resume, process.abandon):
        with pytest.raises(ResumeError) as caught:
            attempt()
        assert str(caught.value) == expected
    assert process.status == ("interrupted", 9)
    with LandscapeDB.from_url(process.url) as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id="another")
        assert get_resumable_run(db, recorder, "another").run_id == "another", "which was not altered"


def test_all_outputs_are_recorded_as_published_only_when_the_run_ends(
    process: OneProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    finalize = LandscapeRecorder.finalize_run

    def look(recorder: LandscapeRecorder, run_id: str, status: RunStatus, **passed: Any) -> Run:  # noqa: ANN401
        seen.append((process.outputs(), sink_writes(process)))
        return finalize(recorder, run_id, status, **passed)

    monkeypatch.setattr(LandscapeRecorder, "finalize_run", look)
    process.work(lambda each: each.run())
    assert seen == [(OUTPUTS, {OperationStatus.OPEN})]
    assert sink_writes(process) == {OperationStatus.COMPLETED}


def test_a_run_that_could_not_be_sealed_can_be_resumed(process: OneProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LandscapeError("the signer does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(runs_module, "seal_run", fail)
        with pytest.raises(LandscapeError, match="the signer does not answer"):
            process.work(lambda each: each.run())
    assert (process.status, process.outputs()) == (("interrupted", 9), OUTPUTS)
    with read_only_connection(parse_url(process.url)) as connection:
        assert check_seals(connection).faults == ()
    process.resume()
    assert_sound(trail(process.directory, process.url), status="completed", resumed=True)
    assert (process.outputs(), process.seals()) == (OUTPUTS, "1 of 1 sealed runs unchanged")
