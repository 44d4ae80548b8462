"""What to tell about a database: what was found and expected, what is safe now, and the one command."""

from __future__ import annotations

import shlex

from elspeth.core.landscape.database.errors import (
    DivergedDatabaseError,
    ForeignDatabaseError,
    NewerDatabaseError,
    OlderDatabaseError,
    SchemaCompatibilityError,
)
from elspeth.core.landscape.database.state import NEWEST_UNVERSIONED, Condition, State
from elspeth_schema import EPOCH

__all__ = ["message_of", "refuse_unless_current"]

_LISTED = 5
"""How many differences a message lists."""

_ERRORS: dict[Condition, type[SchemaCompatibilityError]] = {
    Condition.EMPTY: ForeignDatabaseError,
    Condition.OLDER: OlderDatabaseError,
    Condition.NEWER: NewerDatabaseError,
    Condition.FOREIGN: ForeignDatabaseError,
    Condition.DIVERGED: DivergedDatabaseError,
}


def refuse_unless_current(state: State, url: str) -> None:
    """Raise the error that belongs to the state, unless the database can be used as it is."""
    if state.kind is not Condition.CURRENT:
        raise _ERRORS[state.kind](message_of(state, url))


def message_of(state: State, url: str, *, listed: bool = True) -> str:
    """Describe the database at the URL, whose password is hidden.

    What an older one lacks is left out unless it is to be `listed`.
    """
    return f"audit database {url} {_verdict(state, shlex.quote(url), listed=listed)}"


def _verdict(state: State, url: str, *, listed: bool) -> str:
    differences = _list(state.differences, "; ")
    match state.kind:
        case Condition.EMPTY:
            return "is empty: it holds no runs. A run with it as landscape.url creates the tables."
        case Condition.CURRENT:
            return f"is of epoch {EPOCH}, as this version expects."
        case Condition.OLDER:
            return (
                f"is of epoch {state.epoch}, this version records in epoch {EPOCH}"
                f"{f': {differences}' if listed else ''}. "
                "Nothing was changed. Reading it is safe as it is (elspeth export, explain, landscape runs). "
                f"To record into it, run: elspeth landscape migrate -d {url}"
            )
        case Condition.NEWER if state.epoch is None:
            return (
                f"was written by a later release of the predecessor: of its {state.tables} tables, epoch "
                f"{NEWEST_UNVERSIONED}, the newest that can be migrated, does not have "
                f"{_list(state.differences, ', ')}. Nothing was changed. "
                "Export it with the release that wrote it, and use another database (landscape.url)."
            )
        case Condition.NEWER:
            return (
                f"is of epoch {state.epoch}, this version knows epochs up to {EPOCH}. Nothing was changed. "
                "Use the version of elspeth that wrote it, or a later one."
            )
        case Condition.FOREIGN:
            return (
                f"is no audit database: it holds other tables ({_list(state.differences, ', ')}). Nothing was changed. "
                "Use another database (landscape.url, or -d)."
            )
        case Condition.DIVERGED:
            return (
                f"{_claim(state)}: {differences}. Nothing was changed. "
                "It cannot be trusted as evidence until the differences are explained: restore a backup, or undo them. "
                f"To list all of them, run: elspeth landscape status -d {url}"
            )


def _claim(state: State) -> str:
    if state.epoch is None:
        return "keeps a history of its tables that cannot be right"
    if state.versioned:
        return f"says that it is of epoch {state.epoch}, but differs from it"
    return f"does not say of which epoch it is, and differs from epoch {state.epoch}, the nearest"


def _list(items: tuple[str, ...], separator: str) -> str:
    more = len(items) - _LISTED
    return separator.join(items[:_LISTED]) + (f"{separator}and {more} more" if more > 0 else "")
