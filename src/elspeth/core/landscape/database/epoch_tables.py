"""The tables of any epoch in SQLAlchemy's words."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from elspeth.core.landscape.database.epochs import snapshot
from elspeth.schema.snapshots import Snapshot, TableSnapshot
from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata as todays_tables

__all__ = ["metadata_of", "tables_of"]


@cache
def tables_of(epoch: int) -> MetaData:
    """Return the tables of an epoch, in creation order."""
    return todays_tables if epoch == EPOCH else metadata_of(snapshot(epoch))


def metadata_of(epoch: Snapshot) -> MetaData:
    """Return the tables of a snapshot, in creation order."""
    metadata = MetaData()
    for table in epoch.tables:
        _add_table(table, metadata)
    return metadata


def _add_table(table: TableSnapshot, metadata: MetaData) -> None:
    """Add a table. The order of constraints is that of the snapshot: databases keep it."""
    Table(
        table.name,
        metadata,
        *(Column(column.name, _type(column.type), nullable=column.nullable) for column in table.columns),
        *(PrimaryKeyConstraint(*key.columns, name=key.name) for key in (table.primary_key,) if key is not None),
        *(
            ForeignKeyConstraint(
                key.columns,
                [f"{key.table}.{column}" for column in key.target_columns],
                name=key.name,
                ondelete=key.on_delete,
            )
            for key in table.foreign_keys
        ),
        *(UniqueConstraint(*unique.columns, name=unique.name) for unique in table.uniques),
        *(CheckConstraint(check.condition, name=check.name) for check in table.checks),
        *(
            Index(
                index.name,
                *index.columns,
                unique=index.unique,
                sqlite_where=text(index.where) if index.where is not None else None,
                postgresql_where=text(index.where) if index.where is not None else None,
            )
            for index in table.indexes
        ),
    )


def _type(word: str) -> TypeEngine[Any]:
    """Return the type for a snapshot's type word."""
    name, _, length = word.rstrip(")").partition("(")
    size = int(length) if length else None
    types: dict[str, TypeEngine[Any]] = {
        "string": _text_by_code_point(size),
        "bigint": BigInteger(),
        "double": Double(),
        "integer": Integer(),
        "timestamp": DateTime(timezone=True),
        "varchar": String(size),
        "text": Text(),
        "float": Float(),
    }
    return types[name]


def _text_by_code_point(length: int | None) -> String:
    """Return text that both databases compare by code point, so that order does not depend on a server's locale."""
    if length is None:
        return Text().with_variant(Text(collation="C"), "postgresql")
    return String(length).with_variant(String(length, collation="C"), "postgresql")
