"""Short constructors for snapshots."""

from __future__ import annotations

from elspeth.schema.snapshots import (
    ColumnSnapshot,
    KeySnapshot,
    Kind,
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
    kind: Kind | None = None,
    values: tuple[str, ...] = (),
    pattern: str | None = None,
    bounds: tuple[int | None, int | None] = (None, None),
) -> ColumnSnapshot:
    """Return a column of a snapshot."""
    return ColumnSnapshot(
        name=name,
        type=type_,
        nullable=nullable,
        kind=kind or default_kind(type_),
        values=values,
        pattern=pattern,
        minimum=bounds[0],
        maximum=bounds[1],
        backfill=backfill,
        renamed_from=renamed_from,
    )


def table(
    name: str,
    *columns: ColumnSnapshot,
    references: tuple[str, ...] = (),
    renamed_from: str | None = None,
    record_type: str | None = None,
) -> TableSnapshot:
    """Return a table with key `id` and references to others."""
    return TableSnapshot(
        name=name,
        record_type=record_type,
        columns=(column("id", nullable=False), *columns),
        primary_key=KeySnapshot(name=f"pk_{name}", columns=("id",)),
        foreign_keys=tuple(
            ReferenceSnapshot(name=None, columns=("id",), table=target, target_columns=("id",)) for target in references
        ),
        renamed_from=renamed_from,
    )


def snapshot(epoch: int, *tables: TableSnapshot) -> Snapshot:
    """Return the snapshot of an epoch."""
    return Snapshot(epoch=epoch, tables=tables)
