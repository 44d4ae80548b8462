"""The log of runs: what happened to them, in order.

An entry is a row of canonical JSON. It is appended in the same transaction as the change that it reports, and never
altered. A Merkle tree (RFC 9162) covers the texts of the entries. The first entry gives the log a random name, which
identifies this incarnation of the database.

Positions have no gaps, because they are assigned under the write lock of SQLite, or under an advisory lock of the
PostgreSQL transaction. Append at the end of a transaction, because other writers wait for it.
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
"""The first part of a log's origin; a slash and the name of the log follow."""

_ADVISORY_LOCK = 6_913_077_402_188_530_621
"""The advisory lock on the end of the log on PostgreSQL; the number was chosen at random."""

_FETCH = 10_000
"""The number of entries fetched at a time, which limits memory."""


class Happening(StrEnum):
    """The kinds of entries."""

    CREATED = "created"
    """The database was created."""
    MIGRATED = "migrated"
    """The database was migrated. A database of an older epoch begins its log with this."""
    LOST = "lost"
    """The log was empty although runs had been recorded in this epoch: somebody removed it."""
    FOUND = "found"
    """The database held this run when the log began."""
    BEGUN = "begun"
    ENDED = "ended"
    IMPORTED = "imported"
    ADOPTED = "adopted"
    PURGED = "purged"
    """Payloads are deleted."""
    PRUNED = "pruned"
    """The records of a run are moved into a bag."""
    NOT_SENT = "not_sent"
    """Something about a run, such as lineage events, could not be sent to its receivers."""
    SENT = "sent"
    """Something that could not be sent at first was sent later."""


def append_entry(connection: Connection, happening: Happening, **members: object) -> None:
    """Append an entry within the caller's transaction.

    The transaction must be for writing, and the caller must have called `ensure_log` before the logged change.
    """
    lock_log(connection)
    _insert(connection, log_size(connection), happening, members)


def ensure_log(connection: Connection) -> None:
    """Begin the log of an older database, if needed.

    It is needed after a migration by script, or if somebody removed the log.
    """
    if not log_size(connection):
        lock_log(connection)
        if not log_size(connection):  # another process may have begun it first
            _begin_late(connection)


def begin_log(connection: Connection) -> None:
    """Begin the log of a new database."""
    _insert(connection, 0, Happening.CREATED, {"epoch": EPOCH, "log": _new_name()})


def log_migration(connection: Connection, from_epoch: int) -> None:
    """Append the migration into today's epoch.

    In a database of an older epoch, this entry begins the log, and entries for its runs follow.
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
    """Return the origin, the name of the log in checkpoints.

    Raises LandscapeError unless the first entry names the log.
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

    Read-only connections to PostgreSQL always do. For SQLite a transaction must be begun, which Python does only before
    a write.
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
    """Return id, status and root of the runs, oldest first."""
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
