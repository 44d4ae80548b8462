"""`elspeth landscape status` says what can be done."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine

from elspeth.cli import main
from elspeth_schema import EPOCH
from tests.fixtures.epochs import say_epoch
from tests.fixtures.legacy import LEGACY

FOUND = {"to export all as it is found"}
READ = FOUND | {"to list its runs", "to export a run", "to explain a row"}
RECORD = {"to record a run", "to adopt runs of the predecessor"}

SETTINGS = """\
datasource: {plugin: csv, options: {path: in.csv}}
sinks: {rest: {plugin: csv, options: {path: out.csv}}}
output_sink: rest
landscape: {url: "sqlite:///audit.db"}
"""


def copy_of(name: str) -> None:
    shutil.copy(LEGACY / f"{name}.db", "audit.db")


def older() -> None:
    """Create an older database, whose run has no export status."""
    copy_of("epoch5-rich")
    with closing(sqlite3.connect("audit.db")) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE runs SET export_status = NULL WHERE status = 'running'")
        connection.commit()


def diverged() -> None:
    copy_of(f"epoch{EPOCH}-rich")
    with closing(sqlite3.connect("audit.db")) as connection:
        connection.execute("ALTER TABLE runs ADD COLUMN note TEXT")


def predecessor() -> None:
    shutil.copy("predecessor.db", "audit.db")


def newer() -> None:
    copy_of(f"epoch{EPOCH}-rich")
    with create_engine("sqlite:///audit.db", poolclass=NullPool).begin() as connection:
        say_epoch(connection, EPOCH + 1)


def foreign() -> None:
    with closing(sqlite3.connect("audit.db")) as connection:
        connection.execute("CREATE TABLE mine (id INTEGER)")


STATES: dict[str, tuple[Callable[[], None], set[str]]] = {
    "empty": (lambda: None, RECORD | {"to take in an exported run"}),
    "current": (lambda: copy_of(f"epoch{EPOCH}-rich"), RECORD | READ),
    "older": (older, {"to record into it, migrate it"} | READ),
    "older, of the predecessor": (
        lambda: copy_of("epoch4-rich"),
        {"to record into it, migrate it", "to record beside its runs, adopt them"} | READ,
    ),
    "predecessor": (
        predecessor,
        {"to record beside its runs, adopt them"} | READ,
    ),
    "newer": (newer, FOUND),
    "foreign": (foreign, FOUND),
    "diverged": (diverged, FOUND),
}


@pytest.fixture
def _ingredients(own_directory: Path, predecessor_files: Path) -> None:  # noqa: ARG001 - writes into that directory
    """Put the files that commands need into the directory."""
    shutil.copy(predecessor_files / "0.5.1-0511__batch_aggregation.db", "predecessor.db")
    Path("settings.yaml").write_text(SETTINGS, encoding="utf-8")
    Path("in.csv").write_text("id\n1\n", encoding="utf-8")
    shutil.copy(LEGACY / "epoch5-exports" / "trail.jsonl", "export.jsonl")


CHOSEN = {
    "NEW": "new.db",
    "OUTPUT": "bag",
    "OLD": "predecessor.db",
    "EXPORT": "export.jsonl",
    "SETTINGS": "settings.yaml",
}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `elspeth landscape status` prints."""
    main(["landscape", "status", "-d", "audit.db", *arguments])
    return capsys.readouterr().out


@pytest.mark.usefixtures("_ingredients")
@pytest.mark.parametrize("name", STATES)
def test_status_names_the_possible_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    create, expected = STATES[name]
    create()
    status = json.loads(told(capsys, "--json"))
    assert (status["state"], {way["purpose"] for way in status["ways"]}) == (name.partition(",")[0], expected)
    lines = [line.strip() for line in told(capsys).splitlines()]
    for way in status["ways"]:
        assert any(line.endswith(f"{way['purpose']}: {way['command']}") for line in lines)


@pytest.mark.usefixtures("_ingredients")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in {"current", "foreign"} else pytest.mark.thorough) for name in STATES],
)
def test_each_command_that_status_names_works(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    create, _ = STATES[name]
    create()
    before = Path("audit.db").read_bytes() if Path("audit.db").exists() else None
    for way in json.loads(told(capsys, "--json"))["ways"]:
        shutil.rmtree("bag", ignore_errors=True)
        command = shlex.split(way["command"].partition("  (")[0])
        assert main([CHOSEN.get(word, word) for word in command[1:]]) == 0, way
        if before is None:
            Path("audit.db").unlink()
        else:
            Path("audit.db").write_bytes(before)
