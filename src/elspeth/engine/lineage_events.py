"""Sends the lineage events of a run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.enums import RunStatus
from elspeth.contracts.errors import AuditIntegrityError
from elspeth.contracts.events import log_event
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.recording.base import now
from elspeth.core.settings import Problem, Settings, SettingsError

if TYPE_CHECKING:
    from elspeth.openlineage.sending import Sender

__all__ = ["LineageEvents", "send_again"]

_FAILURES = (AuditIntegrityError, LandscapeError, SQLAlchemyError, OSError)

_WHAT = "openlineage"
"""The name of lineage events in entries of the log of runs."""


class LineageEvents:
    """Sends the events that the settings require.

    No error here fails a run.
    """

    def __init__(self, sender: Sender | None = None, *, deadline_s: float = 0.0, is_kept: bool = True) -> None:
        self._sender = sender
        self._deadline_s = deadline_s
        self._is_kept = is_kept
        self._problem: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Send nothing more, as another process may continue the run."""
        if self._sender is not None:
            self._sender.stop()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the transport that the settings describe.

        Raises SettingsError if the client cannot make this transport.
        """
        section = settings.openlineage
        if section is None:
            return cls()
        from elspeth.openlineage.sending import Sender, TransportError, open_transport  # noqa: PLC0415  start time

        try:
            sender = Sender(open_transport(section.transport))
        except TransportError as error:
            problem = Problem(location=("openlineage", "transport"), message=str(error))
            raise SettingsError("the settings", [problem]) from error
        return cls(sender, deadline_s=section.deadline_seconds, is_kept=settings.landscape.enabled)

    def tell(self, db: LandscapeDB, run_id: str, *, has_failed: bool = False) -> None:
        """Send the newest event that the records contain.

        `has_failed` marks a failed run whose end is not recorded, because its database is not kept.
        """
        if self._sender is None:
            return
        from elspeth.openlineage.events import run_events  # noqa: PLC0415  start time
        from elspeth.openlineage.files import database_records  # noqa: PLC0415

        try:
            records = database_records(db, run_id)
        except _FAILURES as error:
            self._problem = f"a lineage event was not made: {type(error).__name__}"
            return
        if has_failed:
            records = replace(records, run=replace(records.run, status=RunStatus.FAILED, completed_at=now()))
        self._sender.send(run_events(records)[-1])

    def finish(self, db: LandscapeDB, run_id: str) -> list[str]:
        """Wait until all events are sent, and return problems.

        A problem is recorded in the log of runs, because the records of the run are sealed. A crash here leaves a run
        whose last event may not have been sent; `elspeth export --format openlineage` makes it again.
        """
        if self._sender is None:
            return []
        problem = self._wait()
        if problem is None:
            return []
        log_event(logging.WARNING, "lineage_not_sent", problem)
        if self._is_kept:
            try:
                with db.write_transaction() as connection:
                    ensure_log(connection)
                    append_entry(connection, Happening.NOT_SENT, problem=problem, run_id=run_id, what=_WHAT)
            except _FAILURES as error:
                problem = f"{problem}; this could not be recorded: {type(error).__name__}"
        return [problem]

    def send_recorded(self, db: LandscapeDB, run_id: str) -> str | None:
        """Send all events of a recorded run and wait.

        Returns which events were not sent, and why, or None.
        """
        if self._sender is None:
            return None
        from elspeth.openlineage.events import run_events  # noqa: PLC0415  start time
        from elspeth.openlineage.files import database_records  # noqa: PLC0415

        for event in run_events(database_records(db, run_id)):
            self._sender.send(event)
        return self._wait()

    def _wait(self) -> str | None:
        return None if self._sender is None else self._sender.finish(self._deadline_s) or self._problem


def send_again(db: LandscapeDB, settings: Settings, run_id: str) -> str | None:
    """Send the events that a run could not send.

    Returns which events were not sent, and why, or None. Success is recorded in the log of runs. After a crash before
    that, the events are sent once more, and catalogues treat them as the same. Raises SettingsError if the client
    cannot make the transport.
    """
    with LineageEvents.of(settings) as events:
        problem = events.send_recorded(db, run_id)
    if problem is None:
        with db.write_transaction() as connection:
            ensure_log(connection)
            append_entry(connection, Happening.SENT, run_id=run_id, what=_WHAT)
    return problem
