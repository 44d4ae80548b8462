"""The command `rows`: how the rows of a run ended."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import open_run
from elspeth.cli.options import FromOption, JsonOption, OptionalDatabaseOption, RunOption
from elspeth.cli.terminal import one_line, print_json_list, print_table
from elspeth_schema.enums import RowOutcome

if TYPE_CHECKING:
    from elspeth.core.landscape.queries.endings import EndedToken

__all__ = ["rows"]

_HEADING = ("row", "token", "outcome", "sink", "step", "reason")


def rows(
    *,
    run: RunOption = "latest",
    database: OptionalDatabaseOption = None,
    export: FromOption = None,
    outcome: Annotated[
        list[RowOutcome] | None, typer.Option(help="Only rows with this outcome; can be given several times.")
    ] = None,
    sink: Annotated[str | None, typer.Option(metavar="NAME", help="Only rows that this sink took.")] = None,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="Only rows that failed at this step.")] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only rows that failed with this text in the reason.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="List at most this many.")] = None,
    json: JsonOption = False,
) -> None:
    """List how the rows of a run ended, and why.

    A row that was forked or expanded has a line for each of its tokens.
    """
    from elspeth.core.landscape.queries.endings import ENDING_RECORDS, ended_tokens  # noqa: PLC0415  start time

    with open_run(run, database=database, export=export, record_types=ENDING_RECORDS) as (connection, run_id):
        found = ended_tokens(connection, run_id, outcomes=outcome or (), sink=sink, step=step, reason=reason)
        listed = islice(found, limit)
        if json:
            print_json_list({"run_id": run_id}, "rows", map(asdict, listed))
            return
        count = print_table(_HEADING, map(_cells, listed))
    typer.echo(f"run {run_id}: {count:,} row{'' if count == 1 else 's'} listed", err=True)


def _cells(token: EndedToken) -> tuple[str, ...]:
    reason = "" if token.reason is None else one_line(f"{token.kind}: {token.reason}")
    return str(token.row), token.token_id, token.outcome, token.sink or "", token.step or "", reason
