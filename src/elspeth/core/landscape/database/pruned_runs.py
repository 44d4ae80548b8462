"""Runs whose records were moved into bags."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, String, cast, insert, or_, select

from elspeth.core.canonical import stored_time_text
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.shapes import table_names
from elspeth_schema.tables import pruned_runs_table

__all__ = [
    "PrunedRun",
    "PrunedRunError",
    "add_pruned_run",
    "has_pruned_runs",
    "read_pruned_runs",
    "require_not_pruned",
]

_columns = pruned_runs_table.c


class PrunedRunError(LandscapeError):
    """The records of a run were moved into a bag."""

    def __init__(self, run: PrunedRun) -> None:
        super().__init__(
            f"run {run.run_id} was pruned at {run.pruned_at}: its records left this database for {run.bag_path}."
            f" Read them there: --from {shlex.quote(run.bag_path)} with explain, rows, outputs and differences;"
            " in place of the run with report and diff"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedRun:
    """The facts that the database keeps about a pruned run.

    Times are texts in canonical form; a stored value that is not a time is returned as it is. `outputs_json` lists the
    outputs that the run published, and `bag_hash` is the SHA-256 of the bag, a zip archive.
    """

    run_id: str
    status: str
    started_at: str
    completed_at: str
    row_count: int
    record_count: int
    outputs_json: str
    bag_path: str
    bag_hash: str
    bag_root: str
    pruned_at: str
    tool: str


_TIMES = ("started_at", "completed_at", "pruned_at")


def read_pruned_runs(
    connection: Connection, *, run_id: str | None = None, holding: Iterable[str] = ()
) -> list[PrunedRun]:
    """Return the pruned runs, by start.

    `run_id` selects a single run, and `holding` the runs whose outputs contain one of the texts.
    """
    # Times are read as text: drivers would fail on a value that is not a time, or outside Python's range.
    selected = [cast(each, String).label(each.name) if each.name in _TIMES else each for each in _columns]
    statement = select(*selected).order_by(_columns.started_at, _columns.run_id)
    if run_id is not None:
        statement = statement.where(_columns.run_id == run_id)
    if conditions := [_columns.outputs_json.contains(text, autoescape=True) for text in holding]:
        statement = statement.where(or_(*conditions))
    rows = connection.execute(statement).mappings()
    return [PrunedRun(**{**row, **_time_texts(row)}) for row in rows]


def _time_texts(row: RowMapping) -> dict[str, Any]:
    return {name: stored_time_text(row[name]) for name in _TIMES}


def has_pruned_runs(connection: Connection) -> bool:
    """Return whether the database has a table of pruned runs.

    Databases of older epochs have none, nor have exports that are read as tables.
    """
    return pruned_runs_table.name in table_names(connection)


def add_pruned_run(connection: Connection, run: PrunedRun) -> None:
    """Record that a run is pruned.

    The triggers then allow the deletion of its records: delete all of them in the same transaction.
    """
    times = {name: datetime.fromisoformat(getattr(run, name)) for name in _TIMES}
    connection.execute(insert(pruned_runs_table), asdict(run) | times)


def require_not_pruned(connection: Connection, run_id: str) -> None:
    """Raise PrunedRunError for a run that was pruned.

    Its records could be deleted again at any time.
    """
    for run in read_pruned_runs(connection, run_id=run_id):
        raise PrunedRunError(run)
