"""The snapshots of the historical epochs, against the predecessor's own files and what is known of its tables."""

from __future__ import annotations

import pytest
from sqlalchemy import CheckConstraint, MetaData, NullPool, UniqueConstraint, create_engine

from elspeth.core.landscape.migration.shape import expected_shape, found_shape, table_names
from elspeth_schema import EPOCH, tables
from elspeth_schema.migrations import EPOCHS as SNAPSHOTS
from elspeth_schema.migrations import revision
from tests.fixtures.legacy import EPOCHS, LEGACY

COUNTS = {1: (16, 137, 0, 10, 21), 2: (16, 138, 0, 10, 22), 3: (17, 151, 0, 10, 25), 4: (19, 191, 1, 8, 32)}
"""Tables, columns, checks, unique constraints and indexes that the predecessor's code defined at each epoch."""


@pytest.mark.parametrize("name", EPOCHS)
def test_a_legacy_database_has_the_tables_of_the_snapshot(name: str) -> None:
    engine = create_engine(f"sqlite:///file:{LEGACY / name}.db?mode=ro&uri=true", poolclass=NullPool)
    with engine.connect() as connection:
        found = found_shape(connection, table_names(connection))
    assert found == expected_shape(revision(EPOCHS[name]).metadata, engine.dialect)
    assert {table: list(shape.columns) for table, shape in found.items()} == column_order(
        revision(EPOCHS[name]).metadata
    )


def column_order(metadata: MetaData) -> dict[str, list[str]]:
    return {table.name: table.columns.keys() for table in metadata.tables.values()}


@pytest.mark.parametrize("epoch", COUNTS)
def test_the_snapshot_has_as_many_of_everything_as_the_predecessor_defined(epoch: int) -> None:
    found = revision(epoch).metadata.tables.values()
    constraints = [constraint for table in found for constraint in table.constraints]
    assert COUNTS[epoch] == (
        len(found),
        sum(len(table.columns) for table in found),
        sum(isinstance(constraint, CheckConstraint) for constraint in constraints),
        sum(isinstance(constraint, UniqueConstraint) for constraint in constraints),
        sum(len(table.indexes) for table in found),
    )


def test_the_newest_snapshot_is_the_schema_of_today() -> None:
    dialect = create_engine("sqlite://").dialect
    newest = revision(EPOCH).metadata
    assert expected_shape(newest, dialect) == expected_shape(tables.metadata, dialect)
    assert column_order(newest) == column_order(tables.metadata)


def test_every_epoch_has_a_migration_made_from_its_snapshot() -> None:
    assert [*SNAPSHOTS] == list(range(1, EPOCH + 1))
    assert {epoch: revision(epoch).SNAPSHOT for epoch in SNAPSHOTS} == SNAPSHOTS
    assert [revision(epoch).down_revision for epoch in SNAPSHOTS] == [None, "0001", "0002", "0003", "0004"]
