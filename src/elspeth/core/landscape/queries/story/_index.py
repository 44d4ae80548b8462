"""The index of an export: places of records by value.

It is made once, while the export is read and verified. After that, a query reads only the few lines that it needs. The
file is a cache and can be deleted at any time.

Records are looked up by the columns that identify or refer to records: those that follow the run in the keys, unique
rules and indexes of the generated schema, and the references.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlalchemy import UniqueConstraint

from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import BATCH_OUTPUT, RECORD_TYPES, RUN_PROCESS, RecordType

__all__ = ["LOOKUPS", "ExportIndex", "IndexedLine", "is_index"]

_UNSTATED = {BATCH_OUTPUT.name: {"output_id"}, RUN_PROCESS.name: {"run_id"}}
"""Further columns by record type: references to records of several types, and the run if all records are wanted."""


def _lookups(record_type: RecordType[AuditRecord]) -> tuple[str, ...]:
    table = record_type.table
    rules = [
        record_type.key,
        record_type.order,
        *([*each.columns.keys()] for each in table.constraints if isinstance(each, UniqueConstraint)),
        *([*each.columns.keys()] for each in table.indexes),
    ]
    # Each rule begins with the run's id, which by itself is the key of a run.
    named = {names[1] if len(names) > 1 else names[0] for names in rules}
    referring = {each.columns[-1] for each in record_type.references if len(each.columns) > 1}
    wanted = named | referring | _UNSTATED.get(record_type.name, set())
    return tuple(column.name for column in record_type.columns if column.name in wanted)


LOOKUPS: Mapping[str, tuple[str, ...]] = {name: _lookups(each) for name, each in RECORD_TYPES.items()}
"""The columns by which records are looked up, in column order, by record type."""


_APPLICATION_ID = 0x656C7378
"""Marks a SQLite file as an index: "elsx"."""

_BLOCK = 256
"""The number of lines that are compressed together."""

_BATCH = 20_000
"""The number of entries written at a time, which limits memory."""

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entry (hash INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (hash, position)) WITHOUT ROWID;
CREATE TABLE block (number INTEGER PRIMARY KEY, lines BLOB NOT NULL);
CREATE TEMP TABLE staged (hash INTEGER NOT NULL, position INTEGER NOT NULL);
"""
"""Nothing is synced: a crash may leave a part of an index, under a name that nobody reads."""


class IndexedLine(NamedTuple):
    """A record of an export, with its line.

    `position` is the offset of the line in the export's file of lines, in bytes, or None if there is no such file.
    """

    record_type: str
    record: dict[str, object]
    line: bytes
    position: int | None


class _Lines(Protocol):
    """Lines of an export by position."""

    def at(self, positions: Iterable[int]) -> Iterator[bytes]:
        """Yield the lines at these positions."""


class ExportIndex:
    """The index of a complete, verified export."""

    def __init__(self, connection: sqlite3.Connection, lines_file: Path | None) -> None:
        self._connection = connection
        (has_lines,) = connection.execute("SELECT EXISTS (SELECT 1 FROM block)").fetchone()
        self._lines: _Lines = _LinesInIndex(connection) if has_lines or lines_file is None else _LinesInFile(lines_file)

    @property
    def run_id(self) -> str:
        """Return the id of the exported run."""
        return str(_fact(self._connection, "run_id"))

    def lines(self, record_type: str, column: str, values: Collection[str | int]) -> Iterator[bytes]:
        """Yield the lines of records with these values.

        Lines of other records may be among them, because the index holds 32-bit hashes of the values: compare the
        values again.

        Raises ValueError if the column is not one of `LOOKUPS`.
        """
        if column not in LOOKUPS[record_type]:
            raise ValueError(f"{record_type} records are not looked up by {column}")
        hashed = {_hash(record_type, LOOKUPS[record_type].index(column), value) for value in values}
        found: set[int] = set()
        for key in hashed:
            found.update(row[0] for row in self._connection.execute("SELECT position FROM entry WHERE hash = ?", [key]))
        return self._lines.at(sorted(found))

    @staticmethod
    def fill(
        connection: sqlite3.Connection,
        lines: Iterable[IndexedLine],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write the index of these lines into an empty database.

        Lines without a position are stored in the index itself. `progress` is called with the number of lines so far.
        """
        connection.executescript(_SCHEMA)
        keep, staged = _LineStore(connection), list[tuple[int, int]]()
        for number, (record_type, record, line, position) in enumerate(lines, start=1):
            place = keep.add(line) if position is None else position
            for order, column in enumerate(LOOKUPS[record_type]):
                value = record[column]
                if isinstance(value, str | int):
                    staged.append((_hash(record_type, order, value), place))
            if len(staged) >= _BATCH:
                _stage(connection, staged)
                if progress is not None:
                    progress(number)
        _stage(connection, staged)
        keep.close()
        # In this order, the table is written page after page, and takes half the space.
        connection.execute("INSERT INTO entry SELECT DISTINCT hash, position FROM staged ORDER BY hash, position")
        connection.execute("DROP TABLE staged")
        connection.commit()

    @staticmethod
    def set_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
        """Store a fact about the export."""
        with connection:
            connection.execute("INSERT INTO fact VALUES (?, ?)", [name, value])

    @staticmethod
    def read_fact(connection: sqlite3.Connection, name: str) -> str | None:
        """Return a fact about the export.

        Returns None if the database is not a complete index.
        """
        try:
            return _fact(connection, name) if _has_index_id(connection) else None
        except sqlite3.DatabaseError:
            return None


def is_index(path: Path) -> bool:
    """Return whether the file is an index.

    A FIFO is never opened, because that would wait for a writer.
    """
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return _has_index_id(connection)
    except sqlite3.Error:
        return False


class _LinesInFile:
    """Lines in the export's own file.

    Each ends with a line feed, which a comma precedes in a JSON array.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def at(self, positions: Iterable[int]) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            for position in positions:
                file.seek(position)
                yield file.readline().removesuffix(b"\n").removesuffix(b",")


class _LinesInIndex:
    """Lines stored in the index, by line number."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def at(self, positions: Iterable[int]) -> Iterator[bytes]:
        for number, within in groupby(positions, key=lambda position: position // _BLOCK):
            (block,) = self._connection.execute("SELECT lines FROM block WHERE number = ?", [number]).fetchone()
            lines = zlib.decompress(block).split(b"\n")
            yield from (lines[position % _BLOCK] for position in within)


class _LineStore:
    """Stores lines in an index, in compressed blocks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lines: list[bytes] = []
        self._total = 0

    def add(self, line: bytes) -> int:
        self._lines.append(line)
        self._total += 1
        if len(self._lines) == _BLOCK:
            self.close()
        return self._total - 1

    def close(self) -> None:
        if self._lines:
            number = (self._total - 1) // _BLOCK
            block = zlib.compress(b"\n".join(self._lines), level=1)
            self._connection.execute("INSERT INTO block VALUES (?, ?)", [number, block])
            self._lines.clear()


def _stage(connection: sqlite3.Connection, staged: list[tuple[int, int]]) -> None:
    connection.executemany("INSERT INTO staged VALUES (?, ?)", staged)
    staged.clear()


def _hash(record_type: str, column: int, value: str | int) -> int:
    """Return the 32-bit hash under which a value is indexed."""
    return zlib.crc32(f"{record_type} {column} {value}".encode())


def _has_index_id(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID)


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", [name]).fetchone()
    return None if row is None else str(row[0])
