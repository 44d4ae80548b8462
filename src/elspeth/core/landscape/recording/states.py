"""Node states: the visit of a token to a node, from open to its end; and the routes a gate chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from elspeth.contracts.errors import ExecutionError
from elspeth.contracts.routing import RoutingSpec
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, member_of, new_id, now, tolerant
from elspeth.core.landscape.records.mapping import reshaped
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import (
    NodeState,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    NodeStatePending,
    NodeStateStatus,
    RoutingEvent,
    RoutingMode,
)
from elspeth_schema.tables import node_states_table, routing_events_table

__all__ = ["StateRecording"]


class StateRecording(RecorderPart):
    """Calls about node states and routing events."""

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
        """Record that a token arrives at a node. Only a quarantined one may hold what canonical JSON cannot express."""
        state = NodeStateOpen(
            run_id=run_id or self._store.require(records.TOKEN, token_id).run_id,
            state_id=state_id or new_id(),
            token_id=token_id,
            node_id=node_id,
            step_index=step_index,
            attempt=attempt,
            input_hash=stable_hash(tolerant(input_data) if quarantined else input_data),
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
        """Record how the visit went on: completed, failed, or pending until something outside answers.

        A duration that is not given is the time since the state began.
        """
        before = self._store.require(records.NODE_STATE, state_id, run_id=run_id)
        shape, changes = _ending(
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
        after = reshaped(before, shape, changes)
        self._store.change(before, after)
        return after

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
        """Record a whole visit at once, from its beginning to where it stands, with hashes that are already known."""
        state_id = new_id()
        shape, changes = _ending(
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

    def end_visit(
        self,
        before: NodeStateOpen | NodeStatePending,
        status: NodeStateStatus | str,
        *,
        output_hash: str | None = None,
        error: ExecutionError | Mapping[str, Any] | None = None,
        success_reason: Mapping[str, Any] | None = None,
    ) -> NodeStatePending | NodeStateCompleted | NodeStateFailed:
        """Record how a visit ended whose record is at hand, with a hash that is already known."""
        shape, changes = _ending(
            {"run_id": before.run_id, "state_id": before.state_id},
            status,
            before.started_at,
            output_hash=output_hash,
            error=error,
            success_reason=success_reason,
            call="end_visit",
        )
        after = reshaped(before, shape, changes)
        self._store.change(before, after)
        return after

    def get_node_state(self, state_id: str, *, run_id: str | None = None) -> NodeState | None:
        """The state, or None."""
        return self._store.get(records.NODE_STATE, state_id, run_id=run_id)

    def get_node_states_for_token(self, token_id: str, *, run_id: str | None = None) -> list[NodeState]:
        """The visits of a token, in the order of steps and attempts."""
        token = self._store.get(records.TOKEN, token_id, run_id=run_id)
        if token is None:
            return []
        columns = node_states_table.c
        found = self._store.select(records.NODE_STATE, columns.run_id == token.run_id, columns.token_id == token_id)
        return sorted(found, key=lambda state: (state.step_index, state.attempt))

    def get_waiting_states(self, run_id: str, node_id: str) -> dict[str, NodeStatePending]:
        """The visits to a node whose result is still to come, by token."""
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
        reason: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        routing_group_id: str | None = None,
        ordinal: int = 0,
        reason_ref: str | None = None,
    ) -> RoutingEvent:
        """Record that a state sent its token along an edge, and why."""
        event = RoutingEvent(
            run_id=run_id or self._store.require(records.NODE_STATE, state_id).run_id,
            event_id=event_id or new_id(),
            state_id=state_id,
            edge_id=edge_id,
            routing_group_id=routing_group_id or new_id(),
            ordinal=ordinal,
            mode=member_of(RoutingMode, mode, call="record_routing_event"),
            reason_hash=None if reason is None else stable_hash(reason),
            reason_ref=self._keep(reason, reason_ref),
            created_at=now(),
        )
        self._store.add(event)
        return event

    def record_routing_events(
        self,
        state_id: str,
        routes: Sequence[RoutingSpec],
        reason: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> list[RoutingEvent]:
        """Record that a state sent its token along several edges, as one decision."""
        group = new_id()
        with self.unit_of_work():
            return [
                self.record_routing_event(
                    state_id,
                    route.edge_id,
                    route.mode,
                    reason,
                    run_id=run_id,
                    routing_group_id=group,
                    ordinal=ordinal,
                )
                for ordinal, route in enumerate(routes)
            ]

    def get_routing_events(self, state_id: str, *, run_id: str | None = None) -> list[RoutingEvent]:
        """The routes that a state chose, in order."""
        state = self.get_node_state(state_id, run_id=run_id)
        if state is None:
            return []
        columns = routing_events_table.c
        found = self._store.select(records.ROUTING_EVENT, columns.run_id == state.run_id, columns.state_id == state_id)
        return sorted(found, key=lambda event: (event.ordinal, event.event_id))


_Ended = NodeStatePending | NodeStateCompleted | NodeStateFailed

_ENDINGS: Mapping[NodeStateStatus, type[_Ended]] = {
    NodeStateStatus.PENDING: NodeStatePending,
    NodeStateStatus.COMPLETED: NodeStateCompleted,
    NodeStateStatus.FAILED: NodeStateFailed,
}


def _ending(
    key: dict[str, object],
    status: NodeStateStatus | str,
    started_at: datetime,
    *,
    output_hash: str | None,
    error: ExecutionError | Mapping[str, Any] | None,
    success_reason: Mapping[str, Any] | None,
    context_after: Mapping[str, Any] | None = None,
    duration_ms: float | None = None,
    call: str,
) -> tuple[type[_Ended], dict[str, Any]]:
    """The shape of a state with the status and the columns that say how it came to it.

    AuditIntegrityError for what no visit can come to, and for a column that its status does not have.
    """
    new_status = member_of(NodeStateStatus, status, call=call)
    shape = _ENDINGS.get(new_status)
    if shape is None:
        expected = f"one of {', '.join(_ENDINGS)}"
        raise AuditIntegrityError(table="node_states", key=key, field="status", expected=expected, got=new_status)
    moment = now()
    optional = {
        "context_after_json": json_or_none(context_after),
        "output_hash": output_hash,
        "error_json": json_or_none(tolerant(error)),
        "success_reason_json": json_or_none(success_reason),
    }
    changes: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
    for name in changes.keys() - shape.__dataclass_fields__.keys():
        expected = f"nothing while status is {new_status}"
        raise AuditIntegrityError(table="node_states", key=key, field=name, expected=expected, got=changes[name])
    if shape is NodeStateCompleted:
        changes.setdefault("output_hash", None)  # which its own check refuses
    changes["status"] = new_status
    changes["completed_at"] = moment
    changes["duration_ms"] = float(duration_ms) if duration_ms is not None else _elapsed_ms(started_at, moment)
    return shape, changes


def _elapsed_ms(start: datetime, end: datetime) -> float:
    """Milliseconds between two times; none if the clock was set back."""
    return max((end - start).total_seconds() * 1000, 0.0)
