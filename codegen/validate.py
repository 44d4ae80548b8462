"""The rules that a whole model must keep before anything is rendered from it."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codegen.model import Lifecycle, Model, Storage, Table

__all__ = ["Fault", "faults_of"]

_MAX_NAME = 63
"""Longest identifier that PostgreSQL keeps whole (NAMEDATALEN - 1)."""

_RESERVED_COLUMNS = frozenset({"record_type", "signature"})
"""Keys that an export adds to a record, beside its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A broken rule; the caller adds the file."""

    element: str
    member: str | None
    message: str


def faults_of(model: Model) -> Iterator[Fault]:
    """Each rule that the model breaks, in schema order."""
    earlier: dict[str, Table] = {}
    types: set[str] = set()
    for table in model.tables:
        if table.record_type in types:
            yield _fault(table, None, f"record type {table.record_type!r} is already taken")
        types.add(table.record_type)
        for rule in _TABLE_RULES:
            yield from rule(table)
        yield from _foreign_key_faults(table, earlier | {table.name: table})
        earlier[table.name] = table


def _fault(table: Table, member: str | None, message: str) -> Fault:
    return Fault(element=table.class_name, member=member, message=message)


def _column_faults(table: Table) -> Iterator[Fault]:
    for column in table.columns:
        if not column.name.isidentifier() or keyword.iskeyword(column.name) or column.name in _RESERVED_COLUMNS:
            yield _fault(table, column.name, "is not usable as a column name")
        if column.withheld is not None and not column.nullable:
            yield _fault(
                table, column.name, "is withheld from exports, so it must be optional: an import cannot fill it"
            )
        if column.pattern is not None and column.storage is not Storage.TEXT:
            yield _fault(table, column.name, "has a pattern but does not hold text")


def _key_faults(table: Table) -> Iterator[Fault]:
    names = {column.name for column in table.columns}
    uses = [("primary key", table.primary_key), ("export order", table.export_order)]
    uses += [(f"unique {unique.name}", unique.columns) for unique in table.uniques]
    uses += [(f"index {index.name}", index.columns) for index in table.indexes]
    uses += [(f"foreign key {key.name}", key.columns) for key in table.foreign_keys]
    uses += [(f"rule {rule.title}", rule.columns) for rule in table.exactly_one]
    uses += [(f"variant {variant.class_name}", variant.required + variant.absent) for variant in table.variants]
    for use, columns in uses:
        for column in columns:
            if column not in names:
                yield _fault(table, column, f"{use}: the table has no such column")
    for name in table.primary_key:
        if name in names and table.column(name).nullable:
            yield _fault(table, name, "belongs to the primary key, so it must be required")
    if table.primary_key[:1] != ("run_id",):
        yield _fault(table, None, f"the primary key must begin with run_id, got {', '.join(table.primary_key)}")
    if len({key.name for key in table.foreign_keys}) != len(table.foreign_keys):
        yield _fault(table, None, "two foreign keys have the same columns")


def _order_faults(table: Table) -> Iterator[Fault]:
    keys = [set(table.primary_key), *(set(unique.columns) for unique in table.uniques)]
    if not any(key <= set(table.export_order) for key in keys):
        yield _fault(table, None, f"export order {', '.join(table.export_order)} does not hold a unique key")


def _index_faults(table: Table) -> Iterator[Fault]:
    others = [("the primary key", table.primary_key)]
    others += [(unique.name, unique.columns) for unique in table.uniques]
    others += [(index.name, index.columns) for index in table.indexes if index.where is None]
    for index in table.indexes:
        for name, columns in others:
            prefix = columns[: len(index.columns)] == index.columns
            if prefix and name != index.name and index.where is None and not index.unique:
                yield _fault(
                    table, None, f"index {index.name} is a prefix of {name}: it costs writes and serves no read"
                )


def _name_faults(table: Table) -> Iterator[Fault]:
    names = [check.name for check in table.checks] + [key.name for key in table.foreign_keys]
    names += [unique.name for unique in table.uniques] + [index.name for index in table.indexes]
    for name in names:
        if len(name) > _MAX_NAME:
            yield _fault(table, None, f"constraint name {name} is longer than {_MAX_NAME} characters")
    if len(set(names)) != len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        yield _fault(table, None, f"constraint names occur twice: {', '.join(double)}")


def _lifecycle_faults(table: Table) -> Iterator[Fault]:
    names = {column.name for column in table.columns}
    lifecycle: Lifecycle = table.lifecycle
    for column in (*lifecycle.while_open, *lifecycle.afterwards):
        if column not in names:
            yield _fault(table, column, "lifecycle: the table has no such column")
        elif column in table.primary_key:
            yield _fault(table, column, "lifecycle: a column of the primary key never changes")
    if lifecycle.status is None:
        return
    if lifecycle.status not in names:
        yield _fault(table, lifecycle.status, "lifecycle: the table has no such column")
        return
    enum = table.column(lifecycle.status).enum
    if enum is None or not enum.has_final_values:
        yield _fault(table, lifecycle.status, "lifecycle: the status must hold an enum with final values")


def _variant_faults(table: Table) -> Iterator[Fault]:
    if table.discriminator is None:
        return
    enum = table.column(table.discriminator).enum
    covered = [variant.value.text for variant in table.variants]
    expected = [value.text for value in enum.values] if enum else []
    if sorted(covered) != sorted(expected):
        yield _fault(
            table,
            table.discriminator,
            f"variants cover {', '.join(covered)}, expected one for each of {', '.join(expected)}",
        )
    for variant in table.variants:
        for column in (*variant.required, *variant.absent):
            if any(column == each.name and not each.nullable for each in table.columns):
                yield _fault(
                    table, column, f"is required in every row; {variant.class_name} cannot restate or forbid it"
                )


_TABLE_RULES: tuple[Callable[[Table], Iterator[Fault]], ...] = (
    _column_faults,
    _key_faults,
    _order_faults,
    _index_faults,
    _name_faults,
    _lifecycle_faults,
    _variant_faults,
)


def _foreign_key_faults(table: Table, earlier: dict[str, Table]) -> Iterator[Fault]:
    for key in table.foreign_keys:
        target = earlier.get(key.table)
        if target is None:
            yield _fault(table, None, f"foreign key {key.name} references {key.table}, which is created later")
            continue
        if len(key.columns) != len(key.target_columns):
            yield _fault(
                table,
                ", ".join(key.columns),
                f"foreign key: expected {len(key.target_columns)} columns for the key of {key.table}"
                f" ({', '.join(key.target_columns)}), got {len(key.columns)}",
            )
            continue
        names = {column.name for column in table.columns}
        for column, target_column in zip(key.columns, key.target_columns, strict=True):
            if column in names and table.column(column).storage is not target.column(target_column).storage:
                yield _fault(table, column, f"foreign key: is not stored as {key.table}.{target_column}")
