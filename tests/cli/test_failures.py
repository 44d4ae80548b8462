"""Errors that are foreseen end a command with one message and one exit code; a defect shows itself."""

from __future__ import annotations

import errno
import sqlite3
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from importlib import import_module

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError, NoSuchModuleError

from elspeth.cli import main
from elspeth.cli.failures import FORESEEN
from elspeth.core.landscape.database.errors import OlderDatabaseError
from elspeth.core.landscape.queries import run_list
from elspeth.evidence.format.errors import EvidenceError, KeyFileError

ARGUMENTS = ["landscape", "runs", "-d", "audit.db"]


def refused() -> DatabaseError:
    """A statement with its values, as SQLAlchemy raises it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT * FROM rows")
        except sqlite3.Error as error:
            return DatabaseError("SELECT secret", {"value": "secret"}, error)
    raise AssertionError


FULL = OSError(errno.ENOSPC, "No space left on device", "out.csv")


def test_every_foreseen_error_has_the_name_that_it_is_known_by() -> None:
    for name in FORESEEN:
        module, _, kind = name.rpartition(".")
        error = getattr(import_module(module), kind)
        assert issubclass(error, BaseException)
        assert f"{error.__module__}.{error.__qualname__}" == name


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FULL, 1, "out.csv: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError("the cable was pulled"), 1, "the cable was pulled"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (refused(), 1, "audit database: no such table: rows"),
        (NoSuchModuleError("no such dialect"), 1, "no such dialect"),
        (sqlite3.DatabaseError("malformed"), 1, "malformed"),
        (psycopg.OperationalError("the connection is lost"), 1, "the connection is lost"),
        (OlderDatabaseError("is of epoch 1"), 1, "is of epoch 1"),
        (EvidenceError("line 3", "is no JSON"), 1, "line 3: is no JSON"),
        (KeyFileError("key.pem", "is no key"), 2, "key.pem: is no key"),
        (
            BrokenProcessPool("x"),
            1,
            "a worker process ended before its work did, for want of memory perhaps: use --workers 1",
        ),
    ],
)
def test_a_foreseen_error_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(run_list, "list_runs", fail)
    ended = main(ARGUMENTS)
    assert (ended, type(ended)) == (code, int)
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_what_an_error_notes_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: str) -> None:
        error = MemoryError()
        error.add_note("Rows are kept.")
        raise error

    monkeypatch.setattr(run_list, "list_runs", fail)
    assert main(ARGUMENTS) == 1
    assert capsys.readouterr().err == "error: out of memory\nRows are kept.\n"


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise AssertionError("never")

    monkeypatch.setattr(run_list, "list_runs", fail)
    with pytest.raises(AssertionError, match="never"):
        main(ARGUMENTS)
