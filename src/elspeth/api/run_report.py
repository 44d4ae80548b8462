"""Writes the report of a run that ends."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.errors import AuditIntegrityError, recordable_message
from elspeth.contracts.events import log_event
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.placeholders import fill_placeholders, placeholder_values
from elspeth.core.settings import Settings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import protected_files
from elspeth.objects.address import place_of

__all__ = ["RunReport", "report_at_end"]

_FAILURES = (AuditIntegrityError, LandscapeError, SQLAlchemyError, OSError)


class RunReport:
    """The report of the current run.

    `path` is None until the report is written, `problem` is None unless that failed.
    """

    def __init__(self, db: LandscapeDB, settings: Settings, settings_file: Path | None, *, force: bool) -> None:
        self._db = db
        self._settings = settings
        self._settings_file = settings_file
        self._force = force
        self._run_id: str | None = None
        self.path: str | None = None
        self.problem: str | None = None

    def name_run(self, run_id: str) -> None:
        """Store the id of the run that has begun."""
        self._run_id = run_id

    @property
    def place(self) -> str | None:
        """Return the path of the report, or its command.

        Returns None if the run wrote no report and left no database.
        """
        if self.path is not None or not self._settings.landscape.enabled or self._run_id is None:
            return self.path
        return shlex.join(["elspeth", "report", self._run_id, "-d", self._db.url, "-o", "report.html"])

    def write(self) -> None:
        """Write the report if the run has ended.

        A failure is kept as `problem`, and logged. After a crash there is no report, or an earlier one.
        """
        text = self._settings.landscape.report.path
        if text is None or self._run_id is None:
            return
        try:
            self._write(text, self._run_id)
        except _FAILURES as error:
            self.problem = f"the report could not be written: {error}"
            message = f"the report could not be written: {type(error).__name__}: {recordable_message(error)}"
            log_event(logging.ERROR, "report_failed", message, path=text)

    def _write(self, text: str, run_id: str) -> None:
        run = LandscapeRecorder(self._db).get_run(run_id)
        if run is None or not run.status.is_terminal:
            return
        from elspeth.report.embed import Embed  # noqa: PLC0415  start time
        from elspeth.report.evidence import PageEvidence, read_seal  # noqa: PLC0415
        from elspeth.report.records import open_database_records  # noqa: PLC0415
        from elspeth.report.writing import report_target, write_report  # noqa: PLC0415

        place = place_of(fill_placeholders(text, placeholder_values(run_id, run.started_at)))
        protected = protected_files(Parts.from_settings(self._settings), self._settings_file)
        embed = self._settings.landscape.report.embed
        with (
            report_target(place, protected=protected, force=self._force) as (path, policy),
            open_database_records(self._db, run_id) as records,
        ):
            evidence = PageEvidence(seal=read_seal(records.connection, run_id))
            written = write_report(
                records, path, policy, embed=None if embed is None else Embed(embed), evidence=evidence
            )
        self.path = str(place)
        log_event(logging.INFO, "report_written", f"the report is {place}", path=str(place), records=written.records)


@contextmanager
def report_at_end(
    db: LandscapeDB, settings: Settings, settings_file: Path | None, warn: Callable[[str], None], *, force: bool
) -> Iterator[RunReport]:
    """Write the report when the block ends or fails.

    Writes no report of a run that was interrupted and can be resumed. If the report fails, `warn` is called with the
    problem, so that it does not hide an error of the run.
    """
    report = RunReport(db, settings, settings_file, force=force)
    try:
        yield report
    finally:
        report.write()
        if report.problem is not None:
            warn(report.problem)
