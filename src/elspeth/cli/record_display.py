"""The count of records that an export or import has come to, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["record_display"]


@contextmanager
def record_display(description: str) -> Iterator[Callable[[int], None] | None]:
    """A function that shows the number of records on standard error while the block lasts, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  start time
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} records"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        # How many there will be is not known: counting them first would cost as much as exporting some.
        task = bar.add_task(description, total=None)
        yield lambda records: bar.update(task, completed=records)
