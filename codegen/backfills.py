"""Backfills: SQLite reads each expression before it is released."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing

from codegen.validate import Fault
from elspeth.schema.snapshots import Snapshot
from elspeth.schema.steps import find_older_table

__all__ = ["faults_of_backfills"]


def faults_of_backfills(old: Snapshot, new: Snapshot, classes: Mapping[str, str]) -> Iterator[Fault]:
    """Yield each backfill of `new` that SQLite cannot read.

    The expressions are read over the tables of `old`. `classes` maps tables to their classes.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in old.tables:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            connection.execute(f'CREATE TABLE "{table.name}" ({columns})')
        for table in new.tables:
            source = find_older_table(table, old)
            for column in table.columns if source is not None else ():
                if source is not None and column.backfill is not None:
                    problem = _problem(connection, column.backfill, source.name)
                    if problem is not None:
                        message = f"backfill: {column.backfill!r} is not an expression over the old row: {problem}"
                        yield Fault(element=classes.get(table.name, table.name), member=column.name, message=message)


def _problem(connection: sqlite3.Connection, expression: str, source: str) -> str | None:
    try:
        connection.execute(f'EXPLAIN SELECT ({expression}) FROM "{source}" AS old')  # noqa: S608 - the schema's own
    except (sqlite3.Error, sqlite3.Warning) as error:
        return str(error)
    return None
