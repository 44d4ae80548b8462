"""Tokens in memory, and the departures that steps send on."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter

from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.rows import RowData
from elspeth.contracts.values import ATOMS, TypedValue, decode_row, encode_row
from elspeth.core.canonical import stable_hash
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import AnswerError

__all__ = [
    "Branch",
    "Departure",
    "Diversion",
    "HashedRow",
    "LiveToken",
    "LostBranch",
    "Onward",
    "changed_fields",
    "copy_row",
    "lose_branch",
    "require_json",
]

_KeptRow = Annotated[RowData, BeforeValidator(decode_row), PlainSerializer(encode_row)]
"""Row data that keeps its types while the token waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedRow:
    """Row data that a step made, with its row hash."""

    row: RowData
    row_hash: str

    @classmethod
    def of(cls, row: RowData) -> HashedRow:
        """Hash row data, or raise CanonicalError."""
        return cls(row=row, row_hash=stable_hash(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch of a fork.

    `group` is the fork group, `join` the coalesce that waits for the branch, or None.
    """

    name: str
    group: str
    join: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversion:
    """The reason why a token was diverted, and the step.

    `file` and `line` are its place in the source, or None if that is unknown.
    """

    reason: str
    step: str
    file: str | None = None
    line: int | None = None


@dataclass(slots=True, kw_only=True)
class LiveToken:
    """A token in memory, with its row data.

    Steps replace `row` and never change it in place, so that the recorded output of one node is the input of the next.
    `row_index` is the index of the source row, `source` the name of its source, and `step_index` the index of the
    token's next visit. The innermost branch is the last. `diversion` says why the token was diverted, if it was, and
    `error_hash` is the hash of that error.
    """

    token_id: str
    row_id: str
    row_index: int
    row: _KeptRow
    row_hash: str
    step_index: Annotated[int, Field(alias="step")] = 0  # waiting items of earlier releases call it "step"
    branches: tuple[Branch, ...] = ()
    error_hash: str | None = None
    source: str | None = None  # waiting items of earlier releases lack it
    diversion: Annotated[Diversion | None, Field(exclude=True)] = None  # a diverted token does not wait

    def state(self) -> JsonObject:
        """Return the token as JSON, to keep while it waits."""
        state: JsonObject = _ADAPTER.dump_python(self, by_alias=True)
        return state

    @classmethod
    def restore(cls, state: object) -> LiveToken:
        """Make the token whose state another process kept."""
        return _ADAPTER.validate_python(state)


_ADAPTER: TypeAdapter[LiveToken] = TypeAdapter(LiveToken)


class Departure(NamedTuple):
    """A token that leaves a node along an edge."""

    token: LiveToken
    wire: Wire


class LostBranch(NamedTuple):
    """The message that the innermost branch will never arrive."""

    branches: tuple[Branch, ...]


Onward = Sequence[Departure | LostBranch]
"""The departures and lost branches that a step sends on, in order."""


def lose_branch(branches: tuple[Branch, ...]) -> Onward:
    """Return the message to the innermost branch's coalesce.

    It is empty if no coalesce waits for the branch.
    """
    return [LostBranch(branches)] if branches and branches[-1].join is not None else []


def copy_row(row: RowData) -> RowData:
    """Copy row data, for plugins that may change it."""
    if all(type(value) in ATOMS for value in row.values()):
        return dict(row)
    return copy.deepcopy(row)


def require_json(row: RowData) -> None:
    """Raise AnswerError for row data that cannot be kept.

    A row that waits must be kept for the process that may resume the run.
    """
    if not all(type(value) in ATOMS for value in row.values()):
        try:
            json.dumps(encode_row(row))
        except (TypeError, ValueError, RecursionError) as error:
            raise AnswerError(str(error)) from error  # the message names a type, no value


def changed_fields(before: RowData, after: RowData) -> list[str]:
    """Return the sorted names of fields added, removed or changed."""
    changed = [name for name in after if name not in before or _differ(before[name], after[name])]
    return sorted(changed + [name for name in before if name not in after])


def _differ(before: object, after: object) -> bool:
    """Return whether two values differ, in value or kind."""
    return before != after or (isinstance(before, TypedValue) != isinstance(after, TypedValue))
