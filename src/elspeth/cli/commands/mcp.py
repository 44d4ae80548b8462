"""The command `mcp`: a trail as tools of assistants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.access import default_database
from elspeth.cli.failures import UsageError
from elspeth.cli.options import JsonOption, require_unicode
from elspeth.contracts.environment import missing_package

__all__ = ["mcp"]


def mcp(
    *,
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="URL|PATH",
            callback=require_unicode,
            help="The audit database, or an export or bag; by default the database of the settings.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key of the signer of a bag."),
    ] = None,
    all_sql: Annotated[
        bool,
        typer.Option(
            "--all-sql",
            help="Take SQL on PostgreSQL, too: it reads all that the role may read, contents of rows included.",
        ),
    ] = False,
    json: JsonOption = False,  # noqa: ARG001  errors before the first message are JSON then
) -> None:
    """Serve an audit trail to an assistant, for reading only.

    Speaks the Model Context Protocol over standard input and output. Its tools list runs, explain rows, say why rows
    failed, compare runs, verify a bag, and run SQL within limits.
    """
    if missing := missing_package("mcp", "mcp"):
        raise UsageError(f"elspeth mcp {missing}")
    from elspeth.api.reading import open as open_trail  # noqa: PLC0415  start time
    from elspeth.assistant.server import build_server  # noqa: PLC0415
    from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415

    if key is not None:
        load_public_key(key)  # at once, not when the assistant first verifies
    found = place or default_database()
    with open_trail(found) as trail:
        build_server(trail, bag=Path(found), key=key, all_sql=all_sql).run("stdio")
