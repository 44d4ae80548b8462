"""Collects what a report says about a whole run.

The database counts everything, so memory grows only with nodes, edges, reasons and artifacts, not with records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, func, select

from elspeth.core.landscape.queries.outputs import RecordedOutput, recorded_outputs
from elspeth.core.landscape.queries.problems import FailedRows, read_failed_rows
from elspeth.core.landscape.queries.runs import recorded_settings
from elspeth.core.landscape.records.mapping import mapper
from elspeth.report.flow import Flow, read_flow
from elspeth.report.records import RunRecords
from elspeth.report.timings import Timings, read_timings
from elspeth.schema import stored
from elspeth_schema.contracts import (
    AuditRecord,
    BatchStatus,
    NodeStateStatus,
    RowOutcome,
    Run,
    RunProcess,
    SecretResolution,
    SourceInput,
)
from elspeth_schema.records import RECORD_TYPES, RUN, RUN_PROCESS, SECRET_RESOLUTION, SOURCE_INPUT, RecordType
from elspeth_schema.tables import (
    batches_table,
    checkpoints_table,
    node_states_table,
    rows_table,
    runs_table,
    token_outcomes_table,
    tokens_table,
)

__all__ = ["Ending", "LeftOpen", "OpenVisit", "Overview", "Withheld", "read_overview"]

_CONTINUED = (RowOutcome.FORKED, RowOutcome.EXPANDED, RowOutcome.COALESCED, RowOutcome.CONSUMED_IN_BATCH)
"""Outcomes of tokens whose rows continue as other tokens."""

_MOST_REASONS = 50
_MOST_OPEN = 20
_MOST_RECORDS = 500
"""The largest number of processes, inputs or secrets that are shown."""

R = TypeVar("R", bound=AuditRecord)

_rows, _tokens, _states = rows_table.c, tokens_table.c, node_states_table.c
_outcomes, _batches, _checkpoints = token_outcomes_table.c, batches_table.c, checkpoints_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How many tokens ended in one way."""

    outcome: RowOutcome
    sink: str | None
    tokens: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A column that the records leave out, and why.

    `records` is the number of records that have the column.
    """

    column: str
    why: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVisit:
    """A visit that has not ended, with its row."""

    node_id: str
    row_index: int
    token_id: str
    status: NodeStateStatus
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOpen:
    """The parts of a run that have not ended.

    `tokens` have no terminal outcome. `visits` are the first of `open_visits`. `batches` counts the unfinished ones by
    node and status. `checkpoint` is the time of the newest one, with the index of its row.
    """

    tokens: int
    open_visits: int
    visits: tuple[OpenVisit, ...]
    batches: Mapping[tuple[str, BatchStatus], int]
    checkpoint: tuple[datetime, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything about a run except its single rows.

    `counts` has the number of records by type; `inputs` are the first of a run that read many.
    """

    run: Run
    settings: Mapping[str, object]
    processes: tuple[RunProcess, ...]
    inputs: tuple[SourceInput, ...]
    secrets: tuple[SecretResolution, ...]
    counts: Mapping[str, int]
    flow: Flow
    endings: tuple[Ending, ...]
    failures: FailedRows
    timings: Timings
    outputs: tuple[RecordedOutput, ...]
    withheld: tuple[Withheld, ...]
    left_open: LeftOpen


def read_overview(records: RunRecords) -> Overview:
    """Return the overview of a run.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    connection, run_id = records.connection, records.run_id
    counts = _count_records(connection, run_id)
    return Overview(
        run=_read_run(connection, run_id),
        settings=recorded_settings(connection, run_id),
        processes=_read_first(connection, RUN_PROCESS, run_id, "attempt"),
        inputs=_read_first(connection, SOURCE_INPUT, run_id, "node_id", "ordinal"),
        secrets=_read_first(connection, SECRET_RESOLUTION, run_id, "env_var_name"),
        counts=counts,
        flow=read_flow(connection, run_id),
        endings=_read_endings(connection, run_id),
        failures=read_failed_rows(connection, run_id, most=_MOST_REASONS),
        timings=read_timings(connection, run_id),
        outputs=tuple(recorded_outputs(connection, run_id)),
        withheld=tuple(_explain_withheld(records.withheld, counts)),
        left_open=_read_left_open(connection, run_id),
    )


def _read_run(connection: Connection, run_id: str) -> Run:
    convert = mapper(RUN)
    found = connection.execute(convert.select().where(runs_table.c.run_id == run_id)).one()
    return convert.from_row(tuple(found))


def _read_first(connection: Connection, record_type: RecordType[R], run_id: str, *order: str) -> tuple[R, ...]:
    """Return the first records of a type in this order."""
    convert, columns = mapper(record_type), record_type.table.c
    statement = convert.select().where(columns.run_id == run_id).order_by(None)
    found = connection.execute(statement.order_by(*(columns[name] for name in order)).limit(_MOST_RECORDS)).all()
    return tuple(convert.from_row(tuple(row)) for row in found)


def _count_records(connection: Connection, run_id: str) -> dict[str, int]:
    return {
        name: connection.execute(
            select(func.count()).select_from(each.table).where(each.table.c.run_id == run_id)
        ).scalar_one()
        for name, each in RECORD_TYPES.items()
    }


def _read_endings(connection: Connection, run_id: str) -> tuple[Ending, ...]:
    """Count the terminal outcomes, by outcome and sink."""
    statement = (
        select(_outcomes.outcome, _outcomes.sink_name, func.count(), func.count(_tokens.row_id.distinct()))
        .join(tokens_table, (_tokens.run_id == _outcomes.run_id) & (_tokens.token_id == _outcomes.token_id))
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .group_by(_outcomes.outcome, _outcomes.sink_name)
    )
    order = [*(each for each in RowOutcome if each not in _CONTINUED), *_CONTINUED]
    found = [
        Ending(outcome=RowOutcome(outcome), sink=sink, tokens=tokens, rows=rows)
        for outcome, sink, tokens, rows in connection.execute(statement)
    ]
    return tuple(sorted(found, key=lambda each: (order.index(each.outcome), -each.tokens, each.sink or "")))


def _explain_withheld(names: tuple[str, ...], counts: Mapping[str, int]) -> list[Withheld]:
    reasons = {
        f"{record_type.name}.{column.name}": column.withheld
        for record_type in RECORD_TYPES.values()
        for column in record_type.columns
    }
    return [
        Withheld(column=name, why=reasons.get(name) or "", records=counts.get(name.partition(".")[0], 0))
        for name in names
    ]


def _read_left_open(connection: Connection, run_id: str) -> LeftOpen:
    ended = select(func.count()).where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
    tokens = select(func.count()).select_from(tokens_table).where(_tokens.run_id == run_id)
    is_open = _states.status.not_in([status.value for status in NodeStateStatus if status.is_terminal])
    unfinished = [status.value for status in BatchStatus if not status.is_terminal]
    batches = (
        select(_batches.aggregation_node_id, _batches.status, func.count())
        .where(_batches.run_id == run_id, _batches.status.in_(unfinished))
        .group_by(_batches.aggregation_node_id, _batches.status)
        .order_by(_batches.aggregation_node_id, _batches.status)
    )
    visits = select(func.count()).select_from(node_states_table).where(_states.run_id == run_id, is_open)
    examples = (
        select(_states.node_id, _rows.row_index, _states.token_id, _states.status, _states.started_at)
        .join(tokens_table, (_tokens.run_id == run_id) & (_tokens.token_id == _states.token_id))
        .join(rows_table, (_rows.run_id == run_id) & (_rows.row_id == _tokens.row_id))
        .where(_states.run_id == run_id, is_open)
        .order_by(_rows.row_index, _states.token_id, _states.step_index)
        .limit(_MOST_OPEN)
    )
    return LeftOpen(
        tokens=connection.execute(tokens).scalar_one() - connection.execute(ended).scalar_one(),
        open_visits=connection.execute(visits).scalar_one(),
        visits=tuple(
            OpenVisit(
                node_id=node_id,
                row_index=row_index,
                token_id=token_id,
                status=NodeStateStatus(status),
                started_at=stored.time(started_at),
            )
            for node_id, row_index, token_id, status, started_at in connection.execute(examples)
        ),
        batches={(node_id, BatchStatus(status)): number for node_id, status, number in connection.execute(batches)},
        checkpoint=_read_checkpoint(connection, run_id),
    )


def _read_checkpoint(connection: Connection, run_id: str) -> tuple[datetime, int] | None:
    """Return the newest checkpoint's time and row."""
    statement = (
        select(_checkpoints.created_at, _rows.row_index)
        .join(tokens_table, (_tokens.run_id == run_id) & (_tokens.token_id == _checkpoints.token_id))
        .join(rows_table, (_rows.run_id == run_id) & (_rows.row_id == _tokens.row_id))
        .where(_checkpoints.run_id == run_id)
        .order_by(_checkpoints.sequence_number.desc())
        .limit(1)
    )
    found = connection.execute(statement).first()
    return None if found is None else (stored.time(found[0]), found[1])
