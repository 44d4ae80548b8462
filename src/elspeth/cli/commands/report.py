"""The command `report`, which writes an HTML page."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import default_database, open_landscape, protected_files
from elspeth.cli.completion import complete_run
from elspeth.cli.failures import UsageError
from elspeth.cli.objects import fetch_text, require_place, uploading
from elspeth.cli.options import ForceOption, JsonOption, OptionalDatabaseOption, PayloadsOption, require_unicode
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned
from elspeth.objects.address import ObjectPath, Place, place_of
from elspeth.report.embed import Embed

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import PublicKey
    from elspeth.report.evidence import PageEvidence
    from elspeth.report.records import RunRecords

__all__ = ["report"]


def _fetch_export(ctx: typer.Context, param: typer.CallbackParam, run: str | None) -> str | None:
    text = require_unicode(param, run)
    return None if text is None else fetch_text(ctx, text)


def report(
    *,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|latest|PATH",
            autocompletion=complete_run,
            callback=_fetch_export,
            help="A run in the database, by its id, the beginning of its id or latest; or a bag or another export, "
            "which may be an object.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="PATH", callback=require_place, help="The HTML file or object."),
    ],
    database: OptionalDatabaseOption = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            "-k",
            metavar="PUBLIC.pem",
            help="The public key of the signer, which the page shows and checks with.",
        ),
    ] = None,
    embed: Annotated[
        Embed | None,
        typer.Option(
            "--embed",
            help="Which records the page holds; by default all of a run of up to 200,000, otherwise those of rows with "
            "failures or calls, and of the first rows.",
        ),
    ] = None,
    include_contents: Annotated[
        bool,
        typer.Option("--include-contents", help="Show contents of rows, requests and answers that a database kept."),
    ] = False,
    payloads: PayloadsOption = None,
    viewer: Annotated[
        bool,
        typer.Option(
            "--viewer", help="Write a page without data, in which bags can be checked, and print its SHA-256."
        ),
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a page that shows a run.

    It is one HTML file that loads nothing. An earlier report of the same name is replaced.
    """
    if viewer:
        if any(given is not None for given in (run, database, key, embed, payloads)) or include_contents:
            raise UsageError("the page of --viewer holds no data: give -o alone")
        _write_viewer(place_of(output), force=force, json=json)
        return
    if run is None:
        raise UsageError("name a run in the database, or a bag or another export; --viewer writes a page without data")
    path = Path(run)
    if path.exists() and database is not None:
        raise UsageError(f"{path} is an export: give either an export, or a run with -d")
    if payloads is not None and not include_contents:
        raise UsageError("--payloads: only with --include-contents")
    if include_contents and path.exists():
        raise UsageError("--include-contents: only of a run in a database: a page of a bag has the contents of the bag")
    from elspeth.report.writing import report_target, write_report  # noqa: PLC0415  start time

    export = path if path.exists() else None
    if export is None and database is None:
        database = default_database()
    public = None if key is None else _load_key(key)
    protected = protected_files(database=database, keys=[key], bag=export)
    with report_target(place_of(output), protected=protected, force=force) as (target, policy):
        if export is None:
            database = database or default_database()
            opened = _open_run(run, database, include_contents=include_contents, payloads=payloads)
        else:
            opened = _open_export(export)
        with opened as (records, evidence), record_display("report") as progress:
            written = write_report(
                records, target, policy, embed=embed, evidence=replace(evidence, key=public), progress=progress
            )
        size = target.stat().st_size
    if json:
        typer.echo(jsonlib.dumps({**asdict(written), "path": output, "size_bytes": size}, indent=2))
        return
    held = f"{written.embedded:,} of {written.records:,} records"
    typer.echo(aligned([("run", written.run_id), ("report", f"{output} ({size:,} bytes, {held})")]))


def _write_viewer(output: Place, *, force: bool, json: bool) -> None:
    from elspeth.report.viewer import write_viewer  # noqa: PLC0415  start time

    if isinstance(output, ObjectPath):
        with uploading(output, force=force) as path:
            digest = write_viewer(path)
    else:
        digest = write_viewer(output, force=force)
    if json:
        typer.echo(jsonlib.dumps({"path": str(output), "sha256": digest}, indent=2))
    else:
        typer.echo(aligned([("viewer", str(output)), ("SHA-256", digest)]))


def _load_key(path: Path) -> PublicKey:
    from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415  start time

    return load_public_key(path)


@contextmanager
def _open_export(path: Path) -> Iterator[tuple[RunRecords, PageEvidence]]:
    from elspeth.report.evidence import (  # noqa: PLC0415  start time
        PageEvidence,
        read_bag_certificate,
        read_bag_contents,
        read_bag_files,
    )
    from elspeth.report.records import open_export_records  # noqa: PLC0415

    with record_display("read") as progress, open_export_records(path, progress=progress) as records:
        yield (
            records,
            PageEvidence(
                files=read_bag_files(path), contents=read_bag_contents(path), certificate=read_bag_certificate(path)
            ),
        )


@contextmanager
def _open_run(
    run: str, database: str, *, include_contents: bool, payloads: str | None
) -> Iterator[tuple[RunRecords, PageEvidence]]:
    from elspeth.core.landscape.exporting.contents import find_contents, payload_place  # noqa: PLC0415  start time
    from elspeth.report.evidence import PageEvidence, read_seal  # noqa: PLC0415
    from elspeth.report.records import open_database_records  # noqa: PLC0415

    with open_landscape(database) as db, open_database_records(db, run) as records:
        evidence = PageEvidence(seal=read_seal(records.connection, records.run_id))
        if include_contents:
            place = payload_place(db, records.run_id) if payloads is None else place_of(payloads)
            kept = find_contents(db, records.run_id, place)
            evidence = replace(evidence, contents=kept.read())
        yield records, evidence
