"""Reads a run in several processes, by ranges of records.

Each process reads with a connection of its own. This requires that the run has ended: its records do not change any
more, except for a few columns that the schema lists, and the first process reads the types with such columns itself. A
run that has not ended is read by one process in one snapshot.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Text, func, select, type_coerce

from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.urls import is_in_memory, sqlite_path
from elspeth.core.landscape.lines.reading import LineTransform, TypedChunk, read_typed_chunks
from elspeth.core.landscape.lines.rendering import KeyRange
from elspeth.evidence.sharing import send, share
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES, RUN, RecordType

__all__ = ["Readers", "can_read_in_parallel", "read_lines_in_parallel"]

T = TypeVar("T")

_PART = 10_000
"""The number of records in a range, which a worker holds in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Processes that read an audit database with their own connections."""

    executor: Executor
    url: URL

    @classmethod
    def of(cls, executor: Executor, url: URL) -> Readers:
        """Return readers of a database in an executor's processes."""
        if url.get_backend_name() == "sqlite":
            url = url.set(database=str(sqlite_path(url)), query={})
        return cls(executor=executor, url=url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Consecutive records of one type.

    `first` is the number of the first record in the run, from 0.
    """

    record_type: str
    keys: KeyRange
    first: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Return whether these are all records of the type."""
        return self.keys.first is None and self.keys.end is None


def can_read_in_parallel(connection: Connection, run_id: str) -> bool:
    """Return whether several processes can read the run.

    It must have ended, and the database must not be in memory.
    """
    table = RUN.table.c
    status = connection.scalar(select(type_coerce(table.status, Text)).where(table.run_id == run_id))
    ended = status in {each.value for each in RunStatus if each.is_terminal}
    return ended and not is_in_memory(connection.engine.url)


def read_lines_in_parallel(
    connection: Connection,
    run_id: str,
    readers: Readers,
    transform: LineTransform[T],
    record_types: Collection[str] = tuple(RECORD_TYPES),
    *,
    first: int = 0,
) -> Generator[TypedChunk[T], None, None]:
    """Yield the result of `read_lines`, read by several processes.

    `record_types` selects the types, and `first` is the number of the first line. `can_read_in_parallel` must be true
    of the run. Raises the errors of `read_lines`, and LandscapeError for a run that changes in the meantime.
    """

    def submit(part: _Part) -> Future[list[TypedChunk[T]]] | None:
        return None if part.is_whole else send(readers.executor, _read_part, readers.url, part, transform)

    def read_here(part: _Part) -> list[TypedChunk[T]]:
        return _transformed(connection, part, transform)

    for part, chunks in share(_parts(connection, run_id, record_types, first), readers.executor, submit, read_here):
        count = sum(number for _, number, _ in chunks)
        if count != part.count:
            expected = f"expected {part.count:,} {part.record_type} records, got {count:,}"
            raise LandscapeError(f"run {run_id} cannot be read by several processes, as it changes: {expected}")
        yield from chunks


def _parts(connection: Connection, run_id: str, record_types: Collection[str], first: int) -> Iterator[_Part]:
    """Yield the run's records as ranges, in export order."""
    number = first
    for name, record_type in RECORD_TYPES.items():
        if name not in record_types:
            continue
        keys = KeyRange(run_id=run_id)
        while (end := _next_key(connection, record_type, keys)) is not None:
            part = KeyRange(run_id=run_id, first=keys.first, end=end)
            yield _Part(record_type=name, keys=part, first=number, count=_PART)
            keys, number = KeyRange(run_id=run_id, first=end), number + _PART
        if count := _count(connection, record_type, keys):
            yield _Part(record_type=name, keys=keys, first=number, count=count)
            number += count


def _next_key(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange
) -> tuple[str | int, ...] | None:
    """Return the first key of the next range, or None.

    The database finds the key in its index. Records of a type whose columns may change after the run stay in one range.
    """
    columns = [record_type.table.c[name] for name in record_type.order[1:]]
    if not columns or record_type.lifecycle.afterwards:
        return None
    row = connection.execute(keys.restrict(record_type, select(*columns)).limit(1).offset(_PART)).first()
    return None if row is None else tuple(row)


def _count(connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange) -> int:
    columns: list[ColumnElement[Any]] = [func.count()]
    return int(connection.scalar(keys.restrict(record_type, select(*columns)).order_by(None)))


def _read_part(url: URL, part: _Part, transform: LineTransform[T]) -> list[TypedChunk[T]]:
    """Read the lines of a range, in a worker."""
    # Leave no connection behind: an executor's processes may live long after the export.
    with read_only_connection(url) as connection:
        return _transformed(connection, part, transform)


def _transformed(connection: Connection, part: _Part, transform: LineTransform[T]) -> list[TypedChunk[T]]:
    """Return the transformed lines in chunks.

    Each chunk fits into the processor's cache, which one of all the lines would not: that takes much longer to write.
    """
    return list(read_typed_chunks(connection, part.record_type, part.keys, transform, first=part.first))
