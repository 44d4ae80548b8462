"""How far a migration has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from elspeth.cli.progress import progress_display

if TYPE_CHECKING:
    from elspeth.core.landscape.records.progress import Report

__all__ = ["migration_display"]


@contextmanager
def migration_display() -> Iterator[Report]:
    """Return a function that shows the rows of each table against their number while the block lasts."""
    with progress_display() as display:

        def report(table: str, done: int, total: int) -> None:
            if not display.stages:
                display.begin("migrate", total)
            display.update(done, total, [table, f"{done:,} of {total:,} rows"])

        yield report
