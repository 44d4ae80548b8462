"""Tokens on their way through the graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from elspeth.contracts.plugins import Row
from elspeth.core.settings.wiring import Place

__all__ = ["Branch", "Token", "independent"]

_ATOMS = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch that a token is on since the fork `group`. `join` is the coalesce that waits for it, if one does."""

    name: str
    group: str
    join: Place | None


@dataclass(slots=True, kw_only=True)
class Token:
    """A token: the row that it carries with its hash, how many nodes it has visited, the branches it is on.

    The innermost branch comes last. The row is never changed: a node that makes another one makes a new object, so
    that what is recorded as one node's output is the next node's input. `error_hash` is that of the error which
    diverted the token.
    """

    token_id: str
    row_id: str
    row: Row
    row_hash: str
    step: int = 0
    branches: tuple[Branch, ...] = ()
    error_hash: str | None = None


def independent(row: Row) -> Row:
    """A copy of a row that its receiver may change without changing the row."""
    if all(type(value) in _ATOMS for value in row.values()):
        return dict(row)
    return copy.deepcopy(row)
