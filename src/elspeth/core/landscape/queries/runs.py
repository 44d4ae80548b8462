"""Lists and finds the runs of an audit database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, String, Table, cast, func, null, select

from elspeth.contracts.database_urls import mask_url
from elspeth.contracts.errors import format_count
from elspeth.core.canonical import stored_time_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.claim import claimed_runs
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError, RunNotFoundError
from elspeth.core.landscape.database.known_shapes import shape_tables
from elspeth.core.landscape.database.pruned_runs import PrunedRunError, read_pruned_runs
from elspeth.core.landscape.database.state import StateKind, read_state, require_current
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.database.urls import parse_url
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import pruned_runs_table, runs_table

__all__ = [
    "LATEST",
    "AmbiguousRunError",
    "ListedRun",
    "RecordedRun",
    "list_runs",
    "matches_run",
    "newest_run",
    "recorded_settings",
    "resolve_run",
]

LATEST = "latest"
"""The name for the run that began last."""

_LISTED = 5


class RecordedRun(NamedTuple):
    """A run, and a connection to tables with its records."""

    connection: Connection
    run_id: str


class AmbiguousRunError(LandscapeError):
    """The prefix of an id matches several runs."""


def resolve_run(db: LandscapeDB, name: str) -> str:
    """Return the id of a run that `name` identifies.

    `name` is an id, the prefix of one id, or `latest` for the run that began last.

    Raises RunNotFoundError if no run matches, PrunedRunError if a pruned run does, and AmbiguousRunError if several
    runs match.
    """
    columns = runs_table.c
    statement = select(columns.run_id, columns.status, cast(columns.started_at, String).label("started_at"))
    statement = statement.order_by(columns.started_at.desc(), columns.run_id.desc())
    if name == LATEST:
        statement = statement.limit(1)
    else:
        # On SQLite, LIKE ignores case.
        statement = statement.where(func.substr(columns.run_id, 1, len(name)) == name)
    with db.connection() as connection:
        found = connection.execute(statement).all() if name else []
        if name != LATEST and name not in {run.run_id for run in found}:
            _refuse_pruned(connection, name, others=len(found))
    if not found:
        problem = _no_latest(db) if name == LATEST else f"holds no run {name!r}"
        raise RunNotFoundError(f"audit database {db.url} {problem}")
    if len(found) == 1 or name in {run.run_id for run in found}:
        return str(found[0].run_id) if len(found) == 1 else name
    raise AmbiguousRunError(f"audit database {db.url} holds {len(found)} runs {name!r}...: {_describe_runs(found)}")


def newest_run(db: LandscapeDB) -> tuple[str, datetime]:
    """Return the id and start of the newest run.

    It may be a pruned one. Raises RunNotFoundError if there is none.
    """
    columns = runs_table.c
    newest = select(columns.run_id, columns.started_at).order_by(columns.started_at.desc(), columns.run_id.desc())
    with db.connection() as connection:
        found = [(stored_time_text(row.started_at), row.run_id) for row in connection.execute(newest.limit(1))]
        found += [(run.started_at, run.run_id) for run in read_pruned_runs(connection)]
    if not found:
        raise RunNotFoundError(f"audit database {db.url} holds no run")
    started_at, run_id = max(found)
    return run_id, datetime.fromisoformat(started_at)


def _no_latest(db: LandscapeDB) -> str:
    with db.connection() as connection:
        pruned = len(read_pruned_runs(connection))
    gone = format_count(pruned, "was", "were")
    return f"holds no run: {gone} pruned, see elspeth landscape runs" if pruned else "holds no run"


def _refuse_pruned(connection: Connection, name: str, *, others: int) -> None:
    """Raise PrunedRunError if a name identifies a pruned run.

    The prefix of an id identifies a pruned run only if no run in the database matches.
    """
    fitting = [run for run in read_pruned_runs(connection) if name and run.run_id.startswith(name)]
    exact = [run for run in fitting if run.run_id == name]
    if exact or (fitting and not others):
        raise PrunedRunError((exact or fitting)[0])


def recorded_settings(connection: Connection, run_id: str) -> dict[str, object]:
    """Return the settings that a run recorded.

    Other programs may have recorded any JSON. A value that is not an object is returned under an empty key.
    """
    statement = select(runs_table.c.settings_json).where(runs_table.c.run_id == run_id)
    settings: object = json.loads(connection.execute(statement).scalar_one())
    return settings if isinstance(settings, dict) else {"": settings}


def matches_run(name: str, run_id: str) -> bool:
    """Return whether a name matches a run, whatever others do."""
    return name == LATEST or (name != "" and run_id.startswith(name))


def _describe_runs(runs: Sequence[Row[*tuple[Any, ...]]]) -> str:
    """Return the first runs with their status and start."""
    described = [f"{run.run_id} ({run.status}, began {stored_time_text(run.started_at)})" for run in runs[:_LISTED]]
    more = len(runs) - len(described)
    return ", ".join(described) + (f" and {more} more" if more else "") + "; give more of the id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run as lists show it.

    `started_at` is a time in canonical form; a stored value that is not a time is returned as it is. `export_status` is
    None for a run that was never exported. `user_name` and `host_name` describe the process that began the run, and
    `labels_json` holds its labels; each is None if it is not recorded. `at_work` says whether a process is recording a
    running run; it is None for other runs, and for runs of the predecessor, where it cannot be known. `pruned_at` and
    `bag` are the time at which a run was pruned, and the file that its records were moved to.
    """

    run_id: str
    status: str
    started_at: str
    rows: int
    export_status: str | None
    user_name: str | None = None
    host_name: str | None = None
    labels_json: str | None = None
    at_work: bool | None = None
    pruned_at: str | None = None
    bag: str | None = None


def list_runs(url: str) -> list[ListedRun]:
    """Return all runs, oldest first, including pruned runs.

    The database may be of this or an earlier epoch, and is not changed. Raises the error for the database's state if
    its epoch is not known.
    """
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind is StateKind.PREDECESSOR and state.shape is not None:
        tables = shape_tables(state.shape).tables
    elif state.kind in (StateKind.CURRENT, StateKind.OLDER) and state.epoch is not None:
        tables = epoch_tables(state.epoch).tables
    else:
        require_current(state, mask_url(parsed))
        raise AssertionError(state)
    # These columns exist in every epoch, except that the oldest databases of the predecessor lack the last one.
    runs, rows = tables["runs"].c, tables["rows"].c
    export_status = runs.get("export_status", null().label("export_status"))
    count = select(func.count()).where(rows.run_id == runs.run_id).scalar_subquery()
    statement = select(runs.run_id, runs.status, cast(runs.started_at, String), count, export_status).order_by(
        runs.started_at, runs.run_id
    )
    with read_only_connection(parsed) as connection:
        found = connection.execute(statement).all()
        origins = _read_origins(connection, tables)
        secrets = tables.get("run_secrets")  # only runs that can be claimed have one
        claimable = set() if secrets is None else set(connection.scalars(select(secrets.c.run_id)))
        running = {run_id for run_id, status, *_ in found if status == RunStatus.RUNNING and run_id in claimable}
        at_work = claimed_runs(connection, running)
        pruned = read_pruned_runs(connection) if pruned_runs_table.name in tables else []
        listed = [
            ListedRun(
                run_id=run_id,
                status=status,
                started_at=stored_time_text(started_at),
                rows=number,
                export_status=export_status,
                **origins.get(run_id, {}),
                at_work=run_id in at_work if run_id in running else None,
            )
            for run_id, status, started_at, number, export_status in found
        ]
        listed += [
            ListedRun(
                run_id=run.run_id,
                status=run.status,
                started_at=run.started_at,
                rows=run.row_count,
                export_status=None,
                pruned_at=run.pruned_at,
                bag=run.bag_path,
            )
            for run in pruned
        ]
        return sorted(listed, key=lambda run: (run.started_at, run.run_id)) if pruned else listed


def _read_origins(connection: Connection, tables: Mapping[str, Table]) -> dict[str, dict[str, str | None]]:
    """Return the facts about the process that began each run."""
    processes = tables.get("run_processes")
    if processes is None:  # the database is of an earlier epoch
        return {}
    columns = processes.c
    names = ("user_name", "host_name", "labels_json")
    statement = select(columns.run_id, *(cast(columns[name], String) for name in names)).where(columns.attempt == 0)
    return {run_id: dict(zip(names, values, strict=True)) for run_id, *values in connection.execute(statement)}
