"""Refused calls: the message names the fault, and nothing changes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import pytest

from elspeth.contracts.routing import RoutingSpec
from elspeth.core.canonical import CanonicalError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import (
    BatchStatus,
    CallStatus,
    CallType,
    Determinism,
    ExportStatus,
    NodeStatePending,
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
from elspeth_schema.tables import metadata
from tests.fixtures.ids import ID
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import DYNAMIC, EVENTFUL, HASH, Recorded, record_everything, record_graph

HEX = "text matching ^[0-9a-f]{64}$"
INTEGER = "an integer from 0 to 9007199254740991"


@dataclass(frozen=True, slots=True)
class Eventful:
    """A database with the runs "run" and "other".

    Everything has happened to the first; the second has ended.
    """

    landscape: LandscapeDB
    recorder: LandscapeRecorder
    recorded: Recorded

    def contents(self) -> dict[str, list[str]]:
        """Return the sorted rows of every table."""
        with self.landscape.connection() as connection:
            return {
                name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}")))  # noqa: S608
                for name in metadata.tables
            }


@pytest.fixture(scope="module")
def eventful(new_landscape: NewLandscape) -> Iterator[Eventful]:
    with new_landscape() as landscape:
        recorder = LandscapeRecorder(landscape)
        recorded = record_everything(recorder)
        record_graph(recorder, "other")
        recorder.register_node("other", "p", "gate", "1", {}, node_id="elsewhere", schema_config=DYNAMIC)
        recorder.create_batch("run", "aggregation", batch_id="failed")
        recorder.complete_batch("failed", BatchStatus.FAILED)
        recorder.complete_run("other", RunStatus.FAILED)
        yield Eventful(landscape, recorder, recorded)


def without_ids(message: str) -> str:
    """Return the message without generated ids and times."""
    without_times = re.sub(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z'", "TIME", message)
    return re.sub(ID, "ID", without_times)


def fault(where: str, field: str, expected: str, got: str) -> str:
    return f"{where}: {field}: expected {expected}, got {got}"


def unfound(where: str) -> str:
    """Return the message about a record that was not found."""
    return fault(where, where.rpartition("=")[0].rpartition(" ")[2], "an existing record", "None")


def dangling(where: str, field: str, kind: str, value: str) -> str:
    """Return the message for a reference that the database refuses."""
    return fault(where, field, f"an existing {kind} of the same run", repr(value))


def visit(
    recorder: LandscapeRecorder, carrier: str, status: NodeStateStatus | str, *, output_hash: str | None = None
) -> object:
    """Record a visit to the sink as a whole."""
    began = recorder.list_runs()[0].started_at
    return recorder.record_visit(
        carrier, "sink", 9, status, run_id="run", input_hash=HASH, started_at=began, output_hash=output_hash
    )


Call = Callable[[LandscapeRecorder], object]

CASES: dict[str, tuple[Call, str]] = {
    # -- runs
    "begin_run twice": (
        lambda r: r.begin_run({}, "v1", run_id="run"),
        fault("runs run_id='run'", "run_id", "a key that is not yet used", "'run'"),
    ),
    "begin_run with a long version": (
        lambda r: r.begin_run({}, "v" * 65, run_id="new"),
        fault(
            "runs run_id='new'",
            "canonical_version",
            "text of at most 64 characters without NUL or lone surrogates",
            repr("v" * 65),
        ),
    ),
    "begin_run with a NUL": (
        lambda r: r.begin_run({}, "v1", run_id="a\x00b"),
        fault(
            "runs run_id='a\\x00b'",
            "run_id",
            "text of at most 64 characters without NUL or lone surrogates",
            "'a\\x00b'",
        ),
    ),
    "complete_run unknown": (
        lambda r: r.complete_run("nowhere", "completed"),
        unfound("runs run_id='nowhere'"),
    ),
    "complete_run to no end": (
        lambda r: r.complete_run("run", RunStatus.RUNNING),
        fault("runs run_id='run'", "status", "completed or failed", "'running'"),
    ),
    "complete_run twice": (
        lambda r: r.complete_run("other", "completed"),
        fault("runs run_id='other'", "completed_at", "TIME, unchanged while status is failed", "TIME"),
    ),
    "finalize_run unknown": (
        lambda r: r.finalize_run("nowhere", "completed"),
        unfound("runs run_id='nowhere'"),
    ),
    "update_run_status unknown": (
        lambda r: r.update_run_status("nowhere", "running"),
        unfound("runs run_id='nowhere'"),
    ),
    "update_run_status after the end": (
        lambda r: r.update_run_status("other", "running"),
        fault("runs run_id='other'", "status", "'failed', unchanged while status is failed", "'running'"),
    ),
    "record_run_source unknown": (
        lambda r: r.record_run_source("nowhere"),
        unfound("runs run_id='nowhere'"),
    ),
    "record_run_source after the end": (
        lambda r: r.record_run_source("other", schema_contract={"a": 1}),
        fault("runs run_id='other'", "schema_contract_json", "None, unchanged while status is failed", "'{\"a\":1}'"),
    ),
    "set_export_status unknown": (
        lambda r: r.set_export_status("nowhere", "pending"),
        unfound("runs run_id='nowhere'"),
    ),
    "record_secret_resolutions unknown run": (
        lambda r: r.record_secret_resolutions(
            "nowhere", [{"timestamp": 1.0, "env_var_name": "A", "source": "env", "fingerprint": HASH}]
        ),
        fault("secret_resolutions run_id='nowhere' resolution_id='ID'", "run_id", "an existing run", "'nowhere'"),
    ),
    "record_secret_resolutions without a fingerprint": (
        lambda r: r.record_secret_resolutions(
            "run", [{"timestamp": 1.0, "env_var_name": "A", "source": "env", "fingerprint": "none"}]
        ),
        fault("secret_resolutions run_id='run' resolution_id='ID'", "fingerprint", HEX, "'none'"),
    ),
    # -- graph
    "register_node unknown run": (
        lambda r: r.register_node("nowhere", "p", "gate", "1", {}, node_id="n", schema_config=DYNAMIC),
        fault("nodes run_id='nowhere' node_id='n'", "run_id", "an existing run", "'nowhere'"),
    ),
    "register_node twice": (
        lambda r: r.register_node("run", "p", "gate", "1", {}, node_id="gate", schema_config=DYNAMIC),
        fault("nodes run_id='run' node_id='gate'", "node_id", "a key that is not yet used", "'gate'"),
    ),
    "register_node before the first": (
        lambda r: r.register_node("run", "p", "gate", "1", {}, node_id="n", sequence=-1, schema_config=DYNAMIC),
        fault("nodes run_id='run' node_id='n'", "sequence_in_pipeline", f"{INTEGER}, or nothing", "-1"),
    ),
    "register_edge from an unknown node": (
        lambda r: r.register_edge("run", "nowhere", "sink", "a", "move", edge_id="e"),
        dangling("edges run_id='run' edge_id='e'", "from_node_id", "node", "nowhere"),
    ),
    "register_edge to another run": (
        lambda r: r.register_edge("run", "sink", "elsewhere", "a", "move", edge_id="e"),
        dangling("edges run_id='run' edge_id='e'", "to_node_id", "node", "elsewhere"),
    ),
    "register_edge with a used label": (
        lambda r: r.register_edge("run", "source", "sink", "continue", "move", edge_id="e"),
        fault(
            "edges run_id='run' edge_id='e'",
            "from_node_id, label",
            "what no other edge of the same run has",
            "['source', 'continue']",
        ),
    ),
    "get_edge unknown": (
        lambda r: r.get_edge("nowhere", run_id="run"),
        unfound("edges run_id='run' edge_id='nowhere'"),
    ),
    "get_node of several runs": (
        lambda r: r.get_node("gate"),
        fault("nodes node_id='gate'", "node_id", "a key that one run uses; pass run_id", "'runs other, run'"),
    ),
    # -- rows
    "create_row unknown node": (
        lambda r: r.create_row("run", "nowhere", 9, {}, row_id="r"),
        dangling("rows run_id='run' row_id='r'", "source_node_id", "node", "nowhere"),
    ),
    "create_row unknown run": (
        lambda r: r.create_row("nowhere", "source", 9, {}, row_id="r"),
        fault("rows run_id='nowhere' row_id='r'", "run_id", "an existing run", "'nowhere'"),
    ),
    "create_row twice": (
        lambda r: r.create_row("run", "source", 9, {}, row_id="row-0"),
        fault("rows run_id='run' row_id='row-0'", "row_id", "a key that is not yet used", "'row-0'"),
    ),
    "create_row with a used index": (
        lambda r: r.create_row("run", "source", 0, {}, row_id="r"),
        fault("rows run_id='run' row_id='r'", "row_index", "what no other row of the same run has", "0"),
    ),
    "create_row before the first": (
        lambda r: r.create_row("run", "source", -1, {}, row_id="r"),
        fault("rows run_id='run' row_id='r'", "row_index", INTEGER, "-1"),
    ),
    # -- tokens
    "create_token unknown row": (
        lambda r: r.create_token("nowhere"),
        unfound("rows row_id='nowhere'"),
    ),
    "create_token unknown row of a run": (
        lambda r: r.create_token("nowhere", run_id="run"),
        dangling("tokens run_id='run' token_id='ID'", "row_id", "row", "nowhere"),
    ),
    "create_token twice": (
        lambda r: r.create_token("row-x", run_id="run", token_id=EVENTFUL),
        fault("tokens run_id='run' token_id='token-x'", "token_id", "a key that is not yet used", "'token-x'"),
    ),
    "fork_token unknown": (
        lambda r: r.fork_token("nowhere", "row-0", ["a", "b"]),
        dangling(
            "token_parents run_id='run' token_id='ID' parent_token_id='nowhere'", "parent_token_id", "token", "nowhere"
        ),
    ),
    "fork_token unknown row": (
        lambda r: r.fork_token(EVENTFUL, "nowhere", ["a"]),
        unfound("rows row_id='nowhere'"),
    ),
    "fork_token without branches": (
        lambda r: r.fork_token(EVENTFUL, "row-x", []),
        fault("tokens row_id='row-x' token_id='token-x'", "children", "at least one child token", "None"),
    ),
    "fork_token that has ended": (
        lambda r: r.fork_token(EVENTFUL, "row-x", ["a"], record_parent_outcome=True),
        fault(
            "token_outcomes run_id='run' outcome_id='ID'",
            "token_id",
            "what no other token_outcome of the same run with is_terminal = 1 has",
            "'token-x'",
        ),
    ),
    "expand_token unknown": (
        lambda r: r.expand_token("nowhere", "row-0", 1, run_id="run"),
        dangling(
            "token_parents run_id='run' token_id='ID' parent_token_id='nowhere'", "parent_token_id", "token", "nowhere"
        ),
    ),
    "expand_token into nothing": (
        lambda r: r.expand_token(EVENTFUL, "row-x", 0),
        fault("tokens row_id='row-x' token_id='token-x'", "children", "at least one child token", "None"),
    ),
    "coalesce_tokens of nothing": (
        lambda r: r.coalesce_tokens([], "row-x"),
        fault("tokens row_id='row-x' token_id='coalesce_tokens'", "children", "at least one parent token", "None"),
    ),
    "coalesce_tokens unknown": (
        lambda r: r.coalesce_tokens([EVENTFUL, "nowhere"], "row-x"),
        dangling(
            "token_parents run_id='run' token_id='ID' parent_token_id='nowhere'", "parent_token_id", "token", "nowhere"
        ),
    ),
    "coalesce_tokens with itself": (
        lambda r: r.coalesce_tokens([EVENTFUL, EVENTFUL], "row-x"),
        fault(
            "token_parents run_id='run' token_id='ID' parent_token_id='token-x'",
            "parent_token_id",
            "a key that is not yet used",
            "'token-x'",
        ),
    ),
    "record_token_outcome unknown": (
        lambda r: r.record_token_outcome("run", "nowhere", RowOutcome.FAILED),
        dangling("token_outcomes run_id='run' outcome_id='ID'", "token_id", "token", "nowhere"),
    ),
    "record_token_outcome a second end": (
        lambda r: r.record_token_outcome("run", EVENTFUL, RowOutcome.FAILED),
        fault(
            "token_outcomes run_id='run' outcome_id='ID'",
            "token_id",
            "what no other token_outcome of the same run with is_terminal = 1 has",
            "'token-x'",
        ),
    ),
    "record_token_outcome unknown batch": (
        lambda r: r.record_token_outcome("run", EVENTFUL, RowOutcome.BUFFERED, batch_id="nowhere"),
        dangling("token_outcomes run_id='run' outcome_id='ID'", "batch_id", "batch", "nowhere"),
    ),
    # -- node states
    "begin_node_state unknown token": (
        lambda r: r.begin_node_state("nowhere", "gate", 0, {}),
        unfound("tokens token_id='nowhere'"),
    ),
    "begin_node_state unknown token of a run": (
        lambda r: r.begin_node_state("nowhere", "gate", 0, {}, run_id="run", state_id="s"),
        dangling("node_states run_id='run' state_id='s'", "token_id", "token", "nowhere"),
    ),
    "begin_node_state unknown node": (
        lambda r: r.begin_node_state(EVENTFUL, "nowhere", 9, {}, state_id="s"),
        dangling("node_states run_id='run' state_id='s'", "node_id", "node", "nowhere"),
    ),
    "begin_node_state the same attempt": (
        lambda r: r.begin_node_state(EVENTFUL, "gate", 9, {}, state_id="s"),
        fault(
            "node_states run_id='run' state_id='s'",
            "token_id, node_id, attempt",
            "what no other node_state of the same run has",
            "['token-x', 'gate', 0]",
        ),
    ),
    "begin_node_state the same step": (
        lambda r: r.begin_node_state(EVENTFUL, "sink", 0, {}, state_id="s"),
        fault(
            "node_states run_id='run' state_id='s'",
            "token_id, step_index, attempt",
            "what no other node_state of the same run has",
            "['token-x', 0, 0]",
        ),
    ),
    "begin_node_state before the first step": (
        lambda r: r.begin_node_state(EVENTFUL, "sink", -1, {}, state_id="s"),
        fault("node_states run_id='run' state_id='s'", "step_index", INTEGER, "-1"),
    ),
    "complete_node_state unknown": (
        lambda r: r.complete_node_state("nowhere", "failed"),
        unfound("node_states state_id='nowhere'"),
    ),
    "complete_node_state to open": (
        lambda r: r.complete_node_state("state-open", NodeStateStatus.OPEN),
        fault(
            "node_states run_id='run' state_id='state-open'", "status", "one of pending, completed, failed", "'open'"
        ),
    ),
    "complete_node_state without output": (
        lambda r: r.complete_node_state("state-open", "completed"),
        fault("node_states run_id='run' state_id='state-open'", "output_hash", HEX, "None"),
    ),
    "complete_node_state with an error": (
        lambda r: r.complete_node_state("state-open", "completed", output_data={}, error={"reason": "x"}),
        fault(
            "node_states run_id='run' state_id='state-open'",
            "error_json",
            "nothing while status is completed",
            '\'{"reason":"x"}\'',
        ),
    ),
    "complete_node_state failed for a reason of success": (
        lambda r: r.complete_node_state("state-open", "failed", success_reason={"action": "x"}),
        fault(
            "node_states run_id='run' state_id='state-open'",
            "success_reason_json",
            "nothing while status is failed",
            '\'{"action":"x"}\'',
        ),
    ),
    "complete_node_state pending with output": (
        lambda r: r.complete_node_state("state-open", "pending", output_data={}),
        fault(
            "node_states run_id='run' state_id='state-open'",
            "output_hash",
            "nothing while status is pending",
            "'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'",
        ),
    ),
    "complete_node_state in less than no time": (
        lambda r: r.complete_node_state("state-open", "failed", duration_ms=-1),
        fault(
            "node_states run_id='run' state_id='state-open'",
            "duration_ms",
            "a float from 0 to 9007199254740991",
            "-1.0",
        ),
    ),
    "complete_node_state twice": (
        lambda r: r.complete_node_state("state-completed", "completed", output_data={"id": "y"}, duration_ms=5),
        fault(
            "node_states run_id='run' state_id='state-completed'",
            "completed_at",
            "TIME, unchanged while status is completed",
            "TIME",
        ),
    ),
    "record_visit unknown token": (
        lambda r: visit(r, "nowhere", "completed", output_hash=HASH),
        dangling("node_states run_id='run' state_id='ID'", "token_id", "token", "nowhere"),
    ),
    "record_visit to open": (
        lambda r: visit(r, EVENTFUL, NodeStateStatus.OPEN),
        fault("node_states run_id='run' state_id='ID'", "status", "one of pending, completed, failed", "'open'"),
    ),
    "record_visit without output": (
        lambda r: visit(r, EVENTFUL, "completed"),
        fault("node_states run_id='run' state_id='ID'", "output_hash", HEX, "None"),
    ),
    "end_visit twice": (
        lambda r: r.end_visit(cast("NodeStatePending", r.get_node_state("state-failed")), "pending"),
        fault(
            "node_states run_id='run' state_id='state-failed'",
            "status",
            "'failed', unchanged while status is failed",
            "'pending'",
        ),
    ),
    "record_routing_event unknown state": (
        lambda r: r.record_routing_event("nowhere", "copy", "move"),
        unfound("node_states state_id='nowhere'"),
    ),
    "record_routing_event unknown edge": (
        lambda r: r.record_routing_event("state-open", "nowhere", "move", event_id="e"),
        dangling("routing_events run_id='run' event_id='e'", "edge_id", "edge", "nowhere"),
    ),
    "record_routing_event twice in one place of a decision": (
        lambda r: r.record_routing_event(
            "state-open",
            "copy",
            "move",
            event_id="e",
            routing_group_id=r.get_routing_events("state-open")[0].routing_group_id,
        ),
        fault(
            "routing_events run_id='run' event_id='e'",
            "routing_group_id, ordinal",
            "what no other routing_event of the same run has",
            "['ID', 0]",
        ),
    ),
    "record_routing_events unknown edge": (
        lambda r: r.record_routing_events(
            "state-open", [RoutingSpec("copy", RoutingMode.COPY), RoutingSpec("nowhere", RoutingMode.COPY)]
        ),
        dangling("routing_events run_id='run' event_id='ID'", "edge_id", "edge", "nowhere"),
    ),
    # -- calls and operations
    "allocate_call_index unknown": (
        lambda r: r.allocate_call_index("nowhere"),
        unfound("node_states state_id='nowhere'"),
    ),
    "record_call unknown state": (
        lambda r: r.record_call("nowhere", 0, "http", "success", {}),
        unfound("node_states state_id='nowhere'"),
    ),
    "record_call unknown state of a run": (
        lambda r: r.record_call("nowhere", 0, "http", "success", {}, run_id="run"),
        dangling("calls run_id='run' call_id='ID'", "state_id", "node_state", "nowhere"),
    ),
    "record_call with a used index": (
        lambda r: r.record_call("state-open", 0, "http", "success", {}),
        fault(
            "calls run_id='run' call_id='ID'",
            "state_id, call_index",
            "what no other call of the same run has",
            "['state-open', 0]",
        ),
    ),
    "record_call in less than no time": (
        lambda r: r.record_call("state-open", 1, "http", "success", {}, latency_ms=-1),
        fault(
            "calls run_id='run' call_id='ID'", "latency_ms", "a float from 0 to 9007199254740991, or nothing", "-1.0"
        ),
    ),
    "begin_operation unknown node": (
        lambda r: r.begin_operation("run", "nowhere", "sink_write"),
        dangling("operations run_id='run' operation_id='ID'", "node_id", "node", "nowhere"),
    ),
    "record_operation_call unknown": (
        lambda r: r.record_operation_call("nowhere", "http", "success", {}),
        unfound("operations operation_id='nowhere'"),
    ),
    "complete_operation unknown": (
        lambda r: r.complete_operation("nowhere", "failed", run_id="run"),
        unfound("operations run_id='run' operation_id='nowhere'"),
    ),
    # -- batches
    "create_batch unknown node": (
        lambda r: r.create_batch("run", "nowhere", batch_id="b"),
        dangling("batches run_id='run' batch_id='b'", "aggregation_node_id", "node", "nowhere"),
    ),
    "create_batch twice": (
        lambda r: r.create_batch("run", "aggregation", batch_id="batch"),
        fault("batches run_id='run' batch_id='batch'", "batch_id", "a key that is not yet used", "'batch'"),
    ),
    "add_batch_member unknown batch": (
        lambda r: r.add_batch_member("nowhere", EVENTFUL, 1),
        unfound("batches batch_id='nowhere'"),
    ),
    "add_batch_member unknown token": (
        lambda r: r.add_batch_member("batch", "nowhere", 1),
        dangling("batch_members run_id='run' batch_id='batch' token_id='nowhere'", "token_id", "token", "nowhere"),
    ),
    "add_batch_member with a used place": (
        lambda r: r.add_batch_member("batch", EVENTFUL, 0),
        fault(
            "batch_members run_id='run' batch_id='batch' token_id='token-x'",
            "batch_id, ordinal",
            "what no other batch_member of the same run has",
            "['batch', 0]",
        ),
    ),
    "add_batch_output unknown batch": (
        lambda r: r.add_batch_output("nowhere", "token", EVENTFUL),
        unfound("batches batch_id='nowhere'"),
    ),
    "add_batch_output twice": (
        lambda r: r.add_batch_output("batch", "token", EVENTFUL),
        fault(
            "batch_outputs run_id='run' batch_output_id='ID'",
            "batch_id, output_type, output_id",
            "what no other batch_output of the same run has",
            "['batch', 'token', 'token-x']",
        ),
    ),
    "update_batch_status unknown": (
        lambda r: r.update_batch_status("nowhere", "executing"),
        unfound("batches batch_id='nowhere'"),
    ),
    "update_batch_status unknown state": (
        lambda r: r.update_batch_status("batch", "executing", state_id="nowhere"),
        dangling("batches run_id='run' batch_id='batch'", "aggregation_state_id", "node_state", "nowhere"),
    ),
    "update_batch_status after the end": (
        lambda r: r.update_batch_status("failed", "executing"),
        fault(
            "batches run_id='run' batch_id='failed'",
            "status",
            "'failed', unchanged while status is failed",
            "'executing'",
        ),
    ),
    "complete_batch to no end": (
        lambda r: r.complete_batch("batch", BatchStatus.EXECUTING),
        fault("batches batch_id='batch'", "status", "completed or failed", "'executing'"),
    ),
    "complete_batch twice": (
        lambda r: r.complete_batch("failed", "failed"),
        fault(
            "batches run_id='run' batch_id='failed'", "completed_at", "TIME, unchanged while status is failed", "TIME"
        ),
    ),
    "retry_batch unknown": (
        lambda r: r.retry_batch("nowhere"),
        unfound("batches batch_id='nowhere'"),
    ),
    "retry_batch that has not failed": (
        lambda r: r.retry_batch("batch"),
        fault("batches run_id='run' batch_id='batch'", "status", "failed, to be retried", "'executing'"),
    ),
    # -- artifacts and checkpoints
    "register_artifact unknown state": (
        lambda r: r.register_artifact("run", "nowhere", "sink", "csv", "a", HASH, 1, artifact_id="a"),
        dangling("artifacts run_id='run' artifact_id='a'", "produced_by_state_id", "node_state", "nowhere"),
    ),
    "register_artifact unknown sink": (
        lambda r: r.register_artifact("run", "state-open", "nowhere", "csv", "a", HASH, 1, artifact_id="a"),
        dangling("artifacts run_id='run' artifact_id='a'", "sink_node_id", "node", "nowhere"),
    ),
    "register_artifact without a hash": (
        lambda r: r.register_artifact("run", "state-open", "sink", "csv", "a", "sha", 1, artifact_id="a"),
        fault("artifacts run_id='run' artifact_id='a'", "content_hash", HEX, "'sha'"),
    ),
    "register_artifact of less than no bytes": (
        lambda r: r.register_artifact("run", "state-open", "sink", "csv", "a", HASH, -1, artifact_id="a"),
        fault("artifacts run_id='run' artifact_id='a'", "size_bytes", INTEGER, "-1"),
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
        dangling("checkpoints run_id='run' checkpoint_id='c'", "token_id", "token", "nowhere"),
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
        dangling("checkpoints run_id='run' checkpoint_id='c'", "node_id", "node", "nowhere"),
    ),
    # -- failures
    "record_validation_error unknown run": (
        lambda r: r.record_validation_error("nowhere", None, {}, "no", "strict", "discard"),
        fault("validation_errors run_id='nowhere' error_id='ID'", "run_id", "an existing run", "'nowhere'"),
    ),
    "record_validation_error unknown node": (
        lambda r: r.record_validation_error("run", "nowhere", {}, "no", "strict", "discard"),
        dangling("validation_errors run_id='run' error_id='ID'", "node_id", "node", "nowhere"),
    ),
    "record_transform_error unknown token": (
        lambda r: r.record_transform_error("run", "nowhere", "gate", {}, {}, "discard"),
        dangling("transform_errors run_id='run' error_id='ID'", "token_id", "token", "nowhere"),
    ),
    "record_transform_error unknown transform": (
        lambda r: r.record_transform_error("run", EVENTFUL, "nowhere", {}, {}, "discard"),
        dangling("transform_errors run_id='run' error_id='ID'", "transform_id", "node", "nowhere"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_illegal_call_is_refused_and_records_nothing(eventful: Eventful, case: str) -> None:
    call, message = CASES[case]
    before = eventful.contents()
    with pytest.raises(AuditIntegrityError) as caught:
        call(eventful.recorder)
    assert without_ids(str(caught.value)) == message
    assert eventful.contents() == before


def test_completing_an_operation_needs_a_final_status(eventful: Eventful) -> None:
    operation_id = eventful.recorder.begin_operation("run", "sink", OperationType.SINK_WRITE).operation_id
    with pytest.raises(AuditIntegrityError) as caught:
        eventful.recorder.complete_operation(operation_id, OperationStatus.OPEN)
    assert without_ids(str(caught.value)) == (
        "operations run_id='run' operation_id='ID': status: expected one of pending, completed, failed, got 'open'"
    )


def test_an_operation_cannot_be_completed_twice(eventful: Eventful) -> None:
    operation_id = eventful.recorder.begin_operation("run", "sink", OperationType.SINK_WRITE).operation_id
    eventful.recorder.complete_operation(operation_id, "failed", duration_ms=1)
    before = eventful.contents()
    with pytest.raises(AuditIntegrityError) as caught:
        eventful.recorder.complete_operation(operation_id, "failed", duration_ms=1)
    assert without_ids(str(caught.value)) == (
        "operations run_id='run' operation_id='ID': completed_at:"
        " expected TIME, unchanged while status is failed, got TIME"
    )
    assert eventful.contents() == before


# -- values that an enum does not have ---------------------------------------------------------------------------------

WRONG = "wrong"

ENUM_CASES: list[tuple[str, type[StrEnum], Call]] = [
    ("begin_run", RunStatus, lambda r: r.begin_run({}, "v1", status=WRONG)),
    ("reproducibility_grade", ReproducibilityGrade, lambda r: r.begin_run({}, "v1", reproducibility_grade=WRONG)),
    ("complete_run", RunStatus, lambda r: r.complete_run("run", WRONG)),
    ("complete_run", RunStatus, lambda r: r.finalize_run("run", WRONG)),
    (
        "reproducibility_grade",
        ReproducibilityGrade,
        lambda r: r.complete_run("run", "failed", reproducibility_grade=WRONG),
    ),
    ("update_run_status", RunStatus, lambda r: r.update_run_status("run", WRONG)),
    ("list_runs", RunStatus, lambda r: r.list_runs(status=WRONG)),
    ("set_export_status", ExportStatus, lambda r: r.set_export_status("run", WRONG)),
    ("register_node", NodeType, lambda r: r.register_node("run", "p", WRONG, "1", {}, schema_config=DYNAMIC)),
    (
        "register_node",
        Determinism,
        lambda r: r.register_node("run", "p", "gate", "1", {}, determinism=WRONG, schema_config=DYNAMIC),
    ),
    ("register_edge", RoutingMode, lambda r: r.register_edge("run", "gate", "sink", "new", WRONG)),
    ("record_token_outcome", RowOutcome, lambda r: r.record_token_outcome("run", EVENTFUL, WRONG)),
    ("complete_node_state", NodeStateStatus, lambda r: r.complete_node_state("state-open", WRONG)),
    ("record_visit", NodeStateStatus, lambda r: visit(r, EVENTFUL, WRONG)),
    (
        "end_visit",
        NodeStateStatus,
        lambda r: r.end_visit(cast("NodeStatePending", r.get_node_state("state-pending")), WRONG),
    ),
    ("record_routing_event", RoutingMode, lambda r: r.record_routing_event("state-open", "copy", WRONG)),
    ("record_call", CallType, lambda r: r.record_call("state-open", 1, WRONG, "success", {})),
    ("record_call", CallStatus, lambda r: r.record_call("state-open", 1, "http", WRONG, {})),
    ("find_call_by_request_hash", CallType, lambda r: r.find_call_by_request_hash("run", WRONG, HASH)),
    ("update_batch_status", BatchStatus, lambda r: r.update_batch_status("batch", WRONG)),
    ("update_batch_status", TriggerType, lambda r: r.update_batch_status("batch", "draft", trigger_type=WRONG)),
    ("complete_batch", BatchStatus, lambda r: r.complete_batch("batch", WRONG)),
    ("get_batches", BatchStatus, lambda r: r.get_batches("run", status=WRONG)),
    # Programs without a type checker pass these too.
    ("begin_operation", OperationType, lambda r: r.begin_operation("run", "sink", cast("OperationType", WRONG))),
    (
        "complete_operation",
        OperationStatus,
        lambda r: r.complete_operation(r.get_operations_for_run("run")[0].operation_id, cast("OperationStatus", WRONG)),
    ),
]


@pytest.mark.parametrize(("name", "enum", "call"), ENUM_CASES, ids=range(len(ENUM_CASES)))
def test_a_value_that_an_enum_does_not_have_is_refused(
    eventful: Eventful, name: str, enum: type[StrEnum], call: Call
) -> None:
    before = eventful.contents()
    with pytest.raises(AuditIntegrityError) as caught:
        call(eventful.recorder)
    assert str(caught.value) == f"{name}: {enum.__name__}: expected one of {', '.join(enum)}, got 'wrong'"
    assert eventful.contents() == before


# -- data without canonical JSON ---------------------------------------------------------------------------------------

NAN = {"value": math.nan}

NAN_CASES: dict[str, Call] = {
    "begin_run": lambda r: r.begin_run(NAN, "v1"),
    "register_node": lambda r: r.register_node("run", "p", "gate", "1", NAN, schema_config=DYNAMIC),
    "create_row": lambda r: r.create_row("run", "source", 9, NAN),
    "begin_node_state": lambda r: r.begin_node_state(EVENTFUL, "sink", 9, NAN),
    "complete_node_state": lambda r: r.complete_node_state("state-open", "completed", output_data=NAN),
    "record_routing_event": lambda r: r.record_routing_event("state-open", "copy", "move", NAN),
    "record_call": lambda r: r.record_call("state-open", 1, "http", "success", {}, NAN),
    "begin_operation": lambda r: r.begin_operation("run", "sink", "sink_write", input_data=NAN),
    "record_token_outcome": lambda r: r.record_token_outcome("run", EVENTFUL, "buffered", context=NAN),
}


@pytest.mark.parametrize("case", NAN_CASES)
def test_data_that_json_cannot_express_is_refused(eventful: Eventful, case: str) -> None:
    before = eventful.contents()
    with pytest.raises(CanonicalError) as caught:
        NAN_CASES[case](eventful.recorder)
    assert str(caught.value) == "a number is not finite, which JSON does not have"
    assert eventful.contents() == before
