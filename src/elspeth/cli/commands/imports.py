"""The command `import`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import checking_key, database_url
from elspeth.cli.objects import fetch
from elspeth.cli.options import CheckHmacOption, DatabaseOption, JsonOption
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from elspeth.core.landscape.exporting.reader import ExportSummary

__all__ = ["import_"]


def import_(
    *,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            parser=place_of,
            callback=fetch,
            help="An export: a file, a directory or a bag; or the address of an object.",
        ),
    ],
    database: DatabaseOption,
    hmac: CheckHmacOption = False,
    json: JsonOption = False,
) -> None:
    """Import an exported run into a database without runs.

    The export is verified, and imported completely or not at all.
    """
    key = checking_key() if hmac else None
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth.core.landscape.exporting.importer import import_into  # noqa: PLC0415
    from elspeth.core.landscape.exporting.reader import ExportKind, find_place  # noqa: PLC0415

    url = database_url(database)
    with record_display("import") as progress:
        summary = import_into(url, path, signing_key=key, progress=progress)
    name = mask_url(parse_url(url))
    is_bag = find_place(path).kind is ExportKind.BAG
    if json:
        facts = {"run_id": summary.run_id, "records": summary.record_count, "database": name}
        checked = summary.signatures_checked and not is_bag
        typer.echo(jsonlib.dumps({**facts, "signed": summary.signed, "signatures_checked": checked}, indent=2))
        return
    records = f"{summary.record_count:,}, signatures: {_signatures(summary, is_bag=is_bag)}"
    typer.echo(aligned([("run", summary.run_id), ("records", records), ("audit database", name)]))


def _signatures(summary: ExportSummary, *, is_bag: bool) -> str:
    if is_bag:
        return "not checked (elspeth verify checks those of a bag)"
    if not summary.signed:
        return "none"
    return "checked" if summary.signatures_checked else "not checked (--hmac checks them)"
