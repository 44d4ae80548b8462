"""The command `outputs`: files of runs, runs of files."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import default_database, open_landscape, open_run
from elspeth.cli.failures import ExitCode, UsageError
from elspeth.cli.options import FromOption, JsonOption, OptionalDatabaseOption, OptionalRunArgument
from elspeth.cli.terminal import aligned, printable
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elspeth.core.landscape.queries.outputs import RecordedOutput

__all__ = ["outputs"]


def outputs(
    *,
    run: OptionalRunArgument = None,
    database: OptionalDatabaseOption = None,
    export: FromOption = None,
    check: Annotated[bool, typer.Option("--check", help="Compare the files with what was recorded.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PATH", parser=place_of, help="Find the runs that wrote this file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List what a run published, or find a file's run.

    With `--check` the exit code is 0 only if every file is as it was recorded.
    """
    if file is not None and (run is not None or check):
        raise UsageError("--file: without RUN and --check: it searches all runs for one that wrote the file")
    from elspeth.core.landscape.queries import outputs as queries  # noqa: PLC0415  start time

    run_id = ""
    if file is not None and export is None:
        with open_landscape(database or default_database()) as db, db.snapshot() as connection:
            found = queries.find_writers(connection, file)
    else:
        source = open_run(run or "latest", database=database, export=export, record_types=queries.OUTPUT_RECORDS)
        with source as (connection, run_id):
            if file is not None:
                found = queries.find_writers(connection, file)
            else:
                found = queries.recorded_outputs(connection, run_id)
    states = {each: queries.check_output(each) for each in found} if check else {}
    if json:
        facts: dict[str, object] = {"run_id": run_id} if file is None else {"file": str(file)}
        listed = [{**asdict(each), **({"state": states[each]} if check else {})} for each in found]
        typer.echo(jsonlib.dumps({**facts, "outputs": listed}, indent=2))
    elif found:
        typer.echo(_table(found, states))
    if file is not None and not found:
        typer.echo(printable(f"{file}: no run that is recorded there wrote this file as it is now"), err=True)
        raise typer.Exit(ExitCode.FAILED)
    wrong = [each for each, state in states.items() if state in {queries.FileState.CHANGED, queries.FileState.MISSING}]
    for each in wrong:
        typer.echo(printable(f"{each.path}: {states[each]} since run {each.run_id} wrote it"), err=True)
    for each in (each for each, state in states.items() if state is queries.FileState.NOT_CHECKED):
        typer.echo(printable(f"{each.path}: not checked: {_why_unchecked()}"), err=True)
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


def _why_unchecked() -> str:
    from elspeth.plugins.database_sink import PUBLICATIONS  # noqa: PLC0415  start time

    which = "a table does not say which of its rows are from which run, and may hold others"
    return f"{which}; its database keeps number and SHA-256 of the rows of each run in {PUBLICATIONS}"


def _table(found: list[RecordedOutput], states: Mapping[RecordedOutput, str]) -> str:
    versions = any(each.object_version for each in found)
    heading = [
        "run",
        "sink",
        "path",
        "size",
        "sha256",
        *(["version"] if versions else []),
        *(["state"] if states else []),
    ]
    rows = []
    for each in found:
        size = "0 rows" if each.size_bytes is None else f"{each.size_bytes:,}"
        state = [states[each]] if states else []
        version = [each.object_version or ""] if versions else []
        rows.append([each.run_id, each.sink, each.path, size, each.content_hash or "", *version, *state])
    return aligned([heading, *rows])
