"""The commands that a database in some state allows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from elspeth.core.landscape.database.state import DatabaseState, StateKind

__all__ = ["Way", "ways"]

_READABLE = frozenset({StateKind.CURRENT, StateKind.OLDER, StateKind.PREDECESSOR})
_WRITABLE = frozenset({StateKind.CURRENT, StateKind.EMPTY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A purpose, with the command for it.

    Words in capitals stand for what the user chooses: NEW for another database, OUTPUT for a new directory.
    """

    purpose: str
    command: str


def ways(state: DatabaseState, url: str) -> tuple[Way, ...]:
    """Return the commands that can be used on a database.

    `url` appears in the commands, so its password must be hidden.
    """
    return tuple(Way(purpose=purpose, command=command) for purpose, command in _ways(state, url, shlex.quote(url)))


def _ways(state: DatabaseState, url: str, quoted: str) -> Iterator[tuple[str, str]]:
    if state.kind is StateKind.OLDER:
        backup = "" if url.startswith("sqlite") else " --no-backup"
        yield "to record into it, migrate it", f"elspeth landscape migrate -d {quoted}{backup}"
    if state.kind is StateKind.PREDECESSOR or (state.kind is StateKind.OLDER and not state.versioned):
        yield "to record beside its runs, adopt them", f"elspeth landscape adopt {quoted} -d NEW"
    if state.kind in _WRITABLE:
        yield "to record a run", f"elspeth run -s SETTINGS --execute  (with landscape.url: {url})"
        yield "to adopt runs of the predecessor", f"elspeth landscape adopt OLD -d {quoted}"
    if state.kind is StateKind.EMPTY:
        yield "to take in an exported run", f"elspeth import EXPORT -d {quoted}"
    if state.kind in _READABLE:
        yield "to list its runs", f"elspeth landscape runs -d {quoted}"
        yield "to export a run", f"elspeth export latest -d {quoted} --format bag -o OUTPUT"
        yield "to explain a row", f"elspeth explain --run latest --row 0 -d {quoted}"
    if state.kind is not StateKind.EMPTY:
        yield "to export all as it is found", f"elspeth export --as-found {quoted} --format bag -o OUTPUT"
