"""Shells complete commands, options and runs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recorder import LandscapeRecorder

Captured = pytest.CaptureFixture[str]


def complete(monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, of: str = "bash") -> str:
    """Return the program's answer to a shell."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    monkeypatch.setenv("_ELSPETH_COMPLETE", f"complete_{of}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    capsys.readouterr()
    main([])
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


@pytest.fixture
def database(own_directory: Path) -> Path:
    """Make an audit database with two runs."""
    with LandscapeDB("sqlite:///audit.db") as db:
        recorder = LandscapeRecorder(db)
        for name in ("run-1", "run-2"):
            recorder.begin_run({}, "1", run_id=name, started_at=datetime(2026, 3, 1, int(name[-1]), tzinfo=UTC))
    return own_directory / "audit.db"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("elspeth lan", ["landscape"]),
        ("elspeth landscape m", ["migrate"]),
        ("elspeth run --exe", ["--execute"]),
        ("elspeth export ", ["latest"]),
        ("elspeth export -d audit.db ", ["latest", "run-2", "run-1"]),
        ("elspeth export -d audit.db run", ["run-2", "run-1"]),
        ("elspeth explain -d audit.db --run run-1", ["run-1"]),
        ("elspeth export -d missing.db ", ["latest"]),
        ("elspeth plugins show batch_", ["batch_replicate", "batch_stats"]),
        ("elspeth plugins show --kind sink j", ["json", "jsonl"]),
        ("elspeth export -d postgresql+psycopg://nobody@127.0.0.1:1/none ", ["latest"]),
    ],
)
def test_completions(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, expected: list[str], own_directory: Path
) -> None:
    assert complete(monkeypatch, capsys, line).split() == expected
    assert [path.name for path in own_directory.iterdir()] == ["audit.db"]


@pytest.mark.usefixtures("database")
def test_completions_of_runs_say_what_they_are(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    output = complete(monkeypatch, capsys, "elspeth export -d audit.db run-1", of="fish")
    assert output == "run-1\trunning, 0 rows, began 2026-03-01T01:00:00.000000Z\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_prints_the_script_of_each_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, shell: str, own_directory: Path
) -> None:
    monkeypatch.setenv("_ELSPETH_COMPLETE", f"source_{shell}")
    main([])
    assert "_ELSPETH_COMPLETE=complete_" + shell in capsys.readouterr().out
    assert list(own_directory.iterdir()) == []
