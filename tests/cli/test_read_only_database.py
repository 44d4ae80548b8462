"""Reading an audit database without write access."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from tests.fixtures.legacy import LEGACY
from tests.fixtures.told_run import record_told_run
from tests.fixtures.untouched import untouched

READING = [
    ["export", "latest", "-o", "out.jsonl"],
    ["explain", "--row", "0"],
    ["landscape", "status"],
    ["landscape", "check"],
    ["landscape", "runs"],
]

COMMANDS = """
import json, sys
from elspeth.cli import main
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]))
"""


def run_unprivileged(*commands: list[str], directory: Path) -> tuple[list[int], str]:
    """Run commands without root's right to write everywhere.

    Returns their exit codes and errors.
    """
    program = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv to take that from it")
        program = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *program]
    ended = subprocess.run(program, cwd=directory, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1]), ended.stderr


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Make an empty directory, which `make_read_only` makes read-only."""
    directory = tmp_path / "medium"
    directory.mkdir()
    yield directory
    directory.chmod(0o755)


def make_read_only(database: Path) -> Path:
    database.chmod(0o444)
    database.parent.chmod(0o555)
    return database


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away write access within this process."""
    monkeypatch.setattr(os, "access", lambda *_: False)


@pytest.fixture
def database(read_only: Path) -> Path:
    """Make a database in WAL mode, without a log."""
    path = read_only / "audit.db"
    with LandscapeDB(f"sqlite:///{path}") as db:
        record_told_run(db)
    return make_read_only(path)


def reading_commands(database: Path) -> list[list[str]]:
    return [[*command, "-d", str(database)] for command in READING]


def test_reading_commands_need_no_write_access(database: Path, tmp_path: Path) -> None:
    with untouched(database):
        codes, errors = run_unprivileged(*reading_commands(database), directory=tmp_path)
    assert codes == [0] * len(READING), errors


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o755), (0o644, 0o555)], ids=["file", "directory"])
def test_a_reader_needs_write_access_to_neither_the_file_nor_its_directory(
    database: Path, tmp_path: Path, file_mode: int, directory_mode: int
) -> None:
    database.chmod(file_mode)
    database.parent.chmod(directory_mode)
    with untouched(database):
        codes, errors = run_unprivileged(*reading_commands(database)[:1], directory=tmp_path)
    assert codes == [0], errors


def test_an_empty_log_is_harmless(database: Path, tmp_path: Path) -> None:
    database.parent.chmod(0o755)
    Path(f"{database}-wal").touch()
    make_read_only(database)
    with untouched(database):
        codes, errors = run_unprivileged(*reading_commands(database)[:1], directory=tmp_path)
    assert codes == [0], errors


def test_an_older_database_needs_no_write_access_either(read_only: Path, tmp_path: Path) -> None:
    path = make_read_only(Path(shutil.copy(LEGACY / "epoch4-rich.db", read_only / "audit.db")))
    with untouched(path):
        codes, errors = run_unprivileged(*reading_commands(path)[:1], directory=tmp_path)
    assert codes == [0], errors


def test_a_log_with_records_is_not_ignored(read_only: Path, tmp_path: Path) -> None:
    """SQLite cannot read a log without writing beside it."""
    living = tmp_path / "living.db"
    LandscapeDB(f"sqlite:///{living}").close()
    with closing(sqlite3.connect(living)) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
        for suffix in ("", "-wal"):
            shutil.copy(f"{living}{suffix}", f"{read_only / 'audit.db'}{suffix}")
    database = make_read_only(read_only / "audit.db")
    with untouched(database):
        codes, errors = run_unprivileged(["landscape", "status", "-d", str(database)], directory=tmp_path)
    assert codes == [1]
    assert errors == f"error: audit database sqlite:///{database} cannot be opened: unable to open database file\n"


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("write", [LandscapeDB.write_transaction, LandscapeDB.connection])
def test_a_write_is_refused(write: Callable[[LandscapeDB], AbstractContextManager[Connection]], database: Path) -> None:
    def delete() -> None:
        with LandscapeDB(f"sqlite:///{database}", create_tables=False) as db, write(db) as connection:
            connection.exec_driver_sql("DELETE FROM runs")

    with untouched(database), pytest.raises(LandscapeError) as caught:
        delete()
    assert str(caught.value) == f"audit database sqlite:///{database}: attempt to write a readonly database"


def open_snapshot(url: str) -> AbstractContextManager[Connection]:
    return LandscapeDB(url, create_tables=False).snapshot()


def open_read_only(url: str) -> AbstractContextManager[Connection]:
    return read_only_connection(make_url(url))


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("reader", [open_snapshot, open_read_only])
def test_a_file_changed_while_it_is_read_is_refused(
    reader: Callable[[str], AbstractContextManager[Connection]], database: Path
) -> None:
    """A reader without write access takes no lock."""

    def read() -> None:
        with reader(f"sqlite:///{database}") as connection:
            connection.exec_driver_sql("SELECT * FROM runs").all()
            os.utime(database, ns=(1, 1))

    with pytest.raises(LandscapeError) as caught:
        read()
    assert str(caught.value) == (
        f"audit database {database} was changed while it was read. Read it again when nobody writes to it."
    )
