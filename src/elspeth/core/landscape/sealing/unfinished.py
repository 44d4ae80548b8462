"""Finds runs that have not ended, or seem so."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, select

from elspeth_schema.contracts import NodeType, OperationStatus, OperationType, RunStatus
from elspeth_schema.tables import (
    nodes_table,
    operations_table,
    run_secrets_table,
    runs_table,
    seal_leaves_table,
    seals_table,
)

__all__ = ["UnfinishedRun", "read_unfinished_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRun:
    """An unsealed run that, by its status, has not ended.

    `marks` are signs that it has ended. The transaction that records a run's last output as published also ends and
    seals the run. So a run whose outputs are all published has ended, and if its status says otherwise, somebody has
    changed it. Runs without a secret have no marks, because the predecessor recorded them, or they were imported.
    """

    run_id: str
    status: str
    marks: tuple[str, ...]

    @property
    def problem(self) -> str:
        """Describe the problem of a run with marks."""
        return (
            f"has the status {self.status}, yet {', '.join(self.marks)}, as after its end:"
            " its seal was removed, and its status changed"
        )


def read_unfinished_runs(connection: Connection, *run_ids: str) -> list[UnfinishedRun]:
    """Return all unfinished runs, or those with the given ids."""
    runs = runs_table.c
    ended = runs.status.in_([status.value for status in RunStatus if status.is_terminal])
    sealed = exists().where(seals_table.c.run_id == runs.run_id)
    has_secret = exists().where(run_secrets_table.c.run_id == runs.run_id)
    marks = {mark: and_(has_secret, found) for mark, found in _marks().items()}
    statement = select(runs.run_id, runs.status, *marks.values()).where(~ended, ~sealed).order_by(runs.run_id)
    if run_ids:
        statement = statement.where(runs.run_id.in_(run_ids))
    return [
        UnfinishedRun(
            run_id=str(run_id),
            status=str(status),
            marks=tuple(mark for mark, found in zip(marks, all_found, strict=True) if found),
        )
        for run_id, status, *all_found in connection.execute(statement)
    ]


def _marks() -> dict[str, ColumnElement[bool]]:
    """Return conditions that are true only of ended runs."""
    runs, nodes, operations = runs_table.c, nodes_table.c, operations_table.c
    is_sink = and_(nodes.run_id == runs.run_id, nodes.node_type == NodeType.SINK.value)
    is_published = exists().where(
        operations.run_id == nodes.run_id,
        operations.node_id == nodes.node_id,
        operations.operation_type == OperationType.SINK_WRITE.value,
        operations.status == OperationStatus.COMPLETED.value,
    )
    return {
        "parts of a seal are there": exists().where(seal_leaves_table.c.run_id == runs.run_id),
        "the time of its end is recorded": runs.completed_at.is_not(None),
        "its export is recorded": runs.export_status.is_not(None),
        "all of its outputs are published": and_(exists().where(is_sink), ~exists().where(is_sink, ~is_published)),
    }
