"""Database URLs as SQLAlchemy takes them."""

from __future__ import annotations

import warnings

from sqlalchemy import URL, make_url
from sqlalchemy.exc import NoSuchModuleError, SAWarning, SQLAlchemyError

from elspeth.contracts.extras import missing_package
from elspeth.contracts.urls import database_url_problem, hide_secrets_of, mask_database_url

__all__ = ["driver_problem", "mask_url", "parse_database_url"]


def parse_database_url(text: str) -> URL:
    """Return the URL in parts.

    Raises ValueError, in words that tell no secret, for a URL that cannot be used: also for parameters that the
    database's driver would not take. A driver that is unknown is not noticed.
    """
    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    url = make_url(text)
    problem = _problem_of_parameters(url)
    if problem is not None:
        raise ValueError(hide_secrets_of(text, problem))
    return url


def driver_problem(url: URL) -> str | None:
    """Return what must be installed to reach a database, None if nothing is missing."""
    try:
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        return f"there is no driver {url.drivername!r}"
    except ImportError as error:
        module = (error.name or url.get_driver_name()).partition(".")[0]
        return missing_package(module, "postgres") if module == "psycopg" else f"needs {module}: {error}"
    return None


def mask_url(url: URL) -> str:
    """Return the URL as messages and records have it, without its secrets."""
    return mask_database_url(url.render_as_string(hide_password=False))


def _problem_of_parameters(url: URL) -> str | None:
    """Return why a driver cannot be given the parameters of a URL; SQLAlchemy ignores some, and only warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            url.get_dialect()().create_connect_args(url)
    except NoSuchModuleError:
        return None
    except (SQLAlchemyError, SAWarning, ValueError, TypeError, OverflowError) as error:
        return str(error).partition(" (Background")[0]
    return None
