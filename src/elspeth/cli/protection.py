"""What a command was told to read, and so must not write to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from elspeth.cli.database import database_url

if TYPE_CHECKING:
    from elspeth.outputs.policy import Protected

__all__ = ["protected_files"]


def protected_files(
    *, database: str | None = None, keys: Iterable[str | Path | None] = (), bag: Path | None = None
) -> list[Protected]:
    """Return what no output of the command may touch; LandscapeError for a database URL that is none."""
    from elspeth.core.landscape.database.connections import database_files, parse_url  # noqa: PLC0415  start time
    from elspeth.outputs.policy import Extent, Protected  # noqa: PLC0415

    protected = [Protected(path=Path(".env"), what="the file .env of secrets")]
    if database is not None:
        protected += database_files(parse_url(database_url(database)))
    # A signer URI is the name of a file that is not there: that protects nothing, and costs nothing.
    protected += [Protected(path=Path(key), what="a key") for key in keys if key is not None]
    if bag is not None:
        protected.append(Protected(path=bag, what="the bag that is read", extent=Extent.TREE))
    return protected
