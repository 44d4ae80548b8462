"""The audit database that a command is told to look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from elspeth.cli.migration_display import migration_display

if TYPE_CHECKING:
    from elspeth.core.landscape.database import LandscapeDB

__all__ = ["DatabaseOption", "OptionalDatabaseOption", "database_url", "open_landscape"]

_OPTION = typer.Option(
    "--database", "-d", metavar="URL|PATH", help="The audit database: an SQLAlchemy URL or a SQLite file."
)

DatabaseOption = Annotated[str, _OPTION]
OptionalDatabaseOption = Annotated[str | None, _OPTION]


_LIKE_A_URL = re.compile(r"(?:sqlite|postgres(?:ql)?)(?:\+\w*)?:")


def database_url(database: str) -> str:
    """Return the URL of a database that is given by URL or by the path of a SQLite file.

    What only looks like a URL is no path: messages would show its password.
    """
    if _LIKE_A_URL.match(database):
        return database
    return database if "://" in database else f"sqlite:///{quote(database, safe='/ +@:')}"


@contextmanager
def open_landscape(database: str) -> Iterator[LandscapeDB]:
    """Open a database that exists already, to read it; LandscapeError if it cannot be.

    One of an older epoch stays as it is: a private copy of it is migrated and read.
    """
    from elspeth.core.landscape.migration.private_copy import open_for_reading  # noqa: PLC0415  start time

    with ExitStack() as stack:
        with migration_display() as report:
            db = stack.enter_context(open_for_reading(database_url(database), report))
        yield db
