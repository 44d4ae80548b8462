"""What an audit database keeps beside the records: its history, the secrets and seals of runs; and creating it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    select,
)

from elspeth.core.landscape.migration.guards import create_guards
from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata

__all__ = [
    "FIRST_VERSIONED",
    "Step",
    "bookkeeping_tables",
    "create_schema",
    "held_items_table",
    "lock_schema",
    "run_secrets_table",
    "schema_migrations_table",
    "seal_leaves_table",
    "seals_table",
    "step_record",
    "steps_taken",
]

_ADVISORY_LOCK = 5_035_571_984_264_114_003
"""One creation or migration at a time in a PostgreSQL database; the number only has to be ours."""

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


run_secrets_table = Table(
    "run_secrets",
    bookkeeping_tables,
    Column("run_id", String(64), nullable=False),
    Column("secret", String(64), nullable=False),
    PrimaryKeyConstraint("run_id", name="pk_run_secrets"),
)
"""Per run the secret from which the salts of its records are derived: kept beside the records, never in one."""

seals_table = Table(
    "seals",
    bookkeeping_tables,
    Column("run_id", String(64), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("counts_json", Text, nullable=False),
    Column("scope_json", Text, nullable=False),
    Column("envelope_json", Text),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("run_id", name="pk_seals"),
)
"""Per finished run the Merkle root over its records, made in the transaction that finished it.

`scope_json` lists the columns that it covers; `envelope_json` is the signed form of the seal, null without a key.
"""

seal_leaves_table = Table(
    "seal_leaves",
    bookkeeping_tables,
    Column("run_id", String(64), nullable=False),
    Column("record_type", String(32), nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("leaves", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "record_type", "part", name="pk_seal_leaves"),
)
"""The beginnings of a seal's leaf hashes, to find the record that was altered."""

held_items_table = Table(
    "held_items",
    bookkeeping_tables,
    Column("run_id", String(64), nullable=False),
    Column("node_id", String(64), nullable=False),
    Column("item", String(64), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("state_json", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "node_id", "item", name="pk_held_items"),
)
"""What waits at the nodes of a run that has not ended, with the rows that it carries: for resuming, and no evidence."""

FIRST_VERSIONED = 5
"""The first epoch whose databases have these tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the history; `tables_json` holds rows and digests by table."""

    from_epoch: int
    to_epoch: int
    migrated_at: datetime
    tool: str
    tables_json: str


def lock_schema(connection: Connection) -> None:
    """Wait until no other process creates or migrates the tables; held until the transaction ends.

    On SQLite the transaction's own lock does that.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def create_schema(connection: Connection) -> None:
    """Create all tables, indexes and triggers in an empty database, within the caller's transaction."""
    metadata.create_all(connection)
    bookkeeping_tables.create_all(connection)
    create_guards(connection)
    connection.execute(step_record(from_epoch=0, tables={}))


def steps_taken(connection: Connection) -> list[Step]:
    """The history of the database's tables, oldest first; the table must exist."""
    columns = schema_migrations_table.c
    statement = select(
        columns.from_epoch, columns.to_epoch, columns.migrated_at, columns.tool, columns.tables_json
    ).order_by(columns.to_epoch)
    return [
        Step(
            from_epoch=from_epoch,
            to_epoch=to_epoch,
            # SQLite keeps no zone: it is UTC.
            migrated_at=migrated_at.replace(tzinfo=UTC) if migrated_at.tzinfo is None else migrated_at,
            tool=tool,
            tables_json=tables_json,
        )
        for from_epoch, to_epoch, migrated_at, tool, tables_json in connection.execute(statement)
    ]


def step_record(*, from_epoch: int, tables: Mapping[str, Mapping[str, object]]) -> Insert:
    """The statement that writes down that the database is of today's epoch now, and what is known of its tables."""
    return insert(schema_migrations_table).values(
        to_epoch=EPOCH,
        from_epoch=from_epoch,
        migrated_at=datetime.now(UTC),
        tool=f"elspeth {version('elspeth')}",
        tables_json=json.dumps(tables, sort_keys=True),
    )
