"""The lines of a whole run, read by this process, or shared out in ranges of records to the processes of an executor.

A range is read by a connection of its own. That is sound for a run that has ended: but for the few columns that the
schema lists, which this process reads itself, nothing of it changes any more. A run that goes on is read in one
snapshot by one process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection, Text, select, type_coerce

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import is_in_memory
from elspeth.core.landscape.lines.chunks import chunks_of
from elspeth.core.landscape.lines.key_range import KeyRange
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES, RUN, RecordType

__all__ = [
    "LineTransform",
    "TypedChunk",
    "can_share",
    "can_share_run",
    "run_lines",
    "shared_lines",
    "split",
    "unchanged",
]

T = TypeVar("T")

LineTransform = Callable[[str, bytes], T]
"""What becomes of lines, given with their record type and line feeds; picklable."""

TypedChunk = tuple[str, int, T]
"""Lines of one record type: its name, their number, and what became of them."""

_PART = 5_000
"""Records of a range: what a worker holds in memory, twice."""

_AHEAD = 4
"""Results that wait for their turn, read or being read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    record_type: str
    keys: KeyRange

    @property
    def is_whole(self) -> bool:
        """Whether these are all records of the type."""
        return self.keys.first is None and self.keys.end is None


def unchanged(record_type: str, lines: bytes) -> bytes:  # noqa: ARG001 - a LineTransform
    """Return the lines as they are."""
    return lines


def split(record_type: str, lines: bytes) -> list[bytes]:  # noqa: ARG001 - a LineTransform
    """Return each line without its line feed."""
    return lines[:-1].split(b"\n")


def run_lines(connection: Connection, run_id: str, transform: LineTransform[T]) -> Iterator[TypedChunk[T]]:
    """The lines of a run in export order; AuditIntegrityError for a record that breaks the schema."""
    for name, record_type in RECORD_TYPES.items():
        for count, lines in chunks_of(connection, record_type, run_id):
            yield name, count, transform(name, lines)


def shared_lines(
    db: LandscapeDB, connection: Connection, run_id: str, executor: Executor, transform: LineTransform[T]
) -> Iterator[TypedChunk[T]]:
    """The same lines for a run that `can_share` says yes to, read by the executor's processes.

    They open the database by its URL. Raises what `run_lines` raises.
    """
    url = db.engine.url.render_as_string(hide_password=False)
    waiting: deque[Future[TypedChunk[T]] | TypedChunk[T]] = deque()
    try:
        for part in _parts(connection, run_id):
            if part.is_whole:
                for count, lines in chunks_of(connection, RECORD_TYPES[part.record_type], run_id):
                    waiting.append((part.record_type, count, transform(part.record_type, lines)))
            else:
                waiting.append(executor.submit(_read, url, part, transform))
            while len(waiting) > _AHEAD:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            if isinstance(future, Future):
                future.cancel()


def can_share(connection: Connection, run_id: str) -> bool:
    """Whether several connections read the same of the run: it has ended, and they can all open the database."""
    table = RUN.table.c
    status = connection.scalar(select(type_coerce(table.status, Text)).where(table.run_id == run_id))
    ended = status in {each.value for each in RunStatus if each.is_terminal}
    return ended and not is_in_memory(connection.engine.url)


def can_share_run(db: LandscapeDB, run_id: str) -> bool:
    """Whether the processes of an executor can share the reading of the run."""
    with db.connection() as connection:
        return can_share(connection, run_id)


def _parts(connection: Connection, run_id: str) -> Iterator[_Part]:
    """The ranges of the run's records in export order."""
    for name, record_type in RECORD_TYPES.items():
        first = None
        while (end := _key_after(connection, record_type, KeyRange(run_id=run_id, first=first))) is not None:
            yield _Part(record_type=name, keys=KeyRange(run_id=run_id, first=first, end=end))
            first = end
        yield _Part(record_type=name, keys=KeyRange(run_id=run_id, first=first))


def _key_after(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange
) -> tuple[str | int, ...] | None:
    """The key with which the next range begins, None if there is none; the database finds it in its index.

    Records of a type whose columns may change after the end of the run stay together.
    """
    columns = [record_type.table.c[name] for name in record_type.order[1:]]
    if not columns or record_type.lifecycle.afterwards:
        return None
    row = connection.execute(keys.of(record_type, select(*columns)).limit(1).offset(_PART)).first()
    return None if row is None else tuple(row)


def _read(url: str, part: _Part, transform: LineTransform[T]) -> TypedChunk[T]:
    """The lines of a range: what a worker does."""
    record_type = RECORD_TYPES[part.record_type]
    # No connection is left behind: an executor's processes may live long after the export.
    with _database(url) as db, db.snapshot() as connection:
        chunks = list(chunks_of(connection, record_type, part.keys.run_id, within=part.keys))
    count = sum(number for number, _ in chunks)
    return part.record_type, count, transform(part.record_type, b"".join(lines for _, lines in chunks))


def _result(found: Future[TypedChunk[T]] | TypedChunk[T]) -> TypedChunk[T]:
    return found.result() if isinstance(found, Future) else found


@cache
def _database(url: str) -> LandscapeDB:
    """The database of this worker, which looks at its tables once and not for each range."""
    return LandscapeDB.from_url(url, create_tables=False)
