"""The six states an audit database can be in, told from its tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import URL, Connection, func, select

from elspeth.core.landscape.database.bookkeeping import FIRST_VERSIONED
from elspeth.core.landscape.database.connections import is_in_memory, looking, sqlite_path
from elspeth.core.landscape.database.epoch_tables import tables_of
from elspeth.core.landscape.database.guards import guard_differences
from elspeth.core.landscape.database.shape import (
    TableShape,
    column_names,
    differences,
    expected_shape,
    found_shape,
    table_names,
)
from elspeth_schema import EPOCH
from elspeth_schema.tables import schema_migrations_table

__all__ = ["NEWEST_UNVERSIONED", "Condition", "State", "look", "names_of", "recognise"]

NEWEST_UNVERSIONED = FIRST_VERSIONED - 1
"""Databases up to this epoch do not say of which they are."""

_CORE = frozenset({"runs", "nodes", "rows", "tokens", "node_states"})
"""Tables that every audit database ever had."""


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
    """What a database is, of which epoch as far as that can be said, whether it says so itself, how many tables it has.

    `differences` are those from the tables of that epoch, one sentence each; for an older database what it lacks, for
    a foreign one and one of a later release of the predecessor the names of the tables that are not known.
    """

    kind: Condition
    epoch: int | None = None
    versioned: bool = False
    tables: int = 0
    differences: tuple[str, ...] = ()


def look(url: URL) -> State:
    """The state of the database at the URL; changes nothing. A SQLite file that does not exist is an empty database.

    LandscapeError if the database cannot be read.
    """
    if is_in_memory(url) or (url.get_backend_name() == "sqlite" and not sqlite_path(url).exists()):
        return State(kind=Condition.EMPTY)
    with looking(url) as connection:
        return recognise(connection)


def recognise(connection: Connection) -> State:
    """The state of the database; changes nothing."""
    names = table_names(connection)
    if not names:
        return State(kind=Condition.EMPTY)
    if schema_migrations_table.c.to_epoch.name in column_names(connection, schema_migrations_table.name):
        return _versioned(connection, names)
    return _unversioned(connection, names)


def _versioned(connection: Connection, names: AbstractSet[str]) -> State:
    epoch = connection.execute(select(func.max(schema_migrations_table.c.to_epoch))).scalar()
    # SQLite keeps anything in a column of numbers.
    if not isinstance(epoch, int) or epoch < FIRST_VERSIONED:
        wrong = [f"schema_migrations: expected an epoch from {FIRST_VERSIONED} on, got {epoch}"]
        return State(kind=Condition.DIVERGED, versioned=True, tables=len(names), differences=tuple(wrong))
    if epoch > EPOCH:
        return State(kind=Condition.NEWER, epoch=epoch, versioned=True, tables=len(names))
    expected = _expected(connection, epoch)
    found = found_shape(connection, expected)
    wrong = differences(expected, found)
    if epoch == EPOCH:
        wrong += guard_differences(connection, expected)
    if wrong:
        return State(kind=Condition.DIVERGED, epoch=epoch, versioned=True, tables=len(names), differences=tuple(wrong))
    if epoch < EPOCH:
        return _older(connection, epoch, found, versioned=True)
    return State(kind=Condition.CURRENT, epoch=epoch, versioned=True, tables=len(names))


def _unversioned(connection: Connection, names: AbstractSet[str]) -> State:
    """A database of the predecessor, one of ours that lost its history, or none at all."""
    if not names >= _CORE:
        return State(kind=Condition.FOREIGN, tables=len(names), differences=tuple(sorted(names)))
    expected = {epoch: _expected(connection, epoch) for epoch in range(EPOCH, 0, -1)}
    found = found_shape(connection, set().union(*expected.values()))
    candidates = {epoch: differences(tables, found) for epoch, tables in expected.items()}
    nearest = min(candidates, key=lambda epoch: len(candidates[epoch]))
    unknown = sorted(names - expected[nearest].keys())
    if nearest <= NEWEST_UNVERSIONED and not candidates[nearest] and not unknown:
        return _older(connection, nearest, found, versioned=False)
    if nearest == NEWEST_UNVERSIONED and names > expected[nearest].keys():
        return State(kind=Condition.NEWER, tables=len(names), differences=tuple(unknown))
    wrong = [*candidates[nearest], *(f"table {name} is not expected" for name in unknown)]
    return State(kind=Condition.DIVERGED, epoch=nearest, tables=len(names), differences=tuple(wrong))


def names_of(epoch: int) -> list[str]:
    """Return the names of all tables of a database of an epoch."""
    return list(tables_of(epoch).tables)


def _expected(connection: Connection, epoch: int) -> dict[str, TableShape]:
    return expected_shape(tables_of(epoch), connection.dialect)


def _older(connection: Connection, epoch: int, found: Mapping[str, TableShape], *, versioned: bool) -> State:
    today = _expected(connection, EPOCH)
    tables = [name for name in today if name not in found]
    columns = [
        f"{name}.{column}"
        for name, table in today.items()
        if name in found
        for column in table.columns
        if column not in found[name].columns
    ]
    lacking = [
        f"{what} missing: {', '.join(names)}" for what, names in (("tables", tables), ("columns", columns)) if names
    ]
    return State(kind=Condition.OLDER, epoch=epoch, versioned=versioned, tables=len(found), differences=tuple(lacking))
