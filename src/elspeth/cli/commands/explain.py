"""The commands `explain` and `differences`, which query a run."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import default_database, open_landscape, open_run
from elspeth.cli.failures import UsageError
from elspeth.cli.options import (
    FromOption,
    JsonOption,
    OptionalDatabaseOption,
    PayloadsOption,
    RunArgument,
    RunOption,
    require_unicode,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from elspeth.core.landscape.queries.problems import DifferingAnswer
    from elspeth.core.landscape.queries.story.model import RowStory
    from elspeth.core.landscape.queries.story.trail import Trail

__all__ = ["differences", "explain"]

_MAX_ROW = 2**53 - 1
"""The largest row index that a record can hold."""

_DIFFERENCE_COLUMNS = ("row", "token", "node", "recorded answer", "row failed")


def explain(
    *,
    run: RunOption = "latest",
    row: Annotated[
        int | None, typer.Option(min=0, max=_MAX_ROW, metavar="N", help="The row's position in the source, from 0.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="ID", callback=require_unicode, help="A token, explained with those made from it."),
    ] = None,
    database: OptionalDatabaseOption = None,
    export: FromOption = None,
    index: Annotated[
        bool,
        typer.Option("--index/--no-index", help="Keep an index beside a large export, for the next question."),
    ] = True,
    show: Annotated[
        bool, typer.Option("--show", help="Show contents too: of the row, requests and answers, where they are kept.")
    ] = False,
    payloads: PayloadsOption = None,
    json: JsonOption = False,
) -> None:
    """Explain what became of a row.

    The answer names its tokens, their steps and decisions, failures and outcomes.
    """
    if payloads is not None and (not show or export is not None):
        raise UsageError("--payloads: only with --show and a database: contents of a bag are in the bag")
    if (row is None) == (token is None):
        raise UsageError("give --row or --token: either the row's position or a token's id")
    if database is not None and export is not None:
        raise UsageError("give -d or --from: either the audit database or an export")
    from elspeth.cli.contents_text import contents_text  # noqa: PLC0415  start time
    from elspeth.cli.story_text import story_text  # noqa: PLC0415
    from elspeth.core.landscape.queries.story.contents import contents_in_bag, contents_in_store  # noqa: PLC0415
    from elspeth.core.landscape.queries.story.model import story_json  # noqa: PLC0415

    contents = None
    if export is not None:
        story = _story_from_export(export, run, row, token, keep=index)
        if show:
            contents = contents_in_bag(story, export)
    else:
        url = database or default_database()
        story = _story_from_database(url, run, row, token)
        if show:
            with open_landscape(url) as db:
                contents = contents_in_store(story, db, None if payloads is None else place_of(payloads))
    typer.echo(story_json(story, contents) if json else story_text(story, contents or {}))
    if contents is not None and not json:
        typer.echo(contents_text(contents))


def _story_from_database(database: str, run: str, row: int | None, token: str | None) -> RowStory:
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.story.trail import DatabaseTrail  # noqa: PLC0415

    with open_landscape(database) as db:
        run_id = resolve_run(db, run)
        with db.snapshot() as connection:
            return _read_story(DatabaseTrail(connection, run_id), row, token)


def _story_from_export(path: Path, run: str, row: int | None, token: str | None, *, keep: bool) -> RowStory:
    from elspeth.core.landscape.database.errors import RunNotFoundError  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.runs import matches_run  # noqa: PLC0415
    from elspeth.core.landscape.queries.story.trail import open_export  # noqa: PLC0415

    with record_display("explain") as progress, open_export(path, keep=keep, progress=progress) as trail:
        if not matches_run(run, trail.run_id):
            raise RunNotFoundError(f"export {path} holds run {trail.run_id!r}, not {run!r}")
        return _read_story(trail, row, token)


def _read_story(trail: Trail, row: int | None, token: str | None) -> RowStory:
    from elspeth.core.landscape.queries.story.reader import row_story, token_story  # noqa: PLC0415  start time

    return row_story(trail, row) if row is not None else token_story(trail, token or "")


def differences(
    *,
    run: RunArgument = "latest",
    database: OptionalDatabaseOption = None,
    export: FromOption = None,
    json: JsonOption = False,
) -> None:
    """List the answers that differ from the recorded ones.

    The run must have had the run_mode verify.
    """
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.problems import ANSWER_RECORDS, differing_answers  # noqa: PLC0415
    from elspeth.core.landscape.queries.runs import recorded_settings  # noqa: PLC0415

    with open_run(run, database=database, export=export, record_types=ANSWER_RECORDS) as (connection, run_id):
        settings = recorded_settings(connection, run_id)
        if settings.get("run_mode") != "verify":
            raise LandscapeError(f"run {run_id} compared no answers: its run_mode was not verify")
        found = list(differing_answers(connection, run_id))
    verified = settings.get("replay_source_run_id")
    if json:
        answers = [asdict(each) for each in found]
        typer.echo(jsonlib.dumps({"run_id": run_id, "verified_run_id": verified, "differences": answers}, indent=2))
        return
    if found:
        typer.echo(aligned([_DIFFERENCE_COLUMNS, *map(_difference_cells, found)]))
    typer.echo(f"run {run_id}: {len(found):,} answers differ from those of run {verified}", err=True)


def _difference_cells(answer: DifferingAnswer) -> tuple[str, ...]:
    recorded, failed = answer.recorded_hash or "none", "yes" if answer.failed else "no"
    return str(answer.row_index), answer.token_id, answer.node_id, recorded, failed
