"""Reads the records of runs as lines or JSON objects.

There are two ways. The fast one lets the database render the lines, and checks each chunk of them against the generated
pattern of the type. From the first chunk that does not match, the rest of the record type is read the plain way, by
contracts, which either yields the lines or raises an error about the record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.exc import OperationalError

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.lines.rendering import KeyRange, can_render, line_pattern, render_lines
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.lines import LINES
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = [
    "Chunk",
    "LineTransform",
    "TypedChunk",
    "insert_key",
    "read_chunks",
    "read_lines",
    "read_records",
    "read_typed_chunks",
    "split",
    "unchanged",
]

Chunk = tuple[int, bytes]
"""The number of lines, and the lines, each with its line feed."""

T = TypeVar("T")

LineTransform = Callable[[str, int, bytes], T]
"""A picklable function that transforms lines of one record type, each with its line feed.

Its arguments are the record type, the number of the first line in the run, from 0, and the lines.
"""

TypedChunk = tuple[str, int, T]
"""Lines of one record type: its name, their count, and the transformed lines."""

_FETCH = 1000
"""The number of rows fetched at a time, which limits memory."""


# -- one record type -------------------------------------------------------------------------------------------------


def read_chunks(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> Iterator[Chunk]:
    """Yield a run's lines of one type in export order.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    return _read_range(connection, record_type, KeyRange(run_id=run_id))


def _read_range(connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange) -> Iterator[Chunk]:
    done = 0
    for chunk in _read_rendered(connection, record_type, keys):
        if chunk is None:
            break
        done += chunk[0]
        yield chunk
    else:
        return
    for record in islice(_read_selected(connection, record_type, _select(record_type, keys)), done, None):
        yield 1, canonical_bytes(record) + b"\n"


def _read_rendered(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange
) -> Iterator[Chunk | None]:
    """Yield the sound chunks, then None if another follows."""
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
        # SQLite does not write bytes as JSON. The plain way then names the column that holds them. While rows are
        # fetched, the error is the driver's own, not SQLAlchemy's.
        if connection.dialect.name != "sqlite":
            raise
        yield None


def _sound_chunk(record_type: str, rendered: Sequence[str]) -> Chunk | None:
    lines = ("\n".join(rendered) + "\n").encode()
    # A line feed inside a value would make two lines out of one row.
    is_sound = lines.count(b"\n") == len(rendered) and line_pattern(record_type).fullmatch(lines) is not None
    return (len(rendered), lines) if is_sound else None


def read_records(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    run_id: str,
    *,
    withheld: bool = False,
    order: Sequence[str] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Yield a run's records of one type as JSON objects.

    Each record is checked by its contract. Records come in export order, unless `order` names other columns; `withheld`
    adds the columns that exports leave out. Raises AuditIntegrityError for a record that breaks the schema.
    """
    statement = _select(record_type, KeyRange(run_id=run_id))
    if order is not None:
        statement = statement.order_by(None).order_by(*(record_type.table.c[name] for name in order))
    return _read_selected(connection, record_type, statement, withheld=withheld)


def _select(record_type: RecordType[AuditRecord], keys: KeyRange) -> Select[*tuple[Any, ...]]:
    return keys.restrict(record_type, mapper(record_type).select())


def _read_selected(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    statement: Select[*tuple[Any, ...]],
    *,
    withheld: bool = False,
) -> Generator[dict[str, Any], None, None]:
    convert = mapper(record_type)
    with connection.execute(statement.execution_options(yield_per=_FETCH)) as rows:
        for row in rows:
            convert.from_row(row)  # raises for a record that breaks the schema: an export must not hide that
            yield convert.to_record(row, withheld=withheld)


def insert_key(record_type: str, key: str, lines: Iterable[bytes], values: Iterable[str]) -> Iterator[bytes]:
    """Yield lines, without line feeds, with one more key each.

    The key is placed before the first key that sorts after it, so that the line stays canonical. The values must not
    need escapes. The bytes of a key occur only once in a line, because inside a text its quotes would be escaped.
    """
    following = next((name for name in LINES[record_type].keys if name > key), None)
    mark = b"}" if following is None else f',"{following}":'.encode()
    start = f',"{key}":"'.encode()
    for line, value in zip(lines, values, strict=True):
        place = line.rindex(mark)
        yield b'%b%b%b"%b' % (line[:place], start, value.encode(), line[place:])


# -- a whole run -----------------------------------------------------------------------------------------------------


def unchanged(record_type: str, first: int, lines: bytes) -> bytes:  # noqa: ARG001 - a LineTransform
    """Return the lines unchanged."""
    return lines


def split(record_type: str, first: int, lines: bytes) -> list[bytes]:  # noqa: ARG001 - a LineTransform
    """Return each line without its line feed."""
    return lines[:-1].split(b"\n")


def read_lines(
    connection: Connection, run_id: str, transform: LineTransform[T]
) -> Generator[TypedChunk[T], None, None]:
    """Yield the transformed lines of a run in export order.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    number = 0
    for name in RECORD_TYPES:
        for chunk in read_typed_chunks(connection, name, KeyRange(run_id=run_id), transform, first=number):
            yield chunk
            number += chunk[1]


def read_typed_chunks(
    connection: Connection, record_type: str, keys: KeyRange, transform: LineTransform[T], *, first: int
) -> Generator[TypedChunk[T], None, None]:
    """Yield the transformed lines of one type in a range.

    `first` is the number of the first line in the run. Raises the errors of `read_chunks`.
    """
    number = first
    for count, lines in _read_range(connection, RECORD_TYPES[record_type], keys):
        yield record_type, count, transform(record_type, number, lines)
        number += count
