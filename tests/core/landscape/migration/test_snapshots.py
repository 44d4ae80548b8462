"""The snapshots of the historical epochs, against the predecessor's own files and what is known of its tables."""

from __future__ import annotations

import pytest
from sqlalchemy import (
    CheckConstraint,
    MetaData,
    NullPool,
    UniqueConstraint,
    create_engine,
    create_mock_engine,
    make_url,
)
from sqlalchemy.schema import ExecutableDDLElement

from elspeth.core.landscape.epochs import snapshot
from elspeth.core.landscape.migration.epoch_tables import metadata_of, tables_of
from elspeth.core.landscape.migration.shape import TableShape, expected_shape, found_shape, table_names
from elspeth.core.landscape.migration.state import all_tables_of
from elspeth_schema import EPOCH, tables
from tests.fixtures.legacy import EPOCHS, LEGACY

COUNTS = {1: (16, 137, 0, 10, 21), 2: (16, 138, 0, 10, 22), 3: (17, 151, 0, 10, 25), 4: (19, 191, 1, 8, 32)}
"""Tables, columns, checks, unique constraints and indexes that the predecessor's code defined at each epoch."""


@pytest.mark.parametrize("name", EPOCHS)
def test_a_legacy_database_has_the_tables_of_the_snapshot(name: str) -> None:
    engine = create_engine(f"sqlite:///file:{LEGACY / name}.db?mode=ro&uri=true", poolclass=NullPool)
    with engine.connect() as connection:
        found = found_shape(connection, table_names(connection))
    expected: dict[str, TableShape] = {}
    order: dict[str, list[str]] = {}
    for metadata in all_tables_of(EPOCHS[name]):
        expected |= expected_shape(metadata, engine.dialect)
        order |= column_order(metadata)
    assert found == expected
    assert {table: list(shape.columns) for table, shape in found.items()} == order


def column_order(metadata: MetaData) -> dict[str, list[str]]:
    return {table.name: table.columns.keys() for table in metadata.tables.values()}


@pytest.mark.parametrize("epoch", COUNTS)
def test_the_snapshot_has_as_many_of_everything_as_the_predecessor_defined(epoch: int) -> None:
    found = tables_of(epoch).tables.values()
    constraints = [constraint for table in found for constraint in table.constraints]
    assert COUNTS[epoch] == (
        len(found),
        sum(len(table.columns) for table in found),
        sum(isinstance(constraint, CheckConstraint) for constraint in constraints),
        sum(isinstance(constraint, UniqueConstraint) for constraint in constraints),
        sum(len(table.indexes) for table in found),
    )


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_tables_made_from_todays_snapshot_are_those_of_the_schema(dialect: str) -> None:
    assert statements(metadata_of(snapshot(EPOCH)), dialect) == statements(tables.metadata, dialect)


def statements(metadata: MetaData, dialect: str) -> list[str]:
    """The statements that create the tables and their indexes, in no order."""
    written: list[str] = []

    def write(statement: ExecutableDDLElement, *_: object) -> None:
        written.append(str(statement.compile(dialect=make_url(f"{dialect}://").get_dialect()())))

    engine = create_mock_engine(f"{dialect}://", write)
    metadata.create_all(engine, checkfirst=False)
    return sorted(written)
