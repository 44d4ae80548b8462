"""Worker processes start once, and end with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path
from unittest.mock import Mock

import pytest

from elspeth.api import workers as module
from elspeth.api._spool import Spool
from elspeth.api.workers import ProcessWorkers, run_workers, start_workers
from tests.fixtures.executors import InlineExecutor


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Executor]:
    """Replace workers by slow executors of this process."""
    found: list[Executor] = []

    def start(workers: ProcessWorkers) -> Executor:
        time.sleep(0.02)
        workers._spool = Spool.new()
        found.append(InlineExecutor())
        return found[-1]

    monkeypatch.setattr(ProcessWorkers, "_start", start)
    return found


def test_work_waits_for_the_workers_that_are_starting(started: list[Executor]) -> None:
    workers = ProcessWorkers(2, "os")
    workers.start()
    workers.start()
    assert workers.submit(len, "abc").result() == 3
    workers.start()
    assert workers.start_meanwhile()
    assert workers.submit(len, "abcd").result() == 4
    assert len(started) == 1
    workers.stop()


def test_new_workers_start_after_a_restart(started: list[Executor]) -> None:
    workers = ProcessWorkers(2, "os")
    for count in (1, 2, 3):
        workers.start()
        assert workers.submit(len, "abc").result() == 3
        assert len(started) == count
        workers.restart()
        assert not workers.start_meanwhile() or count > 2
    workers.stop()


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError("handle is closed"), EOFError()], ids=repr)
def test_a_worker_that_dies_while_it_starts_is_one_that_died(
    started: list[Executor], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    workers = ProcessWorkers(2, "os")
    assert workers.submit(len, "abc").result() == 3
    monkeypatch.setattr(started[0], "submit", Mock(side_effect=error))
    with pytest.raises(BrokenExecutor, match="a worker died while it started") as caught:
        workers.submit(len, "abc")
    assert caught.value.__cause__ is error
    workers.restart()
    assert workers.submit(len, "abcd").result() == 4
    workers.stop()


@pytest.mark.parametrize("error", [BrokenPipeError(), EOFError()], ids=repr)
def test_workers_that_die_at_once_start_again_with_the_first_work(
    started: list[Executor], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    workers = ProcessWorkers(2, "os")
    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "submit", Mock(side_effect=error))
        workers.start()
        workers._await_start()
    directory = workers._spool.directory
    assert directory is not None
    assert not Path(directory).exists()
    assert workers.submit(len, "abc").result() == 3
    assert len(started) == 2
    workers.stop()


def test_work_that_a_pool_may_have_forgotten_is_not_awaited(started: list[Executor]) -> None:
    workers = ProcessWorkers(2, "os")
    assert workers.submit(len, "abc").result() == 3
    started[0]._broken = "a process died"  # type: ignore[attr-defined]
    with pytest.raises(BrokenExecutor, match="a worker died"):
        workers.submit(len, "abc")
    workers.stop()


def test_nothing_is_left_of_workers_whose_stop_was_interrupted(started: list[Executor]) -> None:
    workers = ProcessWorkers(2, "os")
    assert workers.submit(len, "abc").result() == 3
    directories = [workers._spool.directory]
    workers._starting = Mock(join=Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        workers.stop()
    workers._start_in_thread()
    directories.append(workers._spool.directory)
    assert workers._executor is None
    assert len(started) == 2
    assert not any(Path(each).exists() for each in directories if each is not None)


def run_program(text: str) -> str:
    """Return the output of a program, which must end."""
    program = f"import os, re, time\nfrom elspeth.api import workers as module\n{text}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def test_a_worker_that_is_busy_in_c_code_is_killed() -> None:
    output = run_program(
        """
module._PATIENCE_S = 0.2
workers = module.ProcessWorkers(1, "os")
print(workers.submit(os.getpid).result())
workers.submit(re.match, "(a+)+$", 40 * "a" + "b")
time.sleep(0.2)
workers.stop()
"""
    )
    assert not Path(f"/proc/{output.strip()}").exists()


def test_workers_that_ended_in_the_middle_of_a_result_can_be_stopped() -> None:
    assert (
        run_program(
            """
workers = module.ProcessWorkers(1, "os")
workers.submit(os.getpid).result()
os.write(workers._executor._result_queue._writer.fileno(), bytes([0, 0, 1, 0]))  # the length of what never comes
workers.stop()
print("stopped")
"""
        )
        == "stopped\n"
    )


@pytest.mark.usefixtures("started")
def test_nothing_is_left_of_workers_that_stopped() -> None:
    used: list[ProcessWorkers] = []

    def fail() -> None:
        with start_workers(2, "os") as workers:
            assert workers is not None
            used.append(workers)
            workers.submit(len, "abc")
            directories.append(Path(str(workers._spool.directory)))
            assert directories[0].is_dir()
            raise KeyError

    directories: list[Path] = []
    with pytest.raises(KeyError):
        fail()
    assert not directories[0].exists()
    assert used[0]._executor is None


@pytest.mark.parametrize(("at_once", "count"), [(False, 0), (True, 1)])
def test_workers_start_at_once_only_if_asked_to(started: list[Executor], count: int, *, at_once: bool) -> None:
    with start_workers(2, "os", at_once=at_once) as workers:
        assert workers is not None
        time.sleep(0.05)
        assert len(started) == count
    with start_workers(0, "os", at_once=at_once) as nobody:
        assert nobody is None
    assert len(started) == count


@pytest.mark.parametrize(("count", "imported"), [(0, []), (1, []), (2, ["elspeth.engine.workshop"])])
def test_one_worker_is_none(monkeypatch: pytest.MonkeyPatch, count: int, imported: list[str]) -> None:
    names: list[str] = []
    monkeypatch.setattr(module, "start_importing", names.append)
    with run_workers(count) as workers:
        assert (workers is None) == (count < 2)
        assert workers is None or workers.count == count
    assert names == imported


def test_the_signals_of_a_process_stay_blocked_as_they_were() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        module._prepare_server("os")
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGHUP}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_worker_has_the_environment_of_the_command_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLY_EARLIER", "secret")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    given = {"PATH": "/bin", "ONLY_NOW": "1"}
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: None)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: type("Parent", (), {"sentinel": 1}))
    monkeypatch.setattr(threading, "Thread", lambda **_: type("Thread", (), {"start": staticmethod(bool)}))
    module._initialize(None, given, Spool())  # type: ignore[arg-type]
    assert os.environ == given
