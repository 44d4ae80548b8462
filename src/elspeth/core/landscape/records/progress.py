"""How far a migration has come, in rows read or written."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Meter", "Report"]

Report = Callable[[str, int, int], None]
"""Called with the table at work, the rows dealt with so far, and how many there will be in all."""


class Meter:
    """Adds up rows, each of which a migration reads and writes several times."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._done = self._total = 0

    def expect(self, rows: int) -> None:
        """Say how many rows there will be in all."""
        self._total = rows

    def advance(self, table: str, rows: int) -> None:
        """Say that rows of a table were dealt with."""
        self._done += rows
        if self._report is not None:
            self._report(table, self._done, self._total)
