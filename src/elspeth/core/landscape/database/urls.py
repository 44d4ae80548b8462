"""URLs of audit databases."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from elspeth.contracts.database_urls import (
    driver_problem,
    hide_secrets_of,
    mask_database_url,
    mask_url,
    parse_database_url,
)
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.outputs.policy import Extent, Protected

__all__ = ["database_files", "describe_error", "is_in_memory", "parse_url", "sqlite_path"]

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_EXPECTED_URL = "Expected sqlite:///PATH or postgresql+psycopg://..."


def parse_url(url: str) -> URL:
    """Return the parts of an audit database's URL.

    Raises LandscapeError if the URL is malformed, its database is not supported, or its driver is not installed.
    """
    try:
        parsed = parse_database_url(url)
    except ValueError as error:
        message = f"audit database URL {mask_database_url(url)!r} is not usable: {error}"
        raise LandscapeError(message) from error
    if parsed.drivername not in _DRIVERS:
        problem = f"{parsed.drivername} is not supported"
        message = f"audit database URL {mask_url(parsed)!r} is not usable: {problem}. {_EXPECTED_URL}"
        raise LandscapeError(message)
    missing = driver_problem(parsed)
    if missing is not None:
        message = f"audit database {mask_url(parsed)} {missing}"
        raise LandscapeError(message)
    return parsed


def is_in_memory(url: URL) -> bool:
    """Return whether the URL names a SQLite database in memory."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def sqlite_path(url: URL) -> Path:
    """Return the absolute path of a SQLite database's file."""
    name = str(url.database)
    is_uri = name.startswith("file:")
    return Path(unquote(name.removeprefix("file:").partition("?")[0]) if is_uri else name).absolute()


def database_files(url: URL, what: str = "the audit database") -> tuple[Protected, ...]:
    """Return the files that outputs must not touch."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return ()
    return (Protected(path=sqlite_path(url), what=what, extent=Extent.DATABASE),)


def describe_error(error: DBAPIError, url: URL) -> str:
    """Return the database's own message, on one line.

    It contains neither the statement, whose values may be confidential, nor the secrets of the URL.
    """
    diagnosis = getattr(error.orig, "diag", None)
    parts = (diagnosis.message_primary, diagnosis.message_detail) if diagnosis is not None else ()
    said = " ".join(part for part in parts if part) or str(error.orig)
    return " ".join(hide_secrets_of(url.render_as_string(hide_password=False), said).split())
