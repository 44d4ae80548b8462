"""The migration as SQL, for those who run it themselves."""

from __future__ import annotations

from alembic.migration import MigrationContext
from alembic.operations import Operations

from elspeth.core.landscape.database.bookkeeping import step_record
from elspeth.core.landscape.database.connections import parsed_url, shown
from elspeth.core.landscape.database.messages import refuse_unless_current
from elspeth.core.landscape.database.state import Condition, look
from elspeth.core.landscape.migration.upgrade import run_steps

__all__ = ["migration_sql"]

_AROUND = {
    # The shell would go on after an error, and commit what is left.
    "sqlite": (
        [".bail on", "PRAGMA foreign_keys = OFF;", "BEGIN EXCLUSIVE;"],
        ["COMMIT;", "PRAGMA foreign_key_check;"],
    ),
    "postgresql": (["\\set ON_ERROR_STOP on", "SET client_min_messages = warning;", "BEGIN;"], ["COMMIT;"]),
}
"""What comes first and last in a script for `sqlite3` or `psql`."""


def migration_sql(url: str) -> list[str]:
    """The script that migrates the database; nothing if it is of today's epoch. It proves nothing: back up first.

    Raises the error of the database's state if it is neither.
    """
    parsed = parsed_url(url)
    state = look(parsed)
    if state.kind is Condition.CURRENT:
        return []
    if state.kind is not Condition.OLDER or state.epoch is None:
        refuse_unless_current(state, shown(parsed))
        raise AssertionError(state)
    lines = _Lines()
    engine = parsed.get_backend_name()
    context = MigrationContext.configure(
        dialect_name=engine, opts={"as_sql": True, "output_buffer": lines, "literal_binds": True}
    )
    run_steps(context, state.epoch)
    Operations(context).execute(step_record(from_epoch=state.epoch, tables={}))
    first, last = _AROUND[engine]
    return [*first, *lines.written, *last]


class _Lines:
    """Collects what Alembic would send, one statement per item."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        """Take one piece of Alembic's output."""
        if text.strip():
            self.written.append(text.strip())

    def flush(self) -> None:
        """Nothing is held back."""
