"""Steps from one epoch to the next.

A step tells which tables are created, which are rebuilt, and where each value comes from.

A changed table is built beside the old one, filled from it, and takes its place. That is the only kind of step, on both
databases, so a migrated database cannot differ from a fresh one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from elspeth.schema.snapshots import ColumnSnapshot, Kind, Snapshot, TableSnapshot

__all__ = ["Copy", "Step", "find_older_column", "find_older_table", "step_between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How a rebuilt table is filled from the old one.

    `expressions` holds (column, SQL expression); an expression reads the old table under the name `old`. `kept` are the
    columns whose values are the same before and after, as (old name, new name).
    """

    table: str
    source: str
    expressions: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The step into an epoch.

    `created` names the new tables, `copies` those that are rebuilt, both in creation order.
    """

    created: tuple[str, ...]
    copies: tuple[Copy, ...]


def step_between(old: Snapshot | None, new: Snapshot) -> Step:
    """Return the step from `old` to `new`.

    Without `old` it is the step from an empty database.
    """
    sources = {table.name: find_older_table(table, old) for table in new.tables}
    rebuilt = _rebuilt(new, sources)
    return Step(
        created=tuple(table.name for table in new.tables if sources[table.name] is None),
        copies=tuple(
            _copy(source, table)
            for table in new.tables
            if table.name in rebuilt and (source := sources[table.name]) is not None
        ),
    )


def find_older_table(table: TableSnapshot, old: Snapshot | None) -> TableSnapshot | None:
    """Return the table in the older epoch, or None.

    It may have had another name.
    """
    name = table.renamed_from or table.name
    return next((each for each in old.tables if each.name == name), None) if old is not None else None


def find_older_column(column: ColumnSnapshot, source: TableSnapshot) -> ColumnSnapshot | None:
    """Return the column in the older table, or None.

    It may have had another name.
    """
    name = column.renamed_from or column.name
    return next((each for each in source.columns if each.name == name), None)


def _rebuilt(new: Snapshot, sources: Mapping[str, TableSnapshot | None]) -> set[str]:
    """Return the names of the tables to rebuild.

    These are the tables that changed or get values, and the tables that refer to one of them. Their references must
    lead to the new table.
    """
    rebuilt = {
        table.name
        for table in new.tables
        if (source := sources[table.name]) is not None
        and (_bare(source) != _bare(table) or any(column.backfill is not None for column in table.columns))
    }
    while more := {
        table.name
        for table in new.tables
        if sources[table.name] is not None
        and table.name not in rebuilt
        and any(key.table in rebuilt for key in table.foreign_keys)
    }:
        rebuilt |= more
    return rebuilt


def _bare(table: TableSnapshot) -> TableSnapshot:
    """Return the table without what its database does not store.

    Only migrations, triggers and exports read the rest.
    """
    columns = tuple(
        ColumnSnapshot(name=column.name, type=column.type, nullable=column.nullable, kind=Kind.TEXT)
        for column in table.columns
    )
    return replace(
        table, record_type=None, columns=columns, lifecycle=None, export_order=(), renamed_from=None, releases=()
    )


def _copy(source: TableSnapshot, table: TableSnapshot) -> Copy:
    expressions, kept = [], []
    for column in table.columns:
        origin = find_older_column(column, source)
        if column.backfill is not None:
            expressions.append((column.name, column.backfill))
        elif origin is not None:
            expressions.append((column.name, f"old.{origin.name}"))
            kept.append((origin.name, column.name))
        else:
            expressions.append((column.name, "NULL"))
    return Copy(table=table.name, source=source.name, expressions=tuple(expressions), kept=tuple(kept))
