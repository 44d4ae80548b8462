"""The outputs of runs, as recorded and as found."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.pruned_runs import PrunedRun, add_pruned_run
from elspeth.core.landscape.queries.outputs import (
    FileState,
    RecordedOutput,
    check_output,
    find_writers,
    outputs_json,
    recorded_outputs,
)
from elspeth.core.landscape.queries.recorded import objection_in
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import OperationStatus
from tests.fixtures.records import DYNAMIC, HASH, record_graph, record_row

CONTENT = b"id\n1\n"

OUTPUT = RecordedOutput(
    run_id="",
    sink="sink",
    kind="csv",
    path="x.csv",
    content_hash=sha256(CONTENT).hexdigest(),
    size_bytes=len(CONTENT),
    recorded_at="2026-01-01T00:00:00.000000Z",
    summary_hash=None,
)


def test_outputs_are_the_published_ones_sorted_by_sink(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    record_row(recorder)
    recorder.register_artifact("run", "state-0", "sink", "csv", "x.csv", HASH, 5)
    for name, kind, status, version in (
        ("sink_b", "sink", "completed", "1"),
        ("sink_a", "sink", "completed", "2"),
        ("sink_failed", "sink", "failed", "3"),
        ("source_in", "source", "completed", None),
        ("sink", "sink", "completed", "4"),
        ("sink", "sink", "failed", None),
    ):
        node_id = name if name == "sink" else f"{name}_0123abcd"
        if name != "sink":
            config = {"options": {"path": f"{version}.csv"}}
            recorder.register_node("run", "csv", kind, "1", config, node_id=node_id, schema_config=DYNAMIC)
        begun = recorder.begin_operation("run", node_id, "source_load" if kind == "source" else "sink_write")
        recorder.complete_operation(
            begun.operation_id, OperationStatus(status), object_version=version, output_data={"rows": 0}
        )
    with landscape.snapshot() as connection:
        found = [(each.sink, each.path, each.object_version) for each in recorded_outputs(connection, "run")]
    assert found == [("a", "2.csv", "2"), ("b", "1.csv", "1"), ("sink", "x.csv", "4")]


def publish(database: LandscapeDB, run_id: str, path: str) -> None:
    """Record a run with this output and another."""
    recorder = LandscapeRecorder(database)
    record_graph(recorder, run_id)
    record_row(recorder, run_id=run_id)
    content_hash, size = str(OUTPUT.content_hash), len(CONTENT)
    recorder.register_artifact(run_id, "state-0", "sink", "csv", path, content_hash, size)
    recorder.register_artifact(run_id, "state-0", "sink", "csv", "other.csv", HASH, size)


def prune(database: LandscapeDB, run_id: str, path: str, day: int) -> None:
    """Record that a run with such outputs is pruned."""
    moment = f"2026-01-{day:02}T00:00:00.000000Z"
    outputs = [
        replace(OUTPUT, path=path, recorded_at=moment),
        replace(OUTPUT, path="other.csv", content_hash=HASH, recorded_at=moment),
    ]
    pruned = PrunedRun(
        run_id=run_id,
        status="completed",
        started_at=moment,
        completed_at=moment,
        row_count=1,
        record_count=2,
        outputs_json=outputs_json(outputs),
        bag_path="/bag.zip",
        bag_hash=HASH,
        bag_root=HASH,
        pruned_at=moment,
        tool="elspeth",
    )
    with database.write_transaction() as connection:
        add_pruned_run(connection, pruned)


def test_the_runs_that_wrote_a_file_are_found_oldest_first(landscape: LandscapeDB, tmp_path: Path) -> None:
    for run_id in ("d", "c"):
        publish(landscape, run_id, "x.csv")
    for day, run_id in enumerate(("b", "a"), start=1):
        prune(landscape, run_id, "x.csv", day)
    (tmp_path / "any.csv").write_bytes(CONTENT)
    with landscape.snapshot() as connection:
        found = find_writers(connection, tmp_path / "any.csv")
    assert [(each.run_id, each.path) for each in found] == [(run_id, "x.csv") for run_id in "badc"]


def test_the_newest_run_that_wrote_a_changed_file_is_named(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = tmp_path / "é.csv"
    path.write_bytes(b"changed")
    for day, run_id in enumerate(("b", "a"), start=1):
        prune(landscape, run_id, str(path), day)
    assert str(objection_in(landscape, path)).startswith("is not as run a wrote it: ")
    for run_id in ("d", "c"):
        publish(landscape, run_id, str(path))
    assert str(objection_in(landscape, path)).startswith("is not as run c wrote it: ")
    path.write_bytes(CONTENT)
    assert objection_in(landscape, path) is None


def test_a_directory_in_place_of_an_output_is_not_a_file(tmp_path: Path) -> None:
    assert check_output(replace(OUTPUT, path=str(tmp_path))) is FileState.MISSING


def test_an_output_whose_size_was_recorded_otherwise_is_not_unchanged(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(CONTENT)
    output = replace(OUTPUT, path=str(tmp_path / "x.csv"))
    assert check_output(output) is FileState.UNCHANGED
    assert check_output(replace(output, size_bytes=len(CONTENT) + 1)) is FileState.CHANGED
