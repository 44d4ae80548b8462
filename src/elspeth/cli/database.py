"""The audit database that a command is told to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from elspeth.core.landscape.database import LandscapeDB

__all__ = ["DatabaseOption", "OptionalDatabaseOption", "database_url", "open_landscape"]

_OPTION = typer.Option(
    "--database", "-d", metavar="URL|PATH", help="The audit database: an SQLAlchemy URL or a SQLite file."
)

DatabaseOption = Annotated[str, _OPTION]
OptionalDatabaseOption = Annotated[str | None, _OPTION]


def database_url(database: str) -> str:
    """The URL of a database that is given by URL or by the path of a SQLite file."""
    return database if "://" in database else f"sqlite:///{database}"


def open_landscape(database: str) -> LandscapeDB:
    """Open a database that exists already, by URL or by the path of a SQLite file; LandscapeError if it cannot be."""
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415  start time

    return LandscapeDB.from_url(database_url(database), create_tables=False)
