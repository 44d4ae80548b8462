"""Several processes for one command: the option, and the executor that the command's work is given."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Annotated

import typer

from elspeth.cli.options import ExitCode

__all__ = ["WorkersOption", "executor_of"]

WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Processes that share the work; the result is the same.")
]


@contextmanager
def executor_of(workers: int) -> Iterator[Executor | None]:
    """An executor with so many processes, None for one; a process that dies ends the command with exit code 1."""
    if workers == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  start time
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
            yield executor
    except BrokenProcessPool as error:
        typer.echo(
            "error: a worker process ended before its work did, for want of memory perhaps: use --workers 1", err=True
        )
        raise typer.Exit(ExitCode.FAILED) from error
