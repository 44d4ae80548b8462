"""The records of each epoch's exports, and their rules.

Each record of an export is checked for these rules:

1. Its type is known, and it is flat.
2. Its type does not precede that of the record before it in export order.
3. It keeps the rules of its epoch: those of today's schema, or those of an older snapshot for its columns.
4. Its key is greater than that of the previous record of its type: none is repeated or out of place.
5. Either all records have the fields that may be withheld, or none has them.

`elspeth.evidence` checks the rules for exports of any schema: one run, signatures, hash and manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from typing import NamedTuple, cast

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database.tables import load_snapshot
from elspeth.core.landscape.records.mapping import mapper
from elspeth.evidence.format.canonical import shown_json
from elspeth.schema.checks import (
    BOOLEAN,
    JSON,
    TIMESTAMP,
    Acceptor,
    AuditIntegrityError,
    integer,
    optional,
    real,
    text,
)
from elspeth.schema.snapshots import ColumnSnapshot, Kind, TableSnapshot
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.conversions import Row
from elspeth_schema.records import RECORD_TYPES

__all__ = [
    "FIRST_EXPORTED",
    "BrokenRuleError",
    "Checked",
    "ColumnForm",
    "RecordForm",
    "SchemaRules",
    "UnfitRecordError",
    "load_forms",
    "withheld_columns",
]

_Key = tuple[str | int, ...]

FIRST_EXPORTED = 5
"""The first epoch that has exports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnForm:
    """A column: the form of its values, and their check."""

    name: str
    kind: Kind
    nullable: bool
    withheld: bool
    acceptor: Acceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordForm:
    """The records of one type in one epoch's exports.

    `order` names the columns by which records are sorted, and `key_of` returns their values. `withheld` names the
    columns that an export leaves out by default.
    """

    name: str
    table: str
    columns: tuple[ColumnForm, ...]
    order: tuple[str, ...]
    key_of: Callable[[Mapping[str, object]], tuple[object, ...]]
    withheld: frozenset[str]

    def row(self, record: Mapping[str, object]) -> Row:
        """Return the values of a record in column order.

        Withheld columns are null. Raises ValueError for a record that its epoch's columns cannot hold. Types, lengths
        and nulls are checked here; conditions, keys and references are checked by the database.
        """
        known = {column.name for column in self.columns}
        for name in sorted(record.keys() - known - {"record_type", "signature"}):
            raise ValueError(f"{name}: expected a field of this record type, got an unknown field")
        return tuple(_database_value(column, record) for column in self.columns)


@cache
def load_forms(epoch: int) -> Mapping[str, RecordForm]:
    """Return the record types of an epoch in export order.

    Raises LandscapeError for an epoch that this version does not know.
    """
    return {table.record_type: _form(table) for table in load_snapshot(epoch).tables if table.record_type is not None}


def withheld_columns(epoch: int = EPOCH) -> list[str]:
    """Return the columns that an epoch's exports leave out.

    The names are `record_type.column`, in export order.
    """
    return [
        f"{form.name}.{column.name}"
        for form in load_forms(epoch).values()
        for column in form.columns
        if column.withheld
    ]


class BrokenRuleError(Exception):
    """A record breaks a rule: what was expected, and found."""


class UnfitRecordError(BrokenRuleError):
    """A record does not fit the assumed epoch."""


class Checked(NamedTuple):
    """A checked record: its type, and its contract or row.

    A record of an older epoch has a row instead of a contract. A record that was known to be sound has neither.
    """

    record_type: str
    contract: AuditRecord | None
    row: Row | None


class SchemaRules:
    """The rules of an epoch, for one export."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._forms = load_forms(epoch)
        self._positions = {name: position for position, name in enumerate(self._forms)}
        self._form: RecordForm | None = None
        self._last_key: _Key = ()
        self._include_payloads: bool | None = None

    def check(self, record: Mapping[str, object], *, sound: bool = False) -> Checked:
        """Check the next record, and return it checked.

        `sound` says that the record is known to keep the schema's rules. Raises BrokenRuleError if it breaks one.
        """
        form = self._known(record)
        if not sound:
            _check_flat(record)
        self._check_type_order(form)
        contract, row = (None, None) if sound else self._check_contract(form, record)
        self._check_key(form, record)
        self._check_withheld(form, record)
        self._form = form
        return Checked(form.name, contract, row)

    def manifest_fields(self, manifest: Mapping[str, object]) -> dict[str, int | list[str]]:
        """Return the expected values of the manifest's schema fields."""
        include = manifest.get("withheld") == [] if self._include_payloads is None else self._include_payloads
        return {"epoch": self._epoch, "withheld": [] if include else withheld_columns(self._epoch)}

    def _known(self, record: Mapping[str, object]) -> RecordForm:
        name = record.get("record_type")
        found = self._forms.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnfitRecordError(f"record_type: expected one of {', '.join(self._forms)}, got {shown_json(name)}")
        return found

    def _check_contract(self, form: RecordForm, record: Mapping[str, object]) -> tuple[AuditRecord | None, Row | None]:
        try:
            if self._epoch == EPOCH:
                return mapper(RECORD_TYPES[form.name]).from_record(record), None
            return None, form.row(record)
        except (AuditIntegrityError, ValueError) as error:
            raise UnfitRecordError(str(error)) from error

    def _check_type_order(self, form: RecordForm) -> None:
        if self._form is not None and self._positions[form.name] < self._positions[self._form.name]:
            expected = f"a record of type {self._form.name} or a later one"
            raise BrokenRuleError(f"expected {expected}, got one of type {form.name}")

    def _check_key(self, form: RecordForm, record: Mapping[str, object]) -> None:
        # The contract has checked the types. Python and both databases order text by code point.
        key = cast("_Key", form.key_of(record))
        if form is self._form and not self._last_key < key:
            names = ", ".join(form.order[1:] or form.order)
            last, this = (" ".join(map(repr, each[1:] or each)) for each in (self._last_key, key))
            raise BrokenRuleError(f"{names}: expected a value after {last}, got {this}: repeated, or out of order")
        self._last_key = key

    def _check_withheld(self, form: RecordForm, record: Mapping[str, object]) -> None:
        withheld = form.withheld
        if not withheld:
            return
        present = withheld & record.keys()
        include = bool(present) if self._include_payloads is None else self._include_payloads
        if present != (withheld if include else frozenset()):
            expected = "as every record here has it" if include else "in none of the records"
            name = min(present ^ withheld) if include else min(present)
            raise BrokenRuleError(f"{name}: expected {expected}, got {'no such field' if include else 'a value'}")
        self._include_payloads = include


def _form(table: TableSnapshot) -> RecordForm:
    return RecordForm(
        name=str(table.record_type),
        table=table.name,
        columns=tuple(_column(column) for column in table.columns),
        order=table.export_order,
        key_of=_key_of(*table.export_order),
        withheld=frozenset(column.name for column in table.columns if column.withheld),
    )


def _key_of(first: str, *others: str) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    return itemgetter(first, *others) if others else lambda record: (record[first],)


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
    """Return the time of a timestamp's text.

    Any spelling other than that of `timestamp_text` stays text, which is then refused.
    """
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return value
    return moment if timestamp_text(moment) == value else value


def _check_flat(record: Mapping[str, object]) -> None:
    for name, value in record.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "an array"
            raise BrokenRuleError(f"{name}: expected text, a number, a boolean or null, got {kind}")
