"""Checks, compares and shows database URLs, without their secrets.

A URL is split as by SQLAlchemy, but without loading SQLAlchemy, because `elspeth validate` checks a URL in every
settings file. If a URL is malformed, more of it counts as secret, never less.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_plus

from elspeth.contracts.environment import missing_package

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = [
    "HARMLESS_PARAMETERS",
    "HIDDEN",
    "database_server",
    "database_url",
    "database_url_problem",
    "driver_problem",
    "find_url_secrets",
    "hide",
    "hide_secrets_of",
    "is_database_url",
    "mask_database_url",
    "mask_url",
    "parse_database_url",
    "sqlite_file",
    "without_credentials",
]

HIDDEN = "***"

HARMLESS_PARAMETERS = frozenset(
    {
        *("host", "hostaddr", "port", "user", "service", "target_session_attrs", "load_balance_hosts"),
        *("sslmode", "sslnegotiation", "gssencmode", "channel_binding", "require_auth"),
        *("application_name", "client_encoding", "connect_timeout", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("mode", "uri", "cache", "immutable", "nolock", "vfs", "timeout", "check_same_thread"),
        *("isolation_level", "cached_statements", "charset", "driver"),
        *("encrypt", "trustservercertificate", "warehouse", "role", "schema"),
    }
)
"""Parameters, in lower case, that are shown. The value of any other parameter counts as secret."""

_EXAMPLES = "sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
_SCHEME = re.compile(r"[A-Za-z0-9_+.-]+://")
_SQLITE = ("sqlite", "sqlite+pysqlite")
_LIKE_A_URL = re.compile(r"(?:sqlite|postgres(?:ql)?)(?:\+\w*)?:")
_LEAST_SEARCHED = 4  # characters: a shorter secret may occur in any message
_HOST = re.compile(r"(?:[^\[\]:]*|\[[^\[\]]+\])(?::[0-9]{1,5})?")


def is_database_url(text: str) -> bool:
    """Return whether a text is a URL, not a path.

    A text that resembles a URL does not count as a path, because messages would show its password.
    """
    return _LIKE_A_URL.match(text) is not None or "://" in text


def database_url(database: str) -> str:
    """Return the URL of a database.

    `database` is the URL itself, or the path of a SQLite file.
    """
    return database if is_database_url(database) else f"sqlite:///{quote(database, safe='/ +@:')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A database URL in parts.

    `scheme` includes ``://``, `place` is host, port and database, `query` the raw parameters.
    """

    scheme: str
    user: str | None
    password: str | None
    place: str
    query: tuple[str, ...]

    @property
    def host(self) -> str:
        """Return the host with its port, up to the database."""
        return self.place.partition("/")[0]


def hide(secret: str) -> str:  # noqa: ARG001  every mask takes the secret
    """Return the replacement of a secret in messages."""
    return HIDDEN


def mask_database_url(text: str, mask: Callable[[str], str] = hide) -> str:
    """Return a database URL with its secrets masked.

    Secrets are the password, every parameter that is not known to be harmless, and every part in which a password may
    have been written by mistake. The mask is called with each secret as a driver sees it, without percent-encoding.
    """
    if not _SCHEME.match(text):
        head, colon, tail = text.partition(":")
        return head + colon + _mask(unquote(tail), mask)
    parts = _split(text)
    masked = parts.scheme
    if parts.user is not None:
        masked += parts.user if parts.password is None else f"{parts.user}:{_mask(unquote(parts.password), mask)}"
        masked += "@"
    masked += _mask_host(parts.host, mask) + parts.place.removeprefix(parts.host)
    pieces = [f"{shown}{_mask(secret, mask)}" for shown, secret in map(_read_parameter, parts.query)]
    return masked + ("?" + "&".join(pieces) if pieces else "")


def find_url_secrets(text: str) -> list[str]:
    """Return the secrets that `mask_database_url` masks."""
    found: list[str] = []

    def collect(secret: str) -> str:
        found.append(secret)
        return secret

    mask_database_url(text, collect)
    return found


def hide_secrets_of(url: str, message: str) -> str:
    """Return a driver's message without the secrets of its URL."""
    for secret in sorted(find_url_secrets(url), key=len, reverse=True):
        if len(secret) >= _LEAST_SEARCHED:
            message = message.replace(secret, HIDDEN)
    return message


def without_credentials(text: str) -> str:
    """Return a URL without user, password and other secrets.

    It identifies the database, independent of who connects.
    """
    if not _SCHEME.match(text):
        return mask_database_url(text)
    parts = _split(text)
    kept = [
        shown for shown, secret in map(_read_parameter, parts.query) if not secret and not shown.startswith("user=")
    ]
    return parts.scheme + parts.place + ("?" + "&".join(sorted(kept)) if kept else "")


def sqlite_file(text: str) -> Path | None:
    """Return the file of a SQLite URL, or None.

    Returns None for other databases, and for a database in memory.
    """
    if not _SCHEME.match(text):
        return None
    parts = _split(text)
    name = parts.place.removeprefix("/")
    if parts.scheme.removesuffix("://") not in _SQLITE or name in ("", ":memory:"):
        return None
    return Path(unquote(name.removeprefix("file:")) if name.startswith("file:") else name)


def database_server(text: str) -> tuple[str, ...] | None:
    """Return host, port, name and options of a database.

    Returns None for a SQLite database. Two names of the same host count as two hosts.
    """
    if not _SCHEME.match(text):
        return None
    parts = _split(text)
    backend = parts.scheme.removesuffix("://").partition("+")[0]
    if backend in _SQLITE:
        return None
    host, _, database = parts.place.partition("/")
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", "")
    options = sorted(piece for piece in parts.query if piece.startswith("options="))
    default_port = "5432" if backend == "postgresql" else ""
    return backend, name.lower() or "localhost", port or default_port, database or (parts.user or ""), *options


def database_url_problem(text: str) -> str | None:
    """Return the problem of a database URL, or None.

    The problem is described without secrets.
    """
    if not _SCHEME.match(text):
        return f"expected a SQLAlchemy URL such as {_EXAMPLES}"
    if any(character in text for character in "\r\n\0"):
        return "expected no line breaks and NUL characters: write %0A for a line feed in a password"
    parts = _split(text)
    if parts.scheme.removesuffix("://") in _SQLITE and (parts.user is not None or parts.host):
        return "expected sqlite:///PATH: SQLite knows no users, passwords and hosts"
    if (parts.user is not None and "/" in parts.user) or "@" in f"{parts.user}{parts.password}":
        return f"expected one '@', before the host, as in {_EXAMPLES}: write %40 for others"
    if not _HOST.fullmatch(parts.host):
        return "expected a number as the port; several hosts are given as ?host=HOST:PORT&host=HOST:PORT"
    if any("=" not in piece for piece in parts.query if piece):
        return "expected NAME=VALUE after '?', joined by '&'"
    return None


def _split(text: str) -> _Parts:
    """Split a text with a ``://`` into its parts.

    With at most one '@', the result is that of SQLAlchemy.
    """
    name, slashes, rest = text.partition("://")
    is_file = name.startswith("sqlite") and rest.startswith("/")
    userinfo, found, after = ("", "", rest) if is_file else rest.rpartition("@")
    place, _, query = after.partition("?")
    user, colon, password = userinfo.partition(":")
    return _Parts(
        scheme=name + slashes,
        user=user if found else None,
        password=password if colon else None,
        place=place,
        query=tuple(query.split("&")) if query else (),
    )


def _read_parameter(piece: str) -> tuple[str, str]:
    """Return the harmless part of a parameter, and its secret."""
    name, equals, value = piece.partition("=")
    if not equals:
        return "", piece  # this may be the rest of a password that contains a question mark
    return (piece, "") if unquote_plus(name).lower() in HARMLESS_PARAMETERS else (f"{name}=", unquote_plus(value))


def _mask(secret: str, mask: Callable[[str], str]) -> str:
    return mask(secret) if secret else ""


def _mask_host(host: str, mask: Callable[[str], str]) -> str:
    """Return the host, masking a text that cannot be one.

    Such a text may be a password without a host.
    """
    name, colon, port = host.rpartition(":")
    if _HOST.fullmatch(host):
        return host
    return name + colon + _mask(port, mask) if _HOST.fullmatch(name) else _mask(host, mask)


def parse_database_url(text: str) -> URL:
    """Return the URL as SQLAlchemy represents it.

    Raises ValueError, without secrets, for a URL that cannot be used, and for parameters that the database's driver
    would refuse. An unknown driver is not detected.
    """
    from sqlalchemy import make_url  # noqa: PLC0415  start time

    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    url = make_url(text)
    problem = _parameters_problem(url)
    if problem is not None:
        raise ValueError(hide_secrets_of(text, problem))
    return url


def driver_problem(url: URL) -> str | None:
    """Return why a database's driver is missing, or None."""
    from sqlalchemy.exc import NoSuchModuleError  # noqa: PLC0415  start time

    try:
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        return f"there is no driver {url.drivername!r}"
    except ImportError as error:
        module = (error.name or url.get_driver_name()).partition(".")[0]
        return missing_package(module, "postgres") if module == "psycopg" else f"needs {module}: {error}"
    return None


def mask_url(url: URL) -> str:
    """Return the URL for messages and records, without its secrets."""
    return mask_database_url(url.render_as_string(hide_password=False))


def _parameters_problem(url: URL) -> str | None:
    """Return why a driver refuses a URL's parameters, or None.

    SQLAlchemy ignores some of them, and only warns.
    """
    from sqlalchemy.exc import NoSuchModuleError, SAWarning, SQLAlchemyError  # noqa: PLC0415  start time

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            url.get_dialect()().create_connect_args(url)
    except NoSuchModuleError:
        return None
    except (SQLAlchemyError, SAWarning, ValueError, TypeError, OverflowError) as error:
        return str(error).partition(" (Background")[0]
    return None
