"""The query by which the database itself writes the lines of an export.

Of each record it gives the line, with null for the floats, and then the floats: no database writes those as ECMAScript
does. What a line cannot hold, and what is no value of its column's kind, makes a line that no pattern matches, or an
OperationalError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import text as sql

from elspeth.core.chunks import chunks
from elspeth.core.landscape.lines.key_range import KeyRange
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.lines import LINES
from elspeth_schema.records import Column, Kind, RecordType

__all__ = ["can_render", "floats_of", "rendered"]

_JSON_SINCE_POSTGRESQL = 16
"""The first version that can say whether a text is JSON."""

_Text = ColumnElement[str]


def can_render(connection: Connection) -> bool:
    """Whether the database can write lines and say whether a text is JSON."""
    version = connection.dialect.server_version_info or (0,)
    return connection.dialect.name == "sqlite" or version >= (_JSON_SINCE_POSTGRESQL,)


def floats_of(record_type: RecordType[AuditRecord]) -> list[str]:
    """The columns whose values `rendered` gives after the line."""
    exported = LINES[record_type.name].keys
    return [column.name for column in record_type.columns if column.kind is Kind.REAL and column.name in exported]


def rendered(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange, size: int
) -> Iterator[Sequence[Sequence[Any]]]:
    """Lines and floats of the records, so many at a time, in export order."""
    on_sqlite = connection.dialect.name == "sqlite"
    line = _sqlite_line(record_type) if on_sqlite else _postgresql_line(record_type)
    columns = (record_type.table.c[name] for name in floats_of(record_type))
    statement = keys.of(record_type, select(line, *columns))
    # SQLAlchemy's rows cost as much as the database's whole work here: the drivers' own are taken.
    if on_sqlite:
        with connection.execute(statement) as result:
            while rows := result.cursor.fetchmany(size):
                yield rows
    else:
        yield from chunks(_streamed(connection, statement, size), size)


def _streamed(connection: Connection, statement: Select[*tuple[Any, ...]], size: int) -> Iterator[Sequence[Any]]:
    """Rows as PostgreSQL sends them, which goes on while they are worked upon."""
    from psycopg import capabilities  # noqa: PLC0415  psycopg is an extra

    compiled = statement.compile(connection)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        at_once = size if capabilities.has_stream_chunked() else 1
        yield from cursor.stream(str(compiled), compiled.params, size=at_once)


def _sqlite_line(record_type: RecordType[AuditRecord]) -> _Text:
    table, columns = record_type.table, {column.name: column for column in record_type.columns}
    members: list[ColumnElement[Any]] = []
    conditions: list[ColumnElement[bool]] = []
    for key in LINES[record_type.name].keys:
        column, value = columns.get(key), table.c.get(key)
        members.append(literal(key))
        if column is None or value is None:
            members.append(literal(record_type.name))
        elif column.kind is Kind.TIMESTAMP:
            # `replace` would take the bytes of a blob for text.
            conditions.append(func.typeof(value) != "blob")
            members.append(func.replace(type_coerce(value, Text), " ", "T").concat("Z"))
        elif column.kind is Kind.BOOLEAN:
            members.append(func.json(case((value == 1, "true"), (value == 0, "false"), else_=func.json_quote(value))))
        elif column.kind is Kind.REAL:
            members.append(null())
        else:
            if column.kind is Kind.JSON:
                conditions.append(or_(value.is_(None), func.json_valid(value) == 1))
            members.append(value)
    line = func.json_object(*members)
    return case((and_(*conditions), line), else_="") if conditions else line


def _postgresql_line(record_type: RecordType[AuditRecord]) -> _Text:
    columns = {column.name: column for column in record_type.columns}
    pieces: list[_Text] = []
    constant = "{"
    for number, key in enumerate(LINES[record_type.name].keys):
        column = columns.get(key)
        constant += f',"{key}":' if number else f'"{key}":'
        if column is None:
            constant += f'"{record_type.name}"'
        elif column.kind is Kind.REAL:
            constant += "null"
        else:
            pieces += [literal(constant, Text), _postgresql_value(record_type.table, column)]
            constant = ""
    return reduce(lambda left, right: left.concat(right), [*pieces, literal(constant + "}", Text)])


def _postgresql_value(table: Table, column: Column) -> _Text:
    """The column's value as JSON text, or as text that is none if it is no value of its kind."""
    value = table.c[column.name]
    quoted: _Text
    if column.kind is Kind.BOOLEAN:
        quoted = case((value == 1, "true"), (value == 0, "false"), else_=value.cast(Text))
    elif column.kind is Kind.INTEGER:
        quoted = value.cast(Text)
    elif column.kind is Kind.TIMESTAMP:
        quoted = func.to_char(func.timezone("UTC", value), r'\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\"')
    else:
        quoted = func.to_json(value).cast(Text)
        if column.kind is Kind.JSON:
            quoted = case((value.op("IS")(sql("JSON")), quoted), (value.is_not(None), "not JSON"))
    return func.coalesce(quoted, "null") if value.nullable else quoted
