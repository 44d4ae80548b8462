"""PostgreSQL databases as found.

Integers, floating-point numbers, booleans and bytea have forms of their own. A value of any other type is exported as
the server's text for it, which the server reads back as the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from elspeth.core.landscape.exporting.found.source import BY_ALL_COLUMNS, BY_KEY, FoundTable, Row, quoted
from elspeth.evidence.format.found import Column, Form, UndecodableText, Value

__all__ = ["PostgresqlDatabase"]

_SETTINGS = {
    "search_path": "",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "client_encoding": "UTF8",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Settings for the text of values; they also keep policies from hiding rows, and timeouts from ending the export."""

_KINDS = {
    "r": "table",
    "m": "materialized view",
    "v": "view",
    "p": "partitioned table",
    "f": "foreign table",
}
_STORED = frozenset({"r", "m"})

_TABLES = """
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.oid, c.relispopulated,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind::text = ANY(%s) AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attcollation <> 0,
       array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_FETCH = 100
"""The number of rows fetched at a time, which limits memory."""

_Decode = Callable[[bytes], Value]


class _RawLoader(Loader):
    """Returns the server's text of a value as bytes."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class PostgresqlDatabase:
    """A snapshot of the database of an open connection."""

    engine = "postgresql"

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        for name, value in _SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        self.name = self._setting("SELECT current_database()")
        self.version = self._setting("SHOW server_version")
        self.encoding = self._setting("SHOW server_encoding")

    def tables(self) -> Iterator[FoundTable]:
        """Yield tables and views in the order of names."""
        for schema, name, kind, oid, has_data, definition in self._connection.execute(_TABLES, ([*_KINDS],)).fetchall():
            yield self._table(schema, name, kind, oid, definition, is_read=kind in _STORED and has_data)

    def rows(self, table: FoundTable) -> Iterator[Row]:
        """Yield the rows of a table in order."""
        if table.query is None:
            return
        decoders = [_DECODERS[column.form] for column in table.columns]
        with psycopg.ServerCursor(self._connection, "found") as cursor:
            cursor.itersize = _FETCH
            oids = {oid for info in psycopg.adapters.types for oid in (info.oid, info.array_oid)}
            for oid in {0, *oids}:
                cursor.adapters.register_loader(oid, _RawLoader)
            for row in cursor.execute(table.query.encode()):
                yield [None if value is None else decode(value) for decode, value in zip(decoders, row, strict=True)]

    def _setting(self, query: str) -> str:
        row = self._connection.execute(query.encode()).fetchone()
        return "" if row is None else str(row[0])

    def _table(
        self, schema: str, name: str, kind: str, oid: int, definition: str | None, *, is_read: bool
    ) -> FoundTable:
        found = self._connection.execute(_COLUMNS, (oid,)).fetchall()
        names = [column for column, *_ in found]
        target = f"{quoted(schema)}.{quoted(name)}"
        chosen = ", ".join(map(quoted, names))
        selected = f"SELECT {chosen} FROM ONLY {target}"  # noqa: S608  quoted
        forms = self._forms(f"{selected} LIMIT 0") if is_read and names else {}
        in_key = sorted((position, column) for column, _, _, position in found if position is not None)
        key = [column for _, column in in_key]
        collated = {column for column, _, is_collated, _ in found if is_collated}
        order, terms = _order(names, key, collated)
        by = f" ORDER BY {', '.join(terms)}" if terms else ""
        return FoundTable(
            schema=schema,
            name=name,
            kind=_KINDS[kind],
            definition=definition,
            columns=tuple(
                Column(name=column, type=declared, form=forms.get(column, Form.TEXT)) for column, declared, *_ in found
            ),
            key=tuple(key),
            order=order if is_read else None,
            query=f"{selected}{by}" if is_read else None,
        )

    def _forms(self, query: str) -> dict[str, Form]:
        """Return the forms of the columns that a query selects.

        The server describes a domain as the type that it is based on.
        """
        described = self._connection.execute(query.encode()).description or ()
        return {column.name: _FORMS.get(column.type_code, Form.TEXT) for column in described}


_FORMS: Mapping[int, Form] = {
    psycopg.adapters.types[name].oid: form
    for name, form in {
        "int2": Form.INTEGER,
        "int4": Form.INTEGER,
        "int8": Form.INTEGER,
        "float4": Form.REAL,
        "float8": Form.REAL,
        "bool": Form.BOOLEAN,
        "bytea": Form.BLOB,
    }.items()
}


def _order(columns: Sequence[str], key: Sequence[str], collated: Container[str]) -> tuple[str, list[str]]:
    """Return the order of rows, with its SQL."""
    if key:
        return BY_KEY, [f'{quoted(name)} COLLATE "C"' if name in collated else quoted(name) for name in key]
    # Rows are ordered by text, because equal values may have different texts, and some types have no order.
    return BY_ALL_COLUMNS, [f'{quoted(name)}::text COLLATE "C"' for name in columns]


def _text(content: bytes) -> str | UndecodableText:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return UndecodableText(content)


def _blob(content: bytes) -> bytes:
    return bytes.fromhex(content.removeprefix(b"\\x").decode())


_DECODERS: Mapping[Form, _Decode] = {
    Form.INTEGER: int,
    Form.REAL: float,
    Form.BOOLEAN: lambda content: content == b"t",
    Form.BLOB: _blob,
    Form.TEXT: _text,
}
