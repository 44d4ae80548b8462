"""Records the work of sources and sinks, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import select

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, make_storable, member_of, new_id, now
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Artifact, Checkpoint, Operation, OperationStatus, OperationType
from elspeth_schema.tables import artifacts_table, checkpoints_table, operations_table

__all__ = ["OperationRecording"]

_CHECKPOINT_FORMAT = 5
"""The format of the sink state in checkpoints of this version."""


class OperationRecording(RecorderPart):
    """Calls about operations, artifacts and checkpoints."""

    def begin_operation(
        self,
        run_id: str,
        node_id: str,
        operation_type: OperationType | Literal["source_load", "sink_write"],
        *,
        input_data: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Record that a source starts loading or a sink writing."""
        operation = Operation(
            run_id=run_id,
            operation_id=new_id(),
            node_id=node_id,
            operation_type=member_of(OperationType, operation_type, call="begin_operation"),
            started_at=now(),
            status=OperationStatus.OPEN,
            input_data_ref=self._keep(input_data, None),
            input_data_hash=None if input_data is None else stable_hash(input_data),
        )
        self._store.add(operation)
        return operation

    def complete_operation(
        self,
        operation_id: str,
        status: OperationStatus | Literal["completed", "failed", "pending"],
        *,
        run_id: str | None = None,
        output_data: Mapping[str, Any] | None = None,
        object_version: str | None = None,
        error: str | None = None,
        duration_ms: float | None = None,
    ) -> None:
        """Record the end of an operation."""
        before = self._store.require(records.OPERATION, operation_id, run_id=run_id)
        new_status = member_of(OperationStatus, status, call="complete_operation")
        if new_status is OperationStatus.OPEN:
            key: dict[str, object] = {"run_id": before.run_id, "operation_id": operation_id}
            expected = "one of pending, completed, failed"
            raise AuditIntegrityError(table="operations", key=key, field="status", expected=expected, got=new_status)
        moment = now()
        elapsed = max((moment - before.started_at).total_seconds() * 1000, 0.0)
        after = replace(
            before,
            status=new_status,
            completed_at=moment,
            output_data_ref=self._keep(output_data, None),
            output_data_hash=None if output_data is None else stable_hash(output_data),
            object_version=None if object_version is None else make_storable(object_version),
            error_message=None if error is None else make_storable(error),
            duration_ms=elapsed if duration_ms is None else float(duration_ms),
        )
        self._store.change(before, after)

    def get_operations_for_run(self, run_id: str) -> list[Operation]:
        """Return the run's operations in order of start."""
        found = self._store.select(records.OPERATION, operations_table.c.run_id == run_id)
        return sorted(found, key=lambda operation: (operation.started_at, operation.operation_id))

    def register_artifact(
        self,
        run_id: str,
        state_id: str,
        sink_node_id: str,
        artifact_type: str,
        path: str,
        content_hash: str,
        size_bytes: int,
        *,
        artifact_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Record an output of a sink, with its SHA-256."""
        artifact = Artifact(
            run_id=run_id,
            artifact_id=artifact_id or new_id(),
            produced_by_state_id=state_id,
            sink_node_id=sink_node_id,
            artifact_type=artifact_type,
            path_or_uri=path,
            content_hash=content_hash,
            size_bytes=size_bytes,
            idempotency_key=idempotency_key,
            created_at=now(),
        )
        self._store.add(artifact)
        return artifact

    def get_artifacts(self, run_id: str, *, sink_node_id: str | None = None) -> list[Artifact]:
        """Return the run's artifacts in order of registration."""
        columns = artifacts_table.c
        conditions = [columns.run_id == run_id]
        if sink_node_id is not None:
            conditions.append(columns.sink_node_id == sink_node_id)
        found = self._store.select(records.ARTIFACT, *conditions)
        return sorted(found, key=lambda artifact: (artifact.created_at, artifact.artifact_id))

    def create_checkpoint(
        self,
        run_id: str,
        token_id: str,
        node_id: str,
        sequence_number: int,
        *,
        upstream_topology_hash: str | None = None,
        checkpoint_node_config_hash: str | None = None,
        aggregation_state: Mapping[str, Any] | None = None,
        sink_state: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
    ) -> Checkpoint:
        """Record that everything up to this visit is done.

        `resume` continues after this checkpoint.
        """
        checkpoint = Checkpoint(
            run_id=run_id,
            checkpoint_id=checkpoint_id or new_id(),
            token_id=token_id,
            node_id=node_id,
            sequence_number=sequence_number,
            aggregation_state_json=json_or_none(aggregation_state),
            sink_state_json=json_or_none(sink_state),
            created_at=now(),
            upstream_topology_hash=upstream_topology_hash,
            checkpoint_node_config_hash=checkpoint_node_config_hash,
            format_version=_CHECKPOINT_FORMAT,
        )
        self._store.add(checkpoint)
        return checkpoint

    def get_last_checkpoint(self, run_id: str) -> Checkpoint | None:
        """Return the run's newest checkpoint, or None."""
        columns = checkpoints_table.c
        newest = (
            select(columns.checkpoint_id)
            .where(columns.run_id == run_id)
            .order_by(columns.sequence_number.desc(), columns.checkpoint_id.desc())
            .limit(1)
        )
        found = self._store.rows(newest)
        return self._store.get_by_key(records.CHECKPOINT, run_id, str(found[0][0])) if found else None
