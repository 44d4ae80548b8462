"""Addresses of databases in options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from elspeth.contracts.databases import driver_problem, parse_database_url
from elspeth.contracts.failures import recordable_message
from elspeth.contracts.urls import hide_secrets_of
from elspeth.outputs.writing import make_directory

__all__ = ["DatabaseUrl", "database_exists", "database_reason", "make_room"]


def _readable(url: str) -> str:
    problem = driver_problem(parse_database_url(url))
    if problem is not None:
        raise ValueError(problem)
    return url


DatabaseUrl = Annotated[str, AfterValidator(_readable)]


def database_exists(url: URL) -> bool:
    """False for a SQLite file that is not there: opening it would create an empty one. True where only asking tells."""
    path = _file_of(url)
    return path is None or path.exists()


def make_room(url: URL) -> None:
    """Make the directory of a SQLite file, durably, which SQLite itself does not; OSError when that cannot be done."""
    path = _file_of(url)
    if path is not None:
        make_directory(path.parent)


def _file_of(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def database_reason(error: SQLAlchemyError | ImportError, url: URL) -> str:
    """Return what the driver of a database says, on one line, without the secrets of the URL and values of rows."""
    is_about_url = isinstance(error, ImportError | ArgumentError)
    said = str(error).splitlines()[0] if is_about_url else recordable_message(error)
    return hide_secrets_of(url.render_as_string(hide_password=False), said)
