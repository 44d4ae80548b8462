"""Database URLs as SQLAlchemy takes them."""

from __future__ import annotations

import warnings

from sqlalchemy import URL, make_url
from sqlalchemy.exc import NoSuchModuleError, SAWarning, SQLAlchemyError

from elspeth.contracts.urls import database_url_problem, hide_secrets_of, mask_database_url

__all__ = ["parse_database_url", "shown_database"]


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


def shown_database(url: URL) -> str:
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
