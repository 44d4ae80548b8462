"""The database's own history: how its tables came to be what they are; and creating them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Insert,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    insert,
)

from elspeth_schema import EPOCH, triggers
from elspeth_schema.tables import metadata

__all__ = ["FIRST_VERSIONED", "bookkeeping_tables", "create_schema", "schema_migrations_table", "step_record"]

bookkeeping_tables = MetaData()

schema_migrations_table = Table(
    "schema_migrations",
    bookkeeping_tables,
    Column("to_epoch", BigInteger, nullable=False),
    Column("from_epoch", BigInteger, nullable=False),
    Column("migrated_at", DateTime(timezone=True), nullable=False),
    Column("tool", String(64), nullable=False),
    Column("tables_json", Text, nullable=False),
    PrimaryKeyConstraint("to_epoch", name="pk_schema_migrations"),
)
"""A row per step: from which epoch (0: none), when, by what; each table's rows and digests before and after."""


FIRST_VERSIONED = 5
"""The first epoch whose databases have this table."""


def create_schema(connection: Connection) -> None:
    """Create all tables, indexes and triggers in an empty database, within the caller's transaction."""
    metadata.create_all(connection)
    bookkeeping_tables.create_all(connection)
    for statement in triggers.STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.execute(step_record(from_epoch=0, tables={}))


def step_record(*, from_epoch: int, tables: Mapping[str, Mapping[str, object]]) -> Insert:
    """The statement that writes down that the database is of today's epoch now, and what is known of its tables."""
    return insert(schema_migrations_table).values(
        to_epoch=EPOCH,
        from_epoch=from_epoch,
        migrated_at=datetime.now(UTC),
        tool=f"elspeth {version('elspeth')}",
        tables_json=json.dumps(tables, sort_keys=True),
    )
