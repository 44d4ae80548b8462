"""Snapshots by what matters of them."""

from __future__ import annotations

from elspeth.schema.snapshots import (
    ColumnSnapshot,
    KeySnapshot,
    ReferenceSnapshot,
    Snapshot,
    TableSnapshot,
    default_kind,
)


def column(
    name: str,
    type_: str = "string(64)",
    *,
    nullable: bool = True,
    backfill: str | None = None,
    renamed_from: str | None = None,
) -> ColumnSnapshot:
    """A column."""
    return ColumnSnapshot(
        name=name,
        type=type_,
        nullable=nullable,
        kind=default_kind(type_),
        backfill=backfill,
        renamed_from=renamed_from,
    )


def table(
    name: str, *columns: ColumnSnapshot, references: tuple[str, ...] = (), renamed_from: str | None = None
) -> TableSnapshot:
    """A table whose key is its column `id`; it refers to the tables of those names."""
    return TableSnapshot(
        name=name,
        columns=(column("id", nullable=False), *columns),
        primary_key=KeySnapshot(name=f"pk_{name}", columns=("id",)),
        foreign_keys=tuple(
            ReferenceSnapshot(name=None, columns=("id",), table=target, target_columns=("id",)) for target in references
        ),
        renamed_from=renamed_from,
    )


def snapshot(epoch: int, *tables: TableSnapshot) -> Snapshot:
    """The tables of an epoch."""
    return Snapshot(epoch=epoch, tables=tables)
