"""The public interface of the predecessor, reviewed by hand."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib import import_module

import pytest

from elspeth.core.landscape.recorder import LandscapeRecorder

MODULES: Mapping[str, str] = {
    "elspeth.core.canonical": "CANONICAL_VERSION canonical_json stable_hash",
    "elspeth.core.payload_store": "FilesystemPayloadStore IntegrityError PayloadStore",
    "elspeth.core.landscape": """
        Artifact Batch BatchMember BatchOutput CSVFormatter Call CallStatus CallType Checkpoint Edge ExportFormatter
        JSONFormatter LandscapeDB LandscapeExporter LandscapeRecorder LineageResult Node NodeState NodeStateCompleted
        NodeStateFailed NodeStateOpen NodeStateStatus ReproducibilityGrade RoutingEvent RoutingSpec Row RowDataResult
        RowDataState RowLineage Run RunStatus SchemaCompatibilityError Token TokenParent artifacts_table
        batch_members_table batch_outputs_table batches_table calls_table compute_grade edges_table explain metadata
        node_states_table nodes_table routing_events_table rows_table runs_table set_run_grade token_parents_table
        tokens_table update_grade_after_purge
    """,
    "elspeth.core.landscape.database": "LandscapeDB SchemaCompatibilityError",
    "elspeth.core.landscape.exporter": "LandscapeExporter",
    "elspeth.core.landscape.formatters": "CSVFormatter ExportFormatter JSONFormatter",
    "elspeth.core.landscape.lineage": "LineageResult explain",
    "elspeth.core.landscape.recorder": "LandscapeRecorder",
    "elspeth.core.landscape.reproducibility": """
        ReproducibilityGrade compute_grade set_run_grade update_grade_after_purge
    """,
    "elspeth.core.landscape.row_data": "RowDataResult RowDataState",
    "elspeth.core.landscape.schema": """
        artifacts_table batch_members_table batch_outputs_table batches_table calls_table checkpoints_table edges_table
        metadata node_states_table nodes_table operations_table routing_events_table rows_table runs_table
        secret_resolutions_table token_outcomes_table token_parents_table tokens_table transform_errors_table
        validation_errors_table
    """,
    "elspeth.contracts.audit": """
        Artifact Batch BatchMember BatchOutput BatchStatusUpdate Call Checkpoint Edge ExportStatusUpdate Node NodeState
        NodeStateCompleted NodeStateFailed NodeStateOpen NodeStatePending Operation RoutingEvent Row RowLineage Run
        SecretResolution Token TokenOutcome TokenParent TransformErrorRecord ValidationErrorRecord
    """,
    "elspeth.contracts.enums": """
        BackpressureMode BatchStatus CallStatus CallType Determinism ExportStatus NodeStateStatus NodeType OutputMode
        RoutingKind RoutingMode RowOutcome RunMode RunStatus TelemetryGranularity TriggerType error_edge_label
    """,
    "elspeth.contracts.errors": "ExecutionError RoutingReason TransformReason",
    "elspeth.contracts.routing": "EdgeInfo RoutingAction RoutingSpec",
    "elspeth.contracts.schema": "FIELD_PATTERN SUPPORTED_TYPES FieldDefinition SchemaConfig",
}

SIGNATURES: Mapping[str, str] = {
    "elspeth.core.canonical": """
        canonical_json(obj)
        stable_hash(obj, version)
    """,
    "elspeth.core.payload_store": """
        FilesystemPayloadStore(base_path)
        FilesystemPayloadStore.store(content)
        FilesystemPayloadStore.retrieve(content_hash)
        FilesystemPayloadStore.exists(content_hash)
        FilesystemPayloadStore.delete(content_hash)
    """,
    "elspeth.core.landscape.database": """
        LandscapeDB(connection_string)
        LandscapeDB.close()
        LandscapeDB.in_memory()
        LandscapeDB.from_url(url, *, create_tables)
        LandscapeDB.connection()
    """,
    "elspeth.core.landscape.exporter": """
        LandscapeExporter(db, signing_key)
        LandscapeExporter.export_run(run_id, sign)
        LandscapeExporter.export_run_grouped(run_id, sign)
    """,
    "elspeth.core.landscape.formatters": """
        ExportFormatter.format(record)
        JSONFormatter.format(record)
        CSVFormatter.format(record)
        CSVFormatter.flatten(record, prefix)
    """,
    "elspeth.core.landscape.lineage": "explain(recorder, run_id, token_id, row_id)",
    "elspeth.core.landscape.reproducibility": """
        compute_grade(db, run_id)
        set_run_grade(db, run_id, grade)
        update_grade_after_purge(db, run_id)
    """,
    "elspeth.core.landscape.recorder": """
        LandscapeRecorder(db, *, payload_store)
        LandscapeRecorder.begin_run(config, canonical_version, *, run_id, reproducibility_grade, status)
        LandscapeRecorder.complete_run(run_id, status, *, reproducibility_grade)
        LandscapeRecorder.get_run(run_id)
        LandscapeRecorder.list_runs(*, status)
        LandscapeRecorder.set_export_status(run_id, status, *, error, export_format, export_sink)
        LandscapeRecorder.update_run_status(run_id, status)
        LandscapeRecorder.finalize_run(run_id, status)
        LandscapeRecorder.compute_reproducibility_grade(run_id)
        LandscapeRecorder.record_secret_resolutions(run_id, resolutions)
        LandscapeRecorder.get_secret_resolutions_for_run(run_id)
        LandscapeRecorder.register_node(run_id, plugin_name, node_type, plugin_version, config, *, node_id, sequence, \
schema_hash, determinism, schema_config)
        LandscapeRecorder.register_edge(run_id, from_node_id, to_node_id, label, mode, *, edge_id)
        LandscapeRecorder.get_node(node_id, run_id)
        LandscapeRecorder.get_nodes(run_id)
        LandscapeRecorder.get_edge(edge_id)
        LandscapeRecorder.get_edges(run_id)
        LandscapeRecorder.get_edge_map(run_id)
        LandscapeRecorder.create_row(run_id, source_node_id, row_index, data, *, row_id, payload_ref, quarantined)
        LandscapeRecorder.get_row(row_id)
        LandscapeRecorder.get_rows(run_id)
        LandscapeRecorder.get_row_data(row_id)
        LandscapeRecorder.explain_row(run_id, row_id)
        LandscapeRecorder.create_token(row_id, *, token_id, branch_name, fork_group_id, join_group_id)
        LandscapeRecorder.fork_token(parent_token_id, row_id, branches, *, run_id, step_in_pipeline)
        LandscapeRecorder.coalesce_tokens(parent_token_ids, row_id, *, step_in_pipeline)
        LandscapeRecorder.expand_token(parent_token_id, row_id, count, step_in_pipeline, *, run_id, \
record_parent_outcome)
        LandscapeRecorder.get_token(token_id)
        LandscapeRecorder.get_tokens(row_id)
        LandscapeRecorder.get_token_parents(token_id)
        LandscapeRecorder.record_token_outcome(run_id, token_id, outcome, *, sink_name, batch_id, fork_group_id, \
join_group_id, expand_group_id, error_hash, context)
        LandscapeRecorder.get_token_outcome(token_id)
        LandscapeRecorder.get_token_outcomes_for_row(run_id, row_id)
        LandscapeRecorder.begin_node_state(token_id, node_id, step_index, input_data, *, run_id, state_id, attempt, \
context_before, quarantined)
        LandscapeRecorder.complete_node_state(state_id, status, *, output_data, duration_ms, error, success_reason, \
context_after)
        LandscapeRecorder.get_node_state(state_id)
        LandscapeRecorder.get_node_states_for_token(token_id)
        LandscapeRecorder.record_routing_event(state_id, edge_id, mode, reason, *, event_id, routing_group_id, \
ordinal, reason_ref)
        LandscapeRecorder.record_routing_events(state_id, routes, reason)
        LandscapeRecorder.get_routing_events(state_id)
        LandscapeRecorder.allocate_call_index(state_id)
        LandscapeRecorder.record_call(state_id, call_index, call_type, status, request_data, response_data, error, \
latency_ms, *, request_ref, response_ref)
        LandscapeRecorder.get_calls(state_id)
        LandscapeRecorder.find_call_by_request_hash(run_id, call_type, request_hash)
        LandscapeRecorder.get_call_response_data(call_id)
        LandscapeRecorder.begin_operation(run_id, node_id, operation_type, *, input_data)
        LandscapeRecorder.complete_operation(operation_id, status, *, output_data, error, duration_ms)
        LandscapeRecorder.record_operation_call(operation_id, call_type, status, request_data, response_data, error, \
latency_ms, *, request_ref, response_ref, provider)
        LandscapeRecorder.get_operation(operation_id)
        LandscapeRecorder.get_operation_calls(operation_id)
        LandscapeRecorder.get_operations_for_run(run_id)
        LandscapeRecorder.create_batch(run_id, aggregation_node_id, *, batch_id, attempt)
        LandscapeRecorder.add_batch_member(batch_id, token_id, ordinal)
        LandscapeRecorder.update_batch_status(batch_id, status, *, trigger_type, trigger_reason, state_id)
        LandscapeRecorder.complete_batch(batch_id, status, *, trigger_type, trigger_reason, state_id)
        LandscapeRecorder.get_batch(batch_id)
        LandscapeRecorder.get_batches(run_id, *, status, node_id)
        LandscapeRecorder.get_incomplete_batches(run_id)
        LandscapeRecorder.get_batch_members(batch_id)
        LandscapeRecorder.retry_batch(batch_id)
        LandscapeRecorder.register_artifact(run_id, state_id, sink_node_id, artifact_type, path, content_hash, \
size_bytes, *, artifact_id, idempotency_key)
        LandscapeRecorder.get_artifacts(run_id, *, sink_node_id)
        LandscapeRecorder.record_validation_error(run_id, node_id, row_data, error, schema_mode, destination)
        LandscapeRecorder.record_transform_error(run_id, token_id, transform_id, row_data, error_details, destination)
        LandscapeRecorder.get_validation_errors_for_row(run_id, row_hash)
        LandscapeRecorder.get_validation_errors_for_run(run_id)
        LandscapeRecorder.get_transform_errors_for_token(token_id)
        LandscapeRecorder.get_transform_errors_for_run(run_id)
    """,
}
"""Parameters that callers of the predecessor pass; those before `*` also by position."""

ADDED = {
    "add_batch_output",
    "add_rows",
    "claimed",
    "commit_after",
    "create_checkpoint",
    "end_visit",
    "get_batch_outputs",
    "get_checkpoints",
    "get_held",
    "get_last_checkpoint",
    "get_run_processes",
    "get_source_inputs",
    "get_waiting_states",
    "hold",
    "record_completed_visit",
    "record_run_process",
    "record_run_source",
    "record_source_input",
    "record_visit",
    "unit_of_work",
}
"""Recorder calls that the predecessor did not have."""

FIELDS: Mapping[str, str] = {
    "Run": """
        run_id started_at config_hash settings_json canonical_version status completed_at reproducibility_grade
        export_status export_error exported_at export_format export_sink
    """,
    # Without schema_fields, a parsed copy of schema_fields_json: records hold only what the database holds.
    "Node": """
        node_id run_id plugin_name node_type plugin_version determinism config_hash config_json registered_at
        schema_hash sequence_in_pipeline schema_mode
    """,
    "Edge": "edge_id run_id from_node_id to_node_id label default_mode created_at",
    "Row": "row_id run_id source_node_id row_index source_data_hash created_at source_data_ref",
    "Token": """
        token_id row_id created_at fork_group_id join_group_id expand_group_id branch_name step_in_pipeline
    """,
    "TokenParent": "token_id parent_token_id ordinal",
    "NodeStateOpen": """
        state_id token_id node_id step_index attempt status input_hash started_at context_before_json
    """,
    "NodeStatePending": """
        state_id token_id node_id step_index attempt status input_hash started_at completed_at duration_ms
        context_before_json context_after_json
    """,
    "NodeStateCompleted": """
        state_id token_id node_id step_index attempt status input_hash started_at output_hash completed_at duration_ms
        context_before_json context_after_json success_reason_json
    """,
    "NodeStateFailed": """
        state_id token_id node_id step_index attempt status input_hash started_at completed_at duration_ms error_json
        output_hash context_before_json context_after_json
    """,
    "Call": """
        call_id state_id call_index call_type status request_hash created_at request_ref response_hash response_ref
        error_json latency_ms
    """,
    "Artifact": """
        artifact_id run_id produced_by_state_id sink_node_id artifact_type path_or_uri content_hash size_bytes
        created_at idempotency_key
    """,
    "RoutingEvent": "event_id state_id edge_id routing_group_id ordinal mode created_at reason_hash reason_ref",
    "Batch": """
        batch_id run_id aggregation_node_id attempt status created_at aggregation_state_id trigger_type trigger_reason
        completed_at
    """,
    "BatchMember": "batch_id token_id ordinal",
    "BatchOutput": "batch_id output_type output_id",
    "Checkpoint": """
        checkpoint_id run_id token_id node_id sequence_number created_at upstream_topology_hash
        checkpoint_node_config_hash aggregation_state_json format_version
    """,
    "RowLineage": """
        row_id run_id source_node_id row_index source_data_hash created_at source_data payload_available
    """,
    "ValidationErrorRecord": """
        error_id run_id node_id row_hash error schema_mode destination created_at row_data_json
    """,
    "TransformErrorRecord": """
        error_id run_id token_id transform_id row_hash destination created_at row_data_json error_details_json
    """,
    "TokenOutcome": """
        outcome_id run_id token_id outcome is_terminal recorded_at sink_name batch_id fork_group_id join_group_id
        expand_group_id error_hash context_json expected_branches_json
    """,
    "Operation": """
        operation_id run_id node_id operation_type started_at status completed_at input_data_ref input_data_hash
        output_data_ref output_data_hash error_message duration_ms
    """,
    "SecretResolution": """
        resolution_id run_id timestamp env_var_name source fingerprint vault_url secret_name resolution_latency_ms
    """,
}

VALUES: Mapping[str, str] = {
    "BatchStatus": "draft executing completed failed",
    "CallStatus": "success error",
    "CallType": "llm http http_redirect sql filesystem",
    "Determinism": "deterministic seeded io_read io_write external_call non_deterministic",
    "ExportStatus": "pending completed failed",
    "NodeStateStatus": "open pending completed failed",
    "NodeType": "source transform gate aggregation coalesce sink",
    "OutputMode": "passthrough transform",
    "RoutingKind": "continue route fork_to_paths",
    "RoutingMode": "move copy divert",
    "RowOutcome": "completed routed forked failed quarantined consumed_in_batch coalesced expanded buffered",
    "RunMode": "live replay verify",
    "RunStatus": "running completed failed",
    "TriggerType": "count timeout condition end_of_source manual",
}


def described(line: str) -> tuple[str, list[str], set[str]]:
    """Return name, positional parameters and keyword-only parameters."""
    name, _, parameters = line.strip().removesuffix(")").partition("(")
    positional, _, keywords = parameters.partition("*")
    by_position, by_keyword = (
        [each.strip() for each in part.split(",") if each.strip()] for part in (positional, keywords)
    )
    return name, by_position, set(by_keyword)


CALLS = [
    pytest.param(module, *described(line), id=described(line)[0])
    for module, lines in SIGNATURES.items()
    for line in lines.strip().splitlines()
]


@pytest.mark.smoke
@pytest.mark.parametrize("module", MODULES)
def test_public_names_keep_their_import_paths(module: str) -> None:
    names = MODULES[module].split()
    found = import_module(module)
    assert [name for name in names if not hasattr(found, name)] == []
    assert set(names) <= set(found.__all__)


def test_the_landscape_offers_exactly_its_former_names() -> None:
    landscape = import_module("elspeth.core.landscape")
    assert sorted(landscape.__all__) == sorted(MODULES["elspeth.core.landscape"].split())
    assert set(landscape.__all__) <= set(dir(landscape))
    with pytest.raises(AttributeError) as caught:
        landscape.nothing  # noqa: B018
    assert str(caught.value) == "module 'elspeth.core.landscape' has no attribute 'nothing'"


def test_importing_the_landscape_loads_nothing_heavy() -> None:
    program = "import sys, elspeth.core.landscape; print(*sorted({'sqlalchemy', 'orjson'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "\n"


@pytest.mark.parametrize(("module", "name", "by_position", "by_keyword"), CALLS)
def test_calls_keep_their_parameters_and_require_no_others(
    module: str, name: str, by_position: list[str], by_keyword: set[str]
) -> None:
    found = [each for each in inspect.signature(named(module, name)).parameters.values() if each.name != "self"]
    ordered = [each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert ordered[: len(by_position)] == by_position
    assert by_keyword <= {each.name for each in found}
    assert {each.name for each in found if each.default is each.empty} <= {*by_position, *by_keyword}


def named(module: str, name: str) -> Callable[..., object]:
    found: object = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    return found


def test_every_call_of_the_recorder_was_reviewed() -> None:
    lines = SIGNATURES["elspeth.core.landscape.recorder"].strip().splitlines()
    reviewed = {described(line)[0].partition(".")[2] for line in lines} - {""}
    assert {name for name in dir(LandscapeRecorder) if not name.startswith("_")} == reviewed | ADDED


@pytest.mark.parametrize("contract", FIELDS)
def test_contracts_keep_their_fields(contract: str) -> None:
    fields = {field.name for field in dataclasses.fields(getattr(import_module("elspeth.contracts.audit"), contract))}
    assert set(FIELDS[contract].split()) - fields == set()


@pytest.mark.parametrize("enum", VALUES)
def test_enums_keep_their_values(enum: str) -> None:
    found: type[StrEnum] = getattr(import_module("elspeth.contracts.enums"), enum)
    values = {member.name: member.value for member in found}
    assert values.items() >= {value.upper(): value for value in VALUES[enum].split()}.items()
