"""The summary of a completed run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from elspeth.cli.text import aligned, one_line
from elspeth.engine.result import RunResult

__all__ = ["summary_as_data", "summary_as_text"]

_LISTED = 10


def summary_as_text(result: RunResult, database_url: str) -> str:
    """The summary for people."""
    return aligned(_lines(result, database_url))


def summary_as_data(result: RunResult, database_url: str) -> dict[str, object]:
    """The summary for programs."""
    return {**asdict(result), "problems": result.problems, "database": database_url}


def _lines(result: RunResult, database_url: str) -> Iterator[tuple[str, str]]:
    yield "run", result.run_id
    yield "rows in", f"{result.rows:,}"
    for sink, count in result.rows_by_sink.items():
        yield f"to sink {sink}", f"{count:,}"
    yield "failed", f"{result.failed:,}"
    yield "quarantined", f"{result.quarantined:,}"
    if result.rows_with_failures:
        yield "rows with failures", f"{result.rows_with_failures:,} of {result.rows:,}"
    for number, reason in enumerate(result.reasons):
        why = one_line(f"{reason.kind}: {reason.message}")
        yield "" if number else "reasons", f"{reason.count:,} at {reason.node}: {why} (first in row {reason.row})"
    yield "audit database", database_url
    if result.differences is not None:
        yield "answers that differ", f"{result.differences:,}{_rows(result.differing_rows)}"
    if result.export_path is not None:
        yield "export", f"{result.export_path} ({result.exported_records:,} records)"


def _rows(rows: Sequence[int]) -> str:
    """Return which rows those are, as far as a line has room."""
    if not rows:
        return ""
    more = ", ..." if len(rows) > _LISTED else ""
    return f" (rows {', '.join(map(str, rows[:_LISTED]))}{more}; elspeth differences lists them)"
