"""Worker processes that share the work of one command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

__all__ = ["ProcessWorkers", "run_workers", "start_workers"]

P = ParamSpec("P")
T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def start_workers(count: int, module: str) -> Iterator[ProcessWorkers | None]:
    """Yield workers for a command, None for one process.

    They have imported the module that does their work. At the end of the block they are stopped, whatever they do.
    """
    if count == 1:
        yield None
        return
    workers = ProcessWorkers(count, module)
    try:
        yield workers
    finally:
        workers.stop()


def run_workers(count: int) -> AbstractContextManager[ProcessWorkers | None]:
    """Return what starts the workers of a run."""
    return start_workers(count, "elspeth.engine.workshop")


class ProcessWorkers(Executor):
    """Worker processes, forked when there is work.

    They are forked by a process that imports the module once for all of them, while this one does other things. They
    share what they do with this process only, so that they can be stopped at any moment.
    """

    def __init__(self, count: int, module: str) -> None:
        self.count = count
        self._context = _prepare_server(module)
        self._executor: Executor | None = None
        self._lifelines: tuple[Connection, Connection] | None = None

    @property
    def readers(self) -> Executor:
        """Return an executor whose processes can read the audit database."""
        return self

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let the next free worker do the work.

        The future raises BrokenProcessPool if a worker died; so may this method.
        """
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(work, *args, **kwargs)

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Do nothing: the end of the command stops the workers.

        A process pool of Python 3.11 that breaks down cannot stand futures that were cancelled before.
        """

    def restart(self) -> None:
        """Stop all workers; new ones start with the next work."""
        self.stop()

    def stop(self) -> None:
        """Stop the workers, whatever they do."""
        executor, lifelines = self._executor, self._lifelines
        self._executor = self._lifelines = None
        for end in lifelines or ():
            end.close()
        if executor is not None:
            executor.shutdown(cancel_futures=True)

    def _start(self) -> Executor:
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  start time

        reading, writing = self._context.Pipe(duplex=False)
        self._lifelines = reading, writing
        arguments = (reading, dict(os.environ))
        return ProcessPoolExecutor(self.count, mp_context=self._context, initializer=_initialize, initargs=arguments)


def _prepare_server(module: str) -> ForkServerContext:
    """Start the process that imports a module, and forks workers.

    There is one for each process that has workers. A terminal or a service manager sends signals to all processes. They
    are meant for the command, so that they stay blocked in that process; it ends with this one.
    """
    from multiprocessing import forkserver, get_context  # noqa: PLC0415  start time

    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _initialize(lifeline: Connection, environment: Mapping[str, str]) -> None:
    """Tie the life of a worker process to the command.

    It ignores signals that are meant for the command, which ends its workers. If the command is killed, or closes its
    end of the lifeline, its workers end themselves. The environment is that of the command, not of the process that
    forked this one.
    """
    from multiprocessing import parent_process  # noqa: PLC0415  start time

    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.environ.clear()
    os.environ.update(environment)
    parent = parent_process()
    assert parent is not None  # noqa: S101  it runs in workers only
    threading.Thread(target=_exit_with, args=([parent.sentinel, lifeline],), daemon=True).start()


def _exit_with(ends: list[int | Connection]) -> None:
    from multiprocessing.connection import wait  # noqa: PLC0415  start time

    wait(ends)
    os._exit(1)
