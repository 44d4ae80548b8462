"""Standard streams that are gone: a closed pipe, a full disk, a terminal that was closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from elspeth.cli import main
from tests.cli.processes import COMMAND
from tests.fixtures.legacy import LEGACY

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
payload_store: {base_path: payloads}
"""

COMMANDS = [
    "--help",
    "run --help",
    "validate -s settings.yaml",
    "run -s settings.yaml -x",
    "purge -s settings.yaml",
    "plugins list",
    "explain --row 1 -d audit.db",
    "export latest -d audit.db -o trail.jsonl",
    "import export.jsonl -d new.db",
    "keys generate -o keys",
    "verify bag --json",
    "landscape status -d audit.db",
    "landscape runs -d audit.db",
    "landscape migrate -d old.db --sql",
    "landscape migrate -d old.db --dry-run",
]
"""Every command that writes to standard output, in an order in which they work."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which every command works."""
    directory = tmp_path_factory.mktemp("streams")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(directory)
        Path("settings.yaml").write_text(SETTINGS)
        Path("in.csv").write_text("id\n1\n2\n")
        shutil.copy(LEGACY / "epoch4-rich.db", "old.db")
        assert main(["run", "-s", "settings.yaml", "-x"]) == 0
        assert main(["export", "latest", "-d", "audit.db", "-o", "export.jsonl"]) == 0
        assert main(["export", "latest", "-d", "audit.db", "-o", "bag", "--format", "bag"]) == 0
    return directory


@pytest.fixture
def closed_pipe() -> Iterator[TextIO]:
    """A stream that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        yield pipe


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_is_closed_ends_a_command_in_silence(
    directory: Path,
    command: str,
    closed_pipe: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    assert main(command.split()) == 141
    errors = capsys.readouterr().err
    assert "error" not in errors
    assert "roken" not in errors


def test_python_itself_says_nothing_either(directory: Path, closed_pipe: TextIO) -> None:
    program = [sys.executable, "-c", COMMAND, "plugins", "list"]
    done = subprocess.run(program, cwd=directory, stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_what_cannot_be_written_is_an_error(directory: Path) -> None:
    program = [sys.executable, "-c", COMMAND, "plugins", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, cwd=directory, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_command_whose_messages_nobody_can_read_does_its_work(directory: Path, closed_pipe: TextIO) -> None:
    program = [sys.executable, "-c", COMMAND, "landscape", "check", "-d", "audit.db"]
    done = subprocess.run(program, cwd=directory, stdout=subprocess.PIPE, stderr=closed_pipe, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
