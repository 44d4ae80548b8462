"""Maps the values of old rows to records.

Values that records cannot hold become adopted values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.migration._old_rows import OldRow, OldTable, Plain, plain
from elspeth.core.landscape.records.mapping import RecordMapper, mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AdoptedValue, AuditRecord
from elspeth_schema.predecessor import COLUMNS, VALUES
from elspeth_schema.records import Column, RecordType
from elspeth_schema.tables import adopted_values_table

__all__ = ["Place", "merge_remainder", "remainder_of", "whole_row"]

_CONTENTS = frozenset(COLUMNS["adopted_values"]["contents_json"])
"""Columns of the predecessor (table.column) that hold contents of rows, in addition to those withheld today."""

_TOKEN_LENGTH = adopted_values_table.c.token_id.type.length  # type: ignore[attr-defined]  # of text


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Maps an old table's columns to a record type.

    `candidates` names, for each of today's columns, the old columns from which its value may come.
    """

    record_type: RecordType[AuditRecord]
    convert: RecordMapper[AuditRecord]
    candidates: Mapping[str, tuple[str, ...]]
    homes: Mapping[str, str] = field(init=False)
    """Today's column that may hold the value of an old column, by old column."""

    def __post_init__(self) -> None:
        homes = {old: ours for ours, names in self.candidates.items() for old in names}
        object.__setattr__(self, "homes", homes)

    @classmethod
    def of(cls, record_type: RecordType[AuditRecord], table: OldTable) -> Place:
        """Return the place of an old table."""
        renamed = COLUMNS.get(table.name, {})
        return cls(
            record_type=record_type,
            convert=mapper(record_type),
            candidates={
                column.name: tuple(n for n in renamed.get(column.name, (column.name,)) if n in table.columns)
                for column in record_type.columns
            },
        )

    def record_of(self, row: OldRow) -> AuditRecord | None:
        """Return a row's record, or None if refused."""
        values = [
            row.run_id if column.name == "run_id" else self._value(column, row.values)
            for column in self.record_type.columns
        ]
        while True:
            try:
                return self.convert.from_row(values)
            except AuditIntegrityError as error:
                # A word that today's schema lacks becomes an adopted value, if the record can do without it.
                position = self._unknown_word(error.field, values)
                if position is None:
                    return None
                values[position] = None

    def _unknown_word(self, name: str, values: Sequence[Plain]) -> int | None:
        for position, column in enumerate(self.record_type.columns):
            if column.name == name and column.enum is not None and values[position] is not None:
                return position
        return None

    def held(self, record: AuditRecord, old: str) -> Plain:
        """Return a record's value for an old column.

        Returns None if the column has no place.
        """
        home = self.homes.get(old)
        value = getattr(record, home, None) if home is not None else None
        return value.value if isinstance(value, StrEnum) else plain(value)

    def _value(self, column: Column, values: Mapping[str, Plain]) -> Plain:
        """Return the value of the first candidate that fits.

        Old words of an enumeration are translated into today's.
        """
        for name in self.candidates[column.name]:
            value = values[name]
            if column.enum is not None and isinstance(value, str):
                value = VALUES.get(column.enum.__name__, {}).get(value, value)
                if value not in {member.value for member in column.enum}:
                    continue
            if value is not None:
                return value
        names = self.candidates[column.name]
        return values[names[0]] if names else None


def remainder_of(table: OldTable, place: Place | None, row: OldRow, record: AuditRecord | None) -> AdoptedValue | None:
    """Return the values of a row that its record lacks.

    Returns None if the record holds everything unchanged.
    """
    if row.run_id is None:
        return None
    rest = {
        name: value
        for name, value in row.values.items()
        if value != (place.held(record, name) if place is not None and record is not None else None)
    }
    if record is None:
        rest = {**{name: row.values[name] for name in table.key}, **rest}
    if not rest:
        return None
    secret = _contents_of(table, place)
    contents = {name: value for name, value in rest.items() if name in secret}
    text = canonical_json(contents) if contents else None
    return AdoptedValue(
        run_id=row.run_id,
        source_key=table.key_of(row.values),
        source_table=table.name,
        token_id=_token_of(row),
        values_json=canonical_json({name: value for name, value in rest.items() if name not in secret}),
        contents_json=text,
        contents_hash=hashlib.sha256(text.encode()).hexdigest() if text is not None else None,
    )


def _token_of(row: OldRow) -> str | None:
    """Return the token that a row names.

    SQLite may hold any value there. One that cannot be the id of a token is kept only among the values.
    """
    token = row.values.get("token_id")
    return token if isinstance(token, str) and 0 < len(token) <= _TOKEN_LENGTH else None


def _contents_of(table: OldTable, place: Place | None) -> frozenset[str]:
    ours = place.record_type.columns if place is not None else ()
    withheld = {column.name for column in ours if column.withheld is not None}
    return frozenset(withheld.union(name for name in table.columns if f"{table.name}.{name}" in _CONTENTS))


def merge_remainder(value: AdoptedValue) -> dict[str, Plain]:
    """Return the columns in an adopted value."""
    merged: dict[str, Plain] = json.loads(value.values_json)
    if value.contents_json is not None:
        merged |= json.loads(value.contents_json)
    return merged


def whole_row(value: AdoptedValue, table: OldTable) -> Mapping[str, Plain] | None:
    """Return a row that did not become a record.

    Returns None if the adopted value holds only a part of a row.
    """
    values = merge_remainder(value)
    if not values.keys() >= set(table.key):
        return None
    return {name: values.get(name) for name in table.columns}
