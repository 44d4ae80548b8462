"""Why a run could not be completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth.contracts.failures import RecordableError, recordable_message
from elspeth.contracts.plugins import PluginError

if TYPE_CHECKING:
    from elspeth.engine.result import RunResult

__all__ = ["AccountingError", "AnswerError", "ExportFailedError", "ResumeError", "RunInterruptedError", "blame"]


class AccountingError(RecordableError):
    """Some tokens of a run did not end in exactly one terminal outcome: a defect of the engine, not of the data."""


class AnswerError(RecordableError):
    """A plugin answered what it must not answer. Its row is to blame for nothing, and fails."""


class ExportFailedError(RecordableError):
    """The run is complete and recorded, and its export could not be written. `result` is the summary of the run."""

    def __init__(self, result: RunResult, reason: BaseException) -> None:
        problem = str(reason) or "interrupted"
        super().__init__(f"run {result.run_id} is complete, but cannot be exported: {problem}")
        self.result = result


class RunInterruptedError(RecordableError):
    """The run was asked to stop and has: rows up to here are recorded, and no output is published."""


class ResumeError(RecordableError):
    """A run cannot be resumed as things are. The message says why, and what can be done."""


def blame(kind: str, name: str, error: Exception) -> PluginError:
    """The error of a plugin as one that names it; a PluginError says already what is wrong, and is kept."""
    if isinstance(error, PluginError):
        return error
    blamed = PluginError(f"{kind} {name!r} failed: {type(error).__name__}: {recordable_message(error)}")
    blamed.__cause__ = error
    return blamed
