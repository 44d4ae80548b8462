"""Queries of a pipeline about earlier records."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries import recorded
from elspeth.core.landscape.queries.recorded import (
    CallCount,
    calls_of_rows,
    calls_of_sources,
    count_calls,
    objection_by_url,
    row_hashes,
)
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import OperationType
from tests.fixtures.records import DYNAMIC, record_graph, record_row


@pytest.mark.parametrize("rows", [0, 4, 5])
def test_each_row_has_one_hash_whatever_the_size_of_batches(
    landscape: LandscapeDB, recorder: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(recorded, "_CHUNK", 2)
    with recorder.unit_of_work():
        for run_id in ("run", "other"):
            record_graph(recorder, run_id)
        recorder.create_row("other", "source", 0, {"id": "other"})
        for index in reversed(range(rows)):
            recorder.create_row("run", "source", index, {"id": index})
    assert list(row_hashes(landscape, "run", "source")) == [
        (index, stable_hash({"id": index})) for index in range(rows)
    ]


def test_calls_of_a_visit_or_with_one_request_of_an_operation_are_attempts(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    record_graph(recorder)
    record_row(recorder)
    for requests in ([1, 2, 2], [3, 1]):
        operation = recorder.begin_operation("run", "source", "source_load").operation_id
        for request in requests:
            recorder.record_operation_call(operation, "http", "success", {"q": request})
    for index in range(2):
        recorder.record_call("state-0", index, "http", "success", {"q": index})
    with landscape.snapshot() as connection:
        assert count_calls(connection, "run") == CallCount(calls=7, retries=2)


def test_recorded_calls_are_in_the_order_of_rows_and_of_calls(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    record_graph(recorder)
    for row in range(3):
        record_row(recorder, row)
        for index in (1, 0):
            recorder.record_call(f"state-{row}", index, "http", "success", {})
    token = recorder.get_tokens("row-0")[0]
    recorder.begin_node_state(token.token_id, "gate", 9, {}, state_id="again-0")
    for index in (1, 0):
        recorder.record_call("again-0", index, "http", "success", {})
    found = calls_of_rows(landscape, "run", range(2))
    assert [(row, call.state_id, call.call_index) for row, call in found] == [
        (int(state[-1]), state, index) for state in ("again-0", "state-0", "state-1") for index in range(2)
    ]


def test_calls_of_a_source_are_distinguished_from_those_of_others(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    record_graph(recorder)
    recorder.register_node("run", "http", "source", "1", {}, node_id="second", schema_config=DYNAMIC)
    for node_id, kind in (
        ("second", OperationType.SOURCE_LOAD),
        ("source", OperationType.SOURCE_LOAD),
        ("sink", OperationType.SINK_WRITE),
    ):
        operation = recorder.begin_operation("run", node_id, kind).operation_id
        for request in range(2):
            recorder.record_operation_call(operation, "http", "success", {"of": node_id, "q": request})
    of_second, of_source = (
        [stable_hash({"of": name, "q": each}) for each in range(2)] for name in ("second", "source")
    )
    assert [call.request_hash for call in calls_of_sources(landscape, "run")] == [*of_second, *of_source]
    assert [call.request_hash for call in calls_of_sources(landscape, "run", "source")] == of_source


@pytest.mark.parametrize("url", ["sqlite:///{}/audit.db", "sqlite://"])
def test_a_database_that_is_yet_to_be_made_names_no_output(tmp_path: Path, url: str) -> None:
    objection = objection_by_url(url.format(tmp_path), tmp_path / "out.csv")
    assert objection is not None
    assert objection.startswith("is not an output that the audit database names: ")


def test_a_database_that_cannot_be_read_is_for_the_run_to_report(tmp_path: Path) -> None:
    for name in ("audit.db", "out.csv"):
        (tmp_path / name).write_text("mine")
    assert objection_by_url(f"sqlite:///{tmp_path}/audit.db", tmp_path / "out.csv") is None
