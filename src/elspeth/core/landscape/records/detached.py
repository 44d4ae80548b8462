"""Records of a process that has no database."""

from __future__ import annotations

from elspeth.core.landscape.records.store import RecordStore, WaitingRows

__all__ = ["DetachedStore"]


class DetachedStore(RecordStore):
    """A store without a database.

    Its records are taken, for a process that has the database. They can be changed before that, and nothing can be
    read. `dialect` is that of the database.
    """

    def __init__(self, dialect: str) -> None:
        self._prepare(dialect)

    def take_rows(self) -> WaitingRows:
        """Return the rows that wait, and forget them.

        Call it inside a unit, which then has nothing to send.
        """
        with self._lock:
            rows, self._inserts = self._inserts, {}
            return rows
