"""``elspeth differences``: which answers a verifying run got that are not the recorded ones."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import DatabaseOption, open_landscape
from elspeth.cli.options import JsonOption
from elspeth.cli.text import aligned

if TYPE_CHECKING:
    from elspeth.core.landscape.queries.differing_answers import DifferingAnswer

__all__ = ["differences"]


_RunArgument = Annotated[
    str, typer.Argument(metavar="RUN|latest", help="The run, by its id or how it begins, or the one that began last.")
]
_COLUMNS = ("row", "token", "node", "recorded answer", "row failed")


def differences(*, run: _RunArgument = "latest", database: DatabaseOption, json: JsonOption = False) -> None:
    """List the answers of a run in mode `verify` that are not those of the run that it verified, row by row."""
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415
    from elspeth.core.landscape.queries.differing_answers import differing_answers  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.select_run import resolve_run  # noqa: PLC0415
    from elspeth.core.landscape.recording.recorder import LandscapeRecorder  # noqa: PLC0415

    with open_landscape(database) as db:
        run_id = resolve_run(db, run)
        recorded = LandscapeRecorder(db).get_run(run_id)
        settings = {} if recorded is None else jsonlib.loads(recorded.settings_json)
        if settings.get("run_mode") != "verify":
            raise LandscapeError(f"run {run_id} compared no answers: its run_mode was not verify")
        found = list(differing_answers(db, run_id))
    verified = settings.get("replay_source_run_id")
    if json:
        answers = [asdict(each) for each in found]
        typer.echo(jsonlib.dumps({"run_id": run_id, "verified_run_id": verified, "differences": answers}, indent=2))
        return
    if found:
        typer.echo(aligned([_COLUMNS, *map(_cells, found)]))
    typer.echo(f"run {run_id}: {len(found):,} answers differ from those of run {verified}", err=True)


def _cells(answer: DifferingAnswer) -> tuple[str, ...]:
    recorded, failed = answer.recorded_hash or "none", "yes" if answer.failed else "no"
    return str(answer.row_index), answer.token_id, answer.node_id, recorded, failed
