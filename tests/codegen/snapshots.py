"""Snapshots by what matters of them."""

from __future__ import annotations

from codegen.snapshot import ColumnShape, KeyShape, ReferenceShape, Snapshot, TableShape


def column(
    name: str,
    type_: str = "string(64)",
    *,
    nullable: bool = True,
    backfill: str | None = None,
    renamed_from: str | None = None,
) -> ColumnShape:
    """A column."""
    return ColumnShape(name=name, type=type_, nullable=nullable, backfill=backfill, renamed_from=renamed_from)


def table(
    name: str, *columns: ColumnShape, references: tuple[str, ...] = (), renamed_from: str | None = None
) -> TableShape:
    """A table whose key is its column `id`; it refers to the tables of those names."""
    return TableShape(
        name=name,
        columns=(column("id", nullable=False), *columns),
        primary_key=KeyShape(name=f"pk_{name}", columns=("id",)),
        foreign_keys=tuple(
            ReferenceShape(name=None, columns=("id",), table=target, target_columns=("id",)) for target in references
        ),
        renamed_from=renamed_from,
    )


def snapshot(epoch: int, *tables: TableShape) -> Snapshot:
    """The tables of an epoch."""
    return Snapshot(epoch=epoch, tables=tables)
