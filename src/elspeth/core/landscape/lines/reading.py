"""Reading the records of runs, as lines or JSON objects.

There are two ways. The fast one lets the database render the lines, and checks each chunk of them against the type's
generated pattern. The first chunk that does not match sends the rest of its record type the plain way, through
contracts, which either yields the lines or names the fault.

The processes of an executor can share the reading of a run that has ended, each reading ranges of records with a
connection of its own: except for the few columns that the schema lists, whose records this process reads itself,
nothing of such a run changes any more. A run that has not ended is read in one snapshot by one process.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Text, select, type_coerce
from sqlalchemy.exc import OperationalError

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.urls import is_in_memory, sqlite_path
from elspeth.core.landscape.lines.rendering import KeyRange, can_render, line_pattern, render_lines
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.lines import LINES
from elspeth_schema.records import RECORD_TYPES, RUN, RecordType

__all__ = [
    "Chunk",
    "LineTransform",
    "Readers",
    "TypedChunk",
    "can_read_in_parallel",
    "insert_key",
    "read_chunks",
    "read_lines",
    "read_lines_in_parallel",
    "read_records",
    "split",
    "unchanged",
]

Chunk = tuple[int, bytes]
"""A number of lines, and the lines, each with its line feed."""

T = TypeVar("T")

LineTransform = Callable[[str, bytes], T]
"""Makes something of a record type's lines, each with its line feed; picklable."""

TypedChunk = tuple[str, int, T]
"""Lines of one record type: its name, their number, and the transformed lines."""

_Reading = tuple["_Part", Future[TypedChunk[T]] | TypedChunk[T]]
"""A range, and its lines or what will have them."""

_FETCH = 1000
"""Rows fetched from the database at once; bounds memory."""

_PART = 5_000
"""Records of a range, which a worker holds in memory twice."""

_AHEAD = 4
"""Results that may wait for their turn."""


# -- one record type -------------------------------------------------------------------------------------------------


def read_chunks(
    connection: Connection, record_type: RecordType[AuditRecord], run_id: str, *, within: KeyRange | None = None
) -> Iterator[Chunk]:
    """Yield the lines of a run's records of one type.

    They come in export order. Raises AuditIntegrityError for a record that breaks the schema.
    """
    done = 0
    for chunk in _read_rendered(connection, record_type, within or KeyRange(run_id=run_id)):
        if chunk is None:
            break
        done += chunk[0]
        yield chunk
    else:
        return
    for record in islice(read_records(connection, record_type, run_id, within=within), done, None):
        yield 1, canonical_bytes(record) + b"\n"


def _read_rendered(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange
) -> Iterator[Chunk | None]:
    """Yield sound chunks, then None for one that is not."""
    if not can_render(connection):
        yield None
        return
    try:
        for rendered in render_lines(connection, record_type, keys, _FETCH):
            chunk = None if rendered is None else _sound_chunk(record_type.name, rendered)
            yield chunk
            if chunk is None:
                return
    except (OperationalError, sqlite3.OperationalError):
        # SQLite does not write bytes as JSON; the plain way tells which column holds them. While rows are fetched
        # the error is the driver's own.
        if connection.dialect.name != "sqlite":
            raise
        yield None


def _sound_chunk(record_type: str, rendered: Sequence[str]) -> Chunk | None:
    lines = ("\n".join(rendered) + "\n").encode()
    # A line feed inside a value would make two lines of one row.
    is_sound = lines.count(b"\n") == len(rendered) and line_pattern(record_type).fullmatch(lines) is not None
    return (len(rendered), lines) if is_sound else None


def read_records(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    run_id: str,
    *,
    withheld: bool = False,
    order: Sequence[str] | None = None,
    within: KeyRange | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Yield a run's records of one type as JSON objects.

    Each is checked by its contract. They come in export order, unless `order` names other columns; `withheld` adds the
    columns that exports leave out. Raises AuditIntegrityError for a record that breaks the schema.
    """
    columns, convert = record_type.table.c, mapper(record_type)
    statement = (within or KeyRange(run_id=run_id)).restrict(record_type, convert.select())
    if order is not None:
        statement = statement.order_by(None).order_by(*(columns[name] for name in order))
    with connection.execute(statement.execution_options(yield_per=_FETCH)) as rows:
        for row in rows:
            convert.from_row(row)  # raises for a record that breaks the schema: an export must not hide that
            yield convert.to_record(row, withheld=withheld)


def insert_key(record_type: str, key: str, lines: Iterable[bytes], values: Iterable[str]) -> Iterator[bytes]:
    """Yield lines, without line feeds, with one more key each.

    The key is placed before the first key that sorts after it, so that the line stays canonical. The values must need
    no escapes. The bytes of a key are unique in a line: inside a text its quotes would be escaped.
    """
    following = next((name for name in LINES[record_type].keys if name > key), None)
    mark = b"}" if following is None else f',"{following}":'.encode()
    start = f',"{key}":"'.encode()
    for line, value in zip(lines, values, strict=True):
        place = line.rindex(mark)
        yield b'%b%b%b"%b' % (line[:place], start, value.encode(), line[place:])


# -- a whole run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Processes that read an audit database with their own connections."""

    executor: Executor
    url: URL

    @classmethod
    def of(cls, executor: Executor, url: URL) -> Readers:
        """Let the executor's processes read a database."""
        if url.get_backend_name() == "sqlite":
            url = url.set(database=str(sqlite_path(url)), query={})
        return cls(executor=executor, url=url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    record_type: str
    keys: KeyRange

    @property
    def is_whole(self) -> bool:
        """Return whether these are all records of the type."""
        return self.keys.first is None and self.keys.end is None


def unchanged(record_type: str, lines: bytes) -> bytes:  # noqa: ARG001 - a LineTransform
    """Return the lines unchanged."""
    return lines


def split(record_type: str, lines: bytes) -> list[bytes]:  # noqa: ARG001 - a LineTransform
    """Return each line without its line feed."""
    return lines[:-1].split(b"\n")


def read_lines(
    connection: Connection, run_id: str, transform: LineTransform[T]
) -> Generator[TypedChunk[T], None, None]:
    """Yield the transformed lines of a run in export order.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    for name, record_type in RECORD_TYPES.items():
        for count, lines in read_chunks(connection, record_type, run_id):
            yield name, count, transform(name, lines)


def read_lines_in_parallel(
    connection: Connection,
    run_id: str,
    readers: Readers,
    transform: LineTransform[T],
    record_types: Collection[str] = tuple(RECORD_TYPES),
) -> Generator[TypedChunk[T], None, None]:
    """Yield the same lines, read by several processes.

    They are those of some record types only, if some are named. `can_read_in_parallel` must allow it for the run.
    What a process had that died is read by this one. Raises what `read_lines` raises.
    """
    waiting: deque[_Reading[T]] = deque()
    try:
        for part in _parts(connection, run_id, record_types):
            if part.is_whole:
                for count, lines in read_chunks(connection, RECORD_TYPES[part.record_type], run_id):
                    waiting.append((part, (part.record_type, count, transform(part.record_type, lines))))
            else:
                waiting.append((part, _submit(readers, part, transform)))
            while len(waiting) > _AHEAD:
                yield _result(connection, *waiting.popleft(), transform)
        while waiting:
            yield _result(connection, *waiting.popleft(), transform)
    finally:
        for _, found in waiting:
            if isinstance(found, Future):
                found.cancel()


def can_read_in_parallel(connection: Connection, run_id: str) -> bool:
    """Return whether several processes can read the run.

    It must have ended, and the database must not be in memory.
    """
    table = RUN.table.c
    status = connection.scalar(select(type_coerce(table.status, Text)).where(table.run_id == run_id))
    ended = status in {each.value for each in RunStatus if each.is_terminal}
    return ended and not is_in_memory(connection.engine.url)


def _parts(connection: Connection, run_id: str, record_types: Collection[str]) -> Iterator[_Part]:
    """Yield the run's records as ranges, in export order."""
    for name, record_type in RECORD_TYPES.items():
        if name not in record_types:
            continue
        first = None
        while (end := _next_key(connection, record_type, KeyRange(run_id=run_id, first=first))) is not None:
            yield _Part(record_type=name, keys=KeyRange(run_id=run_id, first=first, end=end))
            first = end
        yield _Part(record_type=name, keys=KeyRange(run_id=run_id, first=first))


def _next_key(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange
) -> tuple[str | int, ...] | None:
    """Return the first key of the next range, or None.

    The database finds it in its index. Records of a type whose columns may change after the run stay in one range.
    """
    columns = [record_type.table.c[name] for name in record_type.order[1:]]
    if not columns or record_type.lifecycle.afterwards:
        return None
    row = connection.execute(keys.restrict(record_type, select(*columns)).limit(1).offset(_PART)).first()
    return None if row is None else tuple(row)


def _submit(readers: Readers, part: _Part, transform: LineTransform[T]) -> Future[TypedChunk[T]]:
    try:
        return readers.executor.submit(_read_part, readers.url, part, transform)
    except BrokenExecutor as error:
        broken: Future[TypedChunk[T]] = Future()
        broken.set_exception(error)
        return broken


def _read_part(url: URL, part: _Part, transform: LineTransform[T]) -> TypedChunk[T]:
    """Read the lines of a range, in a worker."""
    # Leave no connection behind: an executor's processes may live long after the export.
    with read_only_connection(url) as connection:
        return _transformed(connection, part, transform)


def _transformed(connection: Connection, part: _Part, transform: LineTransform[T]) -> TypedChunk[T]:
    record_type = RECORD_TYPES[part.record_type]
    chunks = list(read_chunks(connection, record_type, part.keys.run_id, within=part.keys))
    count = sum(number for number, _ in chunks)
    return part.record_type, count, transform(part.record_type, b"".join(lines for _, lines in chunks))


def _result(
    connection: Connection, part: _Part, found: Future[TypedChunk[T]] | TypedChunk[T], transform: LineTransform[T]
) -> TypedChunk[T]:
    if not isinstance(found, Future):
        return found
    try:
        return found.result()
    except BrokenExecutor:
        return _transformed(connection, part, transform)
