"""The events of a run, written to its log.

They go to the logger `elspeth.events` of the standard library, which is silent by default. Their messages and facts
repeat no values of rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Event", "event_of", "events_of_run", "log_event"]

_LOGGER = logging.getLogger("elspeth.events")

_run_id: ContextVar[str | None] = ContextVar("run_id", default=None)


class Event(NamedTuple):
    """The name of an event, and facts for programs."""

    name: str
    facts: dict[str, object]


def log_event(level: int, name: str, message: str, **facts: object) -> None:
    """Log an event at a level of `logging`.

    The message is for people, the facts are for programs.
    """
    if _LOGGER.isEnabledFor(level):
        run_id = _run_id.get()
        run = {} if run_id is None else {"run_id": run_id}
        _LOGGER.log(level, "%s", message, extra={"event": Event(name, {**run, **facts})})


def event_of(record: logging.LogRecord) -> Event | None:
    """Return the event in a log record, or None."""
    event = getattr(record, "event", None)
    return event if isinstance(event, Event) else None


@contextmanager
def events_of_run(run_id: str) -> Iterator[None]:
    """Add the run's id to all events of the block."""
    token = _run_id.set(run_id)
    try:
        yield
    finally:
        _run_id.reset(token)
