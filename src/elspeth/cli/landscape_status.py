"""What there is to say of an audit database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from elspeth.cli.text import aligned
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database.bookkeeping import Step, steps_taken
from elspeth.core.landscape.database.connections import looking, parsed_url, shown
from elspeth.core.landscape.database.messages import message_of
from elspeth.core.landscape.database.state import Condition, State, look
from elspeth_schema import EPOCH

__all__ = ["Examined", "examine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The state of a database, and the history of its tables as far as it keeps one."""

    url: str
    state: State
    history: tuple[Step, ...]

    @property
    def message(self) -> str:
        """The state in words, and what to do; what an older one lacks stands elsewhere."""
        return message_of(self.state, self.url, listed=False)

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
    parsed = parsed_url(url)
    state = look(parsed)
    history: list[Step] = []
    if state.versioned and state.kind is not Condition.DIVERGED:
        with looking(parsed) as connection:
            history = steps_taken(connection)
    return Examined(url=shown(parsed), state=state, history=tuple(history))
