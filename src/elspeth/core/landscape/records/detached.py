"""Records of a process that has no database."""

from __future__ import annotations

from elspeth.core.landscape.records.store import RecordStore, WaitingRows

__all__ = ["DetachedStore"]


class DetachedStore(RecordStore):
    """A store without a database.

    Another process, which has the database, takes its records. Until then they can be changed. Nothing can be read.
    `dialect` is the dialect of the database.
    """

    def __init__(self, dialect: str) -> None:
        self._prepare(dialect)

    def take_rows(self) -> WaitingRows:
        """Return the waiting rows, and remove them.

        Call it inside a unit, which then has no rows to send.
        """
        with self._lock:
            rows, self._inserts = self._inserts, {}
            return rows
