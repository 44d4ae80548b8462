"""Floors: the same rows through raw drivers, and hashed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from benchmarks.recording import RUN
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.urls import sqlite_path
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["hash_lines", "libpq", "read_rows", "write_rows"]

_ROWS = 1000
"""Rows that are read at once and written in one transaction."""

_PRAGMAS = ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON")


def read_rows(url: str) -> None:
    """Read the rows of the run in export order."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(sqlite_path(make_url(url)))
        for record_type in RECORD_TYPES.values():
            for _ in connection.execute(_select(record_type, "?"), (RUN,)):
                pass
        connection.close()
        return
    with psycopg.connect(libpq(url)) as server:
        for record_type in RECORD_TYPES.values():
            for _ in server.cursor().stream(_select(record_type, "%s").encode(), (RUN,), size=_ROWS):
                pass


def write_rows(source: str, target: str) -> None:
    """Write a SQLite database's rows to a new database.

    The new database has all indexes and triggers. SQLite: executemany, 1,000 rows per transaction, synchronous FULL.
    PostgreSQL: one COPY per table.
    """
    LandscapeDB.from_url(target).close()
    if target.startswith("sqlite"):
        writing = sqlite3.connect(sqlite_path(make_url(target)), isolation_level=None)
        for pragma in _PRAGMAS:
            writing.execute(f"PRAGMA {pragma}")
        for record_type, rows in _tables(source):
            marks = ", ".join("?" * len(record_type.columns))
            writing.execute("BEGIN IMMEDIATE")
            writing.executemany(f"INSERT INTO {record_type.table.name} VALUES ({marks})", rows)  # noqa: S608
            writing.execute("COMMIT")
        writing.close()
        return
    with psycopg.connect(libpq(target)) as server:
        server.execute("SET TIME ZONE 'UTC'")
        for record_type, rows in _tables(source):
            with server.cursor().copy(f"COPY {record_type.table.name} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)


def hash_lines(records: Path) -> None:
    """Compute SHA-256 over each line of the file."""
    with records.open("rb") as file:
        for line in file:
            hashlib.sha256(line).digest()


def libpq(url: str) -> str:
    """Return the URL in the form that libpq takes."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _select(record_type: RecordType[AuditRecord], mark: str) -> str:
    return f"SELECT * FROM {record_type.table.name} WHERE run_id = {mark} ORDER BY {', '.join(record_type.order)}"  # noqa: S608


def _tables(source: str) -> Iterator[tuple[RecordType[AuditRecord], list[tuple[object, ...]]]]:
    """Yield the rows of all tables, 1,000 at a time."""
    reading = sqlite3.connect(sqlite_path(make_url(source)))
    for record_type in RECORD_TYPES.values():
        names = ", ".join(column.name for column in record_type.columns)
        cursor = reading.execute(f"SELECT {names} FROM {record_type.table.name}")  # noqa: S608
        while rows := cursor.fetchmany(_ROWS):
            yield record_type, rows
    reading.close()
