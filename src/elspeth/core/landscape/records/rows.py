"""Rows of records that wait to be inserted or updated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from elspeth.core.landscape.database.writing import update_rows
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.conversions import ROWS, Row
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["ROW_FORMS", "RowForm", "update_records"]


class RowForm(NamedTuple):
    """Functions for the row of a contract, and its key."""

    record_type: RecordType[AuditRecord]
    row_of: Callable[[Any, Callable[[datetime], object]], Row]
    key_of: Callable[[Row], tuple[object, ...]]


def update_records(connection: Connection, record_type: RecordType[AuditRecord], rows: Iterable[Row]) -> None:
    """Update rows.

    All columns that may change are set, so that the same statement serves all rows. Raises IntegrityError if the
    database refuses one of them.
    """
    names = [column.name for column in record_type.columns]
    columns = sorted(record_type.lifecycle.while_open | record_type.lifecycle.afterwards)
    places = [names.index(name) for name in (*columns, *record_type.key)]
    values = [tuple(row[place] for place in places) for row in rows]
    update_rows(connection, record_type.table, columns, record_type.key, values)


def _key_of(record_type: RecordType[AuditRecord]) -> Callable[[Row], tuple[object, ...]]:
    """Return the function that returns the key of a row."""
    names = [column.name for column in record_type.columns]
    first, *others = (names.index(name) for name in record_type.key)
    return itemgetter(first, *others) if others else lambda row: (row[first],)


ROW_FORMS: Mapping[type[AuditRecord], RowForm] = {
    shape: RowForm(record_type, ROWS[shape], _key_of(record_type))
    for record_type in RECORD_TYPES.values()
    for shape in record_type.shapes.values()
}
"""The row forms by contract."""
