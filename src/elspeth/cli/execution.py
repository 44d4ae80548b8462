"""Executes a pipeline, with its database, progress and summary."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from elspeth.api.loading import GivenSettings
from elspeth.api.run_report import RunReport, report_at_end
from elspeth.api.running import audit_database
from elspeth.api.workers import run_workers
from elspeth.cli.clusters import cluster_workers, require_runnable, shared_places
from elspeth.cli.failures import ExitCode, print_error, report_error
from elspeth.cli.progress import duration, migration_display, progress_display
from elspeth.cli.signals import StopRequest, note_signals
from elspeth.cli.terminal import aligned, one_line, printable
from elspeth.contracts.database_urls import mask_url
from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.errors import format_count
from elspeth.core.landscape.database.urls import parse_url
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import RunKeys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import (
    ExportFailedError,
    Observer,
    Phase,
    Progress,
    PublishedOutput,
    RunResult,
    count_by_outcome,
    count_by_sink,
)
from elspeth.engine.sharing import Workers
from elspeth_schema import EPOCH

__all__ = ["execute_pipeline", "row_details", "run_display"]

_SHOWN_DIGITS = 12
"""The number of digits of a hash in the summary. JSON has the whole hash."""

_MINUTE_S = 60

_MAX_ROWS = 10
"""The largest number of row numbers in the summary."""


def execute_pipeline(
    pipeline: Pipeline,
    keys: RunKeys,
    settings: GivenSettings,
    work: Callable[[Orchestrator], RunResult],
    *,
    force: bool,
    json: bool,
    tells_failures: bool,
) -> int:
    """Do the work and print its summary.

    Returns the exit code. With `tells_failures`, it says whether rows failed. The advice on how to continue repeats the
    options in `settings`.
    """
    failure: ExportFailedError | None = None
    began = time.monotonic()
    with (
        _workers(pipeline, settings.cluster) as workers,  # first, so that they start while this process prepares
        audit_database(pipeline.settings.landscape, _migrate) as db,
    ):
        for problem in _unwritable_objects(pipeline):
            _warn(problem)
        with note_signals(shared=workers is not None) as request:
            try:
                with (
                    report_at_end(db, pipeline.settings, settings.path, _warn, force=force) as report,
                    run_display(request, report.name_run) as observer,
                ):
                    result = work(
                        Orchestrator(
                            db,
                            pipeline,
                            keys,
                            observer,
                            settings_options=str(settings),
                            settings_file=settings.path,
                            force=force,
                            workers=workers,
                        )
                    )
            except ExportFailedError as error:
                failure, result = error, error.result
            except RunInterruptedError as error:
                # The message says how to continue; the exit code says which signal stopped the run.
                report_error(error, request.exit_code)
                raise typer.Exit(request.exit_code) from error
        limit = pipeline.settings.limit
        url = db.url if pipeline.settings.landscape.enabled else "none (landscape.enabled: false)"
    seconds = time.monotonic() - began
    if json:
        data = {**_summary_data(result, url, failure, seconds, limit), "report_path": report.path}
        typer.echo(jsonlib.dumps(data, indent=2))
    else:
        typer.echo(aligned(_summary_lines(result, url, seconds, limit, report)))
    for problem in [*result.overdue_checkpoints, *result.unsent_events]:
        typer.echo(printable(f"warning: {problem}"), err=True)
    for problem in result.problems:
        typer.echo(printable(f"error: {problem}"), err=True)
    if failure is not None:
        print_error(failure)
        return request.exit_code if request() else ExitCode.FAILED
    if result.problems:
        return ExitCode.FAILED
    if not tells_failures or not result.rows_with_failures:
        return ExitCode.DONE
    failed = f"{result.rows_with_failures:,} of {result.rows:,} rows failed or were quarantined"
    typer.echo(f"{failed}: elspeth rows --run {result.run_id} lists them", err=True)
    return ExitCode.ROWS_FAILED


def _workers(pipeline: Pipeline, cluster: str | None) -> AbstractContextManager[Workers | None]:
    """Return a context with the workers for the run's rows."""
    if cluster is not None:
        require_runnable(pipeline)
        return cluster_workers(cluster, [Path.cwd()], shared_places(pipeline))
    return run_workers(pipeline.settings.concurrency.workers)


def _unwritable_objects(pipeline: Pipeline) -> Iterator[str]:
    """Yield why objects cannot be written after the run."""
    from elspeth.core.placeholders import placeholder_values  # noqa: PLC0415  start time
    from elspeth.core.settings.parts import Parts  # noqa: PLC0415
    from elspeth.core.settings.planned_outputs import unwritable_objects  # noqa: PLC0415

    parts = Parts.from_settings(pipeline.settings)
    return unwritable_objects(parts, placeholder_values("0" * 32, datetime.now(UTC)))


def _migrate(url: str) -> None:
    """Migrate an audit database of an older epoch."""
    from elspeth.core.landscape.migration.migrate import migrate_if_older  # noqa: PLC0415  not every run migrates

    with migration_display() as report:
        done = migrate_if_older(url, report)
    if done.migrated:
        name = mask_url(parse_url(url))
        epochs = f"from epoch {done.from_epoch} to {EPOCH}"
        typer.echo(f"audit database {name} was migrated {epochs}; the backup is {done.backup}", err=True)


def _warn(problem: str) -> None:
    typer.echo(printable(f"warning: {problem}"), err=True)


@contextmanager
def run_display(request: StopRequest, on_run: Callable[[str], None] | None = None) -> Iterator[Observer]:
    """Yield an observer that shows the progress of a run.

    `on_run` is called with the run's id.
    """
    with progress_display() as display:

        def on_phase(phase: Phase) -> None:
            display.begin(phase.value)

        def on_rows(progress: Progress) -> None:
            fraction = progress.fraction
            elapsed = display.stages[-1].elapsed
            total = None if fraction is None else 1.0
            display.update(fraction or 0.0, total, row_details(progress, elapsed), row_facts(progress))

        def on_progress(done: int, total: int | None) -> None:
            of = "" if total is None else f" of {total:,}"
            display.update(done, total, [f"{done:,}{of}"])

        yield Observer(on_run=on_run, on_phase=on_phase, on_rows=on_rows, on_progress=on_progress, is_stopped=request)


def row_details(progress: Progress, elapsed: float) -> list[str]:
    """Return facts about the rows, the most important first.

    `elapsed` is in seconds. Sinks come last, as there may be many.
    """
    new = progress.rows - progress.rows_before
    parts = [f"{progress.rows:,}"]
    if elapsed > 0:
        parts.append(f"{new / elapsed:,.0f}/s")
    outcomes = count_by_outcome(progress.endings)
    parts += [f"{bad} {outcomes[bad]:,}" for bad in (RowOutcome.FAILED, RowOutcome.QUARANTINED) if outcomes[bad]]
    return parts + [f"{sink} {count:,}" for sink, count in sorted(count_by_sink(progress.endings).items())]


def row_facts(progress: Progress) -> dict[str, object]:
    """Return facts about the rows for programs."""
    outcomes = count_by_outcome(progress.endings)
    return {
        "rows": progress.rows,
        "rows_before": progress.rows_before,
        "fraction": progress.fraction,
        "failed": outcomes[RowOutcome.FAILED],
        "quarantined": outcomes[RowOutcome.QUARANTINED],
        "rows_by_sink": count_by_sink(progress.endings),
    }


def _summary_data(
    result: RunResult, database_url: str, failure: ExportFailedError | None, seconds: float, limit: int | None
) -> dict[str, object]:
    problems = [*result.problems, *([] if failure is None else [str(failure)])]
    data = {**asdict(result), "problems": problems, "database": database_url}
    return {**data, "limit": limit, "seconds": round(seconds, 3), "rows_per_second": round(_speed(result, seconds), 3)}


def _speed(result: RunResult, seconds: float) -> float:
    """Return the rows per second of this attempt."""
    return (result.rows - result.rows_before) / seconds if seconds > 0 else 0.0


def _summary_lines(
    result: RunResult, database_url: str, seconds: float, limit: int | None, report: RunReport
) -> Iterator[tuple[str, str]]:
    outputs = {each.sink: each for each in result.outputs}
    yield "run", result.run_id
    took = duration(seconds) if seconds >= _MINUTE_S else f"{seconds:.1f} s"
    yield "took", f"{took}, {_speed(result, seconds):,.0f} rows/s"
    yield "rows in", f"{result.rows:,}" + ("" if limit is None else f" (limited to {limit:,} of each source)")
    for sink, count in result.rows_by_sink.items():
        yield f"to sink {sink}", f"{count:,}{_describe_output(outputs.get(sink))}"
    if result.dropped:
        yield "dropped", f"{result.dropped:,}"
    yield "failed", f"{result.failed:,}"
    yield "quarantined", f"{result.quarantined:,}"
    if result.rows_with_failures:
        yield "rows with failures", f"{result.rows_with_failures:,} of {result.rows:,}"
    for number, reason in enumerate(result.reasons):
        why = one_line(f"{reason.kind}: {reason.message}")
        yield "" if number else "reasons", f"{reason.count:,} at {reason.node}: {why} (first in row {reason.row})"
    if result.calls:
        costs = "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in result.usage.items())
        yield "calls", f"{result.calls:,}, {result.retries:,} of them repeated{costs}"
    yield "audit database", database_url
    if result.differences is not None:
        yield "answers that differ", f"{result.differences:,}{_row_numbers(result.differing_rows)}"
    if result.export_path is not None and result.exported_records is not None:
        yield "export", f"{result.export_path} ({format_count(result.exported_records, 'record')})"
    if (place := report.place) is not None:
        yield "report", place


def _describe_output(output: PublishedOutput | None) -> str:
    """Return the place of an output, with size and hash."""
    if output is None:
        return ""
    known = output.size_bytes is not None and output.content_hash is not None
    what = f", {output.size_bytes:,} bytes, SHA-256 {output.content_hash:.{_SHOWN_DIGITS}}" if known else ""
    return f" in {output.path}{what}"


def _row_numbers(rows: Sequence[int]) -> str:
    """Return the first row numbers in parentheses, or nothing."""
    if not rows:
        return ""
    more = ", ..." if len(rows) > _MAX_ROWS else ""
    return f" (rows {', '.join(map(str, rows[:_MAX_ROWS]))}{more}; elspeth differences lists them)"
