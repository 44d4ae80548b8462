"""URLs of audit databases, and what drivers say of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database.urls import describe_error, is_in_memory, sqlite_path


class RefusedError(Exception):
    """What a driver raises with the words of a server."""

    def __init__(self, primary: str | None, detail: str | None) -> None:
        super().__init__("what the driver says")
        self.diag = SimpleNamespace(message_primary=primary, message_detail=detail)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RefusedError("two\nlines", "with hunter-22  of it"), "two lines with *** of it"),
        (RefusedError("no more", None), "no more"),
        (RefusedError(None, None), "what the driver says"),
        (Exception("a file\n"), "a file"),
    ],
)
def test_a_database_is_quoted_on_one_line_without_statement_and_secrets(error: Exception, said: str) -> None:
    url = make_url("postgresql+psycopg://user:hunter-22@host/audit")
    assert describe_error(DBAPIError("SELECT 'protected'", None, error), url) == said


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///file:/a%20b.db?mode=ro&uri=true", "/a b.db"),
        ("sqlite:///x.db", str(Path("x.db").absolute())),
    ],
)
def test_the_path_of_a_file_is_absolute(url: str, path: str) -> None:
    assert str(sqlite_path(make_url(url))) == path
    assert not is_in_memory(make_url(url))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_in_memory(url: str) -> None:
    assert is_in_memory(make_url(url))
