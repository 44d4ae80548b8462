"""How many records a command has come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elspeth.cli.progress import progress_display

__all__ = ["record_display"]


@contextmanager
def record_display(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Return a function that shows the number of records, of so many if that is known, while the block lasts."""
    of = "" if total is None else f" of {total:,}"
    with progress_display() as display:
        display.begin(description, total)
        yield lambda records: display.update(records, None, [f"{records:,}{of} records"])
