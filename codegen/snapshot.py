"""The snapshot of the current schema."""

from __future__ import annotations

from codegen.model import Column, Lifecycle, Model, Table
from elspeth.schema.snapshots import (
    CheckSnapshot,
    ColumnSnapshot,
    IndexSnapshot,
    KeySnapshot,
    Kind,
    LifecycleSnapshot,
    ReferenceSnapshot,
    Snapshot,
    TableSnapshot,
)

__all__ = ["physical_type", "snapshot_of"]


def snapshot_of(model: Model) -> Snapshot:
    """Return the snapshot of the current schema."""
    return Snapshot(epoch=model.epoch, tables=tuple(_table(table, model.epoch) for table in model.tables))


def physical_type(column: Column, *, is_ordered: bool = True) -> str:
    """Return the column's type in the words of snapshots.

    Text is compared by code point if it `is_ordered`, otherwise as the server does: in bookkeeping no order matters.
    """
    if column.kind in (Kind.TEXT, Kind.JSON):
        bounded, unbounded = ("string", "string") if is_ordered else ("varchar", "text")
        return f"{bounded}({column.max_length})" if column.max_length else unbounded
    return {
        Kind.INTEGER: "bigint",
        Kind.REAL: "double",
        Kind.BOOLEAN: "integer",
        Kind.TIMESTAMP: "timestamp",
    }[column.kind]


def _table(table: Table, epoch: int) -> TableSnapshot:
    return TableSnapshot(
        name=table.name,
        record_type=None if table.is_bookkeeping else table.record_type,
        columns=tuple(_column(table, column, epoch) for column in table.columns),
        primary_key=KeySnapshot(name=f"pk_{table.name}", columns=table.primary_key),
        foreign_keys=tuple(
            ReferenceSnapshot(name=key.name, columns=key.columns, table=key.table, target_columns=key.target_columns)
            for key in table.foreign_keys
        ),
        uniques=tuple(KeySnapshot(name=unique.name, columns=unique.columns) for unique in table.uniques),
        checks=tuple(CheckSnapshot(name=check.name, condition=check.condition) for check in table.checks),
        indexes=tuple(
            IndexSnapshot(name=index.name, columns=index.columns, unique=index.unique, where=index.where)
            for index in table.indexes
        ),
        lifecycle=None if table.lifecycle.is_transient else _lifecycle(table, table.lifecycle),
        export_order=() if table.is_bookkeeping else table.export_order,
        renamed_from=table.renamed_from if table.since == epoch else None,
        releases=table.releases,
    )


def _column(table: Table, column: Column, epoch: int) -> ColumnSnapshot:
    return ColumnSnapshot(
        name=column.name,
        type=physical_type(column, is_ordered=not table.is_bookkeeping),
        nullable=column.nullable,
        kind=column.kind,
        values=tuple(value.text for value in column.enum.values) if column.enum is not None else (),
        pattern=column.pattern,
        minimum=column.minimum,
        maximum=column.maximum,
        withheld=column.withheld is not None,
        backfill=dict(column.backfill).get(epoch),
        renamed_from=column.renamed_from if column.since == epoch else None,
    )


def _lifecycle(table: Table, lifecycle: Lifecycle) -> LifecycleSnapshot:
    enum = table.column(lifecycle.status).enum if lifecycle.status is not None else None
    return LifecycleSnapshot(
        status=lifecycle.status,
        final=tuple(value.text for value in enum.values if value.final) if enum else (),
        while_open=lifecycle.while_open,
        afterwards=lifecycle.afterwards,
    )
