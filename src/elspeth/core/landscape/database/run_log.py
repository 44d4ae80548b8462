"""The log of runs: what happened, in order.

Each entry is appended by the transaction that does what it says, and is never changed: a row of canonical JSON. The log
has a Merkle tree (RFC 9162) over the texts of its entries. Its first entry gives the log a random name, the incarnation
of the database.

Positions have no gaps: they are given out under the write lock of SQLite, or under an advisory lock of the PostgreSQL
transaction. Append last in a transaction, as others wait for its end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from secrets import token_hex
from typing import NoReturn

from sqlalchemy import Connection, Row, func, insert, select

from elspeth.core.canonical import canonical_json, timestamp_text
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth_schema import EPOCH
from elspeth_schema.tables import run_log_table, runs_table, schema_migrations_table, seals_table

__all__ = [
    "ORIGIN",
    "Happening",
    "append_entry",
    "begin_log",
    "ensure_log",
    "lock_log",
    "log_migration",
    "log_origin",
    "log_size",
    "read_log",
    "read_one_state",
]

ORIGIN = "elspeth.local"
"""The origin of a log is this name, a slash and the name of the log."""

_ADVISORY_LOCK = 6_913_077_402_188_530_621
"""Lock on the end of the log on PostgreSQL; the number was chosen at random."""

_FETCH = 10_000
"""Entries fetched at once; bounds memory."""


class Happening(StrEnum):
    """What an entry tells of."""

    CREATED = "created"
    """The database was created."""
    MIGRATED = "migrated"
    """The database was migrated; an older one begins its log with this."""
    LOST = "lost"
    """The log was empty although runs had been recorded in this epoch: somebody removed it."""
    FOUND = "found"
    """A run that was there when the log began."""
    BEGUN = "begun"
    ENDED = "ended"
    IMPORTED = "imported"
    ADOPTED = "adopted"
    PURGED = "purged"
    """Payloads are deleted."""
    PRUNED = "pruned"
    """The records of a run are deleted, and kept in a bag."""
    NOT_SENT = "not_sent"
    """Something about a run could not be sent to those who wait for it, such as lineage events."""
    SENT = "sent"
    """What could not be sent was sent later."""


def append_entry(connection: Connection, happening: Happening, **members: object) -> None:
    """Append an entry within the caller's transaction.

    That must write, and have called `ensure_log` before it changed anything that is logged.
    """
    lock_log(connection)
    _insert(connection, log_size(connection), happening, members)


def ensure_log(connection: Connection) -> None:
    """Begin the log of an older database, if needed.

    It is after a migration by script, or if somebody removed it.
    """
    if not log_size(connection):
        lock_log(connection)
        if not log_size(connection):  # another process may have been faster
            _begin_late(connection)


def begin_log(connection: Connection) -> None:
    """Begin the log of a new database."""
    _insert(connection, 0, Happening.CREATED, {"epoch": EPOCH, "log": _new_name()})


def log_migration(connection: Connection, from_epoch: int) -> None:
    """Append the migration into today's epoch.

    An older database begins its log with it, and with the runs that are there.
    """
    if log_size(connection):
        append_entry(connection, Happening.MIGRATED, epoch=EPOCH, from_epoch=from_epoch)
    else:
        ensure_log(connection)


def log_size(connection: Connection) -> int:
    """Return the position after the last entry."""
    last: int | None = connection.scalar(select(func.max(run_log_table.c.position)))
    return 0 if last is None else last + 1


def log_origin(connection: Connection) -> str:
    """Return the name under which checkpoints know the log.

    Raises LandscapeError for a log without a first entry that names it.
    """
    columns = run_log_table.c
    first: str | None = connection.scalar(select(columns.entry_json).where(columns.position == 0))
    if first is None:
        raise LandscapeError("the log of runs is empty. It begins with the next run, or was removed")
    try:
        name = json.loads(first)["log"]
    except (ValueError, TypeError, KeyError):
        name = None
    if not isinstance(name, str):
        _refuse_first_entry()
    return f"{ORIGIN}/{name}"


def read_log(connection: Connection, first: int = 0) -> Iterator[tuple[int, str]]:
    """Yield positions and entries in order, unchecked.

    They begin with the position `first`.
    """
    columns = run_log_table.c
    statement = select(columns.position, columns.entry_json).where(columns.position >= first).order_by(columns.position)
    for rows in connection.execute(statement, execution_options={"yield_per": _FETCH}).partitions():
        yield from ((position, entry) for position, entry in rows)


def read_one_state(connection: Connection) -> None:
    """Let all further reads see the same state.

    PostgreSQL's connections for reading do that anyway. For SQLite, Python begins no transaction before a write.
    """
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")


def lock_log(connection: Connection) -> None:
    """Wait until the log's last entry is committed.

    SQLite's transaction holds the write lock already.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def _begin_late(connection: Connection) -> None:
    columns = schema_migrations_table.c
    before = connection.scalar(select(columns.from_epoch).where(columns.to_epoch == EPOCH))
    happening = Happening.MIGRATED if before else Happening.LOST
    runs = _found_runs(connection)
    members = {"epoch": EPOCH, "from_epoch": before, "log": _new_name(), "runs": len(runs)}
    _insert(connection, 0, happening, members)
    for position, (run_id, status, root) in enumerate(runs, 1):
        _insert(connection, position, Happening.FOUND, {"root": root, "run_id": run_id, "status": status})


def _found_runs(connection: Connection) -> Sequence[Row[str, str, str | None]]:
    """Return key, status and root of the runs, oldest first."""
    runs, seals = runs_table.c, seals_table.c
    joined = runs_table.outerjoin(seals_table, runs.run_id == seals.run_id)
    statement = select(runs.run_id, runs.status, seals.root).select_from(joined)
    return connection.execute(statement.order_by(runs.started_at, runs.run_id)).all()


def _insert(connection: Connection, position: int, happening: Happening, members: Mapping[str, object]) -> None:
    entry = canonical_json({**members, "entry": happening.value, "time": timestamp_text(datetime.now(UTC))})
    connection.execute(insert(run_log_table).values(position=position, entry_json=entry))


def _new_name() -> str:
    return token_hex(16)


def _refuse_first_entry() -> NoReturn:
    raise LandscapeError("the first entry of the log of runs does not name the log: it was altered")
