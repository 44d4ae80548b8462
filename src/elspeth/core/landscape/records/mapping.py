"""Converts records between table rows, contracts and exports.

A row holds database values in column order, a contract holds Python values by field, and an exported record holds JSON
values by column name. Generated code converts records, with one expression per column; this module makes the errors for
values that fit no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Select, String, select, type_coerce

from elspeth.core.canonical import timestamp_text
from elspeth.schema import stored
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.conversions import CONVERSIONS, ROWS
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
        self._straight = CONVERSIONS[record_type.name]
        self._from_row = tuple(_from_row(column) for column in record_type.columns)
        self._from_json = tuple(_from_json(column) for column in record_type.columns)
        self._all = tuple(
            (position, column.name, _to_json(column)) for position, column in enumerate(record_type.columns)
        )
        self._exported = tuple(each for each in self._all if record_type.columns[each[0]].withheld is None)
        self._required = frozenset(name for _, name, _ in self._exported)

    def select(self) -> Select[*tuple[Any, ...]]:
        """Return a query for rows.

        Times are selected as the database stores them, because SQLAlchemy would fail on a text that is not a time.
        """
        columns = zip(self.record_type.columns, self.record_type.table.columns, strict=True)
        return select(*(type_coerce(each, String) if kept.kind is Kind.TIMESTAMP else each for kept, each in columns))

    def to_row(self, record: R) -> dict[str, object]:
        """Return a record's database values by column name.

        Columns that the record's shape does not have are None.
        """
        return dict(zip(self._names, ROWS[type(record)](record, _unchanged), strict=True))

    def named(self, row: Sequence[object]) -> dict[str, object]:
        """Return a row by column name, with times as datetime."""
        return self.to_row(self.from_row(row))

    def from_row(self, row: Sequence[object]) -> R:
        """Return the contract of a row in column order.

        Raises AuditIntegrityError if the row breaks the schema.
        """
        found = self._straight.from_row(tuple(row))
        if found is not None:
            return cast("R", found)
        raise self._misfit([convert(value) for convert, value in zip(self._from_row, row, strict=True)])

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
        row = tuple(record.get(name) for name in self._names)
        found = self._straight.from_json(row)
        if found is not None:
            return cast("R", found)
        raise self._misfit([convert(value) for convert, value in zip(self._from_json, row, strict=True)])

    def _misfit(self, values: Sequence[object]) -> AuditIntegrityError:
        """Return the error for values that fit no shape."""
        status, shapes = values[self._discriminator or 0], self.record_type.shapes
        shape = shapes.get(status) if isinstance(status, StrEnum) else None
        name = self.record_type.discriminator or ""
        if shape is None:
            return self.error(values, name, f"one of {', '.join(str(each) for each in shapes)}", status)
        fields = shape.__dataclass_fields__
        own = (each for each in zip(self._names, values, strict=True) if each[0] not in fields and each[1] is not None)
        field, value = next(own)
        return self.error(values, field, f"nothing while {name} is {status}", value)

    def to_record(self, row: Sequence[object], *, withheld: bool = False) -> dict[str, object]:
        """Return the exported form of a row.

        `record_type` comes first, then every exported column; `withheld` adds the columns that exports leave out.
        """
        record: dict[str, object] = {"record_type": self.record_type.name}
        for position, name, convert in self._all if withheld else self._exported:
            record[name] = convert(row[position])
        return record

    def error(self, row: Sequence[object], field: str, expected: str, got: object) -> AuditIntegrityError:
        """Return the error for one field of a row."""
        key = {self._names[position]: row[position] for position in self._key}
        return AuditIntegrityError(table=self.record_type.table.name, key=key, field=field, expected=expected, got=got)


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


def _from_row(column: Column) -> _Convert:
    if column.kind is Kind.BOOLEAN:
        return stored.boolean
    return stored.time if column.kind is Kind.TIMESTAMP else _from_json(column)


def _from_json(column: Column) -> _Convert:
    if column.enum is not None:
        members: Mapping[object, object] = {member.value: member for member in column.enum}
        return lambda value: members.get(value, value)
    return {Kind.REAL: stored.real, Kind.TIMESTAMP: stored.exported_time}.get(column.kind, _unchanged)


def _to_json(column: Column) -> _Convert:
    if column.kind is Kind.BOOLEAN:
        return lambda value: None if value is None else bool(value)
    if column.kind is Kind.TIMESTAMP:
        return _time_text
    return _unchanged


def _time_text(value: object) -> object:
    moment = stored.time(value)
    return timestamp_text(moment) if isinstance(moment, datetime) else moment


_MAPPERS: Mapping[str, RecordMapper[Any]] = {
    record_type.name: RecordMapper(record_type) for record_type in records.RECORD_TYPES.values()
}
