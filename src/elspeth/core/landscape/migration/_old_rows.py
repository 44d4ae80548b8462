"""Reads rows of the predecessor's databases as plain values."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from elspeth.core.canonical import canonical_json, timestamp_text
from elspeth.schema.snapshots import TableSnapshot

__all__ = ["OldRow", "OldTable", "Plain", "old_tables", "plain"]

Plain = str | int | float | None | dict[str, str]
"""A value of JSON. A value that JSON lacks is an object with its type and its text."""

_FETCH = 1000
"""The number of rows fetched at a time, which limits memory."""

_LARGEST = 2**53 - 1
"""The largest integer that canonical JSON writes as a number (RFC 8785, section 3.2.2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRow:
    """A row, with the run that it belongs to."""

    run_id: str | None
    values: Mapping[str, Plain]


class OldTable:
    """A table of the predecessor, with its rows' runs."""

    def __init__(self, table: TableSnapshot, run: str | None) -> None:
        self.name = table.name
        self.columns = tuple(column.name for column in table.columns)
        self.key = table.primary_key.columns if table.primary_key is not None else self.columns
        self._times = frozenset(column.name for column in table.columns if column.type == "timestamp")
        names = ", ".join(f'old."{name}"' for name in self.columns)
        # SQLite does not enforce references: a row may name a run that was deleted.
        self._run = f"(SELECT run.run_id FROM runs AS run WHERE run.run_id = {run})" if run else "NULL"  # noqa: S608
        self._statement = f'SELECT {self._run}, {names} FROM "{table.name}" AS old'  # noqa: S608 - our own names

    def rows(self, connection: Connection) -> Iterator[OldRow]:
        """Yield all rows, in no particular order."""
        return self._read(connection, self._statement)

    def rows_of_no_run(self, connection: Connection) -> Iterator[OldRow]:
        """Yield the rows that belong to no run."""
        return self._read(connection, f"{self._statement} WHERE {self._run} IS NULL")

    def _read(self, connection: Connection, statement: str) -> Iterator[OldRow]:
        found = connection.exec_driver_sql(statement, execution_options={"yield_per": _FETCH})
        for run_id, *values in found:
            named = zip(self.columns, values, strict=True)
            yield OldRow(
                run_id=run_id, values={name: plain(value, is_time=name in self._times) for name, value in named}
            )

    def key_of(self, values: Mapping[str, Plain]) -> str:
        """Return the key of a row as a JSON array."""
        return canonical_json([values[name] for name in self.key])

    def count(self, connection: Connection) -> int:
        """Return the number of rows."""
        statement = f'SELECT COUNT(*) FROM "{self.name}"'  # noqa: S608 - our own names
        return int(connection.exec_driver_sql(statement).scalar_one())


def old_tables(tables: Sequence[TableSnapshot]) -> dict[str, OldTable]:
    """Return the tables by name."""
    by_name = {table.name: table for table in tables}
    return {table.name: OldTable(table, _run_of(table, "old", by_name, ())) for table in tables}


def _run_of(table: TableSnapshot, alias: str, tables: Mapping[str, TableSnapshot], via: tuple[str, ...]) -> str | None:
    """Return an SQL expression for the run of a row.

    Returns None if no reference leads from the table to runs. Until July 2026, the rows of some tables named their run
    only by way of the rows to which they refer.
    """
    if any(column.name == "run_id" for column in table.columns):
        return f"{alias}.run_id"
    found = []
    for key in table.foreign_keys:
        if key.table == "runs":
            return f"{alias}.{key.columns[0]}"
        if key.table in via or key.table == table.name or key.table not in tables:
            continue
        parent = f"p{len(via)}"
        run = _run_of(tables[key.table], parent, tables, (*via, table.name))
        if run is not None:
            pairs = zip(key.target_columns, key.columns, strict=True)
            condition = " AND ".join(f"{parent}.{target} = {alias}.{column}" for target, column in pairs)
            found.append(f"(SELECT {run} FROM {key.table} AS {parent} WHERE {condition})")  # noqa: S608 - our own names
    if len(found) > 1:
        return f"COALESCE({', '.join(found)})"
    return found[0] if found else None


def plain(value: object, *, is_time: bool = False) -> Plain:
    """Return the value as a value of JSON.

    Times become ISO 8601 in UTC, booleans become 0 and 1.
    """
    if is_time and isinstance(value, str):
        value = _parsed(value)
    match value:
        case None | str():
            return value
        case bool():
            return int(value)
        case int() if abs(value) <= _LARGEST:
            return value
        case float() if math.isfinite(value):
            return value
        case datetime():
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return timestamp_text(moment)
        case bytes() | memoryview():
            return {"type": "bytes", "base64": base64.b64encode(bytes(value)).decode("ascii")}
        case _:
            return {"type": type(value).__name__, "text": str(value)}


def _parsed(text: str) -> object:
    """Return the time in a text, or the text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    # Only SQLAlchemy's spellings are parsed as times. Any other is kept as it is, so that it can be restored.
    spellings = (str(moment), moment.isoformat(sep=" ", timespec="microseconds"))
    return moment if moment.tzinfo is None and text in spellings else text
