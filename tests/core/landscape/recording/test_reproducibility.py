from __future__ import annotations

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.reproducibility import (
    ReproducibilityGrade,
    compute_grade,
    set_run_grade,
    update_grade_after_purge,
)
from elspeth.schema.checks import AuditIntegrityError
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
