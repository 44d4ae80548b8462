"""The places for checkpoints, and which are overdue.

A run names its places when it begins, so that a place is also overdue if the process was killed between the end of its
run and the checkpoint. The owner of the database can change all this: it is a reminder, not a proof.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, update

from elspeth.contracts.errors import format_count
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.run_log import Happening, lock_log, read_log
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.notes import Note
from elspeth_schema.tables import log_places_table

__all__ = [
    "OverdueCheckpoint",
    "forget_places",
    "left_notes",
    "name_places",
    "newest_note",
    "overdue_checkpoints",
    "record_attempt",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueCheckpoint:
    """A place that lacks the newest checkpoint.

    `log_size` is the size of the last checkpoint that was left there, or None if there was none.
    """

    place: str
    problem: str
    log_size: int | None
    attempted_at: datetime | None

    def __str__(self) -> str:
        kept = (
            "no checkpoint was left there"
            if self.log_size is None
            else f"the last one covers {format_count(self.log_size, 'entry', 'entries')}"
        )
        return f"{self.place}: {kept}: {self.problem}"


def name_places(db: LandscapeDB, places: Sequence[str], run_id: str) -> None:
    """Record that a run will leave checkpoints at these places."""
    columns = log_places_table.c
    with db.write_transaction() as connection:
        lock_log(connection)
        known = set(connection.scalars(select(columns.place)))
        for place in places:
            if place in known:
                connection.execute(update(log_places_table).where(columns.place == place).values(named_by=run_id))
            else:
                connection.execute(insert(log_places_table).values(place=place, named_by=run_id))


def record_attempt(db: LandscapeDB, place: str, note: Note | None, problem: str | None) -> None:
    """Record the result of leaving a checkpoint at a place.

    `note` is the checkpoint, or None if none was left. A place that was forgotten in the meantime stays forgotten.
    """
    columns = log_places_table.c
    values: dict[str, object] = {"problem": problem, "attempted_at": datetime.now(UTC)}
    with db.write_transaction() as connection:
        lock_log(connection)
        before = connection.scalar(select(columns.log_size).where(columns.place == place))
        if note is not None:
            size = Checkpoint.parse(note.text, place).size
            # A slower process must not overwrite the result of a faster one.
            if before is None or size >= before:
                values |= {"log_size": size, "note": note.to_bytes().decode()}
        connection.execute(update(log_places_table).where(columns.place == place).values(values))


def forget_places(db: LandscapeDB, kept: Sequence[str]) -> list[str]:
    """Forget all places but these, and return their names."""
    columns = log_places_table.c
    with db.write_transaction() as connection:
        lock_log(connection)
        gone = list(connection.scalars(select(columns.place).where(columns.place.not_in(kept)).order_by(columns.place)))
        connection.execute(delete(log_places_table).where(columns.place.in_(gone)))
    return gone


def newest_note(connection: Connection) -> str | None:
    """Return the largest checkpoint that was left somewhere."""
    columns = log_places_table.c
    statement = select(columns.note).where(columns.note.is_not(None)).order_by(columns.log_size.desc(), columns.place)
    return connection.scalar(statement.limit(1))


def left_notes(connection: Connection) -> dict[str, str]:
    """Return the checkpoints that were left, by place."""
    columns = log_places_table.c
    found = connection.execute(select(columns.place, columns.note).where(columns.note.is_not(None)))
    return {row.place: row.note for row in found}


def overdue_checkpoints(connection: Connection) -> Iterator[OverdueCheckpoint]:
    """Yield the places where a checkpoint is overdue."""
    columns = log_places_table.c
    rows = connection.execute(select(log_places_table).order_by(columns.place)).all()
    for row in rows:
        problem = row.problem
        if problem is None and _has_ended_since(connection, row.named_by, row.log_size or 0):
            problem = f"run {row.named_by} has ended since, and its process left none"
        if problem is not None:
            yield OverdueCheckpoint(
                place=row.place, problem=problem, log_size=row.log_size, attempted_at=row.attempted_at
            )


def _has_ended_since(connection: Connection, run_id: str, size: int) -> bool:
    """Return whether a run's end is among the later entries."""
    # PostgreSQL's cursor is read to its end, so that the connection is free again.
    return sum(_is_end_of(run_id, text) for _, text in read_log(connection, size)) > 0


def _is_end_of(run_id: str, text: str) -> bool:
    try:
        entry = json.loads(text)
        return bool((entry["entry"], entry.get("run_id")) == (Happening.ENDED, run_id))
    except (ValueError, TypeError, AttributeError, KeyError):
        return False  # `landscape check` reports altered entries
