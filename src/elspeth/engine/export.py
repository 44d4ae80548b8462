"""The export of the audit trail that settings ask for after a run."""

from __future__ import annotations

from collections.abc import Callable

from elspeth.contracts.enums import ExportStatus
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat, named_form
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.settings.model import ExportSettings
from elspeth.core.settings.paths import export_form
from elspeth.evidence.format.signatures import Signer
from elspeth.outputs.writing import Output

__all__ = ["export_after_run"]


def export_after_run(
    db: LandscapeDB,
    run_id: str,
    export: ExportSettings,
    output: Output,
    *,
    signing_key: bytes | None,
    signer: Signer | None,
    progress: Callable[[int], None] | None,
) -> int:
    """Write the export, record how it went, and return the number of records.

    Raises what `write_export` raises. A crash leaves the status pending: the run itself is complete, and can be
    exported again.
    """
    recorder = LandscapeRecorder(db)
    form = export_form(export, str(output.path))
    recorder.set_export_status(run_id, ExportStatus.PENDING, export_format=form.value, export_sink=export.sink)
    try:
        records = write_export(
            db,
            run_id,
            output,
            format=form,
            signing_key=signing_key,
            signer=signer,
            archive=named_form(output.path) is ExportFormat.BAG,
            progress=progress,
        )
    except BaseException as error:
        recorder.set_export_status(run_id, ExportStatus.FAILED, error=f"{type(error).__name__}: {error}")
        raise
    recorder.set_export_status(run_id, ExportStatus.COMPLETED)
    return records
