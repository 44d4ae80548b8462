"""Reports the progress of a run, and a summary."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.errors import RecordableError, format_count
from elspeth.contracts.events import log_event
from elspeth.core.html_tables import html_table
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.outputs import recorded_outputs
from elspeth.core.landscape.queries.problems import (
    FailedRows,
    FailureReason,
    count_differing_answers,
    failed_rows,
    first_differing_rows,
)
from elspeth.core.landscape.queries.recorded import CallCount, count_calls
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.pipeline import Pipeline

__all__ = [
    "Ending",
    "ExportFailedError",
    "Observer",
    "Phase",
    "Progress",
    "PublishedOutput",
    "Reason",
    "RunResult",
    "count_by_outcome",
    "count_by_sink",
    "find_reasons",
    "log_completion",
    "summarize",
]

_DIFFERING_ROWS = 100

Ending = tuple[RowOutcome, str | None]
"""The outcome of a token, and the name of the sink that took it, if any."""


class Phase(StrEnum):
    """The phases of a run, in order.

    It leaves a checkpoint and exports only if the settings require that.
    """

    ROWS = "rows"
    PROOF = "proof"
    PUBLISH = "publish"
    SEAL = "seal"
    CHECKPOINT = "checkpoint"
    EXPORT = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run with its rows.

    `rows_before` is the number of rows that were recorded before this process began. `fraction` is the part of the
    sources that has been read, from 0 to 1, or None if that is unknown.
    """

    rows: int
    rows_before: int
    fraction: float | None
    endings: Mapping[Ending, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Callbacks that watch a run, and may stop it.

    `on_run` is called with the run's id, after it was recorded. `on_phase` is called when a phase begins. During the
    phase, `on_rows` is called after each group of rows, or `on_progress` with the finished and the total work of the
    phase (None if that is unknown): laws to prove, sinks to finish and publish, records to seal and export.
    """

    on_run: Callable[[str], None] | None = None
    on_phase: Callable[[Phase], None] | None = None
    on_rows: Callable[[Progress], None] | None = None
    on_progress: Callable[[int, int | None], None] | None = None
    is_stopped: Callable[[], bool] | None = None

    def begin(self, phase: Phase) -> None:
        """Report and log that a phase begins."""
        log_event(logging.INFO, "phase_began", f"{phase} began", phase=phase.value)
        if self.on_phase is not None:
            self.on_phase(phase)

    def tell(self, done: int, total: int | None = None) -> None:
        """Report how much of the phase is done."""
        if self.on_progress is not None:
            self.on_progress(done, total)

    def wants_stop(self) -> bool:
        """Return whether the run is asked to stop."""
        return self.is_stopped is not None and self.is_stopped()

    def tell_or_stop(self, done: int, total: int | None = None, *, message: str = "interrupted") -> None:
        """Report how much of the phase is done.

        Raises RunInterruptedError with the message if the run is asked to stop.
        """
        self.tell(done, total)
        if self.wants_stop():
            raise RunInterruptedError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A reason for failures at a node, with their number.

    `kind` is the type of the error, and `row` the index of the first row. In `message`, N stands for numbers that
    differ from row to row.
    """

    node: str
    kind: str
    message: str
    count: int
    row: int

    def __str__(self) -> str:
        return f"{self.count:,} at {self.node}: {self.kind}: {self.message} (first in row {self.row})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedOutput:
    """An output that a sink published.

    The records hold neither hash nor size of a file without rows.
    """

    sink: str
    path: str
    content_hash: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The summary of a completed run.

    `rows` counts the rows of the sources, and `rows_with_failures` those with a token that failed or was quarantined.
    The other counts are of tokens: `arrived` counts the tokens that reached a sink without a failure, and `dropped`
    those that a transform ended on purpose. `reasons` holds the most frequent reasons of failures. `refused_by_sink`
    maps each sink that accepted no row to the number of rows that it refused. `exported_records` is None without an
    export. `differences` counts the answers of external systems that differ from those of a recorded run, or is None if
    they were not compared; `differing_rows` are the first rows with such answers. `calls` counts the attempts to call
    external systems, and `retries` those that were not the first. `rows_before` is the number of rows recorded before
    this process began, and `usage` the cost of this process' calls that the answers state. `overdue_checkpoints` says
    where no checkpoint of the log of runs could be left, and `unsent_events` which lineage events could not be sent,
    both with the reasons.
    """

    run_id: str
    rows: int
    rows_by_sink: Mapping[str, int]
    arrived: int
    failed: int
    quarantined: int
    dropped: int = 0
    rows_with_failures: int = 0
    reasons: Sequence[Reason] = ()
    refused_by_sink: Mapping[str, int] = field(default_factory=dict)
    export_path: str | None = None
    exported_records: int | None = None
    differences: int | None = None
    differing_rows: tuple[int, ...] = ()
    outputs: Sequence[PublishedOutput] = ()
    calls: int = 0
    retries: int = 0
    rows_before: int = field(default=0, compare=False)
    usage: Mapping[str, int] = field(default_factory=dict, compare=False)
    overdue_checkpoints: Sequence[str] = ()
    unsent_events: Sequence[str] = ()

    @property
    def problems(self) -> list[str]:
        """Return why a completed run did not serve its purpose."""
        found = []
        if self.rows_with_failures and not self.arrived:
            how_many = f"{self.rows_with_failures:,} of {format_count(self.rows, 'row')}"
            were = "was" if self.rows_with_failures == 1 else "were"
            found.append(f"no row got through: {how_many} failed or {were} quarantined")
        found += [
            f"sink {name!r} took no row: it refused {format_count(count, 'row')}"
            for name, count in self.refused_by_sink.items()
        ]
        if self.differences:
            found.append(f"answers that are not those of the recorded run: {self.differences:,}")
        return found

    def _repr_html_(self) -> str:
        """Return the summary, for notebooks."""
        rows: list[tuple[str, object]] = [("rows", self.rows), ("rows with failures", self.rows_with_failures)]
        rows += [(f"to {sink}", count) for sink, count in self.rows_by_sink.items()]
        rows += [("reason", str(reason)) for reason in self.reasons]
        rows += [("problem", problem) for problem in self.problems]
        return html_table(f"Run {self.run_id}", (), rows)


class ExportFailedError(RecordableError):
    """A complete run could not be exported.

    `result` is the summary of the run.
    """

    def __init__(self, result: RunResult, reason: BaseException) -> None:
        problem = str(reason) or "interrupted"
        super().__init__(f"run {result.run_id} is complete, but cannot be exported: {problem}")
        self.result = result


def count_by_sink(endings: Mapping[Ending, int]) -> Counter[str]:
    """Count the tokens that each sink took."""
    counts: Counter[str] = Counter()
    for (_, sink), count in endings.items():
        if sink is not None:
            counts[sink] += count
    return counts


def count_by_outcome(endings: Mapping[Ending, int]) -> Counter[RowOutcome]:
    """Count the tokens of each outcome."""
    counts: Counter[RowOutcome] = Counter()
    for (outcome, _), count in endings.items():
        counts[outcome] += count
    return counts


def summarize(
    db: LandscapeDB,
    pipeline: Pipeline,
    run_id: str,
    *,
    rows: int,
    rows_before: int,
    endings: Mapping[Ending, int],
    usage: Mapping[str, int] | None,
) -> RunResult:
    """Summarize a completed run.

    `usage` is None if the pipeline makes no calls. The records of rows are read only if tokens failed, and the records
    of calls only if there may be some.
    """
    compared = usage is not None and pipeline.settings.run_mode == "verify"
    with db.connection() as connection:
        outputs = recorded_outputs(connection, run_id)
        calls = CallCount() if usage is None else count_calls(connection, run_id)
    by_sink, by_outcome = count_by_sink(endings), count_by_outcome(endings)
    failed, quarantined = by_outcome[RowOutcome.FAILED], by_outcome[RowOutcome.QUARANTINED]
    found = failed_rows(db, run_id) if failed or quarantined else FailedRows()
    refused = {name: found.visits_by_node.get(pipeline.sink_node(name).node_id, 0) for name in pipeline.sinks}
    return RunResult(
        run_id=run_id,
        rows=rows,
        rows_by_sink={name: by_sink[name] for name in pipeline.sinks},
        arrived=by_outcome[RowOutcome.COMPLETED] + by_outcome[RowOutcome.ROUTED],
        failed=failed,
        quarantined=quarantined,
        dropped=by_outcome[RowOutcome.DROPPED],
        rows_with_failures=found.count,
        reasons=_name_nodes(found.reasons, pipeline),
        refused_by_sink={name: count for name, count in refused.items() if count and not by_sink[name]},
        differences=count_differing_answers(db, run_id) if compared else None,
        differing_rows=tuple(first_differing_rows(db, run_id, _DIFFERING_ROWS)) if compared else (),
        outputs=[
            PublishedOutput(sink=each.sink, path=each.path, content_hash=each.content_hash, size_bytes=each.size_bytes)
            for each in outputs
        ],
        calls=calls.calls,
        retries=calls.retries,
        rows_before=rows_before,
        usage=dict(usage or {}),
    )


def find_reasons(db: LandscapeDB, pipeline: Pipeline, run_id: str) -> list[Reason]:
    """Return the most frequent reasons why rows failed."""
    return _name_nodes(failed_rows(db, run_id).reasons, pipeline)


def _name_nodes(reasons: Sequence[FailureReason], pipeline: Pipeline) -> list[Reason]:
    nodes = {node.node_id: f"{node.node_type} {node.name}" for node in pipeline.nodes.values()}
    return [
        Reason(node=nodes[each.node_id], kind=each.kind, message=each.message, count=each.count, row=each.row_index)
        for each in reasons
    ]


def log_completion(result: RunResult, *, elapsed_s: float) -> None:
    """Log a completed run, with its problems as warnings.

    `elapsed_s` is the time that this process worked on it, in seconds.
    """
    log_event(
        logging.WARNING if result.problems else logging.INFO,
        "run_completed",
        "; ".join([f"run {result.run_id} is complete: {format_count(result.rows, 'row')}", *result.problems]),
        rows=result.rows,
        rows_by_sink=dict(result.rows_by_sink),
        failed=result.failed,
        quarantined=result.quarantined,
        dropped=result.dropped,
        elapsed_s=round(elapsed_s, 3),
        problems=result.problems,
    )
