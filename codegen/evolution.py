"""From one snapshot to the next: which tables are made, which are made anew, and where each value comes from.

A changed table is built beside the old one, filled from it, and takes its place. That is the only kind of step, on both
databases, so a migrated database cannot differ from a fresh one. It may only keep or add: what would lose a value or
invent one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from codegen.errors import suggestion
from codegen.validate import Fault
from elspeth.schema.snapshots import ColumnSnapshot, Kind, Snapshot, TableSnapshot

__all__ = ["Copy", "Evolution", "evolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How a table is filled: for each new column an SQL expression over the old table, called `old`."""

    table: str
    source: str
    expressions: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...]
    """Columns whose values are the same before and after, as (old name, new name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """The steps into an epoch; both lists in creation order."""

    created: tuple[str, ...]
    copies: tuple[Copy, ...]
    faults: tuple[Fault, ...]


def evolve(old: Snapshot | None, new: Snapshot, classes: Mapping[str, str]) -> Evolution:
    """The steps from `old` (nothing, for the first epoch) to `new`; `classes` names the class of each table."""
    before = {table.name: table for table in old.tables} if old is not None else {}
    sources = {table.name: before.get(table.renamed_from or table.name) for table in new.tables}
    faults = [*_renamed_tables(before, new, classes), *_dropped_tables(before, sources)]
    copies = []
    rebuilt = _rebuilt(new, sources)
    for table in new.tables:
        source = sources[table.name]
        if source is not None and table.name in rebuilt:
            faults += _faults(source, table, classes.get(table.name, table.name))
            copies.append(_copy(source, table))
    created = tuple(table.name for table in new.tables if sources[table.name] is None)
    return Evolution(created=created, copies=tuple(copies), faults=tuple(faults))


def _rebuilt(new: Snapshot, sources: Mapping[str, TableSnapshot | None]) -> set[str]:
    """The tables that changed, and those that refer to one of them: their references must lead to the new table."""
    rebuilt = {
        table.name
        for table in new.tables
        if (source := sources[table.name]) is not None and _bare(source) != _bare(table)
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
    """Return the table as a database keeps it: without what only migrations, triggers and exports read."""
    columns = tuple(
        replace(column, kind=Kind.TEXT, withheld=False, backfill=None, renamed_from=None) for column in table.columns
    )
    return replace(table, record_type=None, columns=columns, lifecycle=None, export_order=(), renamed_from=None)


def _source_of(column: ColumnSnapshot, old: Mapping[str, ColumnSnapshot]) -> ColumnSnapshot | None:
    return old.get(column.renamed_from or column.name)


def _copy(source: TableSnapshot, table: TableSnapshot) -> Copy:
    old = {column.name: column for column in source.columns}
    expressions, kept = [], []
    for column in table.columns:
        origin = _source_of(column, old)
        if column.backfill is not None:
            expressions.append((column.name, column.backfill))
        elif origin is not None:
            expressions.append((column.name, f"old.{origin.name}"))
            kept.append((origin.name, column.name))
        else:
            expressions.append((column.name, "NULL"))
    return Copy(table=table.name, source=source.name, expressions=tuple(expressions), kept=tuple(kept))


def _dropped_tables(
    before: Mapping[str, TableSnapshot], sources: Mapping[str, TableSnapshot | None]
) -> Iterator[Fault]:
    used = {source.name for source in sources.values() if source is not None}
    for name in before:
        if name not in used:
            message = "the table is gone, and its records with it; keep it, or give its new name's class renamed_from"
            yield Fault(element=name, member=None, message=message)


def _renamed_tables(before: Mapping[str, TableSnapshot], new: Snapshot, classes: Mapping[str, str]) -> Iterator[Fault]:
    kept = {table.name for table in new.tables if table.renamed_from is None}
    for table in new.tables:
        if table.renamed_from is not None:
            problem = _rename_problem(table.renamed_from, before, kept)
            if problem is not None:
                yield Fault(element=classes.get(table.name, table.name), member=None, message=problem)


def _rename_problem(source: str, before: Collection[str], kept: Collection[str]) -> str | None:
    """What is wrong with a new name for `source`, which must have been there before, and be gone now."""
    if source not in before:
        return f"renamed_from: {source} was not there{suggestion(source, before)}"
    return f"renamed_from: {source} is still there, so its values would be there twice" if source in kept else None


def _faults(source: TableSnapshot, table: TableSnapshot, name: str) -> Iterator[Fault]:
    old = {column.name: column for column in source.columns}
    kept = {column.name for column in table.columns if column.renamed_from is None}
    used = {origin.name for column in table.columns if (origin := _source_of(column, old)) is not None}
    for column in table.columns:
        problem = _rename_problem(column.renamed_from, old, kept) if column.renamed_from is not None else None
        if problem is not None:
            yield Fault(element=name, member=column.name, message=problem)
    for gone in (name for name in old if name not in used):
        message = "the column is gone, and its values with it; keep it, or give its new name's slot renamed_from"
        yield Fault(element=name, member=gone, message=message)
    for column in table.columns:
        origin = _source_of(column, old)
        if column.backfill is None and not column.nullable and (origin is None or origin.nullable):
            message = "is required, but rows of older databases may have no value: give a backfill"
            yield Fault(element=name, member=column.name, message=message)
        if origin is not None and column.backfill is None and not _widens(origin.type, column.type):
            message = f"{column.type} cannot hold every value of {origin.type}"
            yield Fault(element=name, member=column.name, message=message)


_FAMILIES = {
    "varchar": "text", "text": "text", "string": "text",
    "integer": "integer", "bigint": "integer",
    "float": "real", "double": "real",
    "timestamp": "timestamp",
}  # fmt: skip


def _widens(old: str, new: str) -> bool:
    """Whether every value of the old type is a value of the new one."""
    old_name, old_length = _parts(old)
    new_name, new_length = _parts(new)
    if _FAMILIES[old_name] != _FAMILIES[new_name]:
        return False
    if (old_name, new_name) in {("bigint", "integer"), ("double", "float")}:
        return False
    return new_length is None or (old_length is not None and old_length <= new_length)


def _parts(word: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"([a-z]+)(?:\((\d+)\))?", word)
    if match is None:
        message = f"type {word!r}: expected a word of the snapshots"
        raise ValueError(message)
    return match[1], int(match[2]) if match[2] else None
