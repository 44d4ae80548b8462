"""``elspeth explain``: what became of a row, told from the audit database or from an export alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import OptionalDatabaseOption, open_landscape
from elspeth.cli.options import JsonOption
from elspeth.cli.record_display import record_display

if TYPE_CHECKING:
    from elspeth.core.landscape.queries.story.model import RowStory
    from elspeth.core.landscape.queries.story.trail import Trail

__all__ = ["explain"]

_MAX_ROW = 2**53 - 1
"""Largest position that a record can hold."""


def explain(
    *,
    run: Annotated[
        str, typer.Option(metavar="RUN|latest", help="The run's id or how it begins, or the run that began last.")
    ] = "latest",
    row: Annotated[
        int | None, typer.Option(min=0, max=_MAX_ROW, metavar="N", help="Position of the row in the source, from 0.")
    ] = None,
    token: Annotated[str | None, typer.Option(metavar="ID", help="One token, and those made from it.")] = None,
    database: OptionalDatabaseOption = None,
    export: Annotated[
        Path | None, typer.Option("--from", metavar="EXPORT", help="An export to read instead of the database.")
    ] = None,
    index: Annotated[
        bool,
        typer.Option(
            "--index/--no-index", help="Keep an index beside a large export, so that the next question is quick."
        ),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Tell what became of a row: its tokens, their steps and decisions, what failed, and where they ended."""
    if (row is None) == (token is None):
        raise typer.BadParameter("give --row or --token: either the row's position or a token's id")
    if (database is None) == (export is None):
        raise typer.BadParameter("give -d or --from: either the audit database or an export")
    from elspeth.cli.story_text import story_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.story.model import story_json  # noqa: PLC0415

    if export is not None:
        story = _from_export(export, run, row, token, keep=index)
    else:
        story = _from_database(database or "", run, row, token)
    typer.echo(story_json(story) if json else story_text(story))


def _from_database(database: str, run: str, row: int | None, token: str | None) -> RowStory:
    from elspeth.core.landscape.queries.select_run import resolve_run  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.story.trail import DatabaseTrail  # noqa: PLC0415

    with open_landscape(database) as db:
        run_id = resolve_run(db, run)
        with db.snapshot() as connection:
            return _story(DatabaseTrail(connection, run_id), row, token)


def _from_export(path: Path, run: str, row: int | None, token: str | None, *, keep: bool) -> RowStory:
    from elspeth.core.landscape.exporting.exporter import RunNotFoundError  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.select_run import is_meant  # noqa: PLC0415
    from elspeth.core.landscape.queries.story.trail import open_export  # noqa: PLC0415

    with record_display("explain") as progress, open_export(path, keep=keep, progress=progress) as trail:
        if not is_meant(run, trail.run_id):
            raise RunNotFoundError(f"export {path} holds run {trail.run_id!r}, not {run!r}")
        return _story(trail, row, token)


def _story(trail: Trail, row: int | None, token: str | None) -> RowStory:
    from elspeth.core.landscape.queries.story.reader import row_story, token_story  # noqa: PLC0415  start time

    return row_story(trail, row) if row is not None else token_story(trail, token or "")
