"""Exports as a directory of CSV files (RFC 4180), for spreadsheets. Not lossless: null and empty text look the same."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.export.forms import MANIFEST_FILE, ExportGroups, manifest_file
from elspeth.core.landscape.export.signing import MANIFEST

__all__ = ["write_csv"]


def write_csv(directory: Path, groups: ExportGroups) -> int:
    """Write a file for each record type and the manifest; returns the number of records before the manifest.

    The header holds the column names. Text stands as it is, null is an empty field, numbers and booleans are JSON.
    """
    total = 0
    for name, records in groups:
        if name == MANIFEST:
            (directory / MANIFEST_FILE).write_bytes(manifest_file(next(records)))
        else:
            total += _write_file(directory / f"{name}.csv", records)
    return total


def _write_file(path: Path, records: Iterator[Mapping[str, object]]) -> int:
    total = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for record in records:
            columns = {column: value for column, value in record.items() if column != "record_type"}
            if not total:
                writer.writerow(columns)
            writer.writerow(map(_field, columns.values()))
            total += 1
    return total


def _field(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else canonical_json(value)
