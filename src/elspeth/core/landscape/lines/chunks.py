"""The lines of an export as the database itself writes them: the fast way, checked against generated patterns.

The database renders each record as one line of canonical JSON; only floats are written here, because no database
writes them as ECMAScript does. A chunk of lines is sound if its pattern matches. The first chunk that does not sends
the rest of its record type the long way, through contracts, which either gives the lines or says what is wrong.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from elspeth.core.canonical import CanonicalError, canonical_bytes, canonical_number
from elspeth.core.landscape.lines.key_range import KeyRange
from elspeth.core.landscape.lines.rendering import can_render, floats_of, rendered
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.lines import LINES
from elspeth_schema.records import RecordType

__all__ = ["Chunk", "chunks_of", "number_text", "pattern_of", "records_of", "with_key"]

_FETCH = 1000
"""Rows fetched from the database at once; bounds memory, does not show in the result."""

Chunk = tuple[int, bytes]
"""A number of lines, and the lines, each with its line feed."""


def chunks_of(
    connection: Connection, record_type: RecordType[AuditRecord], run_id: str, *, within: KeyRange | None = None
) -> Iterator[Chunk]:
    """The lines of a run's records of one type, in export order; AuditIntegrityError for one that breaks the schema."""
    keys = within or KeyRange(run_id=run_id)
    done = 0
    if can_render(connection):
        sound = pattern_of(record_type.name).fullmatch
        try:
            for rows in rendered(connection, record_type, keys, _FETCH):
                lines = _joined(record_type, rows)
                # A line feed inside a value would make two lines of one row.
                if lines is None or lines.count(b"\n") != len(rows) or sound(lines) is None:
                    break
                done += len(rows)
                yield len(rows), lines
            else:
                return
        except (OperationalError, sqlite3.OperationalError):
            # SQLite does not write bytes as JSON; the plain way says which column holds them. While rows are fetched
            # the error is the driver's own.
            if connection.dialect.name != "sqlite":
                raise
    records = islice(records_of(connection, record_type, run_id, within=within), done, None)
    for record in records:
        yield 1, canonical_bytes(record) + b"\n"


def records_of(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    run_id: str,
    *,
    withheld: bool = False,
    order: Sequence[str] | None = None,
    within: KeyRange | None = None,
) -> Iterator[dict[str, Any]]:
    """The run's records of one type as JSON objects, each checked by its contract: the plain way.

    They come in export order, unless `order` names other columns.
    """
    columns, convert = record_type.table.c, mapper(record_type)
    statement = (within or KeyRange(run_id=run_id)).of(record_type, convert.select())
    if order is not None:
        statement = statement.order_by(None).order_by(*(columns[name] for name in order))
    with connection.execute(statement.execution_options(yield_per=_FETCH)) as rows:
        for row in rows:
            convert.from_row(row)  # raises for a row that breaks the schema: it must not look fine in an export
            yield convert.to_record(row, withheld=withheld)


def with_key(record_type: str, key: str, lines: Iterable[bytes], values: Iterable[str]) -> Iterator[bytes]:
    """The lines of records of that type (without line feed), each with one more key whose value needs no escapes.

    The key stands before the first that sorts after it, so that the line stays canonical. In a flat record no text can
    contain that key's bytes: inside a text its quotes would be escaped.
    """
    following = next((name for name in LINES[record_type].keys if name > key), None)
    mark = b"}" if following is None else f',"{following}":'.encode()
    start = f',"{key}":"'.encode()
    for line, value in zip(lines, values, strict=True):
        place = line.rindex(mark)
        yield b'%b%b%b"%b' % (line[:place], start, value.encode(), line[place:])


@cache
def pattern_of(record_type: str) -> re.Pattern[bytes]:
    """Matches any number of sound lines of the type, each with its line feed."""
    return re.compile(b"(?:(?:" + b"|".join(LINES[record_type].patterns) + b")\n)*+")


def _joined(record_type: RecordType[AuditRecord], rows: Sequence[Sequence[Any]]) -> bytes | None:
    """The lines of the rows, floats in their places; None if what should be a float is none that JSON has."""
    lines = [row[0] for row in rows]
    try:
        for place, name in enumerate(floats_of(record_type), start=1):
            # No text contains this: inside a text its quotes would be escaped.
            key = f'"{name}":'
            empty = f"{key}null"
            lines = [
                line if row[place] is None else line.replace(empty, key + number_text(row[place]), 1)
                for line, row in zip(lines, rows, strict=True)
            ]
    except CanonicalError:
        return None
    return ("\n".join(lines) + "\n").encode()


def number_text(value: object) -> str:
    """The float as canonical JSON; CanonicalError if it is none, or has none."""
    if type(value) is float:
        text = repr(value)
        # Python and ECMAScript agree on these; the rest is rare.
        if text[-2:] != ".0" and "e" not in text and "n" not in text:
            return text
        return canonical_number(value)
    message = f"{value!r} is not a float"
    raise CanonicalError(message)
