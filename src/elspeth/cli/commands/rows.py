"""The command `rows`: how the rows of a run ended."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import open_run
from elspeth.cli.completion import complete_sink, complete_step
from elspeth.cli.options import FromOption, JsonOption, OptionalDatabaseOption, RunOption
from elspeth.cli.terminal import one_line, print_json_list, print_table, printable
from elspeth_schema.enums import RowOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elspeth.core.landscape.queries.endings import EndedToken

__all__ = ["rows"]

_HEADING = ("row", "token", "outcome", "sink", "step", "reason")


def rows(
    *,
    run: RunOption = "latest",
    database: OptionalDatabaseOption = None,
    export: FromOption = None,
    outcome: Annotated[
        list[RowOutcome] | None,
        typer.Option(
            metavar="OUTCOME", help="Only rows with this outcome, such as failed; can be given several times."
        ),
    ] = None,
    sink: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=complete_sink, help="Only rows that this sink took.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(metavar="NAME", autocompletion=complete_step, help="Only rows that failed at this step."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only rows that failed with this text in the reason.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="List at most this many.")] = None,
    json: JsonOption = False,
) -> None:
    """List how the rows of a run ended, and why.

    A row that was forked or expanded has a line for each of its tokens.
    """
    from elspeth.contracts.errors import format_count  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.endings import ENDING_RECORDS, ended_tokens, step_names  # noqa: PLC0415  start time

    with open_run(run, database=database, export=export, record_types=ENDING_RECORDS) as (connection, run_id):
        found = ended_tokens(connection, run_id, outcomes=outcome or (), sink=sink, step=step, reason=reason)
        listed = islice(found, limit)
        if json:
            count = print_json_list({"run_id": run_id}, "rows", map(asdict, listed))
        else:
            count = print_table(_HEADING, map(_cells, listed))
            typer.echo(f"run {run_id}: {format_count(count, 'row')} listed", err=True)
        if not count:
            _report_unknown_names(set(step_names(connection, run_id).values()), {"--sink": sink, "--step": step})


def _report_unknown_names(known: set[str], given: Mapping[str, str | None]) -> None:
    """Report names that belong to no step."""
    from elspeth.core.suggestions import did_you_mean  # noqa: PLC0415  start time

    for option, name in given.items():
        if name is not None and name not in known:
            message = f"{option}: the run has no step {name!r}{did_you_mean(name, sorted(known))}"
            typer.echo(printable(message), err=True)


def _cells(token: EndedToken) -> tuple[str, ...]:
    kind = "" if token.kind is None else f"{token.kind}: "
    reason = "" if token.reason is None else one_line(f"{kind}{token.reason}")
    return str(token.row), token.token_id, token.outcome, token.sink or "", token.step or "", reason
