"""Rows of a database as found, as CSV (RFC 4180).

Text is always quoted, and nothing else is: null is an empty field, numbers and booleans are written as in JSON, and
values that JSON lacks are `NAME:VALUE`, as in `blob:AAEC`. In a signed export, the last column holds the signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.exporting._csv_form import CSV_FIELD, read_row_texts
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.found.lines import FoundExport
from elspeth.core.landscape.exporting.found.source import FoundTable
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.found import Column

__all__ = ["read_csv_rows", "write_csv_rows"]

_SIGNATURE = "signature"

_END = "\r\n"


def write_csv_rows(path: Path, export: FoundExport, table: FoundTable) -> None:
    """Write a header of column names, and the rows."""
    names = [column.name for column in table.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_row([*names, _SIGNATURE] if export.is_signed else names))
        for record, _ in export.rows(table):
            fields = [record["values"][name] for name in names]
            file.write(_row([*fields, record[_SIGNATURE]] if export.is_signed else fields))


def read_csv_rows(
    path: Path, file: str, columns: Sequence[Column], *, is_signed: bool
) -> Iterator[tuple[Sequence[Json], str | None]]:
    """Yield the values of each row, and its signature.

    Raises ExportError for a file that `write_csv_rows` would not write.
    """
    header = [column.name for column in columns] + ([_SIGNATURE] if is_signed else [])
    try:
        with (path / file).open(encoding="utf-8", newline="\n") as opened:
            texts = read_row_texts(path, file, opened)
            if next(texts, None) != _row(header):
                raise ExportError(path, file, f"expected the header {_row(header)[:200]!r}, got another")
            for number, text in enumerate(texts, start=1):
                where = f"{file}, row {number}"
                values = _values(path, where, text) if header else []
                if len(values) != len(header) or _row(values) != text:
                    raise ExportError(path, where, f"expected {len(header)} fields as they are exported, got others")
                signature = values.pop() if is_signed else None
                yield values, signature if isinstance(signature, str) else None
    except UnicodeDecodeError as error:
        raise ExportError(path, file, f"expected a CSV file in UTF-8: {error}") from error


def _row(values: Sequence[Json]) -> str:
    return ",".join(map(_field, values)) + _END


def _field(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        doubled = value.replace('"', '""')
        return f'"{doubled}"'
    if isinstance(value, Mapping):
        ((name, text),) = value.items()
        return f"{name}:{text}"
    return canonical_json(value)


def _values(path: Path, where: str, text: str) -> list[Json]:
    values: list[Json] = []
    place, end = 0, ","
    while end == ",":
        found = CSV_FIELD.match(text, place)
        if found is None:
            raise ExportError(path, where, f"expected fields as RFC 4180 has them, got {text[place : place + 30]!r}")
        quoted, plain, end = found.groups()
        values.append(_plain(path, where, plain) if quoted is None else quoted.replace('""', '"'))
        place = found.end()
    return values


def _plain(path: Path, where: str, text: str) -> Json:
    """Return the value of a field without quotes."""
    if not text:
        return None
    name, colon, rest = text.partition(":")
    if colon:
        return {name: rest}
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, bool | int | float):
        raise ExportError(path, where, f"expected a number, true, false or NAME:VALUE, got {text[:30]!r}")
    return value
