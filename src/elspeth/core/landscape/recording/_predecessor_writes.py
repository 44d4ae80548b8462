"""The predecessor's recording calls; nothing in `src` uses them.

They belong to its public API, which other programs still call: see tests/test_public_api.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select

from elspeth.contracts.errors import ExecutionError
from elspeth.core.canonical import CanonicalText, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording._visits import VisitRecording, resolve_ending
from elspeth.core.landscape.recording.base import json_or_none, make_recordable, new_id, now
from elspeth.core.landscape.recording.batches import BatchRecording
from elspeth.core.landscape.recording.predecessor_reads import PredecessorReads
from elspeth.core.landscape.records.detached import DetachedStore
from elspeth.core.landscape.records.mapping import reshape
from elspeth.core.payload_store import PayloadStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import (
    Batch,
    BatchStatus,
    Call,
    CallStatus,
    CallType,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    NodeStatePending,
    NodeStateStatus,
    Run,
)
from elspeth_schema.tables import calls_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = ["PredecessorWrites"]

_Parent = Literal["state_id", "operation_id"]

_TRACKED_PARENTS = 65_536
"""The number of visits and operations whose call index is kept in memory; for others it is looked up."""


class PredecessorWrites(VisitRecording, BatchRecording, PredecessorReads):
    """Calls of the predecessor that record."""

    def __init__(
        self,
        db: LandscapeDB | DetachedStore,
        *,
        payload_store: PayloadStore | None = None,
        seal_signer: Signer | None = None,
    ) -> None:
        super().__init__(db, payload_store=payload_store, seal_signer=seal_signer)
        self._next_index: OrderedDict[tuple[str, str], int] = OrderedDict()

    def record_run_source(
        self,
        run_id: str,
        *,
        field_resolution: Mapping[str, Any] | None = None,
        schema_contract: Mapping[str, Any] | None = None,
    ) -> Run:
        """Record the source's field names and schema contract."""
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        run = replace(
            before,
            source_field_resolution_json=json_or_none(field_resolution) or before.source_field_resolution_json,
            schema_contract_json=json_or_none(schema_contract) or before.schema_contract_json,
            schema_contract_hash=(
                before.schema_contract_hash if schema_contract is None else stable_hash(schema_contract)
            ),
        )
        self._store.change(before, run)
        return run

    def begin_node_state(
        self,
        token_id: str,
        node_id: str,
        step_index: int,
        input_data: Mapping[str, Any] | Sequence[Any],
        *,
        run_id: str | None = None,
        state_id: str | None = None,
        attempt: int = 0,
        context_before: Mapping[str, Any] | None = None,
        quarantined: bool = False,
    ) -> NodeStateOpen:
        """Record the arrival of a token at a node.

        Only a quarantined row may hold values that canonical JSON cannot express.
        """
        state = NodeStateOpen(
            run_id=run_id or self._store.require(records.TOKEN, token_id).run_id,
            state_id=state_id or new_id(),
            token_id=token_id,
            node_id=node_id,
            step_index=step_index,
            attempt=attempt,
            input_hash=stable_hash(make_recordable(input_data) if quarantined else input_data),
            context_before_json=json_or_none(context_before),
            started_at=now(),
        )
        self._store.add(state)
        return state

    def complete_node_state(
        self,
        state_id: str,
        status: NodeStateStatus | str,
        *,
        run_id: str | None = None,
        output_data: Mapping[str, Any] | Sequence[Any] | None = None,
        duration_ms: float | None = None,
        error: ExecutionError | Mapping[str, Any] | None = None,
        success_reason: Mapping[str, Any] | None = None,
        context_after: Mapping[str, Any] | None = None,
    ) -> NodeStatePending | NodeStateCompleted | NodeStateFailed:
        """Record how a visit continued: completed, failed, or pending.

        Without `duration_ms` the duration is the time since the visit began.
        """
        before = self._store.require(records.NODE_STATE, state_id, run_id=run_id)
        shape, changes = resolve_ending(
            {"run_id": before.run_id, "state_id": state_id},
            status,
            before.started_at,
            output_hash=None if output_data is None else stable_hash(output_data),
            error=error,
            success_reason=success_reason,
            context_after=context_after,
            duration_ms=duration_ms,
            call="complete_node_state",
        )
        after = reshape(before, shape, changes)
        self._store.change(before, after)
        return after

    def retry_batch(self, batch_id: str, *, run_id: str | None = None) -> Batch:
        """Record another attempt at a failed batch, with its members."""
        failed = self._store.require(records.BATCH, batch_id, run_id=run_id)
        if failed.status is not BatchStatus.FAILED:
            key: dict[str, object] = {"run_id": failed.run_id, "batch_id": batch_id}
            raise AuditIntegrityError(
                table="batches", key=key, field="status", expected="failed, to be retried", got=failed.status
            )
        with self.unit_of_work():
            batch = self.create_batch(failed.run_id, failed.aggregation_node_id, attempt=failed.attempt + 1)
            for member in self.get_batch_members(batch_id, run_id=failed.run_id):
                self.add_batch_member(batch.batch_id, member.token_id, member.ordinal, run_id=failed.run_id)
        return batch

    def allocate_call_index(self, state_id: str, *, run_id: str | None = None) -> int:
        """Return a visit's next free call index, from 0."""
        state = self._store.require(records.NODE_STATE, state_id, run_id=run_id)
        return self._allocate(state.run_id, "state_id", state_id)

    def record_operation_call(
        self,
        operation_id: str,
        call_type: CallType | str,
        status: CallStatus | str,
        request_data: Mapping[str, Any] | CanonicalText,
        response_data: Mapping[str, Any] | CanonicalText | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
        *,
        run_id: str | None = None,
        request_ref: str | None = None,
        response_ref: str | None = None,
        provider: str | None = None,  # noqa: ARG002 - callers of the predecessor pass it; no column holds it
    ) -> Call:
        """Record a call that a source or sink made.

        Its index is the next free one of the operation.
        """
        run = run_id or self._store.require(records.OPERATION, operation_id).run_id
        index = self._allocate(run, "operation_id", operation_id)
        return self._record_call(
            run_id=run,
            operation_id=operation_id,
            call_index=index,
            call_type=call_type,
            status=status,
            request_data=request_data,
            request_ref=request_ref,
            response_data=response_data,
            response_ref=response_ref,
            error=error,
            latency_ms=latency_ms,
        )

    def _allocate(self, run_id: str, parent: _Parent, parent_id: str) -> int:
        with self.unit_of_work():  # one thread at a time
            key = (run_id, parent_id)
            if key not in self._next_index:
                columns = calls_table.c
                highest = select(func.max(columns.call_index)).where(
                    columns.run_id == run_id, columns[parent] == parent_id
                )
                ((found,),) = self._store.rows(highest)
                self._next_index[key] = found + 1 if isinstance(found, int) else 0
            index = self._next_index[key]
            self._next_index[key] = index + 1
            self._next_index.move_to_end(key)
            if len(self._next_index) > _TRACKED_PARENTS:
                self._next_index.popitem(last=False)
            return index
