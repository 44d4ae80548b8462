"""The database of one epoch as a file: everything that tells its tables from those of another epoch.

Snapshots are the only memory of past epochs; migrations are generated from two of them and never read the schema.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from codegen.model import Column, Lifecycle, Model, Storage, Table

__all__ = [
    "CheckShape",
    "ColumnShape",
    "IndexShape",
    "KeyShape",
    "LifecycleShape",
    "ReferenceShape",
    "Snapshot",
    "TableShape",
    "parse",
    "snapshot_of",
    "to_text",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnShape:
    """A column: its type in our own words (see `names.SQL_TYPES`), and where its values come from in a migration."""

    name: str
    type: str
    nullable: bool
    backfill: str | None = None
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShape:
    """A primary key or a unique constraint; historical ones have no name."""

    name: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceShape:
    """A foreign key."""

    name: str | None
    columns: tuple[str, ...]
    table: str
    target_columns: tuple[str, ...]
    on_delete: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckShape:
    """A condition on each row."""

    name: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """A secondary index."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleShape:
    """What the triggers of a table let through: changes of `while_open` until the status is one of `final`."""

    status: str | None
    final: tuple[str, ...]
    while_open: tuple[str, ...]
    afterwards: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A table; `lifecycle` is None where no trigger guards it."""

    name: str
    columns: tuple[ColumnShape, ...]
    primary_key: KeyShape | None = None
    foreign_keys: tuple[ReferenceShape, ...] = ()
    uniques: tuple[KeyShape, ...] = ()
    checks: tuple[CheckShape, ...] = ()
    indexes: tuple[IndexShape, ...] = ()
    lifecycle: LifecycleShape | None = None
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The tables of one epoch, in creation order."""

    epoch: int
    tables: tuple[TableShape, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the snapshot's file."""
        return hashlib.sha256(to_text(self).encode()).hexdigest()


def snapshot_of(model: Model) -> Snapshot:
    """The snapshot of the schema as it stands."""
    return Snapshot(epoch=model.epoch, tables=tuple(_table(table, model.epoch) for table in model.tables))


def to_text(snapshot: Snapshot) -> str:
    """The snapshot's file: one line per column, key and constraint, so that a change shows as a small diff."""
    tables = []
    for table in snapshot.tables:
        parts = [f'"name": {json.dumps(table.name)}']
        for key, value in asdict(table).items():
            if key == "name" or value in (None, ()):
                continue
            if isinstance(value, tuple):
                items = ",\n      ".join(json.dumps(_without_defaults(item)) for item in value)
                parts.append(f'"{key}": [\n      {items}\n    ]')
            else:
                parts.append(f'"{key}": {json.dumps(_without_defaults(value) if isinstance(value, dict) else value)}')
        tables.append("  {\n    " + ",\n    ".join(parts) + "\n  }")
    return f'{{"epoch": {snapshot.epoch}, "tables": [\n' + ",\n".join(tables) + "\n]}\n"


def parse(text: str) -> Snapshot:
    """The snapshot in a file's text."""
    content = json.loads(text)
    return Snapshot(epoch=content["epoch"], tables=tuple(_parsed_table(table) for table in content["tables"]))


def _parsed_table(content: Mapping[str, Any]) -> TableShape:
    lifecycle, primary_key = content.get("lifecycle"), content.get("primary_key")
    return TableShape(
        name=content["name"],
        columns=tuple(ColumnShape(**column) for column in content["columns"]),
        primary_key=KeyShape(**_tuples(primary_key)) if primary_key is not None else None,
        foreign_keys=tuple(ReferenceShape(**_tuples(key)) for key in content.get("foreign_keys", ())),
        uniques=tuple(KeyShape(**_tuples(unique)) for unique in content.get("uniques", ())),
        checks=tuple(CheckShape(**check) for check in content.get("checks", ())),
        indexes=tuple(IndexShape(**_tuples(index)) for index in content.get("indexes", ())),
        lifecycle=LifecycleShape(**_tuples(lifecycle)) if lifecycle is not None else None,
        renamed_from=content.get("renamed_from"),
    )


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _without_defaults(item: Mapping[str, object]) -> dict[str, object]:
    """The item without what its absence says as well; a key's or status's missing name is said."""
    kept = {"name", "status", "final", "while_open", "afterwards", "nullable"}
    return {key: value for key, value in item.items() if key in kept or value not in (None, (), False)}


def _table(table: Table, epoch: int) -> TableShape:
    return TableShape(
        name=table.name,
        columns=tuple(_column(column, epoch) for column in table.columns),
        primary_key=KeyShape(name=f"pk_{table.name}", columns=table.primary_key),
        foreign_keys=tuple(
            ReferenceShape(name=key.name, columns=key.columns, table=key.table, target_columns=key.target_columns)
            for key in table.foreign_keys
        ),
        uniques=tuple(KeyShape(name=unique.name, columns=unique.columns) for unique in table.uniques),
        checks=tuple(CheckShape(name=check.name, condition=check.condition) for check in table.checks),
        indexes=tuple(
            IndexShape(name=index.name, columns=index.columns, unique=index.unique, where=index.where)
            for index in table.indexes
        ),
        lifecycle=_lifecycle(table, table.lifecycle),
        renamed_from=table.renamed_from if table.since == epoch else None,
    )


def _column(column: Column, epoch: int) -> ColumnShape:
    return ColumnShape(
        name=column.name,
        type=physical_type(column),
        nullable=column.nullable,
        backfill=dict(column.backfill).get(epoch),
        renamed_from=column.renamed_from if column.since == epoch else None,
    )


def physical_type(column: Column) -> str:
    """The column's type in the snapshots' words."""
    if column.storage in (Storage.TEXT, Storage.JSON):
        return f"string({column.max_length})" if column.max_length else "string"
    return {
        Storage.INTEGER: "bigint",
        Storage.REAL: "double",
        Storage.BOOLEAN: "integer",
        Storage.TIMESTAMP: "timestamp",
    }[column.storage]


def _lifecycle(table: Table, lifecycle: Lifecycle) -> LifecycleShape:
    enum = table.column(lifecycle.status).enum if lifecycle.status is not None else None
    return LifecycleShape(
        status=lifecycle.status,
        final=tuple(value.text for value in enum.values if value.final) if enum else (),
        while_open=lifecycle.while_open,
        afterwards=lifecycle.afterwards,
    )
