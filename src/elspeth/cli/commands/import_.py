"""``elspeth import``: restore an exported run into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import DatabaseOption, database_url
from elspeth.cli.record_display import record_display
from elspeth.cli.signing_key import CheckOption, checking_key
from elspeth.cli.text import aligned

if TYPE_CHECKING:
    from elspeth.core.landscape.exporting.reader import ExportSummary

__all__ = ["import_"]


def import_(
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An export: a file, a directory, or a bag.")],
    database: DatabaseOption,
    hmac: CheckOption = False,
) -> None:
    """Restore an exported run into a database that holds none. The export is verified; it is imported whole or not."""
    key = checking_key(wanted=hmac)
    from elspeth.contracts.databases import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.connections import parse_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.importer import import_into  # noqa: PLC0415
    from elspeth.core.landscape.exporting.reader import ExportKind, find_source  # noqa: PLC0415

    url = database_url(database)
    with record_display("import") as progress:
        summary = import_into(url, path, signing_key=key, progress=progress)
    name = mask_url(parse_url(url))
    is_bag = find_source(path).kind is ExportKind.BAG
    records = f"{summary.record_count:,}, signatures: {_signatures(summary, is_bag=is_bag)}"
    typer.echo(aligned([("run", summary.run_id), ("records", records), ("audit database", name)]))


def _signatures(summary: ExportSummary, *, is_bag: bool) -> str:
    if is_bag:
        return "not checked (elspeth verify checks those of a bag)"
    if not summary.signed:
        return "none"
    return "checked" if summary.signatures_checked else "not checked (--hmac checks them)"
