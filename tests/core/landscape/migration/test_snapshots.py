"""Snapshots of historical epochs, against the predecessor's own files."""

from __future__ import annotations

import hashlib

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

from elspeth.core.landscape.database.shapes import expected_shapes, read_shapes, table_names
from elspeth.core.landscape.database.tables import epoch_tables, load_snapshot, snapshot_tables
from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata as todays_tables
from tests.fixtures.legacy import KEPT, LEGACY

COUNTS = {1: (16, 137, 0, 10, 21), 2: (16, 138, 0, 10, 22), 3: (17, 151, 0, 10, 25), 4: (19, 191, 1, 8, 32)}
"""Tables, columns, checks, unique constraints and indexes that the predecessor's code defined at each epoch."""


@pytest.mark.parametrize("name", KEPT)
def test_a_legacy_database_has_the_tables_of_the_snapshot(name: str) -> None:
    engine = create_engine(f"sqlite:///file:{LEGACY / name}.db?mode=ro&uri=true", poolclass=NullPool)
    with engine.connect() as connection:
        found = read_shapes(connection, table_names(connection))
    tables = epoch_tables(KEPT[name])
    assert found == expected_shapes(tables, engine.dialect)
    assert {table: list(shape.columns) for table, shape in found.items()} == column_order(tables)


def column_order(metadata: MetaData) -> dict[str, list[str]]:
    return {table.name: table.columns.keys() for table in metadata.tables.values()}


@pytest.mark.parametrize("epoch", COUNTS)
def test_the_snapshot_has_the_counts_of_the_predecessors_definitions(epoch: int) -> None:
    found = epoch_tables(epoch).tables.values()
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
    assert statements(snapshot_tables(load_snapshot(EPOCH)), dialect) == statements(todays_tables, dialect)


MADE = {
    (5, "sqlite"): "6b8ab838422cf0548ed6f2dde6b3d9603d4e539b84cbb57ff150a4a9e1c7250d",
    (5, "postgresql"): "699caa15ff0436c9dbae02ff3092c150966732a077318541607bb89cc17cee30",
}
"""SHA-256 over the statements that create the tables of a released epoch: databases made by them exist."""


@pytest.mark.parametrize("made", MADE, ids=str)
def test_the_tables_of_a_released_epoch_never_change(made: tuple[int, str]) -> None:
    epoch, dialect = made
    text = " ".join(" ".join(statements(snapshot_tables(load_snapshot(epoch)), dialect)).split())
    assert hashlib.sha256(text.encode()).hexdigest() == MADE[made]


def statements(metadata: MetaData, dialect: str) -> list[str]:
    """Return the statements that create the tables and indexes."""
    written: list[str] = []

    def write(statement: ExecutableDDLElement, *_: object) -> None:
        written.append(str(statement.compile(dialect=make_url(f"{dialect}://").get_dialect()())))

    engine = create_mock_engine(f"{dialect}://", write)
    metadata.create_all(engine, checkfirst=False)
    return sorted(written)
