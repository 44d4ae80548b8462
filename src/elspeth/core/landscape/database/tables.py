"""The tables of every epoch, and their creation.

The snapshots of all epochs are installed with the generated schema. A database keeps the history of its own tables in
`schema_migrations`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    Float,
    ForeignKeyConstraint,
    Index,
    Insert,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    create_mock_engine,
    insert,
    select,
    text,
)
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.types import TypeEngine

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import begin_log
from elspeth.schema.snapshots import Snapshot, TableSnapshot, parse_snapshot
from elspeth.schema.steps import Step, step_between
from elspeth_schema import EPOCH, triggers
from elspeth_schema.tables import metadata, schema_migrations_table

__all__ = [
    "FIRST_VERSIONED",
    "GROWN",
    "Migration",
    "TableMap",
    "analyze_grown_tables",
    "create_tables",
    "create_triggers",
    "epoch_tables",
    "load_snapshot",
    "load_step",
    "lock_tables",
    "map_tables",
    "migration_insert",
    "read_migrations",
    "snapshot_tables",
    "tool",
]

FIRST_VERSIONED = 5
"""The first epoch whose databases record their migrations."""

GROWN = 1_000
"""The number of rows from which a query plan that was made for an empty table is too slow."""

_ADVISORY_LOCK = 5_035_571_984_264_114_003
"""The advisory lock on the tables of a PostgreSQL database; the number was chosen at random."""


# -- epochs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """A table before and after a migration over several epochs.

    `columns` are the (old name, new name) of the columns whose values stay the same. `copies` is the number of times
    that the migrations copy the table.
    """

    before: str
    after: str
    columns: tuple[tuple[str, str], ...]
    copies: int


@cache
def load_snapshot(epoch: int) -> Snapshot:
    """Return the snapshot of an epoch.

    Raises LandscapeError for an epoch that this version does not know.
    """
    if not 1 <= epoch <= EPOCH:
        raise LandscapeError(f"epoch {epoch} is not known: expected one from 1 to {EPOCH}")
    return parse_snapshot(files("elspeth_schema").joinpath("epochs", f"{epoch:04}.json").read_text(encoding="utf-8"))


@cache
def load_step(epoch: int) -> Step:
    """Return the migration step from the previous epoch.

    The step to the first epoch starts from an empty database. Raises LandscapeError for an epoch that this version does
    not know.
    """
    return step_between(load_snapshot(epoch - 1) if epoch > 1 else None, load_snapshot(epoch))


def map_tables(from_epoch: int, to_epoch: int) -> tuple[TableMap, ...]:
    """Map the tables of an epoch to a later one."""
    return tuple(
        _map_table(table.name, tuple(column.name for column in table.columns), range(from_epoch + 1, to_epoch + 1))
        for table in load_snapshot(from_epoch).tables
    )


def _map_table(name: str, columns: tuple[str, ...], epochs: range) -> TableMap:
    current, copies = name, 0
    kept = {column: column for column in columns}
    for epoch in epochs:
        for copy in load_step(epoch).copies:
            if copy.source == current:
                names = dict(copy.kept)
                kept = {first: names[column] for first, column in kept.items() if column in names}
                current, copies = copy.table, copies + 1
                break
    return TableMap(before=name, after=current, columns=tuple(kept.items()), copies=copies)


@cache
def epoch_tables(epoch: int) -> MetaData:
    """Return the tables of an epoch, in creation order."""
    return metadata if epoch == EPOCH else snapshot_tables(load_snapshot(epoch))


def snapshot_tables(snapshot: Snapshot) -> MetaData:
    """Return the tables of a snapshot, in creation order."""
    tables = MetaData()
    for table in snapshot.tables:
        _add_table(table, tables)
    return tables


def _add_table(table: TableSnapshot, tables: MetaData) -> None:
    # Databases keep the order of constraints, so they are added in the order of the snapshot.
    Table(
        table.name,
        tables,
        *(Column(column.name, _column_type(column.type), nullable=column.nullable) for column in table.columns),
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


def _column_type(word: str) -> TypeEngine[Any]:
    """Return the SQL type for a snapshot's type word."""
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
        "boolean": Boolean(),
    }
    return types[name]


def _text_by_code_point(length: int | None) -> String:
    """Return a text type that is compared by code point.

    The order of records then does not depend on a server's locale.
    """
    if length is None:
        return Text().with_variant(Text(collation="C"), "postgresql")
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# -- creation, and the history of migrations -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A migration as the database records it.

    The creation of the tables is recorded as a migration from epoch 0. `tables_json` holds the number of rows and the
    digest of each table.
    """

    from_epoch: int
    to_epoch: int
    migrated_at: datetime
    tool: str
    tables_json: str


def lock_tables(connection: Connection) -> None:
    """Wait until no other process creates or migrates the tables.

    The lock is held until the transaction ends. On SQLite the transaction's own lock is enough.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def create_tables(connection: Connection) -> None:
    """Create tables, indexes and triggers within the caller's transaction."""
    for statement in _creating_statements(f"{connection.dialect.name}+{connection.dialect.driver}"):
        connection.exec_driver_sql(statement)
    create_triggers(connection)
    connection.execute(migration_insert(from_epoch=0, tables={}))
    begin_log(connection)


@cache
def _creating_statements(driver: str) -> tuple[str, ...]:
    """Return the statements that create tables and indexes.

    `driver` is SQLAlchemy's name of dialect and driver. They are compiled once per process.
    """
    statements: list[str] = []

    def collect(element: ExecutableDDLElement, *_: object) -> None:
        statements.append(str(element.compile(dialect=engine.dialect)))

    engine = create_mock_engine(f"{driver}://", collect)
    metadata.create_all(engine, checkfirst=False)
    return tuple(statements)


def create_triggers(connection: Connection) -> None:
    """Create the triggers of this epoch, replacing those that exist."""
    for statement in triggers.STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def read_migrations(connection: Connection) -> list[Migration]:
    """Return the recorded migrations, oldest first.

    Their table must exist, as it does since epoch 5.
    """
    columns = schema_migrations_table.c
    statement = select(
        columns.from_epoch, columns.to_epoch, columns.migrated_at, columns.tool, columns.tables_json
    ).order_by(columns.to_epoch)
    return [
        Migration(
            from_epoch=from_epoch,
            to_epoch=to_epoch,
            # SQLite stores times in UTC, without a zone.
            migrated_at=migrated_at.replace(tzinfo=UTC) if migrated_at.tzinfo is None else migrated_at,
            tool=tool,
            tables_json=tables_json,
        )
        for from_epoch, to_epoch, migrated_at, tool, tables_json in connection.execute(statement)
    ]


def tool() -> str:
    """Return this program's name and version for bookkeeping tables."""
    return f"elspeth {version('elspeth')}"


def migration_insert(*, from_epoch: int, tables: Mapping[str, Mapping[str, object]]) -> Insert:
    """Return the statement that records a migration into today's epoch."""
    return insert(schema_migrations_table).values(
        to_epoch=EPOCH,
        from_epoch=from_epoch,
        migrated_at=datetime.now(UTC),
        tool=tool(),
        tables_json=json.dumps(tables, sort_keys=True),
    )


# -- statistics ------------------------------------------------------------------------------------------------------

_GROWN_UNNOTICED = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname IN :names"
    " AND reltuples < :grown ORDER BY relname"
).bindparams(bindparam("names", expanding=True))


def analyze_grown_tables(connection: Connection, tables: Iterable[Table]) -> None:
    """Analyze the tables that PostgreSQL believes to be small.

    Every key begins with the run. Without statistics, the server considers all indexes equally good, and may read a
    whole run to check one reference: the time to record a run then grows with the square of its records. The server
    analyzes tables by itself, but only after up to a minute. SQLite does not need this.
    """
    if connection.dialect.name != "postgresql":
        return
    names = [table.name for table in tables]
    unknown = connection.execute(_GROWN_UNNOTICED, {"names": names, "grown": GROWN}).scalars().all()
    if unknown:
        connection.exec_driver_sql(f"ANALYZE {', '.join(unknown)}")
