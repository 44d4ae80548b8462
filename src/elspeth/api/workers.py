"""Start worker processes that share the work of one command."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from elspeth.api._spool import Spool

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess

__all__ = ["ProcessWorkers", "prepare_run_workers", "run_workers", "start_importing", "start_workers"]

P = ParamSpec("P")
T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_WORKSHOP = "elspeth.engine.workshop"

_START_ERRORS = (OSError, EOFError)
"""The errors of handing a new worker its first data, if it died or the process that forks it did."""

_PATIENCE_S = 2.0
"""How long workers may take to end."""

_FEW = 8
"""The number of ranges or blocks of records that are processed before workers are started."""


def start_importing(module: str) -> None:
    """Let a process import the workers' module meanwhile.

    Workers that start later need not wait for it.
    """
    _prepare_server(module)


@contextmanager
def start_workers(count: int, module: str, *, at_once: bool = False) -> Iterator[ProcessWorkers | None]:
    """Yield this many workers for a command, None for 0.

    The workers have imported the module that does their work. They start with the first work, or `at_once`. They are
    stopped at the end of the block, even while they work.
    """
    if count == 0:
        yield None
        return
    workers = ProcessWorkers(count, module)
    try:
        if at_once:
            workers.start()
        yield workers
    finally:
        workers.stop()


def prepare_run_workers(count: int | None) -> None:
    """Let a process import what workers of runs need."""
    if count is not None and count > 1:
        start_importing(_WORKSHOP)


def run_workers(count: int) -> AbstractContextManager[ProcessWorkers | None]:
    """Return what starts the workers of a run."""
    prepare_run_workers(count)
    return start_workers(count if count > 1 else 0, _WORKSHOP)


class ProcessWorkers(Executor):
    """Worker processes, forked when there is work.

    They are forked by a process that imports the module once for all of them, while this one does other things. They
    share what they do with this process only, so that they can be stopped at any moment. Large arguments and results
    go through files, not through a pipe, which holds only a small piece at a time.
    """

    def __init__(self, count: int, module: str) -> None:
        self.count = count
        self._module = module
        self._asked = 0
        self._executor: Executor | None = None
        self._starting: threading.Thread | None = None
        self._is_stopping = False
        self._lifelines: tuple[Connection, Connection] | None = None
        self._spool = Spool()

    @property
    def readers(self) -> Executor:
        """Return an executor whose processes can read the audit database."""
        return self

    def start(self) -> None:
        """Let the workers start, while this process does other things."""
        if self._executor is None and self._starting is None:
            self._starting = threading.Thread(target=self._start_in_thread, name="workers", daemon=True)
            self._starting.start()

    def start_meanwhile(self) -> bool:
        """Let the workers start, and return whether they have.

        They do not start for the first few pieces of work, which may be all.
        """
        self._asked += 1
        if self._asked > _FEW:
            self.start()
        return self._executor is not None

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let the next free worker do the work.

        The future raises BrokenExecutor if a worker died; so may this method.
        """
        self._await_start()
        if self._executor is None:
            self._executor = self._start()
        try:
            future = self._spool.send(self._executor, work, *args, **kwargs)
        except _START_ERRORS as error:
            # A worker died while it was started, or another one did, and the executor closes what it would start with.
            message = f"a worker died while it started: {error}"
            raise BrokenExecutor(message) from error
        if getattr(self._executor, "_broken", False):
            # A process pool that breaks down at this moment may have forgotten the work.
            raise BrokenExecutor("a worker died")
        return future

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Do nothing: the end of the command stops the workers.

        A process pool of Python 3.11 that breaks down cannot stand futures that were cancelled before.
        """

    def restart(self) -> None:
        """Stop all workers; new ones start with the next work."""
        self.stop()

    def stop(self) -> None:
        """Stop the workers, even while they work."""
        self._is_stopping = True
        try:
            self._await_start()
            self._is_stopping = False
        finally:  # also if a signal interrupts the waiting; the thread then ends what it has started
            executor, self._executor = self._executor, None
            self._end(executor)

    def _end(self, executor: Executor | None) -> None:
        """End the processes of an executor, and remove their files.

        A worker that is busy in C code does not notice the end of its lifeline, and is killed.
        """
        processes = list((getattr(executor, "_processes", None) or {}).values())
        results = getattr(executor, "_result_queue", None)
        lifelines, self._lifelines = self._lifelines, None
        for end in lifelines or ():
            end.close()
        if results is not None:
            # A worker may end in the middle of a result. The executor would wait for the rest while anybody can write.
            results._writer.close()  # noqa: SLF001  there is no other way
        _kill_late(processes)
        if executor is not None:
            executor.shutdown(cancel_futures=True)
        self._spool.remove()

    def _await_start(self) -> None:
        if self._starting is not None:
            self._starting.join()
            self._starting = None

    def _start_in_thread(self) -> None:
        """Start the workers, in a thread.

        Asking for the first ones waits until the process that forks them has imported the module. If they cannot start,
        whoever submits work is told why.
        """
        try:
            executor = self._start()
        except OSError:
            self._end(None)
            return
        try:
            for _ in range(self.count):
                executor.submit(os.getpid)
        except (BrokenExecutor, *_START_ERRORS):
            self._end(executor)
            return
        if self._is_stopping:
            self._end(executor)
            return
        self._executor = executor

    def _start(self) -> Executor:
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  start time

        context = _prepare_server(self._module)
        reading, writing = context.Pipe(duplex=False)
        self._lifelines = reading, writing
        self._spool = Spool.new()
        arguments = (reading, dict(os.environ), self._spool)
        return ProcessPoolExecutor(self.count, mp_context=context, initializer=_initialize, initargs=arguments)


def _prepare_server(module: str) -> ForkServerContext:
    """Start the process that imports a module, and forks workers.

    There is one for each process that has workers. A terminal or a service manager sends signals to all processes. They
    are meant for the command, so that they stay blocked in that process; it ends with this one. Raises OSError if it
    cannot start.
    """
    import tempfile  # noqa: PLC0415  start time
    from multiprocessing import forkserver, get_context  # noqa: PLC0415  start time

    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        forkserver.ensure_running()
    except OSError as error:
        advice = "set TMPDIR to a directory with a short path, or use one worker"
        message = f"worker processes cannot start: {error}; they need a socket in {tempfile.gettempdir()}: {advice}"
        raise OSError(message) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _initialize(lifeline: Connection, environment: Mapping[str, str], spool: Spool) -> None:
    """Tie the life of a worker process to the command.

    It ignores signals that are meant for the command, which ends its workers. If the command is killed, or closes its
    end of the lifeline, its workers end themselves, and nothing is left in the spool. The environment is that of the
    command, not of the process that forked this one.
    """
    from multiprocessing import parent_process  # noqa: PLC0415  start time

    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.environ.clear()
    os.environ.update(environment)
    parent = parent_process()
    assert parent is not None  # noqa: S101  it runs in workers only
    threading.Thread(target=_exit_with, args=([parent.sentinel, lifeline], spool), daemon=True).start()


def _kill_late(processes: Sequence[BaseProcess]) -> None:
    """Wait until processes end, and kill those that do not."""
    from multiprocessing.connection import wait  # noqa: PLC0415  start time

    late, end = {each.sentinel: each for each in processes}, time.monotonic() + _PATIENCE_S
    while late and (ended := wait(late, timeout=max(0.0, end - time.monotonic()))):
        for each in ended:
            del late[each]  # type: ignore[arg-type]
    for process in late.values():
        process.kill()


def _exit_with(ends: list[int | Connection], spool: Spool) -> None:
    from multiprocessing.connection import wait  # noqa: PLC0415  start time

    wait(ends)
    spool.remove()
    os._exit(1)
