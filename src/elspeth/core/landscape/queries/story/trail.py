"""Reads the records of one run, from database or export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeVar

import orjson
from sqlalchemy import Connection

from elspeth.core.chunks import chunks
from elspeth.core.landscape.queries.story._index import LOOKUPS, ExportIndex
from elspeth.core.landscape.records.mapping import mapper, record_type_of, reshape
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType

__all__ = ["LOOKUPS", "DatabaseTrail", "ExportTrail", "Trail", "fetch_grouped", "fetch_referred", "open_export"]

R = TypeVar("R", bound=AuditRecord)

_VALUES_PER_QUERY = 1000
"""Databases limit the parameters of a statement, SQLite to 32,766."""


class Trail(Protocol):
    """The records of one run.

    Both implementations return equal records: columns that the schema withholds from exports are null in both.
    """

    @property
    def run_id(self) -> str:
        """Return the id of the run."""

    def records(self, record_type: RecordType[R], column: str, values: Collection[str | int]) -> list[R]:
        """Return the records whose column has one of the values.

        They are in no particular order. Raises AuditIntegrityError for a record that breaks the schema.
        """


class DatabaseTrail:
    """The trail of a run in a database.

    Pass a connection with a snapshot to read a consistent story.
    """

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self.run_id = run_id

    def records(self, record_type: RecordType[R], column: str, values: Collection[str | int]) -> list[R]:
        """Return the records whose column has one of the values.

        One statement is executed for every thousand values.
        """
        columns = record_type.table.c
        convert = mapper(record_type)
        found: list[R] = []
        for wanted in chunks(set(values), _VALUES_PER_QUERY):
            statement = convert.select().where(columns.run_id == self.run_id, columns[column].in_(wanted))
            rows = self._connection.execute(statement)
            found += [_without_withheld(record_type, convert.from_row(tuple(row))) for row in rows]
        return found


class ExportTrail:
    """The trail of a run in an export.

    Only the lines that a query needs are read.
    """

    def __init__(self, index: ExportIndex) -> None:
        self._index = index
        self.run_id = index.run_id

    def records(self, record_type: RecordType[R], column: str, values: Collection[str | int]) -> list[R]:
        """Return the records whose column has one of the values.

        Raises ValueError if records are not indexed by the column.
        """
        wanted = set(values)
        convert = mapper(record_type)
        found: list[R] = []
        for line in self._index.lines(record_type.name, column, wanted):
            record = orjson.loads(line)
            record.pop("salt", None)  # records of earlier bags have salts
            if record["record_type"] == record_type.name and record[column] in wanted:
                found.append(_without_withheld(record_type, convert.from_record(record)))
        return found


@contextmanager
def open_export(
    path: Path, *, keep: bool = True, progress: Callable[[int], None] | None = None
) -> Iterator[ExportTrail]:
    """Open the trail in an export.

    Arguments and errors are those of `open_index`.
    """
    from elspeth.core.landscape.queries.story._index_cache import open_index  # noqa: PLC0415  start time

    with open_index(path, keep=keep, progress=progress) as index:
        yield ExportTrail(index)


def fetch_grouped(
    trail: Trail, record_type: RecordType[R], column: str, values: Collection[str], *order: str
) -> dict[str, tuple[R, ...]]:
    """Return the records with these values, grouped by value.

    Each group is sorted by the columns `order`.
    """
    groups: dict[str, list[R]] = defaultdict(list)
    for record in sorted(trail.records(record_type, column, values), key=attrgetter(*order)):
        groups[getattr(record, column)].append(record)
    return {value: tuple(group) for value, group in groups.items()}


def fetch_referred(
    trail: Trail, record_type: RecordType[R], sources: Iterable[AuditRecord], column: str
) -> dict[str, R]:
    """Return the records that a column of `sources` names.

    They are returned by id. Raises AuditIntegrityError if one is missing.
    """
    *_, key = record_type.key
    wanted: dict[str, AuditRecord] = {getattr(source, column): source for source in sources}
    found: dict[str, R] = {getattr(record, key): record for record in trail.records(record_type, key, wanted)}
    for value, source in wanted.items():
        if value not in found:
            row = mapper(record_type_of(source)).to_row(source)
            expected = f"a {record_type.name} of the run"
            raise mapper(record_type_of(source)).error(list(row.values()), column, expected, value)
    return found


def _without_withheld(record_type: RecordType[R], record: R) -> R:
    """Return the record with null in withheld columns."""
    withheld = {column.name: None for column in record_type.columns if column.withheld is not None}
    return reshape(record, type(record), withheld) if withheld else record
