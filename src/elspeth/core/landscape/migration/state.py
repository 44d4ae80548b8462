"""The six states an audit database can be in, told from its tables alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import URL, Connection, func, select

from elspeth.core.landscape.engines import is_in_memory, looking_engine, sqlite_path
from elspeth.core.landscape.errors import (
    DivergedDatabaseError,
    ForeignDatabaseError,
    NewerDatabaseError,
    OlderDatabaseError,
    SchemaCompatibilityError,
)
from elspeth.core.landscape.migration.bookkeeping import bookkeeping_tables, schema_migrations_table
from elspeth.core.landscape.migration.shape import (
    TableShape,
    differences,
    expected_shape,
    found_shape,
    found_triggers,
)
from elspeth_schema import EPOCH, triggers
from elspeth_schema.migrations import revision

__all__ = ["Condition", "State", "look", "message_of", "recognise", "refuse_unless_current"]

_UNVERSIONED = (4, 3, 2, 1)
"""Epochs whose databases do not say which they are, newest first."""

_CORE = frozenset({"runs", "nodes", "rows", "tokens", "node_states"})
"""Tables that every audit database ever had."""

_SHOWN = 5
"""How many differences a message lists."""


class Condition(StrEnum):
    """What a database is, to this version."""

    EMPTY = "empty"
    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a database is, of which epoch (as far as that can be said), and where its tables differ from that epoch's.

    For an older database the differences are those from today's tables.
    """

    kind: Condition
    epoch: int | None = None
    tables: int = 0
    differences: tuple[str, ...] = ()


def look(url: URL) -> State:
    """The state of the database at the URL; changes nothing. A SQLite file that does not exist is an empty database.

    Raises sqlalchemy.exc.DatabaseError if the database cannot be read.
    """
    if is_in_memory(url) or (url.get_backend_name() == "sqlite" and not sqlite_path(url).exists()):
        return State(kind=Condition.EMPTY)
    with looking_engine(url).connect() as connection:
        return recognise(connection)


def recognise(connection: Connection) -> State:
    """The state of the database; changes nothing."""
    found = found_shape(connection)
    if not found:
        return State(kind=Condition.EMPTY)
    bookkeeping = expected_shape(bookkeeping_tables, connection.dialect)
    if not differences(bookkeeping, found):
        return _versioned(connection, found)
    return _unversioned(connection, found)


def _versioned(connection: Connection, found: dict[str, TableShape]) -> State:
    epoch = connection.execute(select(func.max(schema_migrations_table.c.to_epoch))).scalar()
    if epoch is None:
        return State(kind=Condition.DIVERGED, tables=len(found), differences=("schema_migrations is empty",))
    if epoch > EPOCH:
        return State(kind=Condition.NEWER, epoch=epoch, tables=len(found))
    expected = expected_shape(revision(epoch).metadata, connection.dialect)
    wrong = differences(expected, found)
    if epoch == EPOCH:
        present = found_triggers(connection)
        names = triggers.NAMES[connection.dialect.name]
        wrong += [f"trigger {name} is missing" for name in names if name not in present]
    if wrong:
        return State(kind=Condition.DIVERGED, epoch=epoch, tables=len(found), differences=tuple(wrong))
    if epoch < EPOCH:
        return _older(connection, epoch, found)
    return State(kind=Condition.CURRENT, epoch=epoch, tables=len(found))


def _unversioned(connection: Connection, found: dict[str, TableShape]) -> State:
    """A database of the predecessor, or none at all."""
    if not found.keys() >= _CORE:
        return State(kind=Condition.FOREIGN, tables=len(found))
    candidates: list[tuple[int, list[str]]] = []
    for epoch in _UNVERSIONED:
        expected = expected_shape(revision(epoch).metadata, connection.dialect)
        wrong = differences(expected, found)
        wrong += [f"table {name} is not expected" for name in found if name not in expected]
        if not wrong:
            return _older(connection, epoch, found)
        candidates.append((epoch, wrong))
    nearest = min(candidates, key=lambda candidate: len(candidate[1]))
    newest = revision(max(_UNVERSIONED)).metadata.tables
    if found.keys() > newest.keys():
        return State(kind=Condition.NEWER, tables=len(found))
    return State(kind=Condition.DIVERGED, epoch=nearest[0], tables=len(found), differences=tuple(nearest[1]))


def _older(connection: Connection, epoch: int, found: dict[str, TableShape]) -> State:
    today = expected_shape(revision(EPOCH).metadata, connection.dialect)
    missing = [
        each for each in differences(today, found) if each.startswith(("table ", "column ")) and "missing" in each
    ]
    return State(kind=Condition.OLDER, epoch=epoch, tables=len(found), differences=tuple(missing))


def refuse_unless_current(state: State, url: str) -> None:
    """Raise the error that belongs to the state, unless the database can be used as it is."""
    if state.kind is not Condition.CURRENT:
        raise _ERRORS[state.kind](message_of(state, url))


_ERRORS: dict[Condition, type[SchemaCompatibilityError]] = {
    Condition.EMPTY: ForeignDatabaseError,
    Condition.OLDER: OlderDatabaseError,
    Condition.NEWER: NewerDatabaseError,
    Condition.FOREIGN: ForeignDatabaseError,
    Condition.DIVERGED: DivergedDatabaseError,
}


def message_of(state: State, url: str) -> str:
    """What to tell about the database: what was found and expected, what is safe now, and the one command."""
    shown = "; ".join(state.differences[:_SHOWN])
    if len(state.differences) > _SHOWN:
        shown += f"; and {len(state.differences) - _SHOWN} more"
    name = f"audit database {url}"
    match state.kind:
        case Condition.EMPTY:
            return f"{name} is empty: it holds no runs. A run with it as landscape.url creates the tables."
        case Condition.CURRENT:
            return f"{name} is of epoch {EPOCH}, as this version expects."
        case Condition.OLDER:
            return (
                f"{name} is of epoch {state.epoch}, this version records in epoch {EPOCH}: {shown}. "
                "Nothing was changed. Reading it is safe as it is (elspeth export, explain, landscape runs). "
                f"To record into it, run: elspeth landscape migrate -d {url}"
            )
        case Condition.NEWER if state.epoch is None:
            return (
                f"{name} was written by a later release of the predecessor ({state.tables} tables; the newest that can "
                f"be migrated has {len(revision(max(_UNVERSIONED)).metadata.tables)}). Nothing was changed. "
                "Export it with the release that wrote it, and use another database (landscape.url)."
            )
        case Condition.NEWER:
            return (
                f"{name} is of epoch {state.epoch}, this version knows epochs up to {EPOCH}. Nothing was changed. "
                "Use the version of elspeth that wrote it, or a later one: pip install --upgrade elspeth"
            )
        case Condition.FOREIGN:
            return (
                f"{name} is no audit database: it holds {state.tables} other tables. Nothing was changed. "
                "Use another database (landscape.url, or -d)."
            )
        case Condition.DIVERGED:
            claimed = f"is nearest to epoch {state.epoch}" if state.epoch else "claims to be an audit database"
            return (
                f"{name} {claimed}, but differs from it: {shown}. Nothing was changed. "
                "It cannot be trusted as evidence until the differences are explained: restore a backup, or undo them. "
                f"To list all of them, run: elspeth landscape status -d {url}"
            )
