"""Rules that the whole model must keep before rendering."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from codegen.constraints import ENUM_LENGTH
from codegen.errors import suggestion
from codegen.model import Column, EnumType, ForeignKey, Kind, Model, Table

__all__ = ["Fault", "faults_of"]

_MAX_NAME = 63
"""Longest identifier that PostgreSQL keeps whole (NAMEDATALEN - 1)."""

_RESERVED_COLUMNS = frozenset({"record_type", "salt", "signature"})
"""Keys that an export adds to a record, beside its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A broken rule; the caller adds the file.

    The element is a class or enum, the member a column or value.
    """

    element: str
    member: str | None
    message: str


def faults_of(model: Model) -> tuple[Fault, ...]:
    """Return each rule that the model breaks, in schema order.

    If the model names columns that do not exist, only these are returned.
    """
    return tuple(fault for table in model.tables for fault in _missing_columns(table)) or (
        *(fault for enum in model.enums for fault in _enum_faults(enum)),
        *(fault for table in model.tables for rule in _TABLE_RULES for fault in rule(table)),
        *_model_faults(model),
    )


def _fault(table: Table, member: str | None, message: str) -> Fault:
    return Fault(element=table.class_name, member=member, message=message)


def _missing_columns(table: Table) -> Iterator[Fault]:
    lifecycle = table.lifecycle
    uses = [("primary key", table.primary_key)]
    uses += [(f"unique key {unique.name}", unique.columns) for unique in table.uniques]
    uses += [(f"index {index.name}", index.columns) for index in table.indexes]
    uses += [(f"foreign key to {key.table}", key.columns) for key in table.foreign_keys]
    uses += [(f"rule {rule.title}", rule.columns) for rule in table.exactly_one]
    uses += [("lifecycle: while_open", lifecycle.while_open), ("lifecycle: afterwards", lifecycle.afterwards)]
    uses += [("lifecycle: status", (lifecycle.status,) if lifecycle.status else ())]
    uses += [(f"hash_column of {each.name}", (each.hash_column,)) for each in table.columns if each.hash_column]
    uses += [("export_order", table.export_order)] if table.export_order != table.primary_key else []
    names = {column.name for column in table.columns}
    for use, columns in uses:
        yield from (
            _fault(table, column, f"{use}: the class has no such slot") for column in columns if column not in names
        )


# -- one enum, one table ----------------------------------------------------------------------------------------------


def _enum_faults(enum: EnumType) -> Iterator[Fault]:
    members: dict[str, str] = {}
    for value in enum.values:
        message = None
        if not value.member.isidentifier():
            message = "is not usable as a name in Python"
        elif len(value.text) > ENUM_LENGTH:
            message = f"has {len(value.text)} characters, expected at most {ENUM_LENGTH}"
        elif value.member in members:
            message = f"differs only in case from {members[value.member]!r}"
        members.setdefault(value.member, value.text)
        if message:
            yield Fault(element=enum.name, member=value.text, message=message)


def _name_faults(table: Table) -> Iterator[Fault]:
    for what, name in (("table", table.name), ("record type", table.record_type)):
        if not _usable(name):
            yield _fault(table, None, f"{what} {name!r} is not usable as a name in Python")
    for column in table.columns:
        if not _usable(column.name):
            yield _fault(table, column.name, "is not usable as a name in Python")
        elif column.name in _RESERVED_COLUMNS and not table.is_bookkeeping:
            yield _fault(table, column.name, "is a key that an export adds to each record, so no column has this name")


def _usable(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _column_faults(table: Table) -> Iterator[Fault]:
    for column in table.columns:
        if (problem := _withholding_problem(table, column)) is not None:
            yield _fault(table, column.name, problem)
        if column.max_length is not None and column.kind is not Kind.TEXT:
            yield _fault(table, column.name, "has a max_length but does not hold text")
        bounded = column.minimum is not None or column.maximum is not None
        if bounded and column.kind not in (Kind.INTEGER, Kind.REAL):
            yield _fault(table, column.name, "has a minimum or maximum but does not hold numbers")
        if column.until is not None and not column.nullable:
            yield _fault(table, column.name, "until: later records do not have it, so it must be optional")
        if column.until is not None and column.until < max(column.since, table.since):
            yield _fault(table, column.name, f"until: expected {max(column.since, table.since)} or more, as in since")
        if (problem := _pattern_problem(column)) is not None:
            yield _fault(table, column.name, problem)


def _withholding_problem(table: Table, column: Column) -> str | None:
    """Describe what makes withholding the column wrong, or return None.

    Every export holds the hash of withheld content, so that the content can be checked wherever it is kept.
    """
    if column.withheld is None:
        return None if column.hash_column is None else "hash_column: only a withheld column has one"
    if not column.nullable:
        return "is withheld from exports, so it must be optional: an import cannot fill it"
    if column.hash_column is None:
        return "is withheld from exports, so hash_column must name the column with the hash of its content"
    other = table.column(column.hash_column)
    if other.kind is not Kind.TEXT or other.withheld is not None:
        return f"hash_column: expected a column of text that is exported, got {other.name!r}"
    return None


def _pattern_problem(column: Column) -> str | None:
    """Describe what is wrong with the pattern, or return None.

    Contracts match whole texts, JSON Schema any part: anchors make them agree.
    """
    pattern = column.pattern
    if pattern is None:
        return None
    if column.kind is not Kind.TEXT or column.enum is not None:
        return "has a pattern but does not hold text"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"pattern: {pattern!r} is not a regular expression: {error}"
    anchored = pattern.startswith("^") and pattern.endswith("$")
    return None if anchored else f"pattern: expected a text from ^ to $, got {pattern!r}"


def _key_faults(table: Table) -> Iterator[Fault]:
    if not table.primary_key:
        yield _fault(table, None, "unique_keys: has no primary_key")
        return
    if table.primary_key[0] != "run_id" and not table.is_bookkeeping:
        yield _fault(table, None, f"the primary key must begin with run_id, got {', '.join(table.primary_key)}")
    for name in table.primary_key:
        if table.column(name).nullable:
            yield _fault(table, name, "belongs to the primary key, so it must be required")
    keys = [table.primary_key, *(unique.columns for unique in table.uniques)]
    if not any(set(key) <= set(table.export_order) for key in keys):
        yield _fault(table, None, f"export_order: {', '.join(table.export_order)} does not hold a unique key")
    for rule in table.exactly_one:
        if len(set(rule.columns)) != len(rule.columns) or len(rule.columns) == 1:
            yield _fault(table, None, f"rule {rule.title}: expected several slots, got {', '.join(rule.columns)}")
        for name in rule.columns:
            if not table.column(name).nullable:
                yield _fault(table, name, f"rule {rule.title}: is required in every row, so it must be optional")


def _index_faults(table: Table) -> Iterator[Fault]:
    covering = [("the primary key", table.primary_key)]
    covering += [(unique.name, unique.columns) for unique in table.uniques]
    plain = [index for index in table.indexes if index.where is None and not index.unique]
    for position, index in enumerate(plain):
        size = len(index.columns)
        others = covering + [(other.name, other.columns) for other in plain[:position]]
        others += [(other.name, other.columns) for other in plain[position + 1 :] if len(other.columns) > size]
        same = next((name for name, columns in others if columns[:size] == index.columns), None)
        if same is not None:
            yield _fault(
                table, None, f"index {index.name}: {same} begins with the same columns, so it would serve no read"
            )


def _constraint_faults(table: Table) -> Iterator[Fault]:
    names = [f"pk_{table.name}", *(check.name for check in table.checks), *(key.name for key in table.foreign_keys)]
    names += [unique.name for unique in table.uniques] + [index.name for index in table.indexes]
    for name in names:
        if len(name) > _MAX_NAME:
            yield _fault(
                table, None, f"constraint name {name} has {len(name)} characters, expected at most {_MAX_NAME}"
            )
        if _usable(table.name) and not name.isidentifier():
            yield _fault(
                table, None, f"constraint name {name!r} is not usable: expected letters, digits and underscores"
            )
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield _fault(table, None, f"two constraints would be called {name}")


def _lifecycle_faults(table: Table) -> Iterator[Fault]:
    lifecycle = table.lifecycle
    if lifecycle.is_transient and not table.is_bookkeeping:
        yield _fault(table, None, "lifecycle: records stay, only the rows of a bookkeeping table can be transient")
    for name in table.primary_key:
        if name in (*lifecycle.while_open, *lifecycle.afterwards):
            yield _fault(table, name, "lifecycle: a column of the primary key never changes")
    if lifecycle.status is None:
        return
    status = table.column(lifecycle.status)
    if status.nullable or status.enum is None or not status.enum.has_final_values:
        yield _fault(table, status.name, "lifecycle: the status must be required and hold an enum with final values")
    if status.name not in lifecycle.while_open:
        yield _fault(table, status.name, "lifecycle: the status must be listed in while_open, or nothing ever ends")


def _variant_faults(table: Table) -> Iterator[Fault]:
    discriminator = table.column(table.discriminator) if table.discriminator else None
    if discriminator is None or discriminator.enum is None:
        return
    if discriminator.nullable:
        yield _fault(table, discriminator.name, "tells the variants apart, so it must be required")
    covered = [variant.value.text for variant in table.variants]
    expected = [value.text for value in discriminator.enum.values]
    if sorted(covered) != sorted(expected):
        message = f"expected a variant for each of {', '.join(expected)}, got {', '.join(covered)}"
        yield _fault(table, discriminator.name, message)
    for variant in table.variants:
        for name in (*variant.required, *variant.absent):
            if not table.column(name).nullable:
                message = f"is required in every row, so {variant.class_name} can neither demand nor forbid it"
                yield _fault(table, name, message)


def _release_faults(table: Table) -> Iterator[Fault]:
    if table.releases and not (table.is_bookkeeping and table.primary_key == ("run_id",)):
        yield _fault(table, None, "releases: only a bookkeeping table with the primary key run_id says which runs")


_TABLE_RULES: tuple[Callable[[Table], Iterator[Fault]], ...] = (
    _name_faults,
    _column_faults,
    _key_faults,
    _index_faults,
    _constraint_faults,
    _lifecycle_faults,
    _release_faults,
    _variant_faults,
)


# -- all tables -------------------------------------------------------------------------------------------------------


def _model_faults(model: Model) -> Iterator[Fault]:
    earlier: dict[str, Table] = {}
    record_types: dict[str, str] = {}
    for table in model.tables:
        taken = record_types.setdefault(table.record_type, table.class_name)
        if taken != table.class_name:
            yield _fault(table, None, f"record type {table.record_type!r} is already that of {taken}")
        earlier[table.name] = table
        yield from _foreign_key_faults(table, earlier)
        yield from _released_faults(table, model)
        for member, since in [(None, table.since), *((column.name, column.since) for column in table.columns)]:
            if since > model.epoch:
                yield _fault(table, member, f"since: expected at most {model.epoch}, the schema's version, got {since}")
        yield from _rdf_faults(table, {name for name, _ in model.prefixes})
        for column in table.columns:
            if column.until is not None and column.until >= model.epoch:
                message = f"until: expected less than {model.epoch}, the schema's version, got {column.until}"
                yield _fault(table, column.name, message)


def _released_faults(table: Table, model: Model) -> Iterator[Fault]:
    """Yield faults of an annotation `releases`."""
    if table.releases and table is not next(each for each in model.tables if each.releases):
        yield _fault(table, None, "releases: another class says already which runs may be deleted")
    for released in (each for each in model.tables if each.name in table.releases):
        if not released.is_bookkeeping or "run_id" not in {column.name for column in released.columns}:
            message = f"releases: expected bookkeeping classes with the slot run_id, got {released.class_name}"
            yield _fault(table, None, message)


def _rdf_faults(table: Table, prefixes: Collection[str]) -> Iterator[Fault]:
    referring = {key.columns[-1] for key in table.foreign_keys}
    for column in table.columns:
        if column.inverse is not None and column.name not in referring:
            yield _fault(table, column.name, "inverse_uri: the column refers to no record")
        for what, uri in (("slot_uri", column.iri), ("inverse_uri", column.inverse), ("type's uri", column.uri)):
            prefix = uri.partition(":")[0] if uri is not None else None
            if prefix is not None and prefix not in prefixes:
                yield _fault(
                    table, column.name, f"{what}: no prefix is called {prefix!r}{suggestion(prefix, prefixes)}"
                )


def _foreign_key_faults(table: Table, earlier: dict[str, Table]) -> Iterator[Fault]:
    """Yield faults of references.

    `earlier` holds the tables so far, including this one.
    """
    for key in table.foreign_keys:
        columns = ", ".join(key.columns)
        target = earlier.get(key.table)
        if target is None:
            yield _fault(table, columns, f"foreign key to {key.table}: that table is created later")
        elif target.is_bookkeeping and not table.is_bookkeeping:
            yield _fault(table, columns, f"foreign key to {key.table}: that table is bookkeeping, and not exported")
        elif len(key.columns) != len(key.target_columns):
            expected = ", ".join(key.target_columns)
            message = f"foreign key to {key.table}: expected one column for each of {expected}, got {len(key.columns)}"
            yield _fault(table, columns, message)
        elif key.columns[0] != "run_id":
            message = f"foreign key to {key.table}: expected run_id first, or the reference could lead into another run"
            yield _fault(table, columns, message)
        else:
            yield from _storage_faults(table, key, target)


def _storage_faults(table: Table, key: ForeignKey, target: Table) -> Iterator[Fault]:
    for name, target_name in zip(key.columns, key.target_columns, strict=True):
        got, expected = table.column(name), target.column(target_name)
        if (got.kind, got.max_length) != (expected.kind, expected.max_length):
            message = f"foreign key to {key.table}: is stored in another way than {key.table}.{target_name}"
            yield _fault(table, name, message)
