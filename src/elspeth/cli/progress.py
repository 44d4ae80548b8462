"""The progress bar of a run, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elspeth.contracts.enums import RowOutcome
from elspeth.engine.orchestrator import Observer
from elspeth.engine.result import Progress as RunProgress
from elspeth.engine.result import count_by_outcome, count_by_sink

__all__ = ["run_display"]


@contextmanager
def run_display(is_stopped: Callable[[], bool]) -> Iterator[Observer]:
    """An observer that draws on standard error while the block lasts, or, where that is no terminal, does not."""
    if not sys.stderr.isatty():
        yield Observer(is_stopped=is_stopped)
        return
    from rich.console import Console  # noqa: PLC0415  start time
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        rows = bar.add_task("rows", total=None, detail="")
        export = bar.add_task("export", total=None, detail="", visible=False)

        def on_rows(progress: RunProgress) -> None:
            total = None if progress.fraction is None else 1.0
            bar.update(
                rows,
                total=total,
                completed=progress.fraction or 0.0,
                detail=_detail(progress, bar.tasks[0].elapsed or 1.0),
            )

        def on_exported(records: int) -> None:
            bar.update(export, visible=True, detail=f"{records:,} records")

        yield Observer(on_rows=on_rows, on_exported=on_exported, is_stopped=is_stopped)


def _detail(progress: RunProgress, elapsed: float) -> str:
    parts = [f"{progress.rows:,}", f"{progress.rows / elapsed:,.0f}/s"]
    parts += [f"{sink} {count:,}" for sink, count in sorted(count_by_sink(progress.endings).items())]
    outcomes = count_by_outcome(progress.endings)
    parts += [f"{bad} {outcomes[bad]:,}" for bad in (RowOutcome.FAILED, RowOutcome.QUARANTINED) if outcomes[bad]]
    return "  ".join(parts)
