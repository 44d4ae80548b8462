"""The history that an audit database keeps of its own tables; and creating it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from sqlalchemy import Connection, Insert, insert, select

from elspeth.core.landscape.database.guards import create_guards
from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata, schema_migrations_table

__all__ = [
    "FIRST_VERSIONED",
    "Step",
    "create_schema",
    "lock_schema",
    "step_record",
    "steps_taken",
]

_ADVISORY_LOCK = 5_035_571_984_264_114_003
"""One creation or migration at a time in a PostgreSQL database; the number only has to be ours."""

FIRST_VERSIONED = 5
"""The first epoch whose databases keep a history."""


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
