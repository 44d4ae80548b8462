"""What there is to say of an audit database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from elspeth.cli.text import aligned
from elspeth.contracts.databases import mask_url
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database.connections import parse_url, read_only_connection
from elspeth.core.landscape.database.state import DatabaseState, StateKind, describe_state, read_state
from elspeth.core.landscape.database.tables import Migration, read_migrations
from elspeth_schema import EPOCH

__all__ = ["Examined", "examine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The state of a database, and the history of its tables as far as it keeps one."""

    url: str
    state: DatabaseState
    history: tuple[Migration, ...]

    @property
    def message(self) -> str:
        """The state in words, and what to do; what an older one lacks stands elsewhere."""
        return describe_state(self.state, self.url, listed=False)

    def as_text(self) -> str:
        """All of it for people."""
        return aligned(self._lines())

    def as_data(self) -> dict[str, object]:
        """All of it for programs."""
        return {
            "database": self.url,
            "state": self.state.kind,
            "epoch": self.state.epoch,
            "expected_epoch": EPOCH,
            "differences": list(self.state.differences),
            "history": [
                {
                    "from_epoch": step.from_epoch,
                    "to_epoch": step.to_epoch,
                    "migrated_at": timestamp_text(step.migrated_at),
                    "tool": step.tool,
                    "tables": json.loads(step.tables_json),
                }
                for step in self.history
            ],
        }

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "audit database", self.url
        yield "state", self.state.kind
        yield "epoch", f"{self.state.epoch or 'unknown'} (this version: {EPOCH})"
        for number, difference in enumerate(self.state.differences):
            yield "" if number else "differences", difference
        for number, step in enumerate(self.history):
            what = (
                f"epoch {step.from_epoch} to {step.to_epoch}" if step.from_epoch else f"made at epoch {step.to_epoch}"
            )
            yield "" if number else "history", f"{timestamp_text(step.migrated_at)}  {what}, {step.tool}"


def examine(url: str) -> Examined:
    """Look at the database; LandscapeError if it cannot be read."""
    parsed = parse_url(url)
    state = read_state(parsed)
    history: list[Migration] = []
    if state.versioned and state.kind is not StateKind.DIVERGED:
        with read_only_connection(parsed) as connection:
            history = read_migrations(connection)
    return Examined(url=mask_url(parsed), state=state, history=tuple(history))
