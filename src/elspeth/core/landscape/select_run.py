"""Which run a person means."""

from __future__ import annotations

from sqlalchemy import select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporter import RunNotFoundError
from elspeth_schema.tables import runs_table

__all__ = ["LATEST", "resolve_run"]

LATEST = "latest"
"""Names the run that began last."""


def resolve_run(db: LandscapeDB, name: str) -> str:
    """The id of the run that `name`, an id or `latest`, stands for; RunNotFoundError if there is none."""
    columns = runs_table.c
    statement = select(columns.run_id)
    if name == LATEST:
        statement = statement.order_by(columns.started_at.desc(), columns.run_id.desc()).limit(1)
    else:
        statement = statement.where(columns.run_id == name)
    with db.connection() as connection:
        found = connection.execute(statement).scalar()
    if found is None:
        problem = "holds no run" if name == LATEST else f"holds no run {name!r}"
        message = f"audit database {db.url} {problem}"
        raise RunNotFoundError(message)
    return str(found)
