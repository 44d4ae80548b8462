"""Who watches a run, and may ask it to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.result import Phase, Progress

__all__ = ["Observer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who is told how far a run has come, and who may ask it to stop.

    `on_phase` is called when a phase begins; then `on_rows` after each group of rows, or `on_progress` with how much of
    the phase is done and how much there is, None where that is not known: laws to prove, sinks to finish and publish,
    records to seal and export.
    """

    on_phase: Callable[[Phase], None] | None = None
    on_rows: Callable[[Progress], None] | None = None
    on_progress: Callable[[int, int | None], None] | None = None
    is_stopped: Callable[[], bool] | None = None

    def begin(self, phase: Phase) -> None:
        """Tell that a phase begins."""
        if self.on_phase is not None:
            self.on_phase(phase)

    def tell(self, done: int, total: int | None = None) -> None:
        """Tell how much of the phase is done."""
        if self.on_progress is not None:
            self.on_progress(done, total)

    def wants_stop(self) -> bool:
        """Return whether the run is asked to stop."""
        return self.is_stopped is not None and self.is_stopped()

    def tell_or_stop(self, done: int, total: int | None = None, *, message: str = "interrupted") -> None:
        """Tell how much of the phase is done; RunInterruptedError with the message if the run is asked to stop."""
        self.tell(done, total)
        if self.wants_stop():
            raise RunInterruptedError(message)
