"""Worker processes that share the work of one command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["start_workers"]


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


def _initialize() -> None:
    """Tie the life of a worker process to the command.

    A terminal or a service manager sends signals to all processes. They are meant for the command, which ends its
    workers. If the command is killed, its workers end themselves.
    """
    from multiprocessing import parent_process  # noqa: PLC0415  start time

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
