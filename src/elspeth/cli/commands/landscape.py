"""Commands on audit databases.

`status` and `runs` are here; the others have modules of their own.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from elspeth.cli.access import database_url
from elspeth.cli.commands import checks, migration, prune, run_log, send_events
from elspeth.cli.failures import ExitCode
from elspeth.cli.options import DatabaseOption, JsonOption
from elspeth.cli.terminal import aligned, printable

if TYPE_CHECKING:
    from elspeth.core.landscape.database.state import DatabaseState
    from elspeth.core.landscape.database.tables import Migration
    from elspeth.core.landscape.queries.runs import ListedRun
    from elspeth.core.landscape.queries.unsent import UnsentEvents
    from elspeth.core.landscape.sealing.log_places import OverdueCheckpoint

__all__ = ["app"]

_LISTED = 10
"""The largest number of runs with unsent events in the text."""

app = typer.Typer(help="Inspect and migrate an audit database.", no_args_is_help=True, rich_markup_mode=None)


def status(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """Show the state of a database, and possible actions.

    Prints the epoch, differences from the expected tables, the history, overdue checkpoints of the log of runs, runs
    whose lineage events were not sent, and a command for each possible action. The exit code is 0 if the database is
    current or empty.
    """
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415
    from elspeth.core.landscape.database.state import StateKind, describe_state, read_state  # noqa: PLC0415
    from elspeth.core.landscape.database.tables import read_migrations  # noqa: PLC0415
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415

    url = parse_url(database_url(database))
    name, state = mask_url(url), read_state(url)
    history: Sequence[Migration] = ()
    overdue: Sequence[OverdueCheckpoint] = ()
    unsent: Sequence[UnsentEvents] = ()
    if state.versioned and state.kind is not StateKind.DIVERGED:
        with read_only_connection(url) as connection:
            history = read_migrations(connection)
            if state.kind is StateKind.CURRENT:
                from elspeth.core.landscape.queries.unsent import read_unsent_events  # noqa: PLC0415  start time
                from elspeth.core.landscape.sealing.log_places import overdue_checkpoints  # noqa: PLC0415

                overdue, unsent = list(overdue_checkpoints(connection)), read_unsent_events(connection)
    if json:
        typer.echo(jsonlib.dumps(_status_data(name, state, history, overdue, unsent), indent=2))
    else:
        typer.echo(aligned(_status_lines(name, state, history, overdue, unsent)))
    typer.echo(describe_state(state, name, listed=False), err=True)
    if state.kind not in (StateKind.CURRENT, StateKind.EMPTY):
        raise typer.Exit(ExitCode.FAILED)


def _status_lines(
    name: str,
    state: DatabaseState,
    history: Sequence[Migration],
    overdue: Sequence[OverdueCheckpoint],
    unsent: Sequence[UnsentEvents],
) -> Iterator[tuple[str, str]]:
    from elspeth.core.canonical import timestamp_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.state import StateKind  # noqa: PLC0415
    from elspeth.core.landscape.database.ways import ways  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    yield "audit database", name
    yield "state", state.kind
    yield "epoch", f"{state.epoch or 'none'} (this version: {EPOCH})"
    if state.shape is not None:
        yield "predecessor", f"nearest: {state.shape}" if state.kind is StateKind.DIVERGED else state.shape
    for number, difference in enumerate(state.differences):
        yield "" if number else "differences", difference
    for number, step in enumerate(history):
        what = f"epoch {step.from_epoch} to {step.to_epoch}" if step.from_epoch else f"made at epoch {step.to_epoch}"
        yield "" if number else "history", f"{timestamp_text(step.migrated_at)}  {what}, {step.tool}"
    for number, checkpoint in enumerate(overdue):
        yield "" if number else "overdue checkpoints", printable(str(checkpoint))
    for number, events in enumerate(unsent[-_LISTED:]):
        yield "" if number else "events not sent", printable(str(events))
    if len(unsent) > _LISTED:
        yield "", f"and {len(unsent) - _LISTED:,} earlier, in the JSON form"
    if unsent:
        yield "", "send them with: elspeth landscape send-events -s SETTINGS"
    for number, way in enumerate(ways(state, name)):
        yield "" if number else "possible", f"{way.purpose}: {way.command}"


def _status_data(
    name: str,
    state: DatabaseState,
    history: Sequence[Migration],
    overdue: Sequence[OverdueCheckpoint],
    unsent: Sequence[UnsentEvents],
) -> dict[str, object]:
    from elspeth.core.canonical import timestamp_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.ways import ways  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    return {
        "database": name,
        "state": state.kind,
        "epoch": state.epoch,
        "expected_epoch": EPOCH,
        "predecessor": state.shape,
        "differences": list(state.differences),
        "history": [
            {
                "from_epoch": step.from_epoch,
                "to_epoch": step.to_epoch,
                "migrated_at": timestamp_text(step.migrated_at),
                "tool": step.tool,
                "tables": jsonlib.loads(step.tables_json),
            }
            for step in history
        ],
        "overdue_checkpoints": [
            {
                "place": each.place,
                "problem": each.problem,
                "entries": each.log_size,
                "attempted_at": None if each.attempted_at is None else timestamp_text(each.attempted_at),
            }
            for each in overdue
        ],
        "unsent_events": [asdict(each) for each in unsent],
        "ways": [asdict(way) for way in ways(state, name)],
    }


def runs(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """List the runs in a database, oldest first.

    It may be of any epoch, and is not changed. A pruned run is listed with the bag that holds its records.
    """
    from elspeth.core.landscape.queries.runs import list_runs  # noqa: PLC0415

    found = list_runs(database_url(database))
    columns = ("run_id", "status", "started_at", "rows", "export_status")
    table = [(run.run_id, run.status, run.started_at, run.rows, run.export_status) for run in found]
    if json:
        records = [dict(zip(columns, row, strict=True)) for row in table]
        more = ({**_origin_data(run), "pruned_at": run.pruned_at, "bag": run.bag} for run in found)
        data = [{**record, **facts} for record, facts in zip(records, more, strict=True)]
        typer.echo(jsonlib.dumps(data, indent=2))
    else:
        texts = [[*map(str, row[:3]), f"{row[3]:,}", row[4] or "none"] for row in table]
        heading = ["run", "status", "started", "rows", "export"]
        if any(run.bag for run in found):
            heading.append("pruned, now in")
            texts = [[*text, run.bag or ""] for text, run in zip(texts, found, strict=True)]
        typer.echo(aligned([heading, *texts]))
    for run in found:
        if run.at_work is False:
            message = f"run {run.run_id} has the status running, but no process works on it: resume it"
            typer.echo(printable(message), err=True)


def _origin_data(run: ListedRun) -> dict[str, object]:
    labels = None if run.labels_json is None else jsonlib.loads(run.labels_json)
    return {"user": run.user_name, "host": run.host_name, "labels": labels, "at_work": run.at_work}


app.command("prune")(prune.prune)
app.command("status")(status)
app.command("check")(checks.check)
app.command("migrate")(migration.migrate)
app.command("adopt")(migration.adopt)
app.command("runs")(runs)
app.command("send-events")(send_events.send_events)
app.add_typer(run_log.app, name="log")
