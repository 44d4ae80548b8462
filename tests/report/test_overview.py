"""The overview of a run in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.report import overview as overview_module
from elspeth.report.overview import Overview, read_overview
from elspeth.report.records import open_database_records, open_export_records
from elspeth_schema.contracts import (
    AuditRecord,
    BatchStatus,
    Call,
    Checkpoint,
    NodeStateFailed,
    NodeStateOpen,
    OperationStatus,
    RowOutcome,
    RunProcess,
    RunStatus,
    SecretResolution,
    SourceInput,
    Token,
    TokenOutcome,
)
from tests.engine.pipelines import Records
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.other_runs import record_other_run
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import record_told_run


@pytest.fixture(scope="module")
def told(new_landscape: NewLandscape) -> Iterator[tuple[LandscapeDB, Overview]]:
    """Record an unfinished run beside another; read its overview."""
    with new_landscape() as database:
        record_told_run(database, ended=False)
        record_other_run(database, "told")
        with open_database_records(database, "told") as records:
            overview = read_overview(records)
        yield database, overview


R = TypeVar("R", bound=AuditRecord)


def records_of(database: LandscapeDB) -> Records:
    grouped: Records = LandscapeExporter(database).export_run_grouped("told")
    return grouped


def test_records_and_endings_are_counted(told: tuple[LandscapeDB, Overview]) -> None:
    database, overview = told
    records = records_of(database)
    assert {name: count for name, count in overview.counts.items() if count} == {
        name: len(found) for name, found in records.items()
    }
    ended = Counter((each["outcome"], each["sink_name"]) for each in records["token_outcome"] if each["is_terminal"])
    assert {(each.outcome.value, each.sink): each.tokens for each in overview.endings} == ended
    rows = {each["token_id"]: each["row_id"] for each in records["token"]}
    for each in overview.endings:
        carried = {
            rows[outcome["token_id"]]
            for outcome in records["token_outcome"]
            if (outcome["outcome"], outcome["sink_name"]) == (each.outcome.value, each.sink)
        }
        assert each.rows == len(carried)
    assert overview.endings[0].outcome is RowOutcome.COMPLETED
    goes_on = {RowOutcome.FORKED, RowOutcome.EXPANDED, RowOutcome.COALESCED, RowOutcome.CONSUMED_IN_BATCH}
    continued = [each.outcome in goes_on for each in overview.endings]
    assert continued == sorted(continued)
    assert {True, False} == {*continued}


def test_times_are_those_of_visits_operations_and_calls(told: tuple[LandscapeDB, Overview]) -> None:
    database, overview = told
    records = records_of(database)
    timings = overview.timings
    visits = Counter(each["node_id"] for each in records["node_state"])
    assert {each.node_id: each.visits for each in timings.nodes} == visits
    assert [each.total_ms for each in timings.nodes] == sorted((each.total_ms for each in timings.nodes), reverse=True)
    longest = sorted((each["duration_ms"] or 0.0 for each in records["node_state"]), reverse=True)
    assert [each.duration_ms for each in timings.visits] == pytest.approx(longest[:10])
    assert sum(each.calls for each in timings.calls) == len(records["call"])
    assert sum(each.errors for each in timings.calls) == sum(each["status"] == "error" for each in records["call"])
    assert sum(each.retries for each in timings.calls) == sum(each["call_index"] > 0 for each in records["call"]) > 0
    assert len(timings.operations) == len(records["operation"])
    assert [each.node_id for each in timings.operations] == ["source", "output", "high"]
    assert {each.started_at.utcoffset() for each in timings.operations} == {timings.nodes[0].started_at.utcoffset()}


def test_times_of_each_node_and_system_are_recounted_from_the_records(told: tuple[LandscapeDB, Overview]) -> None:
    database, overview = told
    records, timings = records_of(database), overview.timings
    states = records["node_state"]
    for node in timings.nodes:
        own = [each for each in states if each["node_id"] == node.node_id]
        ends = [each["completed_at"] for each in own if each.get("completed_at")]
        assert node.started_at == datetime.fromisoformat(min(each["started_at"] for each in own)).replace(tzinfo=UTC)
        assert node.ended_at == (datetime.fromisoformat(max(ends)).replace(tzinfo=UTC) if ends else None)
        durations = [each["duration_ms"] or 0.0 for each in own]
        assert (node.total_ms, node.longest_ms) == pytest.approx((sum(durations), max(durations)))
    nodes = {each["state_id"]: each["node_id"] for each in states}
    nodes |= {each["operation_id"]: each["node_id"] for each in records["operation"]}
    for found in timings.calls:
        own = [
            each
            for each in records["call"]
            if (nodes[each["state_id"] or each["operation_id"]], each["call_type"]) == (found.node_id, found.call_type)
        ]
        latencies = [each["latency_ms"] or 0.0 for each in own]
        assert (found.calls, found.total_ms, found.longest_ms) == (len(own), sum(latencies), max(latencies))
        assert found.errors == sum(each["status"] == "error" for each in own)
    rows = {each["row_id"]: each["row_index"] for each in records["row"]}
    rows = {each["token_id"]: rows[each["row_id"]] for each in records["token"]}
    visits = {(each["node_id"], each["token_id"], each["attempt"], each["duration_ms"]) for each in states}
    assert len(timings.visits) == 10
    for visit in timings.visits:
        assert (visit.node_id, visit.token_id, visit.attempt, visit.duration_ms) in visits
        assert visit.row_index == rows[visit.token_id]
    assert {each.column: each.records for each in overview.withheld} == {
        "validation_error.row_data_json": len(records["validation_error"]),
        "transform_error.row_data_json": len(records["transform_error"]),
        "adopted_value.contents_json": 0,
    }


def test_open_records_are_counted(told: tuple[LandscapeDB, Overview]) -> None:
    database, overview = told
    records, left = records_of(database), overview.left_open
    ended = {each["token_id"] for each in records["token_outcome"] if each["is_terminal"]}
    assert left.tokens == len(records["token"]) - len(ended) == sum(node.waiting for node in overview.flow.nodes)
    unfinished = [each for each in records["node_state"] if each["status"] in {"open", "pending"}]
    assert left.open_visits == len(unfinished) > 0
    assert {(each.token_id, each.node_id, each.status.value) for each in left.visits} == {
        (each["token_id"], each["node_id"], each["status"]) for each in unfinished
    }
    assert (overview.run.status, left.batches) == (RunStatus.RUNNING, {})


def test_an_export_has_the_same_overview(told: tuple[LandscapeDB, Overview], tmp_path: Path) -> None:
    database, overview = told
    write_export(database, "told", tmp_path / "run.jsonl", format=ExportFormat.JSONL)
    with open_export_records(tmp_path / "run.jsonl") as records:
        assert read_overview(records) == overview


def test_another_run_with_the_same_ids_changes_nothing(new_landscape: NewLandscape) -> None:
    with new_landscape() as database:
        recorded(database, rich_run())
        with open_database_records(database, "run-1") as records:
            alone = read_overview(records)
        record_other_run(database, "run-1")
        with open_database_records(database, "run-1") as records:
            assert read_overview(records) == alone


def test_the_first_of_many_records_and_the_newest_checkpoint_are_shown(
    new_landscape: NewLandscape, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rich_run()

    def first(kind: type[R]) -> R:
        return next(each for each in run if isinstance(each, kind))

    process, secret, source = first(RunProcess), first(SecretResolution), first(SourceInput)
    token, outcome, checkpoint = first(Token), first(TokenOutcome), first(Checkpoint)
    state, failed = first(NodeStateOpen), first(NodeStateFailed)
    call = replace(first(Call), latency_ms=1.0)
    run = [*(replace(each, latency_ms=1.0) if isinstance(each, Call) else each for each in run)]
    run += [
        *(replace(process, process_id=f"a{attempt}", attempt=attempt) for attempt in (2, 1)),
        *(replace(secret, resolution_id=f"a-{name}", env_var_name=name) for name in ("Z", "A")),
        *(replace(source, input_id=f"a{9 - ordinal}", ordinal=ordinal) for ordinal in (2, 1)),
        replace(token, token_id="token-5"),
        replace(call, call_id="slow", state_id="step-2", latency_ms=5.0),
        replace(checkpoint, checkpoint_id="newer", sequence_number=2, token_id="token-4"),
        *(
            replace(outcome, outcome_id=f"to-{number}", token_id=number, outcome=RowOutcome.ROUTED, sink_name=sink)
            for number, sink in (("token-3", "a"), ("token-4", "b"), ("token-5", "b"))
        ),
        *(replace(state, state_id=f"step-{step}", step_index=step, node_id=f"node-{step + 1}") for step in (2, 1)),
        *(replace(failed, state_id=f"failed-{at}", node_id=f"node-{at}", step_index=at) for at in (2, 3)),
    ]
    with new_landscape() as database:
        recorded(database, run)
        with open_database_records(database, "run-1") as records:
            whole = read_overview(records)
            for name in ("_MOST_RECORDS", "_MOST_OPEN", "_MOST_REASONS"):
                monkeypatch.setattr(overview_module, name, 2)
            cut = read_overview(records)
    assert [each.attempt for each in whole.processes] == [0, 1, 2]
    assert [each.env_var_name for each in whole.secrets] == ["A", "API_KEY", "Z"]
    assert [each.ordinal for each in whole.inputs] == [0, 1, 2]
    assert (cut.processes, cut.secrets, cut.inputs) == (whole.processes[:2], whole.secrets[:2], whole.inputs[:2])
    visits = whole.left_open.visits
    assert [(each.row_index, each.node_id) for each in visits] == [
        (0, "node-1"),
        *((1, f"node-{at}") for at in (1, 2, 3)),
    ]
    assert (cut.left_open.visits, cut.left_open.open_visits) == (visits[:2], 4)
    assert whole.left_open.checkpoint is not None
    assert whole.left_open.checkpoint[1] == 0
    assert [(each.node_id, each.total_ms) for each in whole.timings.calls] == [("node-3", 5), ("node-1", 2)]
    assert [(each.sink, each.tokens) for each in whole.endings if each.outcome is RowOutcome.ROUTED] == [
        *(("b", 2), ("a", 1))
    ]
    assert (len(cut.failures.reasons), cut.failures.all_reasons, len(whole.failures.reasons)) == (2, 3, 3)


def test_every_type_and_shape_of_record_is_read(new_landscape: NewLandscape) -> None:
    with new_landscape() as database:
        recorded(database, rich_run())
        with open_database_records(database, "run-1") as records:
            overview = read_overview(records)
        with open_database_records(database, "run-1") as records:
            without = read_overview(replace(records, withheld=()))
    assert [each.env_var_name for each in overview.secrets]
    assert overview.left_open.checkpoint is not None
    assert overview.left_open.batches
    assert set(overview.left_open.batches) <= {
        (node.node_id, status) for node in overview.flow.nodes for status in BatchStatus if not status.is_terminal
    }
    assert overview.outputs
    assert {each.status for each in overview.timings.operations} >= {OperationStatus.OPEN}
    assert all(each.why for each in overview.withheld)
    assert without.withheld == ()
