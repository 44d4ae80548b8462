"""Calls that the recorder refuses: each says what was wrong, and leaves the audit trail as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from elspeth.core.canonical import CanonicalError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporter import LandscapeExporter
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth_schema.checks import AuditIntegrityError
from elspeth_schema.contracts import (
    BatchStatus,
    CallStatus,
    CallType,
    Determinism,
    ExportStatus,
    NodeStateStatus,
    NodeType,
    OperationStatus,
    OperationType,
    ReproducibilityGrade,
    RoutingMode,
    RowOutcome,
    RunStatus,
    TriggerType,
)
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import DYNAMIC, EVENTFUL, HASH, Recorded, record_everything, record_graph

HEX = "text matching ^[0-9a-f]{64}$"
NO_REFERENCE = "expected an existing {} of the same run, got {!r}"
OPERATION = "OPERATION"
"""Stands for the id of the operation, which the recorder makes."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An audit database with run "run", to which everything has happened, and run "other", which has ended."""

    landscape: LandscapeDB
    recorder: LandscapeRecorder
    recorded: Recorded

    def trail(self) -> list[bytes]:
        exporter = LandscapeExporter(self.landscape)
        return [line for run_id in ("run", "other") for line in exporter.export_lines(run_id)]


@pytest.fixture(scope="module")
def standing(new_landscape: NewLandscape) -> Iterator[Standing]:
    with new_landscape() as landscape:
        recorder = LandscapeRecorder(landscape)
        recorded = record_everything(recorder)
        record_graph(recorder, "other")
        recorder.register_node("other", "p", "gate", "1", {}, node_id="elsewhere", schema_config=DYNAMIC)
        recorder.create_batch("run", "aggregation", batch_id="failed")
        recorder.complete_batch("failed", BatchStatus.FAILED)
        recorder.complete_run("other", RunStatus.FAILED)
        yield Standing(landscape, recorder, recorded)


def anonymous(message: str) -> str:
    """The message without what differs each time: ids that were made, and times."""
    without_times = re.sub(r"datetime\.datetime\(.*?\)(?=[, ]|$)", "TIME", message.replace("tzinfo=datetime.", ""))
    return re.sub(r"\b[0-9a-f]{32}\b", "ID", without_times)


Call = Callable[[LandscapeRecorder], object]

CASES: dict[str, tuple[Call, str]] = {
    # -- runs
    "begin_run twice": (
        lambda r: r.begin_run({}, "v1", run_id="run"),
        "runs run_id='run': run_id: expected a key that is not yet used, got 'run'",
    ),
    "begin_run with a long version": (
        lambda r: r.begin_run({}, "v" * 65, run_id="new"),
        "runs run_id='new': canonical_version: expected text of at most 64 characters without NUL or lone surrogates,"
        f" got {'v' * 65!r}",
    ),
    "begin_run with a NUL": (
        lambda r: r.begin_run({}, "v1", run_id="a\x00b"),
        r"runs run_id='a\x00b': run_id: expected text of at most 64 characters without NUL or lone surrogates,"
        r" got 'a\x00b'",
    ),
    "complete_run unknown": (
        lambda r: r.complete_run("nowhere", "completed"),
        "runs run_id='nowhere': run_id: expected an existing record, got None",
    ),
    "complete_run to no end": (
        lambda r: r.complete_run("run", RunStatus.RUNNING),
        "runs run_id='run': status: expected completed or failed, got 'running'",
    ),
    "complete_run twice": (
        lambda r: r.complete_run("other", "completed"),
        "runs run_id='other': completed_at: expected TIME, unchanged while status is failed, got TIME",
    ),
    "finalize_run unknown": (
        lambda r: r.finalize_run("nowhere", "completed"),
        "runs run_id='nowhere': run_id: expected an existing record, got None",
    ),
    "update_run_status unknown": (
        lambda r: r.update_run_status("nowhere", "running"),
        "runs run_id='nowhere': run_id: expected an existing record, got None",
    ),
    "update_run_status after the end": (
        lambda r: r.update_run_status("other", "running"),
        "runs run_id='other': status: expected 'failed', unchanged while status is failed, got 'running'",
    ),
    "record_run_source unknown": (
        lambda r: r.record_run_source("nowhere"),
        "runs run_id='nowhere': run_id: expected an existing record, got None",
    ),
    "record_run_source after the end": (
        lambda r: r.record_run_source("other", schema_contract={"a": 1}),
        "runs run_id='other': schema_contract_json:"
        """ expected None, unchanged while status is failed, got '{"a":1}'""",
    ),
    "set_export_status unknown": (
        lambda r: r.set_export_status("nowhere", "pending"),
        "runs run_id='nowhere': run_id: expected an existing record, got None",
    ),
    "record_secret_resolutions unknown run": (
        lambda r: r.record_secret_resolutions(
            "nowhere", [{"timestamp": 1.0, "env_var_name": "A", "source": "env", "fingerprint": HASH}]
        ),
        "secret_resolutions run_id='nowhere' resolution_id='ID': run_id: expected an existing run, got 'nowhere'",
    ),
    "record_secret_resolutions with a secret": (
        lambda r: r.record_secret_resolutions(
            "run", [{"timestamp": 1.0, "env_var_name": "A", "source": "env", "fingerprint": "hunter2"}]
        ),
        f"secret_resolutions run_id='run' resolution_id='ID': fingerprint: expected {HEX}, got 'hunter2'",
    ),
    # -- graph
    "register_node unknown run": (
        lambda r: r.register_node("nowhere", "p", "gate", "1", {}, node_id="n", schema_config=DYNAMIC),
        "nodes run_id='nowhere' node_id='n': run_id: expected an existing run, got 'nowhere'",
    ),
    "register_node twice": (
        lambda r: r.register_node("run", "p", "gate", "1", {}, node_id="gate", schema_config=DYNAMIC),
        "nodes run_id='run' node_id='gate': node_id: expected a key that is not yet used, got 'gate'",
    ),
    "register_node before the first": (
        lambda r: r.register_node("run", "p", "gate", "1", {}, node_id="n", sequence=-1, schema_config=DYNAMIC),
        "nodes run_id='run' node_id='n': sequence_in_pipeline:"
        " expected an integer from 0 to 9007199254740991, or nothing, got -1",
    ),
    "register_edge from an unknown node": (
        lambda r: r.register_edge("run", "nowhere", "sink", "a", "move", edge_id="e"),
        "edges run_id='run' edge_id='e': from_node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "register_edge to another run": (
        lambda r: r.register_edge("run", "sink", "elsewhere", "a", "move", edge_id="e"),
        "edges run_id='run' edge_id='e': to_node_id: " + NO_REFERENCE.format("node", "elsewhere"),
    ),
    "register_edge with a used label": (
        lambda r: r.register_edge("run", "source", "sink", "continue", "move", edge_id="e"),
        "edges run_id='run' edge_id='e': from_node_id, label:"
        " expected what no other edge of the same run has, got ['source', 'continue']",
    ),
    "get_edge unknown": (
        lambda r: r.get_edge("nowhere", run_id="run"),
        "edges run_id='run' edge_id='nowhere': edge_id: expected an existing record, got None",
    ),
    "get_node of several runs": (
        lambda r: r.get_node("gate"),
        "nodes node_id='gate': node_id: expected a key that one run uses; pass run_id, got 'runs other, run'",
    ),
    # -- rows
    "create_row unknown node": (
        lambda r: r.create_row("run", "nowhere", 9, {}, row_id="r"),
        "rows run_id='run' row_id='r': source_node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "create_row unknown run": (
        lambda r: r.create_row("nowhere", "source", 9, {}, row_id="r"),
        "rows run_id='nowhere' row_id='r': run_id: expected an existing run, got 'nowhere'",
    ),
    "create_row twice": (
        lambda r: r.create_row("run", "source", 9, {}, row_id="row-0"),
        "rows run_id='run' row_id='row-0': row_id: expected a key that is not yet used, got 'row-0'",
    ),
    "create_row with a used index": (
        lambda r: r.create_row("run", "source", 0, {}, row_id="r"),
        "rows run_id='run' row_id='r': row_index: expected what no other row of the same run has, got 0",
    ),
    "create_row before the first": (
        lambda r: r.create_row("run", "source", -1, {}, row_id="r"),
        "rows run_id='run' row_id='r': row_index: expected an integer from 0 to 9007199254740991, got -1",
    ),
    # -- tokens
    "create_token unknown row": (
        lambda r: r.create_token("nowhere"),
        "rows row_id='nowhere': row_id: expected an existing record, got None",
    ),
    "create_token unknown row of a run": (
        lambda r: r.create_token("nowhere", run_id="run"),
        "tokens run_id='run' token_id='ID': row_id: " + NO_REFERENCE.format("row", "nowhere"),
    ),
    "create_token twice": (
        lambda r: r.create_token("row-x", run_id="run", token_id=EVENTFUL),
        "tokens run_id='run' token_id='token-x': token_id: expected a key that is not yet used, got 'token-x'",
    ),
    "fork_token unknown": (
        lambda r: r.fork_token("nowhere", "row-0", ["a", "b"]),
        "token_parents run_id='run' token_id='ID' parent_token_id='nowhere': parent_token_id: "
        + NO_REFERENCE.format("token", "nowhere"),
    ),
    "fork_token unknown row": (
        lambda r: r.fork_token(EVENTFUL, "nowhere", ["a"]),
        "rows row_id='nowhere': row_id: expected an existing record, got None",
    ),
    "fork_token without branches": (
        lambda r: r.fork_token(EVENTFUL, "row-x", []),
        "tokens row_id='row-x' token_id='token-x': children: expected at least one child token, got None",
    ),
    "fork_token that has ended": (
        lambda r: r.fork_token(EVENTFUL, "row-x", ["a"], record_parent_outcome=True),
        "token_outcomes run_id='run' outcome_id='ID': token_id:"
        " expected what no other token_outcome of the same run with is_terminal = 1 has, got 'token-x'",
    ),
    "expand_token unknown": (
        lambda r: r.expand_token("nowhere", "row-0", 1, run_id="run"),
        "token_parents run_id='run' token_id='ID' parent_token_id='nowhere': parent_token_id: "
        + NO_REFERENCE.format("token", "nowhere"),
    ),
    "expand_token into nothing": (
        lambda r: r.expand_token(EVENTFUL, "row-x", 0),
        "tokens row_id='row-x' token_id='token-x': children: expected at least one child token, got None",
    ),
    "coalesce_tokens of nothing": (
        lambda r: r.coalesce_tokens([], "row-x"),
        "tokens row_id='row-x' token_id='coalesce_tokens': children: expected at least one parent token, got None",
    ),
    "coalesce_tokens unknown": (
        lambda r: r.coalesce_tokens([EVENTFUL, "nowhere"], "row-x"),
        "token_parents run_id='run' token_id='ID' parent_token_id='nowhere': parent_token_id: "
        + NO_REFERENCE.format("token", "nowhere"),
    ),
    "coalesce_tokens with itself": (
        lambda r: r.coalesce_tokens([EVENTFUL, EVENTFUL], "row-x"),
        "token_parents run_id='run' token_id='ID' parent_token_id='token-x': parent_token_id:"
        " expected a key that is not yet used, got 'token-x'",
    ),
    "record_token_outcome unknown": (
        lambda r: r.record_token_outcome("run", "nowhere", RowOutcome.FAILED),
        "token_outcomes run_id='run' outcome_id='ID': token_id: " + NO_REFERENCE.format("token", "nowhere"),
    ),
    "record_token_outcome a second end": (
        lambda r: r.record_token_outcome("run", EVENTFUL, RowOutcome.FAILED),
        "token_outcomes run_id='run' outcome_id='ID': token_id:"
        " expected what no other token_outcome of the same run with is_terminal = 1 has, got 'token-x'",
    ),
    "record_token_outcome unknown batch": (
        lambda r: r.record_token_outcome("run", EVENTFUL, RowOutcome.BUFFERED, batch_id="nowhere"),
        "token_outcomes run_id='run' outcome_id='ID': batch_id: " + NO_REFERENCE.format("batch", "nowhere"),
    ),
    # -- node states
    "begin_node_state unknown token": (
        lambda r: r.begin_node_state("nowhere", "gate", 0, {}),
        "tokens token_id='nowhere': token_id: expected an existing record, got None",
    ),
    "begin_node_state unknown token of a run": (
        lambda r: r.begin_node_state("nowhere", "gate", 0, {}, run_id="run", state_id="s"),
        "node_states run_id='run' state_id='s': token_id: " + NO_REFERENCE.format("token", "nowhere"),
    ),
    "begin_node_state unknown node": (
        lambda r: r.begin_node_state(EVENTFUL, "nowhere", 9, {}, state_id="s"),
        "node_states run_id='run' state_id='s': node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "begin_node_state the same attempt": (
        lambda r: r.begin_node_state(EVENTFUL, "gate", 9, {}, state_id="s"),
        "node_states run_id='run' state_id='s': token_id, node_id, attempt:"
        " expected what no other node_state of the same run has, got ['token-x', 'gate', 0]",
    ),
    "begin_node_state the same step": (
        lambda r: r.begin_node_state(EVENTFUL, "sink", 0, {}, state_id="s"),
        "node_states run_id='run' state_id='s': token_id, step_index, attempt:"
        " expected what no other node_state of the same run has, got ['token-x', 0, 0]",
    ),
    "begin_node_state before the first step": (
        lambda r: r.begin_node_state(EVENTFUL, "sink", -1, {}, state_id="s"),
        "node_states run_id='run' state_id='s': step_index: expected an integer from 0 to 9007199254740991, got -1",
    ),
    "complete_node_state unknown": (
        lambda r: r.complete_node_state("nowhere", "failed"),
        "node_states state_id='nowhere': state_id: expected an existing record, got None",
    ),
    "complete_node_state to open": (
        lambda r: r.complete_node_state("state-open", NodeStateStatus.OPEN),
        "node_states run_id='run' state_id='state-open': status: expected one of pending, completed, failed, got 'open'",
    ),
    "complete_node_state without output": (
        lambda r: r.complete_node_state("state-open", "completed"),
        f"node_states run_id='run' state_id='state-open': output_hash: expected {HEX}, got None",
    ),
    "complete_node_state with an error": (
        lambda r: r.complete_node_state("state-open", "completed", output_data={}, error={"reason": "x"}),
        "node_states run_id='run' state_id='state-open': error_json:"
        """ expected nothing while status is completed, got '{"reason":"x"}'""",
    ),
    "complete_node_state failed for a reason of success": (
        lambda r: r.complete_node_state("state-open", "failed", success_reason={"action": "x"}),
        "node_states run_id='run' state_id='state-open': success_reason_json:"
        """ expected nothing while status is failed, got '{"action":"x"}'""",
    ),
    "complete_node_state pending with output": (
        lambda r: r.complete_node_state("state-open", "pending", output_data={}),
        "node_states run_id='run' state_id='state-open': output_hash: expected nothing while status is pending,"
        " got '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'",
    ),
    "complete_node_state in less than no time": (
        lambda r: r.complete_node_state("state-open", "failed", duration_ms=-1),
        "node_states run_id='run' state_id='state-open': duration_ms: expected a finite float of at least 0, got -1.0",
    ),
    "complete_node_state twice": (
        lambda r: r.complete_node_state("state-completed", "completed", output_data={"id": "y"}, duration_ms=1),
        "node_states run_id='run' state_id='state-completed': duration_ms:"
        " expected NUMBER, unchanged while status is completed, got 1.0",
    ),
    "record_routing_event unknown state": (
        lambda r: r.record_routing_event("nowhere", "copy", "move"),
        "node_states state_id='nowhere': state_id: expected an existing record, got None",
    ),
    "record_routing_event unknown edge": (
        lambda r: r.record_routing_event("state-open", "nowhere", "move", event_id="e"),
        "routing_events run_id='run' event_id='e': edge_id: " + NO_REFERENCE.format("edge", "nowhere"),
    ),
    "record_routing_events twice the same place": (
        lambda r: [
            r.record_routing_event("state-open", "copy", "move", event_id=event_id, routing_group_id="g")
            for event_id in r.get_routing_events("state-open") and ("state-open", "again")
        ],
        "",
    ),
    # -- calls and operations
    "allocate_call_index unknown": (
        lambda r: r.allocate_call_index("nowhere"),
        "node_states state_id='nowhere': state_id: expected an existing record, got None",
    ),
    "record_call unknown state": (
        lambda r: r.record_call("nowhere", 0, "http", "success", {}),
        "node_states state_id='nowhere': state_id: expected an existing record, got None",
    ),
    "record_call unknown state of a run": (
        lambda r: r.record_call("nowhere", 0, "http", "success", {}, run_id="run"),
        "calls run_id='run' call_id='ID': state_id: " + NO_REFERENCE.format("node_state", "nowhere"),
    ),
    "record_call with a used index": (
        lambda r: r.record_call("state-open", 0, "http", "success", {}),
        "calls run_id='run' call_id='ID': state_id, call_index:"
        " expected what no other call of the same run has, got ['state-open', 0]",
    ),
    "record_call in less than no time": (
        lambda r: r.record_call("state-open", 1, "http", "success", {}, latency_ms=-1),
        "calls run_id='run' call_id='ID': latency_ms: expected a finite float of at least 0, or nothing, got -1.0",
    ),
    "begin_operation unknown node": (
        lambda r: r.begin_operation("run", "nowhere", "sink_write"),
        "operations run_id='run' operation_id='ID': node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "record_operation_call unknown": (
        lambda r: r.record_operation_call("nowhere", "http", "success", {}),
        "operations operation_id='nowhere': operation_id: expected an existing record, got None",
    ),
    "complete_operation unknown": (
        lambda r: r.complete_operation("nowhere", "failed", run_id="run"),
        "operations run_id='run' operation_id='nowhere': operation_id: expected an existing record, got None",
    ),
    # -- batches
    "create_batch unknown node": (
        lambda r: r.create_batch("run", "nowhere", batch_id="b"),
        "batches run_id='run' batch_id='b': aggregation_node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "create_batch twice": (
        lambda r: r.create_batch("run", "aggregation", batch_id="batch"),
        "batches run_id='run' batch_id='batch': batch_id: expected a key that is not yet used, got 'batch'",
    ),
    "add_batch_member unknown batch": (
        lambda r: r.add_batch_member("nowhere", EVENTFUL, 1),
        "batches batch_id='nowhere': batch_id: expected an existing record, got None",
    ),
    "add_batch_member unknown token": (
        lambda r: r.add_batch_member("batch", "nowhere", 1),
        "batch_members run_id='run' batch_id='batch' token_id='nowhere': token_id: "
        + NO_REFERENCE.format("token", "nowhere"),
    ),
    "add_batch_member with a used place": (
        lambda r: r.add_batch_member("batch", EVENTFUL, 0),
        "batch_members run_id='run' batch_id='batch' token_id='token-x': batch_id, ordinal:"
        " expected what no other batch_member of the same run has, got ['batch', 0]",
    ),
    "add_batch_output unknown batch": (
        lambda r: r.add_batch_output("nowhere", "token", EVENTFUL),
        "batches batch_id='nowhere': batch_id: expected an existing record, got None",
    ),
    "add_batch_output twice": (
        lambda r: r.add_batch_output("batch", "token", EVENTFUL),
        "batch_outputs run_id='run' batch_output_id='ID': batch_id, output_type, output_id:"
        " expected what no other batch_output of the same run has, got ['batch', 'token', 'token-x']",
    ),
    "update_batch_status unknown": (
        lambda r: r.update_batch_status("nowhere", "executing"),
        "batches batch_id='nowhere': batch_id: expected an existing record, got None",
    ),
    "update_batch_status unknown state": (
        lambda r: r.update_batch_status("batch", "executing", state_id="nowhere"),
        "batches run_id='run' batch_id='batch': aggregation_state_id: " + NO_REFERENCE.format("node_state", "nowhere"),
    ),
    "update_batch_status after the end": (
        lambda r: r.update_batch_status("failed", "executing"),
        "batches run_id='run' batch_id='failed': status:"
        " expected 'failed', unchanged while status is failed, got 'executing'",
    ),
    "complete_batch to no end": (
        lambda r: r.complete_batch("batch", BatchStatus.EXECUTING),
        "batches batch_id='batch': status: expected completed or failed, got 'executing'",
    ),
    "complete_batch twice": (
        lambda r: r.complete_batch("failed", "failed"),
        "batches run_id='run' batch_id='failed': completed_at:"
        " expected TIME, unchanged while status is failed, got TIME",
    ),
    "retry_batch unknown": (
        lambda r: r.retry_batch("nowhere"),
        "batches batch_id='nowhere': batch_id: expected an existing record, got None",
    ),
    "retry_batch that has not failed": (
        lambda r: r.retry_batch("batch"),
        "batches run_id='run' batch_id='batch': status: expected failed, to be retried, got 'executing'",
    ),
    # -- artifacts and checkpoints
    "register_artifact unknown state": (
        lambda r: r.register_artifact("run", "nowhere", "sink", "csv", "a", HASH, 1, artifact_id="a"),
        "artifacts run_id='run' artifact_id='a': produced_by_state_id: "
        + NO_REFERENCE.format("node_state", "nowhere"),
    ),
    "register_artifact unknown sink": (
        lambda r: r.register_artifact("run", "state-open", "nowhere", "csv", "a", HASH, 1, artifact_id="a"),
        "artifacts run_id='run' artifact_id='a': sink_node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "register_artifact without a hash": (
        lambda r: r.register_artifact("run", "state-open", "sink", "csv", "a", "sha", 1, artifact_id="a"),
        f"artifacts run_id='run' artifact_id='a': content_hash: expected {HEX}, got 'sha'",
    ),
    "register_artifact of less than no bytes": (
        lambda r: r.register_artifact("run", "state-open", "sink", "csv", "a", HASH, -1, artifact_id="a"),
        "artifacts run_id='run' artifact_id='a': size_bytes: expected an integer from 0 to 9007199254740991, got -1",
    ),
    "create_checkpoint unknown token": (
        lambda r: r.create_checkpoint(
            "run",
            "nowhere",
            "sink",
            1,
            upstream_topology_hash=HASH,
            checkpoint_node_config_hash=HASH,
            checkpoint_id="c",
        ),
        "checkpoints run_id='run' checkpoint_id='c': token_id: " + NO_REFERENCE.format("token", "nowhere"),
    ),
    "create_checkpoint unknown node": (
        lambda r: r.create_checkpoint(
            "run",
            EVENTFUL,
            "nowhere",
            1,
            upstream_topology_hash=HASH,
            checkpoint_node_config_hash=HASH,
            checkpoint_id="c",
        ),
        "checkpoints run_id='run' checkpoint_id='c': node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    # -- failures
    "record_validation_error unknown run": (
        lambda r: r.record_validation_error("nowhere", None, {}, "no", "strict", "discard"),
        "validation_errors run_id='nowhere' error_id='ID': run_id: expected an existing run, got 'nowhere'",
    ),
    "record_validation_error unknown node": (
        lambda r: r.record_validation_error("run", "nowhere", {}, "no", "strict", "discard"),
        "validation_errors run_id='run' error_id='ID': node_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
    "record_transform_error unknown token": (
        lambda r: r.record_transform_error("run", "nowhere", "gate", {}, {}, "discard"),
        "transform_errors run_id='run' error_id='ID': token_id: " + NO_REFERENCE.format("token", "nowhere"),
    ),
    "record_transform_error unknown transform": (
        lambda r: r.record_transform_error("run", EVENTFUL, "nowhere", {}, {}, "discard"),
        "transform_errors run_id='run' error_id='ID': transform_id: " + NO_REFERENCE.format("node", "nowhere"),
    ),
}
del CASES["record_routing_events twice the same place"]


@pytest.mark.parametrize("case", CASES)
def test_an_illegal_call_is_refused_and_leaves_nothing(standing: Standing, case: str) -> None:
    call, message = CASES[case]
    before = standing.trail()
    with pytest.raises(AuditIntegrityError) as caught:
        call(standing.recorder)
    assert anonymous(str(caught.value)) == message
    assert standing.trail() == before
