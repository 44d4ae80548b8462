"""Which run a person means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.exporting.exporter import RunNotFoundError
from elspeth_schema.tables import runs_table

__all__ = ["LATEST", "AmbiguousRunError", "is_meant", "resolve_run"]

LATEST = "latest"
"""Names the run that began last."""

_LISTED = 5


class AmbiguousRunError(LandscapeError):
    """The beginning of an id stands for several runs."""


def resolve_run(db: LandscapeDB, name: str) -> str:
    """Return the id of the run that `name` stands for: `latest`, an id, or how one id alone begins.

    Raises RunNotFoundError if there is none, AmbiguousRunError if there are several.
    """
    columns = runs_table.c
    statement = select(columns.run_id, columns.status, columns.started_at)
    statement = statement.order_by(columns.started_at.desc(), columns.run_id.desc())
    if name == LATEST:
        statement = statement.limit(1)
    else:
        # LIKE would take no notice of case on SQLite.
        statement = statement.where(func.substr(columns.run_id, 1, len(name)) == name)
    with db.connection() as connection:
        found = connection.execute(statement).all() if name else []
    if not found:
        problem = "holds no run" if name == LATEST else f"holds no run {name!r}"
        raise RunNotFoundError(f"audit database {db.url} {problem}")
    if len(found) == 1 or name in {run.run_id for run in found}:
        return str(found[0].run_id) if len(found) == 1 else name
    raise AmbiguousRunError(f"audit database {db.url} holds {len(found)} runs {name!r}...: {_listed(found)}")


def is_meant(name: str, run_id: str) -> bool:
    """Return whether `name` may stand for a run, if there is no other."""
    return name == LATEST or (name != "" and run_id.startswith(name))


def _listed(runs: Sequence[Row[*tuple[Any, ...]]]) -> str:
    """Return the first runs, with what tells a person which is which."""
    told = [f"{run.run_id} ({run.status}, began {timestamp_text(run.started_at)})" for run in runs[:_LISTED]]
    more = len(runs) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "") + "; give more of the id"
