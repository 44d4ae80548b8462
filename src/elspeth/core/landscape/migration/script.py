"""Writes the migration as an SQL script."""

from __future__ import annotations

from alembic.migration import MigrationContext
from alembic.operations import Operations

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.state import StateKind, read_state, require_current
from elspeth.core.landscape.database.tables import migration_insert
from elspeth.core.landscape.database.urls import parse_url
from elspeth.core.landscape.migration._steps import run_steps

__all__ = ["migration_sql"]

_AROUND = {
    # Without `.bail` or ON_ERROR_STOP the shell continues after an error, and commits the rest.
    "sqlite": (
        [".bail on", "PRAGMA foreign_keys = OFF;", "BEGIN EXCLUSIVE;"],
        ["COMMIT;", "PRAGMA foreign_key_check;"],
    ),
    "postgresql": (["\\set ON_ERROR_STOP on", "SET client_min_messages = warning;", "BEGIN;"], ["COMMIT;"]),
}
"""The first and last lines of a script for `sqlite3` or `psql`."""


def migration_sql(url: str) -> list[str]:
    """Return the script that migrates the database.

    The script is empty if the database is of today's epoch. It does not check its result, so a backup is needed first.
    Raises the error for the database's state if it is neither older nor current.
    """
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind is StateKind.CURRENT:
        return []
    if state.kind is not StateKind.OLDER or state.epoch is None:
        require_current(state, mask_url(parsed))
        raise AssertionError(state)
    lines = _Lines()
    engine = parsed.get_backend_name()
    context = MigrationContext.configure(
        dialect_name=engine, opts={"as_sql": True, "output_buffer": lines, "literal_binds": True}
    )
    run_steps(context, state.epoch)
    Operations(context).execute(migration_insert(from_epoch=state.epoch, tables={}))
    first, last = _AROUND[engine]
    return [*first, *lines.written, *last]


class _Lines:
    """Collects the statements of Alembic, one per item."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        """Add one piece of Alembic's output."""
        if text.strip():
            self.written.append(text.strip())

    def flush(self) -> None:
        """Do nothing, as no output is buffered."""
