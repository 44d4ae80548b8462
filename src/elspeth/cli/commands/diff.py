"""The command `diff`: two runs compared."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import open_run
from elspeth.cli.completion import complete_run
from elspeth.cli.failures import ExitCode, UsageError
from elspeth.cli.options import JsonOption, require_unicode
from elspeth.cli.terminal import aligned, one_line, print_json_list, print_table

if TYPE_CHECKING:
    from elspeth.core.differences import Difference
    from elspeth.core.landscape.queries.comparison import CountDifference, DifferingRow, RowJourney
    from elspeth.core.landscape.queries.runs import RecordedRun

__all__ = ["diff"]

_HEADING = ("row", "differs", "first", "second")
_MOST_DATABASES = 2

_Run = typer.Argument(
    autocompletion=complete_run,
    callback=require_unicode,
    help="An export, or a run in the database: its id, the beginning of its id, or latest.",
)


def diff(
    *,
    first: Annotated[str, _Run],
    second: Annotated[str, _Run],
    database: Annotated[
        list[str] | None,
        typer.Option(
            "--database", "-d", metavar="URL|PATH", help="The audit database; give it twice for runs of two databases."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="List at most this many rows.")] = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs.

    The exit code is 0 if every row had the same outcomes, route and answers in both.
    """
    from elspeth.contracts.errors import format_count  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries import comparison  # noqa: PLC0415  start time

    databases: Sequence[str | None] = database or [None]
    if len(databases) > _MOST_DATABASES:
        raise UsageError("-d: give one database, or one for each of the two runs")
    with _open(first, databases[0]) as one, _open(second, databases[-1]) as other:
        settings, steps = comparison.compare_settings(one, other), comparison.compare_steps(one, other)
        counts = comparison.compare_counts(one, other)
        rows = islice(comparison.compare_rows(one, other), limit)
        if json:
            head = {
                "first": one.run_id,
                "second": other.run_id,
                "settings": [each._asdict() for each in settings],
                "steps": [each._asdict() for each in steps],
                "counts": list(map(asdict, counts)),
            }
            number = print_json_list(head, "rows", map(asdict, rows))
        else:
            lines = [("first", one.run_id), ("second", other.run_id)]
            lines += [*_lines("settings", settings), *_lines("steps", steps), *_count_lines(counts)]
            typer.echo(aligned(lines))
            number = print_table(_HEADING, map(_cells, rows))
        found, more = format_count(number, "differing row"), " or more" if number == limit else ""
        typer.echo(f"runs {one.run_id} and {other.run_id}: {found}{more}", err=True)
    if number:
        raise typer.Exit(ExitCode.FAILED)


def _open(name: str, database: str | None) -> AbstractContextManager[RecordedRun]:
    """Open the export of this name, or else the run."""
    from elspeth.core.landscape.queries.comparison import COMPARED_RECORDS  # noqa: PLC0415  start time

    path = Path(name)
    if path.exists():
        return open_run("latest", database=None, export=path, record_types=COMPARED_RECORDS)
    return open_run(name, database=database, export=None, record_types=COMPARED_RECORDS)


def _lines(name: str, differences: Sequence[Difference]) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(differences):
        yield "" if number else name, f"{each.path}: {_value(each.first)} -> {_value(each.second)}"


def _value(value: object) -> str:
    return "none" if value is None else one_line(value if isinstance(value, str) else jsonlib.dumps(value))


def _count_lines(counts: Sequence[CountDifference]) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(counts):
        yield "" if number else "counts", f"{_outcome(each.outcome, each.sink)}: {each.first:,} -> {each.second:,}"


def _cells(row: DifferingRow) -> tuple[str, ...]:
    return str(row.row), ", ".join(row.differs), _journey(row.first), _journey(row.second)


def _journey(journey: RowJourney | None) -> str:
    if journey is None:
        return "none"
    ended = ", ".join(_outcome(*each) for each in journey.outcomes) or "has not ended"
    decisions = "".join(f", {step} {label}" for step, label in journey.route if not label.startswith("__"))
    return ended + decisions + "".join(f", failed at {step}" for step in journey.failed_at)


def _outcome(outcome: str, sink: str | None) -> str:
    return outcome if sink is None else f"{outcome} to {sink}"
