"""Database rows of exported lines that are beyond doubt sound: the fast way of reading them.

A line is sound if it matches the generated pattern of its record type, which only canonical JSON of records that keep
the schema's rules does, and if what a pattern cannot judge is sound: floats in their one spelling, times that exist,
JSON inside texts. Every other line is looked at closely, through its contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from elspeth.core.landscape.lines.chunks import number_text, pattern_of
from elspeth.core.landscape.lines.rendering import floats_of
from elspeth_schema.records import RECORD_TYPES, Kind

__all__ = ["sound_row"]

Row = dict[str, object]


def sound_row(record: Mapping[str, object], line: bytes) -> Row | None:
    """The row of a record, with the values that its table takes; None if its line must be looked at closely."""
    name = record.get("record_type")
    if not isinstance(name, str) or name not in RECORD_TYPES:
        return None
    return _reader(name)(record, line)


@cache
def _reader(name: str) -> Callable[[Mapping[str, object], bytes], Row | None]:
    """Reads records of one type."""
    record_type, matches = RECORD_TYPES[name], pattern_of(name).fullmatch
    converted = [(each.name, _CONVERSIONS[each.kind]) for each in record_type.columns if each.kind in _CONVERSIONS]
    withheld = dict.fromkeys(column.name for column in record_type.columns if column.withheld is not None)
    floats = floats_of(record_type)

    def read(record: Mapping[str, object], line: bytes) -> Row | None:
        if matches(line + b"\n") is None:
            return None
        row: Row = {**record, **withheld}
        del row["record_type"]
        try:
            for column, convert in converted:
                value = row[column]
                if value is not None:
                    row[column] = convert(value)
        except ValueError:
            return None
        return row if all(_is_spelled(column, row[column], line) for column in floats) else None

    return read


def _json(value: str) -> str:
    orjson.loads(value)
    return value


_CONVERSIONS: Mapping[Kind, Callable[[Any], object]] = {
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.REAL: float,
    Kind.BOOLEAN: int,
    Kind.JSON: _json,
}
"""What makes a database value of a value that has the right type; ValueError if there is none."""


def _is_spelled(column: str, value: object, line: bytes) -> bool:
    """Whether the line has the float in its one spelling."""
    if value is None:
        return True
    # No text contains this: inside a text its quotes would be escaped.
    _, _, rest = line.partition(f'"{column}":{number_text(value)}'.encode())
    return rest[:1] in (b",", b"}")
