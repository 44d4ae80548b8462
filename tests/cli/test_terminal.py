"""Harmless text on terminals, and broken standard streams."""

from __future__ import annotations

import getpass
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest

from elspeth.cli import main, terminal
from elspeth.cli.terminal import aligned, ask_secret, binary_stdout, one_line, print_table
from tests.cli.processes import COMMAND
from tests.fixtures.legacy import LEGACY

HOSTILE = "run\x1b[31m\x1b]0;title\x07\u202e\r\nsealed"

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
    """Prepare a directory in which every command works."""
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
    """Return a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        yield pipe


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_pipe_ends_a_command_silently(
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


def test_python_itself_prints_nothing_about_a_closed_pipe(directory: Path, closed_pipe: TextIO) -> None:
    program = [sys.executable, "-c", COMMAND, "plugins", "list"]
    done = subprocess.run(program, cwd=directory, stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_full_disk_is_an_error(directory: Path) -> None:
    program = [sys.executable, "-c", COMMAND, "plugins", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, cwd=directory, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_full_disk_is_an_error_of_a_streamed_export(directory: Path) -> None:
    program = [sys.executable, "-c", COMMAND, "export", "latest", "-d", "audit.db", "-o", "-"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, cwd=directory, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


def test_a_command_works_without_a_reader_of_its_messages(directory: Path, closed_pipe: TextIO) -> None:
    program = [sys.executable, "-c", COMMAND, "landscape", "check", "-d", "audit.db"]
    done = subprocess.run(program, cwd=directory, stdout=subprocess.PIPE, stderr=closed_pipe, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two lines"),
        ("\x1b[2Jwiped", r"\x1b[2Jwiped"),
        ("é \u202e", "é \\u202e"),
        ("x" * 200, "x" * 200),
        ("x" * 201, f"{'x' * 200}..."),
    ],
)
def test_messages_of_plugins_become_one_harmless_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_no_cell_of_a_table_holds_control_characters() -> None:
    table = aligned([("run", HOSTILE), ("status", "completed")])

    assert table == "run     run\\x1b[31m\\x1b]0;title\\x07\\u202e\\r\\nsealed\nstatus  completed"


def test_columns_are_aligned_after_escaped_text() -> None:
    first, second = aligned([("a\x07", "1"), ("b", "2")]).splitlines()

    assert first.index("1") == second.index("2")


def test_no_message_repeats_control_characters_of_a_file_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "bag\x07\u202e")]) == 1

    told = capsys.readouterr().err
    assert "bag\\x07\\u202e: " in told
    assert "\x07" not in told
    assert "\u202e" not in told


def test_a_command_without_standard_output_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as after `>&-`

    assert main(["plugins", "list"]) == 0


def test_bytes_for_a_closed_standard_output_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match=r"^standard output is closed: name a file with -o$"):
        binary_stdout()


def test_bytes_for_a_text_stream_are_decoded_and_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    class Text(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Text())
    stream = binary_stdout()
    assert [stream.write(part) for part in ("é".encode()[:1], "é".encode()[1:] + b"\n")] == [1, 2]
    stream.flush()
    assert flushed == ["é\n"]


def test_a_long_table_has_one_heading(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "_PAGE", 2)
    assert print_table(["id", "name"], [(str(number), "x") for number in range(5)]) == 5
    assert capsys.readouterr().out == "id  name\n0   x\n1   x\n2  x\n3  x\n4  x\n"
    assert print_table(["id", "name"], []) == 0
    assert capsys.readouterr().out == ""


class Keyboard(io.StringIO):
    """Standard input, perhaps a terminal."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("stdin", [None, Keyboard(is_terminal=False)], ids=["closed", "a file"])
def test_no_secret_is_asked_for_without_a_terminal(stdin: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: pytest.fail("nobody can answer"))
    assert ask_secret("pass phrase") is None


@pytest.mark.parametrize(("answer", "secret"), [("hunter2", "hunter2"), ("", None)])
def test_a_secret_is_asked_for_on_standard_error(
    answer: str, secret: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object]] = []

    def ask(prompt: str, stream: TextIO) -> str:
        asked.append((prompt, stream))
        return answer

    monkeypatch.setattr(sys, "stdin", Keyboard(is_terminal=True))
    monkeypatch.setattr(getpass, "getpass", ask)
    assert ask_secret("pass phrase of key\x1b[31m.pem") == secret
    assert asked == [("pass phrase of key\\x1b[31m.pem: ", sys.stderr)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
@pytest.mark.parametrize("size", [1, 100_000], ids=["while flushing", "while writing"])
def test_messages_that_cannot_be_written_anywhere_are_dropped(size: int) -> None:
    with Path("/dev/full").open("w") as full:
        stream = cast("TextIO", terminal._UnfailingStream(full))
        for _ in range(2):
            assert stream.write("x" * size) == size
            stream.flush()
