"""The recorder: every call that writes or reads the audit trail."""

from __future__ import annotations

from elspeth.core.landscape.recording.artifacts import ArtifactRecording
from elspeth.core.landscape.recording.batches import BatchRecording
from elspeth.core.landscape.recording.calls import CallRecording
from elspeth.core.landscape.recording.failures import FailureRecording
from elspeth.core.landscape.recording.graph import GraphRecording
from elspeth.core.landscape.recording.held import HeldRecording
from elspeth.core.landscape.recording.rows import RowRecording
from elspeth.core.landscape.recording.runs import RunRecording
from elspeth.core.landscape.recording.states import StateRecording
from elspeth.core.landscape.recording.tokens import TokenRecording

__all__ = ["LandscapeRecorder"]


class LandscapeRecorder(
    RunRecording,
    GraphRecording,
    RowRecording,
    TokenRecording,
    StateRecording,
    CallRecording,
    BatchRecording,
    ArtifactRecording,
    FailureRecording,
    HeldRecording,
):
    """Records what happens to every row of a run, and answers questions about it.

    Each call returns the record that it made and commits it, unless it is made inside `unit_of_work`, which commits
    all calls in it together. AuditIntegrityError is raised for a record that the schema forbids: at once where the
    record itself tells, when the unit ends where the database has to tell (references, keys).

    Calls that take `run_id` find it out by themselves when it is not given; giving it saves a query.
    """
