"""Measures how long nodes, operations and calls took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, or_, select
from sqlalchemy.sql.functions import coalesce

from elspeth.core.landscape.queries.recorded import repeats_a_call
from elspeth.schema import stored
from elspeth_schema.contracts import CallStatus, OperationStatus, OperationType
from elspeth_schema.tables import (
    calls_table,
    node_states_table,
    operations_table,
    rows_table,
    tokens_table,
)

__all__ = ["CallTimes", "NodeTimes", "OperationTime", "SlowVisit", "Timings", "read_timings"]

_states, _operations, _calls = node_states_table.c, operations_table.c, calls_table.c
_rows, _tokens = rows_table.c, tokens_table.c

_SLOWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTimes:
    """The times and durations of visits to a node.

    `ended_at` is None if none has ended. Visits in several workers overlap, so the sum of durations may exceed the time
    from the first beginning to the last end.
    """

    node_id: str
    visits: int
    started_at: datetime
    ended_at: datetime | None
    total_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTime:
    """Work of a source or sink outside of rows."""

    node_id: str
    operation_type: OperationType
    status: OperationStatus
    started_at: datetime
    ended_at: datetime | None
    duration_ms: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """The calls of a node to one kind of system.

    Latencies are in milliseconds; they are 0 if none was measured.
    """

    node_id: str
    call_type: str
    calls: int
    errors: int
    retries: int
    total_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowVisit:
    """One of the longest visits, with its row."""

    node_id: str
    row_index: int
    token_id: str
    attempt: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The durations of work in a run, the slowest first.

    Operations are in the order in which they began instead.
    """

    nodes: tuple[NodeTimes, ...]
    operations: tuple[OperationTime, ...]
    calls: tuple[CallTimes, ...]
    visits: tuple[SlowVisit, ...]


def read_timings(connection: Connection, run_id: str) -> Timings:
    """Return the durations of work in a run."""
    return Timings(
        nodes=_read_nodes(connection, run_id),
        operations=_read_operations(connection, run_id),
        calls=_read_calls(connection, run_id),
        visits=_read_visits(connection, run_id),
    )


def _read_nodes(connection: Connection, run_id: str) -> tuple[NodeTimes, ...]:
    statement = (
        select(
            _states.node_id,
            func.count(),
            func.min(_states.started_at),
            func.max(_states.completed_at),
            coalesce(func.sum(_states.duration_ms), 0.0),
            coalesce(func.max(_states.duration_ms), 0.0),
        )
        .where(_states.run_id == run_id)
        .group_by(_states.node_id)
    )
    found = [
        NodeTimes(
            node_id=node_id,
            visits=visits,
            started_at=stored.time(started_at),
            ended_at=stored.time(ended_at),
            total_ms=float(total),
            longest_ms=float(longest),
        )
        for node_id, visits, started_at, ended_at, total, longest in connection.execute(statement)
    ]
    return tuple(sorted(found, key=lambda each: (-each.total_ms, each.node_id)))


def _read_operations(connection: Connection, run_id: str) -> tuple[OperationTime, ...]:
    statement = (
        select(
            _operations.node_id,
            _operations.operation_type,
            _operations.status,
            _operations.started_at,
            _operations.completed_at,
            _operations.duration_ms,
            _operations.error_message,
        )
        .where(_operations.run_id == run_id)
        .order_by(_operations.started_at, _operations.node_id)
    )
    return tuple(
        OperationTime(
            node_id=node_id,
            operation_type=OperationType(operation_type),
            status=OperationStatus(status),
            started_at=stored.time(started_at),
            ended_at=stored.time(ended_at),
            duration_ms=duration_ms,
            error=error,
        )
        for node_id, operation_type, status, started_at, ended_at, duration_ms, error in connection.execute(statement)
    )


def _read_calls(connection: Connection, run_id: str) -> tuple[CallTimes, ...]:
    node_id = coalesce(_states.node_id, _operations.node_id)
    statement = (
        select(
            node_id,
            _calls.call_type,
            func.count(),
            func.sum(case((_calls.status == CallStatus.ERROR.value, 1), else_=0)),
            func.sum(case((repeats_a_call(), 1), else_=0)),
            coalesce(func.sum(_calls.latency_ms), 0.0),
            coalesce(func.max(_calls.latency_ms), 0.0),
        )
        .select_from(calls_table)
        .join(
            node_states_table, (_states.run_id == _calls.run_id) & (_states.state_id == _calls.state_id), isouter=True
        )
        .join(
            operations_table,
            (_operations.run_id == _calls.run_id) & (_operations.operation_id == _calls.operation_id),
            isouter=True,
        )
        .where(_calls.run_id == run_id, or_(_calls.state_id.is_not(None), _calls.operation_id.is_not(None)))
        .group_by(node_id, _calls.call_type)
    )
    found = [
        CallTimes(
            node_id=node,
            call_type=call_type,
            calls=calls,
            errors=int(errors),
            retries=int(retries),
            total_ms=float(total),
            longest_ms=float(longest),
        )
        for node, call_type, calls, errors, retries, total, longest in connection.execute(statement)
    ]
    return tuple(sorted(found, key=lambda each: (-each.total_ms, each.node_id, each.call_type)))


def _read_visits(connection: Connection, run_id: str) -> tuple[SlowVisit, ...]:
    longest = (
        select(_states.node_id, _states.token_id, _states.attempt, _states.duration_ms, _states.state_id)
        .where(_states.run_id == run_id, _states.duration_ms.is_not(None))
        .order_by(_states.duration_ms.desc(), _states.state_id)
        .limit(_SLOWEST)
        .subquery()
    )
    statement = (
        select(longest.c.node_id, _rows.row_index, longest.c.token_id, longest.c.attempt, longest.c.duration_ms)
        .join(tokens_table, (_tokens.run_id == run_id) & (_tokens.token_id == longest.c.token_id))
        .join(rows_table, (_rows.run_id == run_id) & (_rows.row_id == _tokens.row_id))
        .order_by(longest.c.duration_ms.desc(), longest.c.state_id)
    )
    return tuple(
        SlowVisit(node_id=node, row_index=row, token_id=token, attempt=attempt, duration_ms=duration)
        for node, row, token, attempt, duration in connection.execute(statement)
    )
