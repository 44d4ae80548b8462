"""Writes the export that a run's settings require."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.enums import ExportStatus
from elspeth.contracts.errors import AuditIntegrityError, recordable_message
from elspeth.contracts.events import log_event
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.contents import find_contents
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat, guess_form
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.seal import sealed_record_count
from elspeth.core.settings import Settings
from elspeth.core.settings.paths import export_compression, export_form
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import RunKeys
from elspeth.engine.reporting import ExportFailedError, Observer, Phase, RunResult
from elspeth.evidence.format.errors import EvidenceError
from elspeth.objects.address import place_of
from elspeth.outputs.policy import OutputRefusedError
from elspeth.outputs.uploads import Upload
from elspeth.outputs.writing import Output

__all__ = ["export_run"]

_FAILURES = (
    AuditIntegrityError,
    EvidenceError,
    LandscapeError,
    SQLAlchemyError,
    OSError,
    RunInterruptedError,
    KeyboardInterrupt,
)

_WITHOUT_VALUES = (EvidenceError, OutputRefusedError)
"""Errors whose messages name keys and paths; those that other work raises may repeat lines of records."""


def export_run(
    db: LandscapeDB,
    result: RunResult,
    output: Output | Upload,
    *,
    settings: Settings,
    keys: RunKeys,
    observer: Observer,
) -> RunResult:
    """Export a completed run, and return the extended result.

    Raises ExportFailedError, with the summary of the run, if the export fails.
    """
    observer.begin(Phase.EXPORT)
    try:
        records = _write_export(db, result.run_id, output, settings=settings, keys=keys, observer=observer)
    except _FAILURES as error:
        message = f"the export failed: {_describe(error)}"
        log_event(logging.ERROR, "export_failed", message, path=str(output.path))
        raise ExportFailedError(result, error) from error
    message = f"{records:,} records were exported to {output.path}"
    log_event(logging.INFO, "run_exported", message, path=str(output.path), records=records)
    return replace(result, export_path=str(output.path), exported_records=records)


def _describe(error: BaseException) -> str:
    """Return an error to record, without values of rows."""
    message = str(error) if isinstance(error, _WITHOUT_VALUES) else recordable_message(error)
    return f"{type(error).__name__}: {message}"


def _write_export(
    db: LandscapeDB, run_id: str, output: Output | Upload, *, settings: Settings, keys: RunKeys, observer: Observer
) -> int:
    """Write the export, and return its number of records.

    A crash leaves the status of the export pending: the run is completed, and can be exported again.
    """
    with db.connection() as connection:
        total = sealed_record_count(connection, run_id)
    export = settings.landscape.export
    form = export_form(export, str(output.path))
    payloads = place_of(settings.payload_store.base_path)
    recorder = LandscapeRecorder(db)
    recorder.set_export_status(run_id, ExportStatus.PENDING, export_format=form.value, export_sink=export.sink)
    try:
        with _target(output) as target:
            records = write_export(
                db,
                run_id,
                target,
                format=form,
                compression=export_compression(export, str(output.path)),
                signing_key=keys.signing_key,
                signer=keys.bag_signer,
                archive=guess_form(Path(str(output.path))) is ExportFormat.BAG,
                contact=keys.contact,
                contents=find_contents(db, run_id, payloads) if export.include_contents else None,
                progress=lambda records: observer.tell_or_stop(records, total),
            )
    except BaseException as error:
        recorder.set_export_status(run_id, ExportStatus.FAILED, error=_describe(error))
        raise
    recorder.set_export_status(run_id, ExportStatus.COMPLETED)
    return records


@contextmanager
def _target(output: Output | Upload) -> Iterator[Output | Path]:
    """Yield the target to which the export is written.

    For an object, this is a file that is uploaded at the end.
    """
    if isinstance(output, Upload):
        with output.file() as path:
            yield path
    else:
        yield output
