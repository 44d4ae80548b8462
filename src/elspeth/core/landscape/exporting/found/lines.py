"""The lines of a database as found.

The first describes the database. For each table a line describes the table, and a line for each of its rows follows. In
every form except a bag, which has a statement, the last line is the manifest.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy.engine import URL

from elspeth.contracts.database_urls import hide_secrets_of, mask_url
from elspeth.core.canonical import canonical_bytes, timestamp_text
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.urls import sqlite_path
from elspeth.core.landscape.exporting.found.source import FoundDatabase, FoundTable
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.format.found import (
    DATABASE,
    KEYS,
    PREDICATE_TYPE,
    ROW,
    TABLE,
    DatabaseFacts,
    row_schema,
    write_value,
)
from elspeth.evidence.format.limits import MAX_LINE

__all__ = ["FoundExport", "Line", "bounded", "open_found"]

_PROGRESS_EVERY = 1000

_LINES = 1000
_BYTES = 1 << 20
"""The largest number of lines in a batch, and the size at which it ends; both limit memory."""

_CUT_SHORT = frozenset({sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY})
_JOURNAL = (
    "a crash cut short a transaction, which reading would roll back."
    " Copy the database together with the journal beside it, and export the copy after opening it once with sqlite3"
)


class Line(NamedTuple):
    """A record, and its canonical JSON without line feed."""

    record: Mapping[str, Any]
    line: bytes


def bounded(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield lines in lists of limited length and size."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == _LINES or size >= _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.line)
    if batch:
        yield batch


class FoundExport:
    """The lines of one snapshot of a database.

    Each line is made once, in order. With a `key`, records have HMAC signatures.
    """

    def __init__(
        self,
        database: FoundDatabase,
        *,
        end: Callable[[], None],
        key: bytes | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.facts = DatabaseFacts(
            name=database.name, engine=database.engine, read_at=timestamp_text(datetime.now(UTC))
        )
        self.place = "its schema"
        """The part of the database that is being read, for messages."""
        self._database = database
        self._end = end
        self._key = key
        self._progress = progress or (lambda _: None)
        self._digest = sha256()

    @property
    def is_signed(self) -> bool:
        """Whether records have HMAC signatures."""
        return self._key is not None

    def database(self) -> Line:
        """Return the line of the database, which is the first."""
        database = self._database
        facts = {**self.facts.to_json(), "version": database.version, "encoding": database.encoding}
        return self._line(DATABASE, facts)

    def tables(self) -> Iterator[tuple[FoundTable, Line]]:
        """Yield the tables, each with its line; its rows follow."""
        for table in self._database.tables():
            yield table, self._line(TABLE, _described(table))
        self._end()

    def rows(self, table: FoundTable) -> Iterator[Line]:
        """Yield the lines of a table's rows."""
        names = [column.name for column in table.columns]
        forms = [column.form for column in table.columns]
        self.place = f"table {table.name!r} of schema {table.schema!r}"
        of: dict[str, Json] = {"schema": table.schema, "table": table.name}
        for number, row in enumerate(self._database.rows(table), start=1):
            values: dict[str, Json] = dict(zip(names, map(write_value, forms, row), strict=True))
            yield self._line(ROW, {**of, "number": number, "values": values})

    def kinds(self, table: FoundTable) -> list[set[type]]:
        """Return the types of the values in each column.

        Nulls do not count. The whole table is read.
        """
        self.place = f"table {table.name!r} of schema {table.schema!r}"
        found: list[set[type]] = [set() for _ in table.columns]
        for row in self._database.rows(table):
            for kinds, value in zip(found, row, strict=True):
                if value is not None:
                    kinds.add(type(value))
        return found

    def lines(self) -> Iterator[tuple[str, Line]]:
        """Yield all lines, each with its record type."""
        yield DATABASE, self.database()
        for table, line in self.tables():
            yield TABLE, line
            for row in self.rows(table):
                yield ROW, row

    def manifest(self) -> Line:
        """Return the manifest of all lines so far."""
        record: dict[str, Json] = {
            "record_type": MANIFEST,
            "kind": PREDICATE_TYPE,
            **self.facts.to_json(),
            "record_count": self.counts.total(),
            "counts": dict(self.counts),
            "hash_algorithm": "sha256",
            "final_hash": self._digest.hexdigest(),
            "signature_algorithm": None if self._key is None else "hmac-sha256",
        }
        self._progress(self.counts.total())
        return self._signed(record)

    def _line(self, kind: str, fields: Mapping[str, Json]) -> Line:
        record: dict[str, Json] = {"record_type": kind, **fields}
        found = self._signed(record)
        if len(found.line) >= MAX_LINE:
            where = ", ".join(f"{name} {fields[name]!r}" for name in KEYS[kind])
            message = f"{kind} {where}: expected a record of less than {MAX_LINE:,} bytes, got {len(found.line):,}"
            raise LandscapeError(message)
        self.counts[kind] += 1
        self._digest.update(found.line + b"\n")
        if (total := self.counts.total()) % _PROGRESS_EVERY == 0:
            self._progress(total)
        return found

    def _signed(self, record: Mapping[str, Json]) -> Line:
        line = canonical_bytes(record)
        if self._key is None:
            return Line(record, line)
        signed = {**record, "signature": hmac.digest(self._key, line, "sha256").hex()}
        return Line(signed, canonical_bytes(signed))


@contextmanager
def open_found(
    url: URL,
    *,
    key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[FoundExport]:
    """Open any database for export, in one snapshot.

    The database is not written to. Raises LandscapeError if it cannot be opened or read.
    """
    with read_only_connection(url, recover=False, what="database") as connection, connection.begin() as transaction:
        error_type, open_database = _driver(url)
        export = None
        try:
            database = open_database(connection.connection.driver_connection)
            export = FoundExport(database, end=transaction.rollback, key=key, progress=progress)
            yield export
        except error_type as error:
            if getattr(error, "sqlite_errorcode", None) in _CUT_SHORT:
                raise LandscapeError(f"database {mask_url(url)} cannot be read as found: {_JOURNAL}") from error
            said = " ".join(hide_secrets_of(url.render_as_string(hide_password=False), str(error)).split())
            place = "" if export is None else f" ({export.place})"
            message = f"database {mask_url(url)} cannot be read{place}: {said}"
            raise LandscapeError(message) from error


def _driver(url: URL) -> tuple[type[Exception], Callable[[Any], FoundDatabase]]:
    """Return a driver's error type, and its database class."""
    if url.get_backend_name() == "sqlite":
        from elspeth.core.landscape.exporting.found._sqlite import SqliteDatabase  # noqa: PLC0415  start time

        return sqlite3.Error, partial(SqliteDatabase, name=sqlite_path(url).name)
    from psycopg import Error  # noqa: PLC0415  psycopg is an extra

    from elspeth.core.landscape.exporting.found._postgresql import PostgresqlDatabase  # noqa: PLC0415

    return Error, PostgresqlDatabase


def _described(table: FoundTable) -> dict[str, Json]:
    return {
        "schema": table.schema,
        "table": table.name,
        "kind": table.kind,
        "definition": table.definition,
        "columns": [{"name": each.name, "type": each.type, "form": each.form.value} for each in table.columns],
        "key": list(table.key),
        "order": table.order,
        "row_schema": row_schema(table.columns),
    }
