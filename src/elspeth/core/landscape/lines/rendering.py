"""Lets the database itself render the lines of an export.

For each record the database returns the line with null in place of floats, and then the floats, because no database
writes floats as ECMAScript does. A value that is not of its column's kind causes an OperationalError, or a line that
does not match the pattern of the type. `tests/core/landscape/lines/test_rendering.py` shows that a line that matches
its pattern equals the one that the mapping makes from the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects import registry, sqlite

from elspeth.core.canonical import CanonicalError, canonical_number
from elspeth.core.chunks import chunks
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.lines import LINES
from elspeth_schema.records import RECORD_TYPES, Column, Kind, RecordType

__all__ = ["KeyRange", "can_render", "float_columns", "format_float", "line_pattern", "render_lines"]

S = TypeVar("S", bound=tuple[Any, ...])

_Text = ColumnElement[str]

_JSON_SINCE_POSTGRESQL = 16
"""The first version of PostgreSQL that can tell whether a text is JSON."""

_FIRST_TIME = sql("TIMESTAMPTZ '0001-01-01 00:00:00+00'")
_LAST_TIME = sql("TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """Records of a run from key `first` to before `end`.

    None stands for the beginning or the end of the run. A key holds the values of the columns by which records of the
    type are sorted, without the run.
    """

    run_id: str
    first: tuple[str | int, ...] | None = None
    end: tuple[str | int, ...] | None = None

    def restrict(self, record_type: RecordType[AuditRecord], statement: Select[S]) -> Select[S]:
        """Return the statement restricted to these records, in export order."""
        run, *key = (record_type.table.c[name] for name in record_type.order)
        values = self.parameters()
        restricted = statement.where(run == bindparam("run_id", values["run_id"])).order_by(run, *key)

        def bound(name: str) -> ColumnElement[Any]:
            parts = [f"{name}_{place}" for place in range(len(key))]
            return tuple_(
                *(bindparam(part, values[part], column.type) for part, column in zip(parts, key, strict=True))
            )

        if self.first is not None:
            restricted = restricted.where(tuple_(*key) >= bound("first"))
        if self.end is not None:
            restricted = restricted.where(tuple_(*key) < bound("end"))
        return restricted

    def parameters(self) -> dict[str, str | int]:
        """Return the values of the parameters of a restricted statement."""
        keys = {f"first_{place}": part for place, part in enumerate(self.first or ())}
        keys |= {f"end_{place}": part for place, part in enumerate(self.end or ())}
        return {"run_id": self.run_id} | keys

    def bounds(self) -> frozenset[str]:
        """Return the names of the bounds that are set."""
        return frozenset(name for name in ("first", "end") if getattr(self, name) is not None)


def can_render(connection: Connection) -> bool:
    """Return whether the database can render lines and recognise JSON."""
    version = connection.dialect.server_version_info or (0,)
    return connection.dialect.name == "sqlite" or version >= (_JSON_SINCE_POSTGRESQL,)


def render_lines(
    connection: Connection, record_type: RecordType[AuditRecord], keys: KeyRange, size: int
) -> Iterator[list[str] | None]:
    """Yield lists of up to `size` lines in export order.

    It yields None in place of lines with a float that JSON cannot express.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    statement, constants = _line_statement(record_type.name, keys.bounds(), on_sqlite=on_sqlite)
    parameters = constants | keys.parameters()
    floats = float_columns(record_type)
    # SQLAlchemy's rows would take as long as all of the database's work, so the driver's own are used.
    if on_sqlite:
        with connection.exec_driver_sql(statement, parameters) as result:
            while rows := result.cursor.fetchmany(size):
                yield _insert_floats(rows, floats)
    else:
        for rows in chunks(_stream(connection, statement, parameters, size), size):
            yield _insert_floats(rows, floats)


@cache
def line_pattern(record_type: str) -> re.Pattern[bytes]:
    """Return the pattern of sound lines with their line feeds."""
    return re.compile(b"(?:(?:" + b"|".join(LINES[record_type].patterns) + b")\n)*+")


def float_columns(record_type: RecordType[AuditRecord]) -> list[str]:
    """Return the exported columns that hold floats."""
    exported = LINES[record_type.name].keys
    return [column.name for column in record_type.columns if column.kind is Kind.REAL and column.name in exported]


def format_float(value: object) -> str:
    """Return a float as canonical JSON (RFC 8785, section 3.2.2.3).

    Raises CanonicalError if it is not a float, or not finite.
    """
    if type(value) is float:
        text = repr(value)
        # Python and ECMAScript agree on these; the rest is rare.
        if text[-2:] != ".0" and "e" not in text and "n" not in text:
            return text
        return canonical_number(value)
    message = f"{value!r} is not a float"
    raise CanonicalError(message)


def _insert_floats(rows: Sequence[Sequence[Any]], floats: Sequence[str]) -> list[str] | None:
    lines: list[str] = [row[0] for row in rows]
    try:
        for place, name in enumerate(floats, start=1):
            # This cannot occur inside a text, where quotes are escaped.
            key = f'"{name}":'
            empty = f"{key}null"
            lines = [
                line if row[place] is None else line.replace(empty, key + format_float(row[place]), 1)
                for line, row in zip(lines, rows, strict=True)
            ]
    except CanonicalError:
        return None
    return lines


@cache
def _line_statement(record_type: str, bounds: frozenset[str], *, on_sqlite: bool) -> tuple[str, dict[str, object]]:
    """Return the statement for lines and floats, and its constants.

    Its other parameters come from a KeyRange. It is cached as text, because compiling it takes as long as reading
    hundreds of lines, and each range needs it again.
    """
    rendered = RECORD_TYPES[record_type]
    line = _sqlite_line(rendered) if on_sqlite else _postgresql_line(rendered)
    statement = select(line, *(rendered.table.c[name] for name in float_columns(rendered)))
    some_key = tuple("" for _ in rendered.order[1:])
    keys = KeyRange(run_id="", **dict.fromkeys(bounds, some_key))
    dialect = sqlite.dialect(paramstyle="named") if on_sqlite else registry.load("postgresql.psycopg")()
    compiled = keys.restrict(rendered, statement).compile(dialect=dialect)
    return str(compiled), compiled.params


def _stream(
    connection: Connection, statement: str, parameters: Mapping[str, object], size: int
) -> Iterator[Sequence[Any]]:
    """Yield rows while PostgreSQL is still sending others."""
    from psycopg import capabilities  # noqa: PLC0415  psycopg is an extra

    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        at_once = size if capabilities.has_stream_chunked() else 1
        yield from cursor.stream(statement, parameters, size=at_once)


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
            # `replace` would treat the bytes of a blob as text.
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
    """Return the column's value as JSON text.

    For a value that is not of the column's kind, the text is not JSON.
    """
    value = table.c[column.name]
    quoted: _Text
    if column.kind is Kind.BOOLEAN:
        quoted = case((value == 1, "true"), (value == 0, "false"), else_=value.cast(Text))
    elif column.kind is Kind.INTEGER:
        quoted = value.cast(Text)
    elif column.kind is Kind.TIMESTAMP:
        written = func.to_char(func.timezone("UTC", value), r'\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\"')
        # `to_char` writes the year 44 BC like 44 AD, and nothing for infinity.
        quoted = case((value.between(_FIRST_TIME, _LAST_TIME), written), (value.is_not(None), "not a time"))
    else:
        quoted = func.to_json(value).cast(Text)
        if column.kind is Kind.JSON:
            quoted = case((value.op("IS")(sql("JSON")), quoted), (value.is_not(None), "not JSON"))
    return func.coalesce(quoted, "null")
