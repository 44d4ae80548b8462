"""Unusable audit databases are explained and not changed."""

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
    """Copy a database of epoch 4."""
    return Path(shutil.copy(LEGACY / "epoch4-rich.db", tmp_path / "old.db"))


def run_landscape(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth landscape`; return its exit code, output and errors."""
    code = main(["landscape", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def create_later_epoch() -> None:
    with LandscapeDB("sqlite:///x.db") as database, database.connection() as connection:
        say_epoch(connection, EPOCH + 1)


def create_later_predecessor() -> None:
    with create_engine("sqlite:///x.db", poolclass=NullPool).begin() as connection:
        epoch_tables(4).create_all(connection)
        for number in range(22):
            connection.exec_driver_sql(f"CREATE TABLE later_{number:02} (id TEXT)")


def create_foreign_file() -> None:
    with closing(sqlite3.connect("x.db")) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")


def create_without_trigger() -> None:
    with LandscapeDB("sqlite:///x.db") as database, database.connection() as connection:
        connection.exec_driver_sql("DROP TRIGGER guard_runs_update")


def create_text_file() -> None:
    Path("x.db").write_text("not a database\n" * 100)


def create_truncated() -> None:
    Path("x.db").write_bytes((LEGACY / "epoch4-rich.db").read_bytes()[:5000])


def create_damaged_names() -> None:
    """Damage a name in the schema.

    SQLite's message about it is not text.
    """
    LandscapeDB("sqlite:///x.db").close()
    with closing(sqlite3.connect("x.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET name = CAST(x'c0c1' AS TEXT), sql = 'x' WHERE name = 'tokens'")
        connection.commit()


NOT_READABLE = {
    create_later_epoch: f"is of epoch {EPOCH + 1}, this version knows epochs up to {EPOCH}. Nothing was changed."
    " Use the version of elspeth that wrote it, or a later one.",
    create_later_predecessor: "does not name its epoch, and differs from the predecessor's tables of 2026-02-13 (19"
    " tables, 191 columns), the nearest: table later_00 is not expected; table later_01 is not expected; table later_02"
    " is not expected; table later_03 is not expected; table later_04 is not expected; and 17 more."
    " Nothing was changed."
    " It cannot be trusted as evidence until the differences are explained: restore a backup, or undo them. To list all"
    " of them, run: elspeth landscape status -d sqlite:///x.db",
    create_foreign_file: "is not an audit database: it holds other tables (customers). Nothing was changed. Use another"
    " database (landscape.url, or -d).",
    create_without_trigger: f"claims to be of epoch {EPOCH}, but differs from it: trigger guard_runs_update is missing."
    " Nothing was changed. It cannot be trusted as evidence until the differences are explained: restore a backup, or"
    " undo them. To list all of them, run: elspeth landscape status -d sqlite:///x.db",
    create_text_file: "cannot be opened: file is not a database",
    create_truncated: "cannot be opened: database disk image is malformed",
    create_damaged_names: "cannot be opened: database disk image is malformed",
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
def test_an_unusable_database_is_reported_in_one_line(make: object, command: str, capsys: Captured) -> None:
    assert callable(make)
    make()
    Path("input.csv").write_text("a\n1\n")
    Path("settings.yaml").write_text(SETTINGS)
    with untouched(Path("x.db")):
        code = main(COMMANDS[command])
    assert (code, *capsys.readouterr()) == (1, "", f"error: audit database sqlite:///x.db {NOT_READABLE[make]}\n")


@pytest.mark.parametrize("make", NOT_READABLE)
def test_status_and_check_report_an_unusable_database(make: object, capsys: Captured) -> None:
    assert callable(make)
    make()
    with untouched(Path("x.db")):
        status = run_landscape(capsys, "status", "-d", "x.db")
        check = run_landscape(capsys, "check", "-d", "x.db", "--no-seals")
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
def test_unsupported_databases_are_refused(
    command: str, database: str, message: str, capsys: Captured, tmp_path: Path
) -> None:
    said = f"error: {message.format(directory=tmp_path)}\n"
    assert run_landscape(capsys, command, "-d", database) == (1, "", said)


@pytest.mark.parametrize("command", ["status", "runs", "migrate", "check"])
def test_an_unreachable_server_is_reported(command: str, capsys: Captured) -> None:
    code, output, errors = run_landscape(capsys, command, "-d", "postgresql://auditor:secret@127.0.0.1:1/audit")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(
        "error: audit database postgresql://auditor:***@127.0.0.1:1/audit cannot be opened: connection failed:"
    )


@pytest.mark.parametrize("command", ["status", "runs", "check", "migrate"])
def test_a_locked_database_is_reported(command: str, old: Path, capsys: Captured) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection, untouched(old):
        connection.execute("BEGIN EXCLUSIVE")
        said = run_landscape(capsys, command, "-d", "old.db")
    assert said == (1, "", "error: audit database sqlite:///old.db cannot be opened: database is locked\n")


# -- damaged pages -----------------------------------------------------------------------------------------------------

READING = {
    "export": ["export", "told", "-o", "out.jsonl"],
    "export as CSV": ["export", "told", "--format", "csv", "-o", "out"],
    "explain": ["explain", "--row", "3"],
    "check": ["landscape", "check"],
}

_PAGE = 4096


def damage_page(database: Path, table: str) -> None:
    """Overwrite the first page of a table.

    The definitions of the tables stay readable.
    """
    with closing(sqlite3.connect(database)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with database.open("r+b") as file:
        file.seek((root - 1) * _PAGE)
        file.write(b"\xff" * _PAGE)


@pytest.mark.parametrize("command", READING)
def test_a_damaged_page_is_reported_in_one_message(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB("sqlite:///x.db") as database:
        record_told_run(database)
    damage_page(Path("x.db"), "rows")
    code = main([*READING[command], "-d", "x.db"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    *said, line = captured.err.splitlines()
    assert len(said) == (command == "check")  # which prints the state of the tables first
    assert line.startswith("error: audit database sqlite:///x.db")
    assert line.endswith(": database disk image is malformed")
    assert not Path("out.jsonl").exists()
    assert not Path("out").exists()
