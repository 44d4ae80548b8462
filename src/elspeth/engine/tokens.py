"""Tokens on their way through the graph."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass

from pydantic import TypeAdapter

from elspeth.contracts.plugins import JsonObject, Row
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import AnswerError

__all__ = ["Branch", "Token", "changed_fields", "independent", "require_json"]

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

    The row is never changed: a node that makes another one makes a new object, so that what is recorded as one node's
    output is the next node's input. `row_index` is the place of its source row in the source. The innermost branch
    comes last. `error_hash` is that of the error which diverted the token.
    """

    token_id: str
    row_id: str
    row_index: int
    row: Row
    row_hash: str
    step: int = 0
    branches: tuple[Branch, ...] = ()
    error_hash: str | None = None

    def state(self) -> JsonObject:
        """The token as JSON, for the time that it waits at a node."""
        state: JsonObject = _ADAPTER.dump_python(self)
        return state

    @classmethod
    def restored(cls, state: object) -> Token:
        """The token that `state` described in another process."""
        return _ADAPTER.validate_python(state)


_ADAPTER: TypeAdapter[Token] = TypeAdapter(Token)


def independent(row: Row) -> Row:
    """A copy of a row that its receiver may change without changing the row."""
    if all(type(value) in _ATOMS for value in row.values()):
        return dict(row)
    return copy.deepcopy(row)


def require_json(row: Row) -> None:
    """AnswerError for a row that JSON cannot hold: one that waits must be there when another process goes on."""
    if not all(type(value) in _ATOMS for value in row.values()):
        try:
            json.dumps(row)
        except (TypeError, ValueError, RecursionError) as error:
            raise AnswerError(str(error)) from error  # which names a type


def changed_fields(before: Row, after: Row) -> list[str]:
    """The fields that one row has and the other has not, or has with another value; sorted."""
    changed = [name for name in after if name not in before or before[name] != after[name]]
    return sorted(changed + [name for name in before if name not in after])
