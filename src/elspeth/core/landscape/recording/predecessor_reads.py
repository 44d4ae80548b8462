"""The predecessor's reading calls; only `queries.lineage` uses them.

They belong to its public API, which other programs still call: see tests/test_public_api.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from elspeth.contracts.audit import RowLineage
from elspeth.core.landscape.recording.base import RecorderPart, member_of
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema import records
from elspeth_schema.contracts import (
    Batch,
    BatchMember,
    BatchOutput,
    BatchStatus,
    Call,
    CallType,
    Checkpoint,
    Edge,
    Node,
    NodeState,
    Operation,
    RoutingEvent,
    Row,
    Run,
    RunStatus,
    SecretResolution,
    Token,
    TokenOutcome,
    TokenParent,
    TransformErrorRecord,
    ValidationErrorRecord,
)
from elspeth_schema.tables import (
    batch_members_table,
    batch_outputs_table,
    batches_table,
    calls_table,
    checkpoints_table,
    node_states_table,
    routing_events_table,
    rows_table,
    runs_table,
    secret_resolutions_table,
    token_outcomes_table,
    token_parents_table,
    tokens_table,
    transform_errors_table,
    validation_errors_table,
)

__all__ = ["PredecessorReads", "RowDataResult", "RowDataState"]

_Parent = Literal["state_id", "operation_id"]


class RowDataState(StrEnum):
    """Whether the content of a row is available."""

    AVAILABLE = "available"
    PURGED = "purged"
    NEVER_STORED = "never_stored"
    STORE_NOT_CONFIGURED = "store_not_configured"
    ROW_NOT_FOUND = "row_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDataResult:
    """The content of a row, None unless it is available."""

    state: RowDataState
    data: dict[str, object] | None

    def __post_init__(self) -> None:
        """Refuse a state that contradicts the content."""
        if (self.state is RowDataState.AVAILABLE) != (self.data is not None):
            message = (
                f"row data: expected content exactly when available, got {self.state} and {type(self.data).__name__}"
            )
            raise ValueError(message)


class PredecessorReads(RecorderPart):
    """Calls of the predecessor that read records."""

    def list_runs(self, *, status: RunStatus | str | None = None) -> list[Run]:
        """Return all runs, the newest first."""
        conditions = [] if status is None else [runs_table.c.status == member_of(RunStatus, status, call="list_runs")]
        found = self._store.select(records.RUN, *conditions)
        return sorted(found, key=lambda run: (run.started_at, run.run_id), reverse=True)

    def get_secret_resolutions_for_run(self, run_id: str) -> list[SecretResolution]:
        """Return the run's secret resolutions."""
        return self._store.select(records.SECRET_RESOLUTION, secret_resolutions_table.c.run_id == run_id)

    def get_node(self, node_id: str, run_id: str | None = None) -> Node | None:
        """Return the node, or None.

        Pass `run_id`, because all runs of a pipeline use the same node ids.
        """
        return self._store.get(records.NODE, node_id, run_id=run_id)

    def get_edge(self, edge_id: str, *, run_id: str | None = None) -> Edge:
        """Return the edge.

        Raises AuditIntegrityError if there is none.
        """
        return self._store.require(records.EDGE, edge_id, run_id=run_id)

    def get_row(self, row_id: str, *, run_id: str | None = None) -> Row | None:
        """Return the row, or None."""
        return self._store.get(records.ROW, row_id, run_id=run_id)

    def get_rows(self, run_id: str) -> list[Row]:
        """Return the run's rows in source order."""
        return self._store.select(records.ROW, rows_table.c.run_id == run_id)

    def get_row_data(self, row_id: str, *, run_id: str | None = None) -> RowDataResult:
        """Return a row's content, or why it is unavailable.

        Raises IntegrityError if the stored content is not what was recorded.
        """
        row = self.get_row(row_id, run_id=run_id)
        if row is None:
            return RowDataResult(state=RowDataState.ROW_NOT_FOUND, data=None)
        return self._row_data(row)

    def explain_row(self, run_id: str, row_id: str) -> RowLineage | None:
        """Return the row with its content if kept, or None."""
        row = self.get_row(row_id, run_id=run_id)
        if row is None:
            return None
        content = self._row_data(row)
        return RowLineage(
            row_id=row.row_id,
            run_id=row.run_id,
            source_node_id=row.source_node_id,
            row_index=row.row_index,
            source_data_hash=row.source_data_hash,
            created_at=row.created_at,
            source_data=content.data,
            payload_available=content.state is RowDataState.AVAILABLE,
        )

    def _row_data(self, row: Row) -> RowDataResult:
        if row.source_data_ref is None:
            return RowDataResult(state=RowDataState.NEVER_STORED, data=None)
        if self._payloads is None:
            return RowDataResult(state=RowDataState.STORE_NOT_CONFIGURED, data=None)
        try:
            content = self._payloads.retrieve(row.source_data_ref)
        except KeyError:
            return RowDataResult(state=RowDataState.PURGED, data=None)
        return RowDataResult(state=RowDataState.AVAILABLE, data=json.loads(content))

    def get_token(self, token_id: str, *, run_id: str | None = None) -> Token | None:
        """Return the token, or None."""
        return self._store.get(records.TOKEN, token_id, run_id=run_id)

    def get_tokens(self, row_id: str, *, run_id: str | None = None) -> list[Token]:
        """Return the tokens of a row in order of creation."""
        row = self._store.get(records.ROW, row_id, run_id=run_id)
        if row is None:
            return []
        columns = tokens_table.c
        found = self._store.select(records.TOKEN, columns.run_id == row.run_id, columns.row_id == row_id)
        return sorted(found, key=lambda token: (token.created_at, token.token_id))

    def get_token_parents(self, token_id: str, *, run_id: str | None = None) -> list[TokenParent]:
        """Return the parents of a token, in order."""
        token = self.get_token(token_id, run_id=run_id)
        if token is None:
            return []
        columns = token_parents_table.c
        found = self._store.select(records.TOKEN_PARENT, columns.run_id == token.run_id, columns.token_id == token_id)
        return sorted(found, key=lambda parent: parent.ordinal)

    def get_token_outcome(self, token_id: str, *, run_id: str | None = None) -> TokenOutcome | None:
        """Return the token's terminal outcome, else its latest, else None."""
        token = self.get_token(token_id, run_id=run_id)
        if token is None:
            return None
        columns = token_outcomes_table.c
        found = self._store.select(records.TOKEN_OUTCOME, columns.run_id == token.run_id, columns.token_id == token_id)
        return max(found, key=lambda each: (each.is_terminal, each.recorded_at, each.outcome_id), default=None)

    def get_token_outcomes_for_row(self, run_id: str, row_id: str) -> list[TokenOutcome]:
        """Return the outcomes of a row's tokens, in order."""
        columns, tokens = token_outcomes_table.c, tokens_table.c
        of_row = tokens_table.select().with_only_columns(tokens.token_id)
        of_row = of_row.where(tokens.run_id == run_id, tokens.row_id == row_id)
        found = self._store.select(records.TOKEN_OUTCOME, columns.run_id == run_id, columns.token_id.in_(of_row))
        return sorted(found, key=lambda each: (each.recorded_at, each.outcome_id))

    def get_node_state(self, state_id: str, *, run_id: str | None = None) -> NodeState | None:
        """Return the visit, or None."""
        return self._store.get(records.NODE_STATE, state_id, run_id=run_id)

    def get_node_states_for_token(self, token_id: str, *, run_id: str | None = None) -> list[NodeState]:
        """Return the visits of a token by step and attempt."""
        token = self._store.get(records.TOKEN, token_id, run_id=run_id)
        if token is None:
            return []
        columns = node_states_table.c
        found = self._store.select(records.NODE_STATE, columns.run_id == token.run_id, columns.token_id == token_id)
        return sorted(found, key=lambda state: (state.step_index, state.attempt))

    def get_routing_events(self, state_id: str, *, run_id: str | None = None) -> list[RoutingEvent]:
        """Return the routing events of a visit, in order."""
        state = self.get_node_state(state_id, run_id=run_id)
        if state is None:
            return []
        columns = routing_events_table.c
        found = self._store.select(records.ROUTING_EVENT, columns.run_id == state.run_id, columns.state_id == state_id)
        return sorted(found, key=lambda event: (event.ordinal, event.event_id))

    def get_calls(self, state_id: str, *, run_id: str | None = None) -> list[Call]:
        """Return the calls of a visit, in order."""
        state = self._store.get(records.NODE_STATE, state_id, run_id=run_id)
        return [] if state is None else self._calls(state.run_id, "state_id", state_id)

    def get_operation_calls(self, operation_id: str, *, run_id: str | None = None) -> list[Call]:
        """Return the calls of an operation, in order."""
        operation = self.get_operation(operation_id, run_id=run_id)
        return [] if operation is None else self._calls(operation.run_id, "operation_id", operation_id)

    def find_call_by_request_hash(self, run_id: str, call_type: CallType | str, request_hash: str) -> Call | None:
        """Return the run's first call with that type and request."""
        columns, convert = calls_table.c, mapper(records.CALL)
        statement = (
            convert.select()
            .where(
                columns.run_id == run_id,
                columns.call_type == member_of(CallType, call_type, call="find_call_by_request_hash"),
                columns.request_hash == request_hash,
            )
            # If ordered by the key, SQLite would read all calls of the run.
            .order_by(columns.created_at, columns.call_id)
            .limit(1)
        )
        return next((convert.from_row(row) for row in self._store.rows(statement)), None)

    def get_call_response_data(self, call_id: str, *, run_id: str | None = None) -> dict[str, Any] | None:
        """Return the answer to a call, None if not kept."""
        call = self._store.get(records.CALL, call_id, run_id=run_id)
        if call is None or call.response_ref is None or self._payloads is None:
            return None
        try:
            content = self._payloads.retrieve(call.response_ref)
        except KeyError:
            return None
        response: dict[str, Any] = json.loads(content)
        return response

    def _calls(self, run_id: str, parent: _Parent, parent_id: str) -> list[Call]:
        columns = calls_table.c
        found = self._store.select(records.CALL, columns.run_id == run_id, columns[parent] == parent_id)
        return sorted(found, key=lambda call: call.call_index)

    def get_operation(self, operation_id: str, *, run_id: str | None = None) -> Operation | None:
        """Return the operation, or None."""
        return self._store.get(records.OPERATION, operation_id, run_id=run_id)

    def get_batch(self, batch_id: str, *, run_id: str | None = None) -> Batch | None:
        """Return the batch, or None."""
        return self._store.get(records.BATCH, batch_id, run_id=run_id)

    def get_batches(
        self, run_id: str, *, status: BatchStatus | str | None = None, node_id: str | None = None
    ) -> list[Batch]:
        """Return the run's batches in order of creation."""
        columns = batches_table.c
        conditions = [columns.run_id == run_id]
        if status is not None:
            conditions.append(columns.status == member_of(BatchStatus, status, call="get_batches"))
        if node_id is not None:
            conditions.append(columns.aggregation_node_id == node_id)
        found = self._store.select(records.BATCH, *conditions)
        return sorted(found, key=lambda batch: (batch.created_at, batch.batch_id))

    def get_incomplete_batches(self, run_id: str) -> list[Batch]:
        """Return the run's batches that were not completed."""
        return [batch for batch in self.get_batches(run_id) if batch.status is not BatchStatus.COMPLETED]

    def get_batch_members(self, batch_id: str, *, run_id: str | None = None) -> list[BatchMember]:
        """Return the members of a batch, in order."""
        batch = self.get_batch(batch_id, run_id=run_id)
        if batch is None:
            return []
        columns = batch_members_table.c
        found = self._store.select(records.BATCH_MEMBER, columns.run_id == batch.run_id, columns.batch_id == batch_id)
        return sorted(found, key=lambda member: member.ordinal)

    def get_batch_outputs(self, batch_id: str, *, run_id: str | None = None) -> list[BatchOutput]:
        """Return the outputs of a batch."""
        batch = self.get_batch(batch_id, run_id=run_id)
        if batch is None:
            return []
        columns = batch_outputs_table.c
        return self._store.select(records.BATCH_OUTPUT, columns.run_id == batch.run_id, columns.batch_id == batch_id)

    def get_checkpoints(self, run_id: str) -> list[Checkpoint]:
        """Return the run's checkpoints, in order."""
        found = self._store.select(records.CHECKPOINT, checkpoints_table.c.run_id == run_id)
        return sorted(found, key=lambda each: (each.sequence_number, each.created_at, each.checkpoint_id))

    def get_validation_errors_for_row(self, run_id: str, row_hash: str) -> list[ValidationErrorRecord]:
        """Return the validation errors of rows with that content hash."""
        columns = validation_errors_table.c
        return self._store.select(records.VALIDATION_ERROR, columns.run_id == run_id, columns.row_hash == row_hash)

    def get_validation_errors_for_run(self, run_id: str) -> list[ValidationErrorRecord]:
        """Return the run's validation errors."""
        return self._store.select(records.VALIDATION_ERROR, validation_errors_table.c.run_id == run_id)

    def get_transform_errors_for_token(self, token_id: str, *, run_id: str | None = None) -> list[TransformErrorRecord]:
        """Return the errors of transforms that processed the token."""
        token = self._store.get(records.TOKEN, token_id, run_id=run_id)
        if token is None:
            return []
        columns = transform_errors_table.c
        return self._store.select(records.TRANSFORM_ERROR, columns.run_id == token.run_id, columns.token_id == token_id)

    def get_transform_errors_for_run(self, run_id: str) -> list[TransformErrorRecord]:
        """Return the run's transform errors."""
        return self._store.select(records.TRANSFORM_ERROR, transform_errors_table.c.run_id == run_id)
