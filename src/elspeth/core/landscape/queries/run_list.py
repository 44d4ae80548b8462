"""The runs in an audit database of this or an earlier epoch, read from it as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.claim import claimed_runs
from elspeth.core.landscape.database.connections import parse_url, read_only_connection
from elspeth.core.landscape.database.state import StateKind, read_state, require_current
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth_schema.contracts import RunStatus

__all__ = ["ListedRun", "list_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """What tells one run from the others; `export_status` is None for a run that nobody exported.

    `at_work` tells of a running run whether a process records it now; it is None where nothing tells that: for other
    runs, and for those of the predecessor.
    """

    run_id: str
    status: str
    started_at: datetime
    rows: int
    export_status: str | None
    at_work: bool | None = None


def list_runs(url: str) -> list[ListedRun]:
    """The runs, oldest first; changes nothing. The error of the database's state if it is of no epoch known here."""
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind not in (StateKind.CURRENT, StateKind.OLDER) or state.epoch is None:
        require_current(state, mask_url(parsed))
        raise AssertionError(state)
    # These columns are the same in every epoch.
    tables = epoch_tables(state.epoch).tables
    runs, rows = tables["runs"].c, tables["rows"].c
    count = select(func.count()).where(rows.run_id == runs.run_id).scalar_subquery()
    statement = select(runs.run_id, runs.status, runs.started_at, count, runs.export_status).order_by(
        runs.started_at, runs.run_id
    )
    with read_only_connection(parsed) as connection:
        found = connection.execute(statement).all()
        secrets = tables.get("run_secrets")  # only runs that may be claimed have one
        ours = set() if secrets is None else set(connection.scalars(select(secrets.c.run_id)))
        running = {run_id for run_id, status, *_ in found if status == RunStatus.RUNNING and run_id in ours}
        at_work = claimed_runs(connection, running)
        return [
            ListedRun(
                run_id=run_id,
                status=status,
                # SQLite keeps no zone: it is UTC.
                started_at=started_at.replace(tzinfo=UTC) if started_at.tzinfo is None else started_at,
                rows=number,
                export_status=export_status,
                at_work=run_id in at_work if run_id in running else None,
            )
            for run_id, status, started_at, number, export_status in found
        ]
