"""Shells complete commands, options and runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth_schema.contracts import NodeType

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
        ("elspeth report -d audit.db run", ["run-2", "run-1"]),
        ("elspeth outputs -d audit.db run-1", ["run-1"]),
        ("elspeth report -d audit.db evidence", []),  # shells complete files then
        ("elspeth export -d missing.db ", ["latest"]),
        ("elspeth plugins show batch_", ["batch_replicate", "batch_stats"]),
        ("elspeth plugins show --kind sink j", ["json", "jsonl"]),
        ("elspeth export -d postgresql+psycopg://nobody@127.0.0.1:1/none ", ["latest"]),
    ],
)
def test_arguments_are_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, expected: list[str], own_directory: Path
) -> None:
    assert complete(monkeypatch, capsys, line).split() == expected
    assert [path.name for path in own_directory.iterdir()] == ["audit.db"]


@pytest.mark.usefixtures("database")
def test_the_runs_of_the_default_database_are_completed(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("ELSPETH_DATABASE", "audit.db")
    assert complete(monkeypatch, capsys, "elspeth diff run-1 ").split() == ["latest", "run-2", "run-1"]
    assert complete(monkeypatch, capsys, "elspeth export run").split() == ["run-2", "run-1"]


@pytest.fixture
def with_sinks(database: Path) -> Path:
    """Give the newest run two sinks and a gate."""
    with LandscapeDB(f"sqlite:///{database}") as db:
        recorder = LandscapeRecorder(db)
        for sequence, name in enumerate(("sink_large", "sink_rest", "gate_size")):
            kind = NodeType(name.partition("_")[0])
            schema = SchemaConfig.from_dict({"fields": "dynamic"})
            recorder.register_node(
                "run-2", "csv", kind, "1", {}, node_id=f"{name}_{sequence:08}", sequence=sequence, schema_config=schema
            )
    return database


@pytest.mark.usefixtures("with_sinks")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("elspeth rows -d audit.db --sink ", ["large", "rest"]),
        ("elspeth rows -d audit.db --sink r", ["rest"]),
        ("elspeth rows -d audit.db --step ", ["large", "rest", "size"]),
        ("elspeth rows -d audit.db --run run-1 --sink ", []),
        ("elspeth rows -d missing.db --sink ", []),
        ("elspeth rows --from missing.zip --sink ", []),
    ],
)
def test_the_names_of_steps_are_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, expected: list[str]
) -> None:
    assert complete(monkeypatch, capsys, line).split() == expected


@pytest.mark.usefixtures("database")
def test_completions_of_runs_describe_the_runs(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
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


def test_bash_completes_commands(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("_ELSPETH_COMPLETE", "source_bash")
    main([])
    script = capsys.readouterr().out
    monkeypatch.delenv("_ELSPETH_COMPLETE")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    pressed = "COMP_WORDS=(elspeth landscape s); COMP_CWORD=2; _elspeth_completion elspeth s landscape"
    asking = f"{script}\ncomplete -p elspeth\n{pressed}\necho ${{COMPREPLY[@]}}"
    told = subprocess.run(["bash", "--norc", "-c", asking], check=True, capture_output=True, text=True).stdout
    assert told == "complete -o default -F _elspeth_completion elspeth\nstatus send-events\n"
