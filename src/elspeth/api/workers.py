"""Worker processes that share the work of one command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["ProcessWorkers", "run_workers", "start_workers"]


@contextmanager
def start_workers(count: int) -> Iterator[Executor | None]:
    """Yield an executor with `count` processes, None for one process.

    Raises BrokenProcessPool if one of them dies.
    """
    if count == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  start time
    from multiprocessing import get_context  # noqa: PLC0415

    executor = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_initialize)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def run_workers(count: int) -> Iterator[ProcessWorkers | None]:
    """Yield workers for a run, None for one process.

    At the end of the block they are stopped, whatever they do.
    """
    if count == 1:
        yield None
        return
    workers = ProcessWorkers(count)
    try:
        yield workers
    finally:
        workers.stop()


class ProcessWorkers:
    """Worker processes of a run, started when there is work.

    They share what they do with this process only, so that they can be stopped at any moment.
    """

    is_remote = False

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor: Executor | None = None
        self._lifelines: tuple[Connection, Connection] | None = None

    def submit(self, work: Callable[[bytes, bytes], bytes], context: bytes, job: bytes, /) -> Future[bytes]:
        """Let the next free worker do the work.

        The future raises BrokenProcessPool if a worker died; so may this method.
        """
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(work, context, job)

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Do nothing: the end of the run stops the workers.

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
        from multiprocessing import get_context  # noqa: PLC0415

        context = get_context("spawn")
        reading, writing = context.Pipe(duplex=False)
        self._lifelines = reading, writing
        return ProcessPoolExecutor(self.count, mp_context=context, initializer=_initialize, initargs=(reading,))


def _initialize(lifeline: Connection | None = None) -> None:
    """Tie the life of a worker process to the command.

    A terminal or a service manager sends signals to all processes. They are meant for the command, which ends its
    workers. If the command is killed, or closes its end of the lifeline, its workers end themselves.
    """
    from multiprocessing import parent_process  # noqa: PLC0415  start time

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if (parent := parent_process()) is not None:
        ends = [parent.sentinel, *([] if lifeline is None else [lifeline])]
        threading.Thread(target=_exit_with, args=(ends,), daemon=True).start()


def _exit_with(ends: list[int | Connection]) -> None:
    from multiprocessing.connection import wait  # noqa: PLC0415  start time

    wait(ends)
    os._exit(1)
