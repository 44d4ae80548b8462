"""Commands that run on several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest

from elspeth.api import loading
from elspeth.api import workers as api_workers
from elspeth.api.workers import ProcessWorkers, run_workers, start_workers
from elspeth.cli import clusters, execution, main
from elspeth.cli.clusters import prepare_workers, share_work
from elspeth.cli.failures import UsageError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.sharing import send
from tests.cli.processes import start_command, workers_of
from tests.fixtures.ids import ID
from tests.fixtures.workers import InlineWorkers, name_process, sleep

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: value_transform, options: {fields: {twice: "row['id'] + row['id']"}}}]
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""
RUN = ("run", "-s", "settings.yaml", "-x", "--no-dotenv")


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)


def write_rows(count: int) -> str:
    """Write rows, and return the expected output."""
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(count)))
    return "id,twice\n" + "".join(f"{number},{number}{number}\n" for number in range(count))


def test_workers_can_be_stopped_whatever_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = ProcessWorkers(1, "elspeth.engine.workshop")
    monkeypatch.setenv("NAMED_LATER", "here")  # the process that forks workers is there already
    assert workers.submit(os.getenv, "NAMED_LATER").result() == "here"
    assert workers.submit(name_process, b"", b"").result() != b"%d" % os.getpid()
    endless = workers.submit(sleep, b"", b"")
    workers.stop()
    assert endless.cancelled() or isinstance(endless.exception(), BrokenExecutor)


def test_workers_only_start_if_there_is_enough_to_do() -> None:
    with start_workers(2, "os") as workers:
        assert workers is not None
        assert not any(workers.start_meanwhile() for _ in range(8))
        assert not workers_of(os.getpid())
        while not workers.start_meanwhile():
            time.sleep(0.01)
        assert workers.submit(os.getpid).result() in workers_of(os.getpid())


def test_workers_start_at_once_for_a_large_file() -> None:
    with share_work(3, None, "os", at_once=True) as workers:
        assert isinstance(workers, ProcessWorkers)
        assert workers.count == 2  # this process works, too
        while not workers_of(os.getpid()):
            time.sleep(0.01)
    with share_work(1, None, "os", at_once=True) as alone:
        assert alone is None


@pytest.mark.parametrize(
    ("count", "size", "is_large", "imports"),
    [(1, 4 << 20, True, False), (2, 4 << 20, True, True), (2, (4 << 20) - 1, False, False), (2, None, False, True)],
)
def test_workers_are_prepared_unless_the_file_is_small(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int | None, *, is_large: bool, imports: bool
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(clusters, "start_importing", imported.append)
    if size is not None:
        with Path("audit.db").open("wb") as file:
            file.truncate(size)
    assert prepare_workers(count, "os", "sqlite:///audit.db") == is_large
    assert imported == ["os"] * imports


@pytest.mark.parametrize("command", [RUN, ("resume", "latest", *RUN[1:])], ids=lambda command: command[0])
def test_what_workers_of_a_run_need_is_imported_while_the_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    def read(*_: object, **__: object) -> None:
        raise UsageError(f"after {imported}")

    imported: list[str] = []
    monkeypatch.setattr(api_workers, "start_importing", imported.append)
    monkeypatch.setattr(loading, "load_with_keys", read)
    for count, expected in ((2, ["elspeth.engine.workshop"]), (1, [])):
        assert main([*command, "--workers", str(count)]) == 2
        assert f"after {expected}" in capsys.readouterr().err
        imported.clear()
    assert main([*(each for each in command if each != "-x"), "--workers", "2"]) == 2
    assert not imported


def test_files_of_a_killed_command_are_removed_by_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    # The directory has a socket, too, whose path must be short.
    with tempfile.TemporaryDirectory(prefix="w") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        kill_a_command_with_files(Path(directory))


def kill_a_command_with_files(directory: Path) -> None:
    program = (
        "import time; from elspeth.api.workers import ProcessWorkers; workers = ProcessWorkers(1, 'os');"
        " left = workers.submit(bytes, 1 << 20); left._sent.result(); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (spool,) = directory.glob("elspeth-*")
        assert [path.stat().st_size > 1 << 20 for path in spool.iterdir()] == [True]
        process.kill()
    while spool.exists():
        time.sleep(0.01)


def test_workers_without_a_directory_for_their_socket_give_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bind() -> None:
        message = "AF_UNIX path too long"
        raise OSError(message)

    monkeypatch.setattr(forkserver, "ensure_running", bind)
    write_rows(2)
    assert main([*RUN, "--workers", "2"]) == 1
    assert capsys.readouterr().err == (
        "error: worker processes cannot start: AF_UNIX path too long; they need a socket in "
        f"{tempfile.gettempdir()}: set TMPDIR to a directory with a short path, or use one worker\n"
    )


def test_this_process_does_the_work_of_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind() -> None:
        message = "AF_UNIX path too long"
        raise OSError(message)

    monkeypatch.setattr(forkserver, "ensure_running", bind)
    with start_workers(1, "os", at_once=True) as workers:
        assert workers is not None
        for _ in range(12):
            assert send(workers, os.getpid) is None
        with pytest.raises(OSError, match="worker processes cannot start"):
            workers.submit(os.getpid)


def test_one_worker_is_the_process_of_the_run() -> None:
    with run_workers(1) as workers:
        assert workers is None


def test_a_run_survives_the_death_of_a_worker_and_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    expected = write_rows(1500)
    with start_command(*RUN, "--workers", "2", directory=Path.cwd(), own_group=True) as process:
        killed = find_worker(process.pid)
        os.kill(killed, signal.SIGKILL)
        find_worker(process.pid, besides=killed)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not Path("out.csv").exists()
    found = re.search(f"elspeth resume ({ID}) -s settings.yaml --workers 2 --execute", said)
    if found is None:  # stopped before the first commit
        assert main([*RUN, "--workers", "2"]) == 0
    else:
        assert main(["resume", found[1], "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    assert Path("out.csv").read_text() == expected
    capsys.readouterr()


def find_worker(pid: int, besides: int = 0) -> int:
    """Return the id of a worker of a command.

    It waits for one that was started after the worker `besides`.
    """
    while not (found := [worker for worker in workers_of(pid) if worker > besides]):
        time.sleep(0.01)
    return found[-1]


def test_a_run_can_be_resumed_with_another_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write_rows(40)
    counts: list[int] = []

    @contextmanager
    def inline(count: int) -> Iterator[InlineWorkers]:
        counts.append(count)
        yield InlineWorkers(count=count, deadly=range(3, 100) if count == 3 else ())

    monkeypatch.setattr(execution, "run_workers", inline)
    assert main([*RUN, "--workers", "3"]) == 1
    with LandscapeDB.from_url("sqlite:///audit.db") as db:
        (run,) = LandscapeRecorder(db).list_runs()
    assert json.loads(run.settings_json)["concurrency"]["workers"] == 3
    assert main(["resume", run.run_id, "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    assert counts == [3, 1]
    assert Path("out.csv").read_text() == expected


def test_a_cluster_needs_an_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(1)
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    assert main([*RUN, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "--cluster: needs distributed, which is not installed" in capsys.readouterr().err
    assert not Path("out.csv").exists()
