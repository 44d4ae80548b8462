"""Operations of sources and sinks, and calls to systems outside, made by a node state or an operation."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, member_of, new_id, now, storable_text
from elspeth.core.payload_store import PayloadStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Call, CallStatus, CallType, Operation, OperationStatus, OperationType
from elspeth_schema.tables import calls_table, operations_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = ["CallRecording"]

_Parent = Literal["state_id", "operation_id"]


_TRACKED_PARENTS = 65_536
"""How many states and operations with calls are remembered; older ones are looked up again."""


class CallRecording(RecorderPart):
    """Calls about operations and external calls."""

    def __init__(
        self, db: LandscapeDB, *, payload_store: PayloadStore | None = None, seal_signer: Signer | None = None
    ) -> None:
        super().__init__(db, payload_store=payload_store, seal_signer=seal_signer)
        self._next_index: OrderedDict[tuple[str, str], int] = OrderedDict()

    def allocate_call_index(self, state_id: str, *, run_id: str | None = None) -> int:
        """The next free call index of a state, from 0. Each index is handed out once."""
        state = self._store.require(records.NODE_STATE, state_id, run_id=run_id)
        return self._allocate(state.run_id, "state_id", state_id)

    def record_call(
        self,
        state_id: str,
        call_index: int,
        call_type: CallType | str,
        status: CallStatus | str,
        request_data: Mapping[str, Any],
        response_data: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
        *,
        run_id: str | None = None,
        request_ref: str | None = None,
        response_ref: str | None = None,
    ) -> Call:
        """Record a call that a node made while it processed a token."""
        return self._record(
            run_id or self._store.require(records.NODE_STATE, state_id).run_id,
            {"state_id": state_id, "call_index": call_index},
            (call_type, status),
            (request_data, request_ref),
            (response_data, response_ref),
            error=error,
            latency_ms=latency_ms,
        )

    def record_operation_call(
        self,
        operation_id: str,
        call_type: CallType | str,
        status: CallStatus | str,
        request_data: Mapping[str, Any],
        response_data: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
        *,
        run_id: str | None = None,
        request_ref: str | None = None,
        response_ref: str | None = None,
        provider: str | None = None,  # noqa: ARG002 - callers of the old recorder pass it; no column holds it
    ) -> Call:
        """Record a call that a source or a sink made; its index is the next free one of the operation."""
        run = run_id or self._store.require(records.OPERATION, operation_id).run_id
        index = self._allocate(run, "operation_id", operation_id)
        return self._record(
            run,
            {"operation_id": operation_id, "call_index": index},
            (call_type, status),
            (request_data, request_ref),
            (response_data, response_ref),
            error=error,
            latency_ms=latency_ms,
        )

    def _record(
        self,
        run_id: str,
        parent: Mapping[str, Any],
        kind: tuple[CallType | str, CallStatus | str],
        request: tuple[Mapping[str, Any], str | None],
        response: tuple[Mapping[str, Any] | None, str | None],
        *,
        error: Mapping[str, Any] | None,
        latency_ms: float | None,
    ) -> Call:
        """One call under the parent; request and response come with the reference under which they are kept, if any."""
        call_type, status = kind
        answer, answer_ref = response
        call = Call(
            run_id=run_id,
            call_id=new_id(),
            call_type=member_of(CallType, call_type, call="record_call"),
            status=member_of(CallStatus, status, call="record_call"),
            request_hash=stable_hash(request[0]),
            request_ref=self._keep(*request),
            response_hash=None if answer is None else stable_hash(answer),
            response_ref=self._keep(answer, answer_ref),
            error_json=json_or_none(error),
            latency_ms=None if latency_ms is None else float(latency_ms),
            created_at=now(),
            **parent,
        )
        self._store.add(call)
        return call

    def _allocate(self, run_id: str, parent: _Parent, parent_id: str) -> int:
        with self.unit_of_work():  # which only one thread at a time is in
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

    def _calls(self, run_id: str, parent: _Parent, parent_id: str) -> list[Call]:
        columns = calls_table.c
        found = self._store.select(records.CALL, columns.run_id == run_id, columns[parent] == parent_id)
        return sorted(found, key=lambda call: call.call_index)

    def get_calls(self, state_id: str, *, run_id: str | None = None) -> list[Call]:
        """The calls of a state, in order."""
        state = self._store.get(records.NODE_STATE, state_id, run_id=run_id)
        return [] if state is None else self._calls(state.run_id, "state_id", state_id)

    def get_operation_calls(self, operation_id: str, *, run_id: str | None = None) -> list[Call]:
        """The calls of an operation, in order."""
        operation = self.get_operation(operation_id, run_id=run_id)
        return [] if operation is None else self._calls(operation.run_id, "operation_id", operation_id)

    def find_call_by_request_hash(self, run_id: str, call_type: CallType | str, request_hash: str) -> Call | None:
        """The run's first call of that type with that request, or None."""
        columns = calls_table.c
        found = self._store.select(
            records.CALL,
            columns.run_id == run_id,
            columns.call_type == member_of(CallType, call_type, call="find_call_by_request_hash"),
            columns.request_hash == request_hash,
        )
        return min(found, key=lambda call: (call.created_at, call.call_id), default=None)

    def get_call_response_data(self, call_id: str, *, run_id: str | None = None) -> dict[str, Any] | None:
        """What the call answered, or None if it answered nothing or its content is no longer kept."""
        call = self._store.get(records.CALL, call_id, run_id=run_id)
        if call is None or call.response_ref is None or self._payloads is None:
            return None
        try:
            content = self._payloads.retrieve(call.response_ref)
        except KeyError:
            return None
        response: dict[str, Any] = json.loads(content)
        return response

    # -- operations --------------------------------------------------------------------------------------------------

    def begin_operation(
        self,
        run_id: str,
        node_id: str,
        operation_type: OperationType | Literal["source_load", "sink_write"],
        *,
        input_data: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Record that a source starts to load or a sink to write."""
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
        error: str | None = None,
        duration_ms: float | None = None,
    ) -> None:
        """Record how an operation ended."""
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
            error_message=None if error is None else storable_text(error),
            duration_ms=elapsed if duration_ms is None else float(duration_ms),
        )
        self._store.change(before, after)

    def get_operation(self, operation_id: str, *, run_id: str | None = None) -> Operation | None:
        """The operation, or None."""
        return self._store.get(records.OPERATION, operation_id, run_id=run_id)

    def get_operations_for_run(self, run_id: str) -> list[Operation]:
        """The run's operations in the order they began."""
        found = self._store.select(records.OPERATION, operations_table.c.run_id == run_id)
        return sorted(found, key=lambda operation: (operation.started_at, operation.operation_id))
