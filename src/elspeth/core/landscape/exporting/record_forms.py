"""How records look in the exports of an epoch, whichever it is: told from its snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database.tables import load_snapshot
from elspeth.schema.checks import BOOLEAN, JSON, TIMESTAMP, Acceptor, integer, optional, real, text
from elspeth.schema.snapshots import ColumnSnapshot, Kind, TableSnapshot

__all__ = ["FIRST_EXPORTED", "ColumnForm", "RecordForm", "forms_of"]

FIRST_EXPORTED = 5
"""The first epoch that has exports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnForm:
    """A column: its name, how its values are written, and what they may be as database values."""

    name: str
    kind: Kind
    nullable: bool
    withheld: bool
    acceptor: Acceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordForm:
    """The records of one type in the exports of one epoch.

    `order` names the columns that order them, `withheld` those that an export leaves out unless asked.
    """

    name: str
    table: str
    columns: tuple[ColumnForm, ...]
    order: tuple[str, ...]
    withheld: frozenset[str]

    def row(self, record: Mapping[str, object]) -> dict[str, object]:
        """Return the database values of a record by column, null for what is withheld.

        Raises ValueError for a record that its epoch's columns cannot hold. Their types, lengths and nulls are checked
        here; conditions, keys and references by the database.
        """
        known = {column.name for column in self.columns}
        for name in sorted(record.keys() - known - {"record_type", "signature"}):
            raise ValueError(f"{name}: expected a field of this record type, got an unknown field")
        return {column.name: _database_value(column, record) for column in self.columns}


@cache
def forms_of(epoch: int) -> Mapping[str, RecordForm]:
    """Return the record types of an epoch in export order.

    Raises LandscapeError for an epoch that this version does not know.
    """
    return {table.record_type: _form(table) for table in load_snapshot(epoch).tables if table.record_type is not None}


def _form(table: TableSnapshot) -> RecordForm:
    return RecordForm(
        name=str(table.record_type),
        table=table.name,
        columns=tuple(_column(column) for column in table.columns),
        order=table.export_order,
        withheld=frozenset(column.name for column in table.columns if column.withheld),
    )


def _column(column: ColumnSnapshot) -> ColumnForm:
    acceptor = _acceptor(column)
    return ColumnForm(
        name=column.name,
        kind=column.kind,
        nullable=column.nullable,
        withheld=column.withheld,
        acceptor=optional(acceptor) if column.nullable else acceptor,
    )


def _acceptor(column: ColumnSnapshot) -> Acceptor:
    _, _, length = column.type.rstrip(")").partition("(")
    return {
        Kind.TEXT: text(max_length=int(length) if length else None),
        Kind.JSON: JSON,
        Kind.INTEGER: integer(),
        Kind.REAL: real(),
        Kind.BOOLEAN: BOOLEAN,
        Kind.TIMESTAMP: TIMESTAMP,
    }[column.kind]


def _database_value(column: ColumnForm, record: Mapping[str, object]) -> object:
    if column.name not in record:
        if column.withheld:
            return None
        raise ValueError(f"{column.name}: expected a value or null, got no such field")
    value = record[column.name]
    if column.kind is Kind.TIMESTAMP and isinstance(value, str):
        value = _moment(value)
    elif column.kind is Kind.REAL and type(value) is int:
        value = float(value)  # canonical JSON writes 1.0 as 1
    if not column.acceptor.accepts(value):
        got = "another value" if column.withheld else f"{value!r:.80}"
        raise ValueError(f"{column.name}: expected {column.acceptor.expected}, got {got}")
    return int(value) if isinstance(value, bool) else value


def _moment(value: str) -> object:
    """Return the time that `timestamp_text` wrote; any other spelling stays text, which is refused."""
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return value
    return moment if timestamp_text(moment) == value else value
