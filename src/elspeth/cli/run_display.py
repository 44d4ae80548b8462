"""How far a run has come, told stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from elspeth.cli.progress import progress_display
from elspeth.cli.signals import StopRequest
from elspeth.contracts.enums import RowOutcome
from elspeth.engine.orchestrator import Observer
from elspeth.engine.result import Phase, Progress, count_by_outcome, count_by_sink

__all__ = ["row_details", "run_display"]


@contextmanager
def run_display(request: StopRequest) -> Iterator[Observer]:
    """Return an observer that shows how far a run has come while the block lasts."""
    with progress_display() as display:

        def on_phase(phase: Phase) -> None:
            display.begin(phase.value)

        def on_rows(progress: Progress) -> None:
            fraction = progress.fraction
            elapsed = display.stages[-1].elapsed
            display.update(fraction or 0.0, None if fraction is None else 1.0, row_details(progress, elapsed))

        def on_progress(done: int, total: int | None) -> None:
            of = "" if total is None else f" of {total:,}"
            display.update(done, total, [f"{done:,}{of}"])

        yield Observer(on_phase=on_phase, on_rows=on_rows, on_progress=on_progress, is_stopped=request)


def row_details(progress: Progress, elapsed: float) -> list[str]:
    """Return what is known of the rows, the most important first: sinks may be many."""
    new = progress.rows - progress.rows_before
    parts = [f"{progress.rows:,}"]
    if elapsed > 0:
        parts.append(f"{new / elapsed:,.0f}/s")
    outcomes = count_by_outcome(progress.endings)
    parts += [f"{bad} {outcomes[bad]:,}" for bad in (RowOutcome.FAILED, RowOutcome.QUARANTINED) if outcomes[bad]]
    return parts + [f"{sink} {count:,}" for sink, count in sorted(count_by_sink(progress.endings).items())]
