"""Finds lineage events that runs could not send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, or_, select

from elspeth.core.landscape.database.run_log import Happening
from elspeth_schema.tables import run_log_table, runs_table

__all__ = ["UnsentEvents", "read_unsent_events"]

_OF_EVENTS = (Happening.NOT_SENT, Happening.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentEvents:
    """Events of a run that were not sent, and why.

    `noted_at` is the time at which that was recorded, as text in ISO 8601.
    """

    run_id: str
    problem: str
    noted_at: str

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.problem}"


def read_unsent_events(connection: Connection) -> Sequence[UnsentEvents]:
    """Return the unsent events of runs, in log order.

    Pruned runs are left out, because their events are made from their bags.
    """
    text = run_log_table.c.entry_json
    wanted = or_(*(text.contains(f'"entry":"{each}"', autoescape=True) for each in _OF_EVENTS))
    unsent: dict[str, UnsentEvents] = {}
    for entry_json in connection.scalars(select(text).where(wanted).order_by(run_log_table.c.position)):
        match _parse(entry_json):
            case {"entry": Happening.NOT_SENT, "run_id": str(run_id), "problem": str(problem), "time": str(time)}:
                unsent[run_id] = UnsentEvents(run_id=run_id, problem=problem, noted_at=time)
            case {"entry": Happening.SENT, "run_id": str(run_id)}:
                unsent.pop(run_id, None)
    kept = _recorded(connection) if unsent else frozenset()
    return [each for run_id, each in unsent.items() if run_id in kept]


def _parse(entry_json: str) -> object:
    """Return a parsed entry, or None for an altered one.

    `landscape check` reports altered entries.
    """
    try:
        return json.loads(entry_json)
    except ValueError:
        return None


def _recorded(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(runs_table.c.run_id)))
