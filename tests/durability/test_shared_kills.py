"""Runs with workers, whose processes are killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from elspeth.api.workers import ProcessWorkers
from elspeth.cli import execution, main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.cli.processes import start_command, workers_of
from tests.engine.pipelines import trail
from tests.engine.told import tell, without_operations

P = ParamSpec("P")
T = TypeVar("T")

ROWS = 3000
PATIENCE_S = 60
MOMENT_S = 0.4
KILLS = 3
OUTPUTS = ("small.csv", "large.jsonl")

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: python, options: {function: "slow_function:double", directory: DIRECTORY}}]
gates: [{name: odd, condition: "row['id'] > '5'", routes: {"true": large, "false": continue}}]
output_sink: small
sinks:
  small: {plugin: csv, options: {path: small.csv}}
  large: {plugin: jsonl, options: {path: large.jsonl}}
landscape: {url: "sqlite:///audit.db", identity: false}
"""
RUN = ("run", "-s", "settings.yaml", "-x", "--no-dotenv")

Left = tuple[list[bytes], Counter[str]]

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """Return what an undisturbed run leaves."""
    directory = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        write_inputs(directory)
        assert main([*RUN]) == 0
        return left_in(directory)


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)


def write_inputs(directory: Path) -> None:
    """Write the settings, and the rows."""
    (directory / "settings.yaml").write_text(SETTINGS.replace("DIRECTORY", str(Path(__file__).parent)))
    (directory / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(ROWS)))


def left_in(directory: Path) -> Left:
    """Return the outputs, and the trail without operations."""
    outputs = [(directory / name).read_bytes() for name in OUTPUTS]
    return outputs, without_operations(tell(trail(directory)))


def kill(pid: int) -> None:
    """Kill a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def require_audit(directory: Path) -> None:
    """Prove that whatever is published was recorded before."""
    recorded = {each["content_hash"] for each in trail(directory).get("artifact", [])} if count_rows() else set()
    for name in OUTPUTS:
        with suppress(FileNotFoundError):
            assert sha256((directory / name).read_bytes()).hexdigest() in recorded


def count_rows() -> int:
    """Count the rows that are recorded, 0 without a database."""
    if not Path("audit.db").exists():
        return 0
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect("audit.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
    return 0


def go_on(*options: str) -> None:
    """Resume the run to its end, or begin it again."""
    with LandscapeDB.from_url("sqlite:///audit.db") as db:
        runs = [run.run_id for run in LandscapeRecorder(db).list_runs() if not run.status.is_terminal]
    assert main([*(["resume", *runs, *RUN[1:]] if runs else RUN), *options]) == 0


@pytest.mark.parametrize("attempt", range(20))
def test_killed_workers_and_runs_end_as_an_undisturbed_run(tmp_path: Path, calm: Left, attempt: int) -> None:
    chance = random.Random(attempt)  # noqa: S311  not secret
    seen: set[int] = set()

    def require_running() -> None:
        if process.poll() is not None:
            pytest.fail(f"the run ended before it was killed:\n{process.communicate()[1]}")

    with start_command(*RUN, "--workers", "2", directory=tmp_path) as process:
        for _ in range(KILLS):
            end = time.monotonic() + PATIENCE_S
            while not (workers := [each for each in workers_of(process.pid) if each not in seen]):
                require_running()
                assert time.monotonic() < end, "no new worker was started"
                time.sleep(0.005)
            time.sleep(chance.uniform(0, MOMENT_S))
            require_running()
            seen.update(workers_of(process.pid), workers)
            kill(chance.choice(workers))
        time.sleep(chance.uniform(0, MOMENT_S))
        seen.update(workers_of(process.pid))
        require_running()
        process.kill()
        process.communicate()
    end = time.monotonic() + PATIENCE_S
    while any(map(is_running, seen)):
        assert time.monotonic() < end, "a worker outlives its run"
        time.sleep(0.01)
    require_audit(tmp_path)
    go_on("--workers", str(chance.randint(1, 3)))
    assert left_in(tmp_path) == calm
    assert main(["landscape", "check", "-d", "audit.db"]) == 0


class DoubleWorkers(ProcessWorkers):
    """Workers that get every partition twice."""

    submitted = 0

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        DoubleWorkers.submitted += 1
        super().submit(work, *args, **kwargs)
        return super().submit(work, *args, **kwargs)


def test_partitions_that_are_submitted_twice_are_recorded_once(
    tmp_path: Path, calm: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def start(count: int) -> Iterator[ProcessWorkers]:
        workers = DoubleWorkers(count, "elspeth.engine.workshop")
        try:
            yield workers
        finally:
            workers.stop()

    monkeypatch.setattr(execution, "run_workers", start)
    assert main([*RUN, "--workers", "3"]) == 0
    assert DoubleWorkers.submitted >= 20
    assert left_in(tmp_path) == calm


@pytest.mark.skipif(find_spec("distributed") is None, reason="needs the extra dask")
@pytest.mark.parametrize("attempt", range(3))
def test_a_run_whose_cluster_loses_its_scheduler_ends_as_an_undisturbed_one(
    tmp_path: Path, calm: Left, attempt: int
) -> None:
    chance = random.Random(attempt)  # noqa: S311  not secret
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with ExitStack() as stack:
        scheduler = start_dask(stack, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2])
        start_dask(stack, "worker", address, "--nworkers", "2", "--nthreads", "1")
        process = stack.enter_context(start_command(*RUN, "--cluster", address, directory=tmp_path))
        end = time.monotonic() + PATIENCE_S
        while not count_rows():
            assert time.monotonic() < end, "no row was recorded"
            if process.poll() is not None:  # the cluster was not there yet
                process = stack.enter_context(start_command(*RUN, "--cluster", address, directory=tmp_path))
            time.sleep(0.05)
        time.sleep(chance.uniform(0, MOMENT_S))
        assert process.poll() is None, "the run ended before the scheduler was killed"
        scheduler.kill()
        stack.callback(process.kill)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said.count("error:") == 1
    assert f"the Dask scheduler at {address} does not answer any more" in said
    assert not any(Path(name).exists() for name in OUTPUTS)
    go_on("--workers", str(chance.randint(1, 3)))
    assert left_in(tmp_path) == calm


def start_dask(stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
    """Start a program of Dask, which ends with the block."""
    arguments = [sys.executable, "-m", "dask", *command, "--no-dashboard"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process
