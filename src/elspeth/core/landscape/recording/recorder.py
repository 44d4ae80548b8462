"""The recorder: every call that writes the audit trail."""

from __future__ import annotations

from elspeth.core.landscape.recording._operations import OperationRecording
from elspeth.core.landscape.recording._origins import OriginRecording
from elspeth.core.landscape.recording._predecessor_writes import PredecessorWrites
from elspeth.core.landscape.recording._runs import RunRecording
from elspeth.core.landscape.recording._tokens import TokenRecording

__all__ = ["LandscapeRecorder"]


class LandscapeRecorder(RunRecording, OriginRecording, TokenRecording, OperationRecording, PredecessorWrites):
    """Records what happens to every row of a run.

    Each call commits the record that it made, and returns it. Inside `unit_of_work` all calls are committed together.
    Raises AuditIntegrityError for a record that the schema forbids: at once if the record alone shows it, and at the
    end of the unit if only the database can tell (references, keys).

    Calls that accept `run_id` look it up if it is not given; passing it saves a query.
    """
