"""The seven states of an audit database, with their messages."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import URL, Connection, func, select

from elspeth.core.landscape.database.catalog import catalog_digest
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import (
    DivergedDatabaseError,
    ForeignDatabaseError,
    NewerDatabaseError,
    OlderDatabaseError,
    PredecessorDatabaseError,
    SchemaCompatibilityError,
)
from elspeth.core.landscape.database.known_shapes import nearest_shape
from elspeth.core.landscape.database.shapes import (
    TableShape,
    column_names,
    compare_shapes,
    expected_shapes,
    read_shapes,
    table_names,
)
from elspeth.core.landscape.database.tables import FIRST_VERSIONED, epoch_tables
from elspeth.core.landscape.database.triggers import compare_triggers
from elspeth.core.landscape.database.urls import is_in_memory, sqlite_path
from elspeth_schema import EPOCH
from elspeth_schema.tables import schema_migrations_table

__all__ = ["DatabaseState", "StateKind", "describe_state", "detect_state", "read_state", "require_current"]

_NEWEST_UNVERSIONED = FIRST_VERSIONED - 1
"""The last epoch whose databases do not name their epoch."""

_CORE_TABLES = frozenset({"runs", "nodes", "rows", "tokens", "node_states"})
"""Tables of every audit database since the first epoch."""

_LISTED = 5
"""How many differences a message lists."""


class StateKind(StrEnum):
    """The relation of a database to this version."""

    EMPTY = "empty"
    CURRENT = "current"
    OLDER = "older"
    PREDECESSOR = "predecessor"
    NEWER = "newer"
    FOREIGN = "foreign"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """The state of a database, as its tables show it.

    `exists` is false for a SQLite file that has not been created yet. `epoch` is None if it is unknown, `versioned`
    tells whether the database itself names its epoch, and `tables` is the number of tables. `shape` names the known
    shape of the predecessor's tables that the database has, or is nearest to. `differences` are sentences about the
    differences from that epoch or shape; for a foreign database, and for one of an unknown version of the predecessor,
    they are the names of the unknown tables.
    """

    kind: StateKind
    exists: bool = True
    epoch: int | None = None
    versioned: bool = False
    tables: int = 0
    shape: str | None = None
    differences: tuple[str, ...] = ()


def read_state(url: URL) -> DatabaseState:
    """Return the state of the database at the URL.

    The database is not changed. A SQLite file that does not exist is an empty database. Raises LandscapeError if the
    database cannot be read.
    """
    if is_in_memory(url):
        return DatabaseState(kind=StateKind.EMPTY)
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        return DatabaseState(kind=StateKind.EMPTY, exists=False)
    with read_only_connection(url) as connection:
        return detect_state(connection)


def detect_state(connection: Connection) -> DatabaseState:
    """Return the state of an open database."""
    names = table_names(connection)
    if not names:
        return DatabaseState(kind=StateKind.EMPTY)
    if schema_migrations_table.c.to_epoch.name not in column_names(connection, schema_migrations_table.name):
        return _remembered(connection, None, lambda: _detect_unversioned(connection, names))
    epoch = connection.execute(select(func.max(schema_migrations_table.c.to_epoch))).scalar()
    return _remembered(connection, epoch, lambda: _detect_versioned(connection, names, epoch))


_states: dict[tuple[str, object, bytes], DatabaseState] = {}
_REMEMBERED = 100
"""The number of states that are cached, which limits memory."""


def _remembered(connection: Connection, epoch: object, detect: Callable[[], DatabaseState]) -> DatabaseState:
    """Return the state, detected once per catalog and epoch.

    A command needs the state several times, and reflection takes longer than most of its other work.
    """
    key = (connection.dialect.name, epoch, catalog_digest(connection))
    if key not in _states:
        if len(_states) == _REMEMBERED:
            _states.clear()
        _states[key] = detect()
    return _states[key]


def _detect_versioned(connection: Connection, names: AbstractSet[str], epoch: object) -> DatabaseState:
    # A column of integers can hold any value in SQLite.
    if not isinstance(epoch, int) or epoch < FIRST_VERSIONED:
        wrong = [f"schema_migrations: expected an epoch from {FIRST_VERSIONED} on, got {epoch}"]
        return DatabaseState(kind=StateKind.DIVERGED, versioned=True, tables=len(names), differences=tuple(wrong))
    if epoch > EPOCH:
        return DatabaseState(kind=StateKind.NEWER, epoch=epoch, versioned=True, tables=len(names))
    expected = _expected(connection, epoch)
    found = read_shapes(connection, expected)
    wrong = compare_shapes(expected, found)
    if epoch == EPOCH:
        wrong += compare_triggers(connection, expected)
    if not wrong and epoch < EPOCH:
        return _older(connection, epoch, found, versioned=True)
    kind = StateKind.DIVERGED if wrong else StateKind.CURRENT
    return DatabaseState(kind=kind, epoch=epoch, versioned=True, tables=len(names), differences=tuple(wrong))


def _detect_unversioned(connection: Connection, names: AbstractSet[str]) -> DatabaseState:
    """Return the state of a database without a history.

    It belongs to the predecessor, has lost its history, or is not an audit database.
    """
    if not names >= _CORE_TABLES:
        return DatabaseState(kind=StateKind.FOREIGN, tables=len(names), differences=tuple(sorted(names)))
    expected = {epoch: _expected(connection, epoch) for epoch in range(EPOCH, 0, -1)}
    found = read_shapes(connection, set().union(*expected.values()))
    candidates = {epoch: compare_shapes(tables, found) for epoch, tables in expected.items()}
    nearest = min(candidates, key=lambda epoch: len(candidates[epoch]))
    unknown = [f"table {name} is not expected" for name in sorted(names - expected[nearest].keys())]
    wrong = [*candidates[nearest], *unknown]
    if nearest <= _NEWEST_UNVERSIONED and not wrong:
        return _older(connection, nearest, found, versioned=False)
    resemblance = nearest_shape(connection, frozenset(names))
    if not resemblance.is_known and nearest > _NEWEST_UNVERSIONED and len(wrong) <= len(resemblance.columns):
        return DatabaseState(kind=StateKind.DIVERGED, epoch=nearest, tables=len(names), differences=tuple(wrong))
    return DatabaseState(
        kind=StateKind.PREDECESSOR if resemblance.is_known else StateKind.DIVERGED,
        tables=len(names),
        shape=resemblance.shape.name,
        differences=(*resemblance.columns, *resemblance.others),
    )


def _expected(connection: Connection, epoch: int) -> dict[str, TableShape]:
    return expected_shapes(epoch_tables(epoch), connection.dialect)


def _older(connection: Connection, epoch: int, found: Mapping[str, TableShape], *, versioned: bool) -> DatabaseState:
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
    return DatabaseState(
        kind=StateKind.OLDER, epoch=epoch, versioned=versioned, tables=len(found), differences=tuple(lacking)
    )


# -- messages --------------------------------------------------------------------------------------------------------

_ERRORS: dict[StateKind, type[SchemaCompatibilityError]] = {
    StateKind.EMPTY: ForeignDatabaseError,
    StateKind.OLDER: OlderDatabaseError,
    StateKind.PREDECESSOR: PredecessorDatabaseError,
    StateKind.NEWER: NewerDatabaseError,
    StateKind.FOREIGN: ForeignDatabaseError,
    StateKind.DIVERGED: DivergedDatabaseError,
}


def require_current(state: DatabaseState, url: str) -> None:
    """Raise the SchemaCompatibilityError of a state, unless it is CURRENT.

    `url` appears in the message, so its password must be hidden.
    """
    if state.kind is not StateKind.CURRENT:
        raise _ERRORS[state.kind](describe_state(state, url))


def describe_state(state: DatabaseState, url: str, *, listed: bool = True) -> str:
    """Describe a state, and say what to do.

    `url` appears in the text, so its password must be hidden. `listed` tells whether to list what an older database
    lacks.
    """
    return f"audit database {url} {_verdict(state, shlex.quote(url), listed=listed)}"


def _verdict(state: DatabaseState, url: str, *, listed: bool) -> str:
    differences = _list(state.differences, "; ")
    match state.kind:
        case StateKind.EMPTY:
            if not state.exists:
                return "does not exist: its path may be wrong. A run with it as landscape.url creates it."
            return "is empty: it holds no runs. A run with it as landscape.url creates the tables."
        case StateKind.CURRENT:
            return f"is of epoch {EPOCH}, as this version expects."
        case StateKind.OLDER:
            return (
                f"is of epoch {state.epoch}, this version records in epoch {EPOCH}"
                f"{f': {differences}' if listed else ''}. "
                "Nothing was changed. Reading it is safe as it is (elspeth export, explain, landscape runs). "
                f"To record into it, run: elspeth landscape migrate -d {url}"
            )
        case StateKind.PREDECESSOR:
            exceptions = f", except that {differences}" if differences else ""
            return (
                f"has the predecessor's tables of {state.shape}{exceptions}. "
                "Nothing was changed. To adopt its runs in another database, which may be a new one, run: "
                f"elspeth landscape adopt {url} -d NEW"
            )
        case StateKind.NEWER:
            return (
                f"is of epoch {state.epoch}, this version knows epochs up to {EPOCH}. Nothing was changed. "
                "Use the version of elspeth that wrote it, or a later one."
            )
        case StateKind.FOREIGN:
            return (
                f"is not an audit database: it holds other tables ({_list(state.differences, ', ')})."
                " Nothing was changed. Use another database (landscape.url, or -d)."
            )
        case StateKind.DIVERGED:
            return (
                f"{_diverged(state)}: {differences}. Nothing was changed. "
                "It cannot be trusted as evidence until the differences are explained: restore a backup, or undo them. "
                f"To list all of them, run: elspeth landscape status -d {url}"
            )


def _diverged(state: DatabaseState) -> str:
    if state.shape is not None:
        return f"does not name its epoch, and differs from the predecessor's tables of {state.shape}, the nearest"
    if state.epoch is None:
        return "has an impossible history of migrations"
    if state.versioned:
        return f"claims to be of epoch {state.epoch}, but differs from it"
    return f"does not name its epoch, and differs from epoch {state.epoch}, the nearest"


def _list(items: tuple[str, ...], separator: str) -> str:
    more = len(items) - _LISTED
    return separator.join(items[:_LISTED]) + (f"{separator}and {more} more" if more > 0 else "")
