"""Processes of runs, and inputs of sources."""

from __future__ import annotations

from datetime import UTC, datetime

from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RunProcess
from tests.fixtures.records import HASH, record_graph


def process(run_id: str, process_id: str, day: int) -> RunProcess:
    return RunProcess(
        run_id=run_id,
        process_id=process_id,
        attempt=0,
        started_at=datetime(2026, 1, day, tzinfo=UTC),
        elspeth_version="0.1.0",
        python_version="CPython 3.12.4",
        operating_system="Linux",
        packages_json="{}",
    )


def test_the_processes_of_each_run_are_numbered_in_order(recorder: LandscapeRecorder) -> None:
    """Even if the clock went back."""
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
    made = [recorder.record_run_process(process("run", name, day)) for name, day in (("c", 3), ("a", 2), ("b", 1))]
    other = recorder.record_run_process(process("other", "a", 1))
    assert [each.attempt for each in (*made, other)] == [0, 1, 2, 0]
    assert recorder.get_run_processes("run") == made
    assert recorder.get_run_processes("other") == [other]
    assert recorder.get_run_processes("nowhere") == []


def test_the_inputs_of_a_source_are_listed_in_order_of_reading(recorder: LandscapeRecorder) -> None:
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
    second, first = (
        recorder.record_source_input("run", "source", at, "file", row_count=at, path_or_uri=f"{at}.csv", size_bytes=9)
        for at in (1, 0)
    )
    lookup = recorder.record_source_input("run", "transform", 0, "file", row_count=2, content_hash=HASH)
    other = recorder.record_source_input("other", "source", 0, "query", row_count=3, query_text="SELECT 1")
    assert recorder.get_source_inputs("run", "source") == [first, second]
    assert recorder.get_source_inputs("run", "transform") == [lookup]
    assert recorder.get_source_inputs("other", "source") == [other]
    assert (first.path_or_uri, first.size_bytes, first.content_hash, first.query_text) == ("0.csv", 9, None, None)
    assert (lookup.content_hash, other.query_text, other.row_count) == (HASH, "SELECT 1", 3)
