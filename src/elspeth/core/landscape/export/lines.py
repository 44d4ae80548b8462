"""The lines of an export as the database itself writes them: the fast way, checked against generated patterns.

The database renders each record as one line of canonical JSON; only floats are written here, because no database
writes them as ECMAScript does. A chunk of lines is sound if its pattern matches. The first chunk that does not sends
the rest of its record type the long way, through contracts, which either gives the lines or says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, Text, case, func, literal, select, text, type_coerce
from sqlalchemy.exc import OperationalError

from elspeth.core.canonical import CanonicalError, canonical_bytes, canonical_number
from elspeth.core.landscape.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.lines import LINES
from elspeth_schema.records import Column, Kind, RecordType

__all__ = ["Chunk", "chunks_of", "records_of", "with_key"]

_FETCH = 1000
"""Rows fetched from the database at once; bounds memory, does not show in the result."""

_JSON_SINCE_POSTGRESQL = 16
"""The first version that can say whether a text is JSON; older servers take the long way."""

Chunk = tuple[int, bytes]
"""A number of lines, and the lines, each with its line feed."""


def chunks_of(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> Iterator[Chunk]:
    """The lines of a run's records of one type, in export order; AuditIntegrityError for one that breaks the schema."""
    done = 0
    if _can_write_json(connection):
        sound = _pattern(record_type.name).fullmatch
        try:
            for rows in _rendered(connection, record_type, run_id):
                lines = _joined(rows)
                # A line feed inside a value would make two lines of one row.
                if lines is None or lines.count(b"\n") != len(rows) or sound(lines) is None:
                    break
                done += len(rows)
                yield len(rows), lines
            else:
                return
        except OperationalError:
            # SQLite does not write bytes as JSON; the long way says which column holds them.
            if connection.dialect.name != "sqlite":
                raise
    records = islice(records_of(connection, record_type, run_id), done, None)
    for record in records:
        yield 1, canonical_bytes(record) + b"\n"


def records_of(
    connection: Connection, record_type: RecordType[AuditRecord], run_id: str, *, withheld: bool = False
) -> Iterator[dict[str, Any]]:
    """The run's records of one type as JSON objects, each checked by its contract: the plain way."""
    columns, convert = record_type.table.c, mapper(record_type)
    statement = (
        convert.select()
        .where(columns.run_id == run_id)
        .order_by(*(columns[name] for name in record_type.order))
        .execution_options(yield_per=_FETCH)
    )
    with connection.execute(statement) as rows:
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
def _pattern(record_type: str) -> re.Pattern[bytes]:
    """Matches any number of sound lines of the type."""
    return re.compile(b"(?:(?:" + b"|".join(LINES[record_type].patterns) + b")\n)*+")


def _rendered(
    connection: Connection, record_type: RecordType[AuditRecord], run_id: str
) -> Iterator[Sequence[Sequence[Any]]]:
    """Rows whose values, one after another, make up a line."""
    result = connection.execute(_statement(connection, record_type, run_id))
    with result:
        if connection.dialect.name == "sqlite":
            # SQLAlchemy's rows cost as much as SQLite's whole work here.
            while rows := result.cursor.fetchmany(_FETCH):
                yield rows
        else:
            yield from result.partitions(_FETCH)


def _joined(rows: Sequence[Sequence[Any]]) -> bytes | None:
    """The lines of the rows; None if what should be a float among them is none that JSON has."""
    width = len(rows[0])
    if width == 1:
        return ("\n".join(map(itemgetter(0), rows)) + "\n").encode()
    try:
        if width == _AROUND_ONE_FLOAT:
            lines = [f"{before}{_number(value)}{after}\n" for before, value, after in rows]
        else:
            lines = [_interleaved(row) for row in rows]
    except CanonicalError:
        return None
    return "".join(lines).encode()


_AROUND_ONE_FLOAT = 3
"""How many pieces a line with one float has."""


def _interleaved(row: Sequence[Any]) -> str:
    """Pieces of text with floats between them."""
    return "".join([_number(part) if place % 2 else part for place, part in enumerate(row)]) + "\n"


def _number(value: object) -> str:
    if type(value) is float:
        text = repr(value)
        # Python and ECMAScript agree on these; the rest is rare.
        if text[-2:] != ".0" and "e" not in text and "n" not in text:
            return text
        return canonical_number(value)
    if value is None:
        return "null"
    message = f"{value!r} is not a float"
    raise CanonicalError(message)


def _statement(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> Select[*tuple[Any, ...]]:
    """One query: the pieces of text, and the floats between them, that together are a line without its line feed."""
    render = func.printf if connection.dialect.name == "sqlite" else func.format
    table, columns = record_type.table.c, {column.name: column for column in record_type.columns}
    pieces: list[ColumnElement[Any]] = []
    values: list[ColumnElement[Any]] = [_opening(connection, record_type)]
    form = "%s"
    for number, key in enumerate(LINES[record_type.name].keys):
        form += f',"{key}":' if number else f'"{key}":'
        column = columns.get(key)
        if column is None:
            form += f'"{record_type.name}"'
        elif column.kind is Kind.REAL:
            pieces += [render(form, *values), table[key]]
            form, values = "", []
        elif _is_plain(record_type, key):
            form += '"%s"' if column.kind is Kind.TEXT else "%s"
            values.append(table[key])
        else:
            form += "%s"
            values.append(_as_json(connection, column, table[key]))
    pieces.append(render(form + "}", *values))
    statement = select(*pieces).where(table.run_id == run_id).order_by(*(table[name] for name in record_type.order))
    if connection.dialect.name == "sqlite":
        return statement
    return statement.execution_options(stream_results=True, max_row_buffer=_FETCH)


def _is_plain(record_type: RecordType[AuditRecord], key: str) -> bool:
    """Whether the column's values can stand in a line as they are, unless they are unsound.

    A short text with quotes of its own then makes a line that its pattern cannot match.
    """
    column = record_type.table.c[key]
    kind = next(each.kind for each in record_type.columns if each.name == key)
    short = isinstance(column.type, String) and column.type.length is not None
    return not column.nullable and (kind is Kind.INTEGER or (kind is Kind.TEXT and short))


def _opening(connection: Connection, record_type: RecordType[AuditRecord]) -> ColumnElement[Any]:
    """The first brace, or what is none if SQLite holds a blob in a column whose text stands in the line as it is."""
    if connection.dialect.name != "sqlite":
        return literal("{", Text)
    plain = [
        record_type.table.c[column.name]
        for column in record_type.columns
        if column.kind is Kind.TEXT and _is_plain(record_type, column.name)
    ]
    # Of all kinds of values SQLite sorts blobs highest.
    return case((func.typeof(func.max("", *plain)) == "text", "{"), else_="blob")


def _can_write_json(connection: Connection) -> bool:
    version = connection.dialect.server_version_info or (0,)
    return connection.dialect.name == "sqlite" or version >= (_JSON_SINCE_POSTGRESQL,)


def _as_json(connection: Connection, kept: Column, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column's value as JSON text, or as text that is none if it is no value of its kind."""
    sqlite = connection.dialect.name == "sqlite"
    quoted: ColumnElement[Any] = (
        func.json_quote(column) if sqlite else func.coalesce(func.to_json(column).cast(Text), "null")
    )
    if kept.kind is Kind.JSON:
        valid = func.json_valid(column) == 1 if sqlite else column.op("IS")(text("JSON"))
        return case((column.is_(None), "null"), (valid, quoted), else_="not JSON")
    if kept.kind is Kind.BOOLEAN:
        return case((column == 1, "true"), (column == 0, "false"), else_=quoted)
    if kept.kind is Kind.TIMESTAMP and sqlite:
        return func.json_quote(func.replace(type_coerce(column, Text), " ", "T").concat("Z"))
    if kept.kind is Kind.TIMESTAMP:
        moment = func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        return func.coalesce(func.to_json(moment).cast(Text), "null")
    return quoted
