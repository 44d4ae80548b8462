"""The errors of runs and tokens that cannot be completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elspeth.contracts.errors import AuditIntegrityError, ExecutionError, RecordableError, recordable_message
from elspeth.contracts.plugins import PluginError, RowError
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import make_recordable

__all__ = [
    "DEFECTS",
    "PLUGIN_ERRORS",
    "AccountingError",
    "AnswerError",
    "Failure",
    "ResumeError",
    "RunInterruptedError",
    "TooManyFailuresError",
    "WorkerError",
    "blame",
    "changed_source_error",
]


class AccountingError(RecordableError):
    """Not every token has exactly one terminal outcome.

    This is a defect of the engine, not of the data.
    """


DEFECTS = (AccountingError, AuditIntegrityError)
"""The errors that are defects of this program: another attempt would meet them again."""

PLUGIN_ERRORS = (Exception, SystemExit)
"""What code of a plugin may raise: `sys.exit` in it is an error, and does not end the program."""


class AnswerError(RecordableError):
    """A plugin returned an invalid result, and its row fails."""


class RunInterruptedError(RecordableError):
    """The run stopped at the user's request.

    The rows so far are recorded, and no output is published.
    """


class TooManyFailuresError(RecordableError):
    """More rows failed than the settings allow.

    The run fails, and publishes nothing. `exceeded` describes the limits that are exceeded.
    """

    def __init__(self, run_id: str, exceeded: Sequence[str]) -> None:
        super().__init__(f"run {run_id} has too many failures: {'; '.join(exceeded)}")


class ResumeError(RecordableError):
    """A run cannot be resumed.

    The message says why, and what can be done.
    """


class WorkerError(RecordableError):
    """A worker could not process its rows.

    `is_defect` says that another attempt would meet the same error.
    """

    def __init__(self, message: str, *, is_defect: bool = False) -> None:
        super().__init__(message)
        self.is_defect = is_defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a node could not process a token.

    `kind` is the type of the error. Neither `message` nor `details` contains values of the row.
    """

    message: str
    kind: str
    details: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException | RowError) -> Failure:
        """Describe an exception, or the error that a plugin returned."""
        if isinstance(error, RowError):
            return cls(message=error.message, kind=type(error).__name__, details=error.details)
        return cls(message=recordable_message(error), kind=type(error).__name__)

    def as_error(self) -> ExecutionError:
        """Return the error of the visit."""
        return ExecutionError(exception=self.message, type=self.kind)

    def as_details(self) -> dict[str, object]:
        """Return the details of the transform error."""
        return {**self.details, **self.as_error()}

    def hash(self) -> str:
        """Return the hash of the error that outcomes record."""
        return stable_hash(make_recordable(self.as_error()))


def blame(kind: str, name: str, error: BaseException) -> PluginError:
    """Return a plugin's error as one that names the plugin.

    A PluginError already describes the problem, and is returned unchanged.
    """
    if isinstance(error, PluginError):
        return error
    blamed = PluginError(f"{kind} {name!r} failed: {type(error).__name__}: {recordable_message(error)}")
    blamed.__cause__ = error
    return blamed


def changed_source_error(source: str, run_id: str, how: str) -> ResumeError:
    """Return the error for a source that was changed."""
    return ResumeError(
        f"{source} is not what run {run_id} read: {how}; restore it to resume the run, "
        "or abandon the run with --abandon"
    )
