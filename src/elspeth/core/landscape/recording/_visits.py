"""Records visits of tokens to nodes: results, routes, calls, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from elspeth.contracts.errors import ExecutionError
from elspeth.contracts.routing import RoutingSpec
from elspeth.core.canonical import CanonicalText
from elspeth.core.landscape.recording.base import (
    RecorderPart,
    describe,
    json_or_none,
    make_recordable,
    member_of,
    new_id,
    now,
)
from elspeth.core.landscape.records.mapping import reshape
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import (
    Call,
    CallStatus,
    CallType,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    NodeStatePending,
    NodeStateStatus,
    RoutingEvent,
    RoutingMode,
    TransformErrorRecord,
)
from elspeth_schema.tables import node_states_table

__all__ = ["VisitRecording", "resolve_ending"]


class VisitRecording(RecorderPart):
    """Calls about node states, routing events, calls and transform errors."""

    def record_visit(
        self,
        token_id: str,
        node_id: str,
        step_index: int,
        status: NodeStateStatus | str,
        *,
        run_id: str,
        input_hash: str,
        started_at: datetime,
        output_hash: str | None = None,
        error: ExecutionError | Mapping[str, Any] | None = None,
        success_reason: Mapping[str, Any] | None = None,
        attempt: int = 0,
    ) -> NodeStatePending | NodeStateCompleted | NodeStateFailed:
        """Record a visit that has ended, with known hashes."""
        state_id = new_id()
        shape, changes = resolve_ending(
            {"run_id": run_id, "state_id": state_id},
            status,
            started_at,
            output_hash=output_hash,
            error=error,
            success_reason=success_reason,
            call="record_visit",
        )
        state = shape(
            run_id=run_id,
            state_id=state_id,
            token_id=token_id,
            node_id=node_id,
            step_index=step_index,
            attempt=attempt,
            input_hash=input_hash,
            started_at=started_at,
            **changes,
        )
        self._store.add(state)
        return state

    def record_completed_visit(
        self,
        token_id: str,
        node_id: str,
        step_index: int,
        *,
        run_id: str,
        input_hash: str,
        output_hash: str,
        started_at: datetime,
        success_reason: Mapping[str, Any] | CanonicalText | None = None,
    ) -> NodeStateCompleted:
        """Record a completed visit with an output."""
        completed_at = now()
        state = NodeStateCompleted(
            run_id=run_id,
            state_id=new_id(),
            token_id=token_id,
            node_id=node_id,
            step_index=step_index,
            attempt=0,
            status=NodeStateStatus.COMPLETED,
            input_hash=input_hash,
            output_hash=output_hash,
            duration_ms=_elapsed_ms(started_at, completed_at),
            success_reason_json=json_or_none(success_reason),
            started_at=started_at,
            completed_at=completed_at,
        )
        self._store.add(state)
        return state

    def end_visit(
        self,
        before: NodeStateOpen | NodeStatePending,
        status: NodeStateStatus | str,
        *,
        output_hash: str | None = None,
        error: ExecutionError | Mapping[str, Any] | None = None,
        success_reason: Mapping[str, Any] | CanonicalText | None = None,
    ) -> NodeStatePending | NodeStateCompleted | NodeStateFailed:
        """Record the end of a visit that was recorded before."""
        shape, changes = resolve_ending(
            {"run_id": before.run_id, "state_id": before.state_id},
            status,
            before.started_at,
            output_hash=output_hash,
            error=error,
            success_reason=success_reason,
            call="end_visit",
        )
        after = reshape(before, shape, changes)
        self._store.change(before, after)
        return after

    def get_waiting_states(self, run_id: str, node_id: str) -> dict[str, NodeStatePending]:
        """Return the pending visits to a node, by token."""
        columns = node_states_table.c
        found = self._store.select(
            records.NODE_STATE,
            columns.run_id == run_id,
            columns.node_id == node_id,
            columns.status == NodeStateStatus.PENDING,
        )
        return {state.token_id: state for state in found if isinstance(state, NodeStatePending)}

    def record_routing_event(
        self,
        state_id: str,
        edge_id: str,
        mode: RoutingMode | str,
        reason: Mapping[str, Any] | CanonicalText | None = None,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        routing_group_id: str | None = None,
        ordinal: int = 0,
        reason_ref: str | None = None,
    ) -> RoutingEvent:
        """Record that a visit sent its token along an edge."""
        content = None if reason is None else CanonicalText.of(reason)
        event = RoutingEvent(
            run_id=run_id or self._store.require(records.NODE_STATE, state_id).run_id,
            event_id=event_id or new_id(),
            state_id=state_id,
            edge_id=edge_id,
            routing_group_id=routing_group_id or new_id(),
            ordinal=ordinal,
            mode=member_of(RoutingMode, mode, call="record_routing_event"),
            reason_hash=None if content is None else content.sha256,
            reason_ref=self._keep(content, reason_ref),
            created_at=now(),
        )
        self._store.add(event)
        return event

    def record_routing_events(
        self,
        state_id: str,
        routes: Sequence[RoutingSpec],
        reason: Mapping[str, Any] | CanonicalText | None = None,
        *,
        run_id: str | None = None,
    ) -> list[RoutingEvent]:
        """Record that a visit sent its token along several edges."""
        group, content = new_id(), None if reason is None else CanonicalText.of(reason)
        with self.unit_of_work():
            return [
                self.record_routing_event(
                    state_id,
                    route.edge_id,
                    route.mode,
                    content,
                    run_id=run_id,
                    routing_group_id=group,
                    ordinal=ordinal,
                )
                for ordinal, route in enumerate(routes)
            ]

    def record_call(
        self,
        state_id: str,
        call_index: int,
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
    ) -> Call:
        """Record a call that a node made for a token."""
        return self._record_call(
            run_id=run_id or self._store.require(records.NODE_STATE, state_id).run_id,
            state_id=state_id,
            call_index=call_index,
            call_type=call_type,
            status=status,
            request_data=request_data,
            request_ref=request_ref,
            response_data=response_data,
            response_ref=response_ref,
            error=error,
            latency_ms=latency_ms,
        )

    def _record_call(
        self,
        *,
        run_id: str,
        state_id: str | None = None,
        operation_id: str | None = None,
        call_index: int,
        call_type: CallType | str,
        status: CallStatus | str,
        request_data: Mapping[str, Any] | CanonicalText,
        request_ref: str | None,
        response_data: Mapping[str, Any] | CanonicalText | None,
        response_ref: str | None,
        error: Mapping[str, Any] | None,
        latency_ms: float | None,
    ) -> Call:
        """Record a call of a visit or an operation.

        Content without a reference is kept in the payload store.
        """
        request = CanonicalText.of(request_data)
        response = None if response_data is None else CanonicalText.of(response_data)
        call = Call(
            run_id=run_id,
            call_id=new_id(),
            state_id=state_id,
            operation_id=operation_id,
            call_index=call_index,
            call_type=member_of(CallType, call_type, call="record_call"),
            status=member_of(CallStatus, status, call="record_call"),
            request_hash=request.sha256,
            request_ref=self._keep(request, request_ref),
            response_hash=None if response is None else response.sha256,
            response_ref=self._keep(response, response_ref),
            error_json=json_or_none(error),
            latency_ms=None if latency_ms is None else float(latency_ms),
            created_at=now(),
        )
        self._store.add(call)
        return call

    def record_transform_error(
        self,
        run_id: str,
        token_id: str,
        transform_id: str,
        row_data: Mapping[str, Any] | object,
        error_details: Mapping[str, Any],
        destination: str,
    ) -> str:
        """Record that a transform could not process a row.

        Returns the id of the error.
        """
        content = describe(row_data)
        record = TransformErrorRecord(
            run_id=run_id,
            error_id=new_id(),
            token_id=token_id,
            transform_id=transform_id,
            row_hash=content.sha256,
            row_data_json=content.text,
            error_details_json=describe(error_details).text,
            destination=destination,
            created_at=now(),
        )
        self._store.add(record)
        return record.error_id


_Ended = NodeStatePending | NodeStateCompleted | NodeStateFailed

_ENDINGS: Mapping[NodeStateStatus, type[_Ended]] = {
    NodeStateStatus.PENDING: NodeStatePending,
    NodeStateStatus.COMPLETED: NodeStateCompleted,
    NodeStateStatus.FAILED: NodeStateFailed,
}


def resolve_ending(
    key: dict[str, object],
    status: NodeStateStatus | str,
    started_at: datetime,
    *,
    output_hash: str | None,
    error: ExecutionError | Mapping[str, Any] | None,
    success_reason: Mapping[str, Any] | CanonicalText | None,
    context_after: Mapping[str, Any] | None = None,
    duration_ms: float | None = None,
    call: str,
) -> tuple[type[_Ended], dict[str, Any]]:
    """Return a status's record type, and the columns to set.

    Raises AuditIntegrityError for a status that does not end a visit, and for a column that the status does not have.
    """
    new_status = member_of(NodeStateStatus, status, call=call)
    shape = _ENDINGS.get(new_status)
    if shape is None:
        expected = f"one of {', '.join(_ENDINGS)}"
        raise AuditIntegrityError(table="node_states", key=key, field="status", expected=expected, got=new_status)
    changes: dict[str, Any] = {}
    if context_after is not None:
        changes["context_after_json"] = json_or_none(context_after)
    if output_hash is not None:
        changes["output_hash"] = output_hash
    if error is not None:
        changes["error_json"] = json_or_none(make_recordable(error))
    if success_reason is not None:
        changes["success_reason_json"] = json_or_none(success_reason)
    for name in changes.keys() - shape.__dataclass_fields__.keys():
        expected = f"nothing while status is {new_status}"
        raise AuditIntegrityError(table="node_states", key=key, field=name, expected=expected, got=changes[name])
    if shape is NodeStateCompleted:
        changes.setdefault("output_hash", None)  # refused by the contract
    moment = now()
    changes["status"] = new_status
    changes["completed_at"] = moment
    changes["duration_ms"] = float(duration_ms) if duration_ms is not None else _elapsed_ms(started_at, moment)
    return shape, changes


def _elapsed_ms(start: datetime, end: datetime) -> float:
    """Return the milliseconds between two times, at least 0."""
    return max((end - start).total_seconds() * 1000, 0.0)
