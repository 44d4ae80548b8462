"""Several processes for one command: the option, and the executor that the command's work is given."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["WorkersOption", "executor_of"]

WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Processes that share the work; the result is the same.")
]


@contextmanager
def executor_of(workers: int) -> Iterator[Executor | None]:
    """Return an executor with so many processes, None for one; BrokenProcessPool if one of them dies."""
    if workers == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  start time
    from multiprocessing import get_context  # noqa: PLC0415

    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Let a worker live exactly as long as the command.

    Signals that a terminal or a service manager sends to all processes are for the command, which ends its workers. If
    the command is killed, nobody else does.
    """
    from multiprocessing import parent_process  # noqa: PLC0415  start time

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
