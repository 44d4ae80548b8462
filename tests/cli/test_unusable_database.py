"""What commands say of an audit database that they cannot use: one line, and nothing changed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth_schema import EPOCH
from tests.fixtures.epochs import say_epoch
from tests.fixtures.legacy import LEGACY
from tests.fixtures.told_run import record_told_run
from tests.fixtures.untouched import untouched

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of epoch 4."""
    return Path(shutil.copy(LEGACY / "epoch4-rich.db", tmp_path / "old.db"))


def result(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of `elspeth landscape`."""
    code = main(["landscape", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def later_epoch() -> None:
    with LandscapeDB("sqlite:///x.db") as database, database.connection() as connection:
        say_epoch(connection, EPOCH + 1)


def later_predecessor() -> None:
    with create_engine("sqlite:///x.db", poolclass=NullPool).begin() as connection:
        epoch_tables(4).create_all(connection)
        for number in range(22):
            connection.exec_driver_sql(f"CREATE TABLE later_{number:02} (id TEXT)")


def some_sqlite_file() -> None:
    with closing(sqlite3.connect("x.db")) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")


def trigger_missing() -> None:
    with LandscapeDB("sqlite:///x.db") as database, database.connection() as connection:
        connection.exec_driver_sql("DROP TRIGGER guard_runs_update")


def text_file() -> None:
    Path("x.db").write_text("not a database\n" * 100)


def cut_short() -> None:
    Path("x.db").write_bytes((LEGACY / "epoch4-rich.db").read_bytes()[:5000])


def names_damaged() -> None:
    """Damage a name in the schema so that SQLite's message about it is no text."""
    LandscapeDB("sqlite:///x.db").close()
    with closing(sqlite3.connect("x.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET name = CAST(x'c0c1' AS TEXT), sql = 'x' WHERE name = 'tokens'")
        connection.commit()


NOT_READABLE = {
    later_epoch: f"is of epoch {EPOCH + 1}, this version knows epochs up to {EPOCH}. Nothing was changed."
    " Use the version of elspeth that wrote it, or a later one.",
    later_predecessor: "was written by a later release of the predecessor: of its 41 tables, epoch 4, the newest that"
    " can be migrated, does not have later_00, later_01, later_02, later_03, later_04, and 17 more."
    " Nothing was changed. Export it with the release that wrote it, and use another database (landscape.url).",
    some_sqlite_file: "is not an audit database: it holds other tables (customers). Nothing was changed. Use another"
    " database (landscape.url, or -d).",
    trigger_missing: f"claims to be of epoch {EPOCH}, but differs from it: trigger guard_runs_update is missing."
    " Nothing was changed. It cannot be trusted as evidence until the differences are explained: restore a backup, or"
    " undo them. To list all of them, run: elspeth landscape status -d sqlite:///x.db",
    text_file: "cannot be opened: file is not a database",
    cut_short: "cannot be opened: database disk image is malformed",
    names_damaged: "cannot be opened: database disk image is malformed",
}

SETTINGS = """\
datasource: {plugin: csv, options: {path: input.csv, schema: {fields: dynamic}, on_validation_failure: discard}}
sinks: {out: {plugin: csv, options: {path: out.csv, schema: {fields: dynamic}}}}
output_sink: out
landscape: {url: "sqlite:///x.db"}
"""

COMMANDS = {
    "runs": ["landscape", "runs", "-d", "x.db"],
    "migrate": ["landscape", "migrate", "-d", "x.db"],
    "migrate --sql": ["landscape", "migrate", "-d", "x.db", "--sql"],
    "migrate --dry-run": ["landscape", "migrate", "-d", "x.db", "--dry-run"],
    "export": ["export", "latest", "-d", "x.db", "-o", "out.jsonl"],
    "explain": ["explain", "--row", "0", "-d", "x.db"],
    "run": ["run", "-s", "settings.yaml", "--execute", "--no-dotenv"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("make", NOT_READABLE)
def test_a_database_that_cannot_be_used_is_told_in_one_line(make: object, command: str, capsys: Captured) -> None:
    assert callable(make)
    make()
    Path("input.csv").write_text("a\n1\n")
    Path("settings.yaml").write_text(SETTINGS)
    with untouched(Path("x.db")):
        code = main(COMMANDS[command])
    assert (code, *capsys.readouterr()) == (1, "", f"error: audit database sqlite:///x.db {NOT_READABLE[make]}\n")


@pytest.mark.parametrize("make", NOT_READABLE)
def test_its_status_and_check_say_the_same(make: object, capsys: Captured) -> None:
    assert callable(make)
    make()
    with untouched(Path("x.db")):
        status = result(capsys, "status", "-d", "x.db")
        check = result(capsys, "check", "-d", "x.db", "--no-seals")
    assert status[0] == check[0] == 1
    assert check[1:] == ("", status[2])
    assert status[2].removeprefix("error: ") == f"audit database sqlite:///x.db {NOT_READABLE[make]}\n"


@pytest.mark.parametrize("command", ["status", "runs", "migrate", "check"])
@pytest.mark.parametrize(
    ("database", "message"),
    [
        (".", "audit database {directory} is a directory, expected a file"),
        (
            "mysql://user:secret@host/audit",
            (
                "audit database URL 'mysql://user:***@host/audit' is not usable: mysql is not supported."
                " Expected sqlite:///PATH or postgresql+psycopg://..."
            ),
        ),
    ],
)
def test_what_is_no_database_at_all(
    command: str, database: str, message: str, capsys: Captured, tmp_path: Path
) -> None:
    said = f"error: {message.format(directory=tmp_path)}\n"
    assert result(capsys, command, "-d", database) == (1, "", said)


@pytest.mark.parametrize("command", ["status", "runs", "migrate", "check"])
def test_a_server_that_does_not_answer(command: str, capsys: Captured) -> None:
    code, output, errors = result(capsys, command, "-d", "postgresql://auditor:secret@127.0.0.1:1/audit")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(
        "error: audit database postgresql://auditor:***@127.0.0.1:1/audit cannot be opened: connection failed:"
    )


@pytest.mark.parametrize("command", ["status", "runs", "check", "migrate"])
def test_a_locked_database(command: str, old: Path, capsys: Captured) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection, untouched(old):
        connection.execute("BEGIN EXCLUSIVE")
        said = result(capsys, command, "-d", "old.db")
    assert said == (1, "", "error: audit database sqlite:///old.db cannot be opened: database is locked\n")


# -- damaged pages -----------------------------------------------------------------------------------------------------

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
