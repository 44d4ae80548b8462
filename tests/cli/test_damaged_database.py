"""Commands on a SQLite file with a damaged page: one message that names the database, no traceback."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from tests.fixtures.told_run import record_told_run

pytestmark = pytest.mark.usefixtures("own_directory")

READING = {
    "export": ["export", "told", "-o", "out.jsonl"],
    "export as CSV": ["export", "told", "--format", "csv", "-o", "out"],
    "explain": ["explain", "--row", "3"],
    "check": ["landscape", "check"],
}

_PAGE = 4096


def damage(database: Path, table: str) -> None:
    """Overwrite the first page of a table, as a failing disk does; the tables' definitions stay readable."""
    with closing(sqlite3.connect(database)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with database.open("r+b") as file:
        file.seek((root - 1) * _PAGE)
        file.write(b"\xff" * _PAGE)


@pytest.mark.parametrize("command", READING)
def test_a_damaged_page_is_told_in_one_message(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB("sqlite:///x.db") as database:
        record_told_run(database)
    damage(Path("x.db"), "rows")
    code = main([*READING[command], "-d", "x.db"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    *said, line = captured.err.splitlines()
    assert len(said) == (command == "check")  # which tells the state of the tables first
    assert line.startswith("error: audit database sqlite:///x.db")
    assert line.endswith(": database disk image is malformed")
    assert not Path("out.jsonl").exists()
    assert not Path("out").exists()
