"""Conversion of records between table rows, contracts and exports.

A row holds database values in column order, a contract Python values by field, an exported record JSON values by column
name. What to convert is read from the schema: no column is known by name here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, String, select, type_coerce

from elspeth.core.canonical import timestamp_text
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import Column, Kind, RecordType

__all__ = ["RecordMapper", "mapper", "record_type_of", "reshape"]

R = TypeVar("R", bound=AuditRecord)


class RecordMapper(Generic[R]):
    """Converts the records of one type between their forms."""

    def __init__(self, record_type: RecordType[R]) -> None:
        self.record_type = record_type
        self._names = tuple(column.name for column in record_type.columns)
        self._key = tuple(self._names.index(name) for name in record_type.key)
        self._discriminator = self._names.index(record_type.discriminator) if record_type.discriminator else None
        self._from_row = tuple(_from_row(column) for column in record_type.columns)
        self._to_row = tuple(_to_row(column) for column in record_type.columns)
        self._from_json = tuple(_from_json(column) for column in record_type.columns)
        self._all = tuple(
            (position, column.name, _to_json(column)) for position, column in enumerate(record_type.columns)
        )
        self._exported = tuple(each for each in self._all if record_type.columns[each[0]].withheld is None)
        self._required = frozenset(name for _, name, _ in self._exported)
        self._fields = {shape: frozenset(shape.__dataclass_fields__) for shape in record_type.shapes.values()}

    def select(self) -> Select[*tuple[Any, ...]]:
        """Return a query for rows.

        Times come as the database keeps them: SQLAlchemy would fail on a text that is not a time.
        """
        columns = zip(self.record_type.columns, self.record_type.table.columns, strict=True)
        return select(*(type_coerce(each, String) if kept.kind is Kind.TIMESTAMP else each for kept, each in columns))

    def to_row(self, record: R) -> dict[str, object]:
        """Return a record's database values by column name.

        Columns that the record's shape does not have are None.
        """
        fields = self._fields[type(record)]
        return {
            name: convert(getattr(record, name)) if name in fields else None
            for name, convert in zip(self._names, self._to_row, strict=True)
        }

    def from_row(self, row: Sequence[object]) -> R:
        """Return the contract of a row in column order.

        Raises AuditIntegrityError if the row breaks the schema.
        """
        return self._contract([convert(value) for convert, value in zip(self._from_row, row, strict=True)])

    def from_record(self, record: Mapping[str, object]) -> R:
        """Return the contract of an exported record.

        Columns that exports leave out are None. Raises AuditIntegrityError if the record breaks the schema.
        """
        given = record.keys() - {"record_type", "signature"}
        if not self._required <= given <= set(self._names):
            values = [record.get(name) for name in self._names]
            wrong = sorted((self._required - given) | (given - set(self._names)))
            expected = "a field of this record type" if wrong[0] in given else "a value or null"
            raise self.error(values, wrong[0], expected, "an unknown field" if wrong[0] in given else "no such field")
        return self._contract(
            [convert(record.get(name)) for name, convert in zip(self._names, self._from_json, strict=True)]
        )

    def _contract(self, values: Sequence[object]) -> R:
        shape = self._shape(values)
        fields = self._fields[shape]
        for name, value in zip(self._names, values, strict=True):
            if value is not None and name not in fields:
                status = self.record_type.discriminator
                raise self.error(values, name, f"nothing while {status} is {values[self._discriminator or 0]}", value)
        arguments: dict[str, Any] = {
            name: value for name, value in zip(self._names, values, strict=True) if name in fields
        }
        return shape(**arguments)

    def to_record(self, row: Sequence[object], *, withheld: bool = False) -> dict[str, object]:
        """Return the exported form of a row.

        `record_type` comes first, then every exported column; `withheld` adds those that exports leave out.
        """
        record: dict[str, object] = {"record_type": self.record_type.name}
        for position, name, convert in self._all if withheld else self._exported:
            record[name] = convert(row[position])
        return record

    def error(self, row: Sequence[object], field: str, expected: str, got: object) -> AuditIntegrityError:
        """Return the error for one field of a row."""
        key = {self._names[position]: row[position] for position in self._key}
        return AuditIntegrityError(table=self.record_type.table.name, key=key, field=field, expected=expected, got=got)

    def _shape(self, values: Sequence[object]) -> type[R]:
        shapes = self.record_type.shapes
        if self._discriminator is None:
            return shapes[None]
        value = values[self._discriminator]
        shape = shapes.get(value) if isinstance(value, StrEnum) else None
        if shape is None:
            expected = f"one of {', '.join(str(each) for each in shapes)}"
            raise self.error(values, self.record_type.discriminator or "", expected, value)
        return shape


def mapper(record_type: RecordType[R]) -> RecordMapper[R]:
    """Return the mapper of a record type."""
    found: RecordMapper[R] = _MAPPERS[record_type.name]
    return found


def record_type_of(record: AuditRecord) -> RecordType[AuditRecord]:
    """Return the type of a record."""
    return _TYPE_OF_SHAPE[type(record)]


def reshape(record: AuditRecord, shape: type[R], changes: Mapping[str, object]) -> R:
    """Return the record in another shape of its type.

    Fields come from `changes`, or else from the record. Raises AuditIntegrityError if a field is missing or does not
    belong to the shape.
    """
    fields = shape.__dataclass_fields__
    for name, value in changes.items():
        if name not in fields:
            convert = mapper(record_type_of(record))
            status = convert.record_type.discriminator
            values = list(convert.to_row(record).values())
            raise convert.error(values, name, f"nothing while {status} is {changes.get(status or '')}", value)
    arguments: dict[str, Any] = {name: changes.get(name, getattr(record, name, None)) for name in fields}
    return shape(**arguments)


_TYPE_OF_SHAPE: Mapping[type[AuditRecord], RecordType[AuditRecord]] = {
    shape: record_type for record_type in records.RECORD_TYPES.values() for shape in record_type.shapes.values()
}

_Convert = Callable[[object], object]


def _unchanged(value: object) -> object:
    return value


def _to_row(column: Column) -> _Convert:
    if column.enum is not None:
        return lambda value: value.value if isinstance(value, StrEnum) else value
    if column.kind is Kind.BOOLEAN:
        return lambda value: None if value is None else int(bool(value))
    return _unchanged


def _from_row(column: Column) -> _Convert:
    """Return the converter of a database value.

    It leaves a value that it cannot convert unchanged: the contract's check then names the problem.
    """
    if column.enum is not None:
        members: Mapping[object, object] = {member.value: member for member in column.enum}
        return lambda value: members.get(value, value)
    if column.kind is Kind.BOOLEAN:
        booleans: Mapping[object, object] = {0: False, 1: True}
        return lambda value: booleans.get(value, value)
    if column.kind is Kind.TIMESTAMP:
        return _utc
    if column.kind is Kind.REAL:
        return _real
    return _unchanged


def _real(value: object) -> object:
    """Return a number as a float, zero without sign.

    Canonical JSON writes -0.0 as 0 (RFC 8785, section 3.2.2.3).
    """
    return value + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _to_json(column: Column) -> _Convert:
    if column.kind is Kind.BOOLEAN:
        return lambda value: None if value is None else bool(value)
    if column.kind is Kind.TIMESTAMP:
        return _time_text
    return _unchanged


def _from_json(column: Column) -> _Convert:
    if column.enum is not None or column.kind is Kind.REAL:
        return _from_row(column)
    if column.kind is Kind.TIMESTAMP:
        return lambda value: _parsed(value) if isinstance(value, str) else value
    return _unchanged


def _parsed(text: str) -> object:
    """Return the time that `timestamp_text` wrote.

    Any other spelling stays text, which the contract refuses.
    """
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return moment if timestamp_text(moment) == text else text


def _utc(value: object) -> object:
    """Return a time in UTC; anything else unchanged.

    SQLite keeps text without a zone, which is UTC. PostgreSQL returns times in the session's zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            return value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return value


def _time_text(value: object) -> object:
    moment = _utc(value)
    return timestamp_text(moment) if isinstance(moment, datetime) else moment


_MAPPERS: Mapping[str, RecordMapper[Any]] = {
    record_type.name: RecordMapper(record_type) for record_type in records.RECORD_TYPES.values()
}
