"""The examples in docs/scaling.md work."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import execution, main
from elspeth.engine.loading import RowLoader
from tests.fixtures.workers import InlineWorkers

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
COMMANDS = re.findall(r"^\$ (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(300)))


def test_the_page_shows_a_run_with_workers_and_one_with_a_cluster() -> None:
    assert [command.split()[:2] for command in COMMANDS] == [
        ["elspeth", "run"],
        ["dask", "scheduler"],
        ["dask", "worker"],
        ["elspeth", "run"],
    ]


def test_a_run_with_workers_works(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    @contextmanager
    def run_workers(count: int) -> Iterator[InlineWorkers]:
        counts.append(count)
        yield InlineWorkers(count=count)

    monkeypatch.setattr(execution, "run_workers", run_workers)
    assert main(shlex.split(COMMANDS[0])[1:]) == 0
    assert counts == [4]
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


@pytest.mark.skipif(find_spec("distributed") is None, reason="needs the extra dask")
def test_a_cluster_works_until_its_scheduler_dies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    programs = [command.replace("8786", port) for command in COMMANDS]
    with ExitStack() as stack:
        scheduler, worker = (start(stack, command) for command in programs[1:3])
        while main(shlex.split(programs[3])[1:]) != 0:
            assert worker.poll() is None
        assert Path("out.csv").read_text() == Path("in.csv").read_text()
        Path("out.csv").unlink()
        capsys.readouterr()
        with monkeypatch.context() as patch:
            kill_after_the_first_commit_of_rows(patch, scheduler)
            assert main(shlex.split(programs[3])[1:]) == 1
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert f"the Dask scheduler at tcp://127.0.0.1:{port} does not answer any more" in said
    assert not Path("out.csv").exists()
    resume = re.search(r"To go on from row \d+: elspeth (resume .+) --cluster \S+ (--execute)$", said, re.MULTILINE)
    assert resume is not None, said
    assert main([*shlex.split(resume[1]), resume[2]]) == 0
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


def start(stack: ExitStack, command: str) -> subprocess.Popen[bytes]:
    """Start a program of Dask, which ends with the block."""
    arguments = [sys.executable, "-m", *shlex.split(command), "--no-dashboard"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process


def kill_after_the_first_commit_of_rows(patch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]) -> None:
    """Kill a process after the first commit of rows."""
    commit = RowLoader._commit

    def commit_and_kill(*arguments: Any) -> None:  # noqa: ANN401  passed on
        commit(*arguments)
        process.kill()
        process.wait()

    patch.setattr(RowLoader, "_commit", commit_and_kill)
