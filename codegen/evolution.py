"""Rules for the steps between epochs, so that values survive."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from codegen.errors import suggestion
from codegen.validate import Fault
from elspeth.schema.snapshots import ColumnSnapshot, Snapshot, TableSnapshot
from elspeth.schema.steps import find_older_column, find_older_table

__all__ = ["faults_between"]


def faults_between(old: Snapshot, new: Snapshot, classes: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the faults of the step between two epochs.

    `classes` maps each table to its class.
    """
    before = {table.name: table for table in old.tables}
    sources = {table.name: find_older_table(table, old) for table in new.tables}
    yield from _renamed_tables(before, new, classes)
    yield from _dropped_tables(before, sources)
    for table in new.tables:
        source = sources[table.name]
        if source is not None:
            yield from _faults(source, table, classes.get(table.name, table.name), is_known=old.has_exports)


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
    """Describe what is wrong with renaming `source`, or return None.

    The old epoch must have the name, and the new one must not.
    """
    if source not in before:
        return f"renamed_from: {source} was not there{suggestion(source, before)}"
    return f"renamed_from: {source} is still there, so its values would be there twice" if source in kept else None


def _faults(source: TableSnapshot, table: TableSnapshot, name: str, *, is_known: bool) -> Iterator[Fault]:
    old = {column.name: column for column in source.columns}
    kept = {column.name for column in table.columns if column.renamed_from is None}
    used = {origin.name for column in table.columns if (origin := find_older_column(column, source)) is not None}
    for column in table.columns:
        problem = _rename_problem(column.renamed_from, old, kept) if column.renamed_from is not None else None
        if problem is not None:
            yield Fault(element=name, member=column.name, message=problem)
    for gone in (name for name in old if name not in used):
        message = "the column is gone, and its values with it; keep it, or give its new name's slot renamed_from"
        yield Fault(element=name, member=gone, message=message)
    for column in table.columns:
        origin = find_older_column(column, source)
        if column.backfill is None and not column.nullable and (origin is None or origin.nullable):
            message = "is required, but rows of older databases may have no value: give a backfill"
            yield Fault(element=name, member=column.name, message=message)
        if origin is not None and column.backfill is None:
            for message in _narrower(origin, column, is_known=is_known):
                yield Fault(element=name, member=column.name, message=message)


def _narrower(old: ColumnSnapshot, new: ColumnSnapshot, *, is_known: bool) -> Iterator[str]:
    """Yield how the column refuses values that were valid before.

    Without `is_known`, the valid values of the old epoch are unknown, and only the types are compared.
    """
    if not _widens(old.type, new.type):
        yield f"{new.type} cannot hold every value of {old.type}"
        return
    if not is_known:
        return
    if new.kind is not old.kind:
        yield f"{new.kind} cannot hold every value of {old.kind}"
    gone = [value for value in old.values if value not in new.values]
    if new.values and gone:
        yield f"{' and '.join(gone)} cannot be removed: records of older databases may have it"
    if new.values and not old.values:
        yield f"records of older databases may have other values than {', '.join(new.values)}"
    if new.minimum is not None and (old.minimum is None or old.minimum < new.minimum):
        yield f"records of older databases may have values below {new.minimum}"
    if new.maximum is not None and (old.maximum is None or old.maximum > new.maximum):
        yield f"records of older databases may have values above {new.maximum}"
    if new.pattern not in {None, old.pattern}:
        yield f"records of older databases may have values that do not match {new.pattern}"


_FAMILIES = {
    "varchar": "text", "text": "text", "string": "text",
    "integer": "integer", "bigint": "integer",
    "float": "real", "double": "real",
    "timestamp": "timestamp",
}  # fmt: skip


def _widens(old: str, new: str) -> bool:
    """Tell whether the new type holds all older values."""
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
