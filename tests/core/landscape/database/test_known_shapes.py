"""The predecessor's databases are recognised, and damage is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import PredecessorDatabaseError
from elspeth.core.landscape.database.state import DatabaseState, StateKind, describe_state, read_state
from elspeth.schema.predecessor import Shape
from elspeth.schema.snapshots import ColumnSnapshot
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.predecessor import EPOCHS_BY_DATE, SHAPES, create_filled
from tests.fixtures.untouched import untouched

NEWEST = list(SHAPES.values())[-1]


def state_of(path: Path) -> DatabaseState:
    return read_state(make_url(f"sqlite:///{path}"))


@pytest.mark.thorough
def test_every_database_of_the_predecessor_is_recognised_and_left_alone(predecessor_files: Path) -> None:
    found: dict[str, str | None] = {}
    for path in sorted(predecessor_files.glob("*.db")):
        with untouched(path):
            state = state_of(path)
        found[path.name] = state.shape
        assert state.kind is (StateKind.PREDECESSOR if state.shape is not None else StateKind.OLDER), path.name
        if state.shape is not None:
            assert (state.differences, state.shape[:10]) == ((), path.name[:10]) or "__" in path.name
    assert set(filter(None, found.values())) == SHAPES.keys() - EPOCHS_BY_DATE
    assert list(found.values()).count(None) == len(EPOCHS_BY_DATE)
    assert found["0.5.1-0511__batch_aggregation.db"] == "2026-05-11 (20 tables, 205 columns, in 0.5.1)"


@pytest.fixture
def empty_postgresql(request: pytest.FixtureRequest) -> Iterator[str]:
    server = request.getfixturevalue("postgresql_server")
    url = create_database(server)
    yield url.render_as_string(hide_password=False)
    drop_database(server, url)


@pytest.mark.postgres
@pytest.mark.parametrize("name", [name for number, name in enumerate(SHAPES) if number % 30 == 0])
def test_shapes_are_recognised_on_postgresql(empty_postgresql: str, name: str) -> None:
    create_filled(empty_postgresql, SHAPES[name])
    state = read_state(make_url(empty_postgresql))
    assert state.kind is StateKind.PREDECESSOR
    assert columns_of(SHAPES[str(state.shape)]) == columns_of(SHAPES[name])


def test_the_message_names_the_shape_and_the_one_command(predecessor_files: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(predecessor_files / "0.5.1-0511__batch_aggregation.db", tmp_path / "old audit.db"))
    with pytest.raises(PredecessorDatabaseError) as caught:
        LandscapeDB(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"audit database sqlite:///{path} has the predecessor's tables of 2026-05-11 (20 tables, 205 columns, in"
        " 0.5.1). Nothing was changed. To adopt its runs in another database, which may be a new one, run:"
        f" elspeth landscape adopt 'sqlite:///{path}' -d NEW"
    )


def damaged(path: Path, *statements: str) -> DatabaseState:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return state_of(path)


@pytest.fixture
def newest(predecessor_files: Path, tmp_path: Path) -> Path:
    (path,) = predecessor_files.glob("2026-07-18-*.db")
    return Path(shutil.copy(path, tmp_path / "audit.db"))


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("ALTER TABLE runs ADD COLUMN note TEXT", "column runs.note is not expected"),
        ("ALTER TABLE nodes DROP COLUMN source_file_hash", "column nodes.source_file_hash is missing"),
        ("DROP TABLE sidecar_journal_outbox", "table sidecar_journal_outbox is missing"),
        ("CREATE TABLE mine (id INTEGER)", "table mine is not expected"),
    ],
)
def test_damage_to_tables_and_columns_is_compared_with_the_nearest_shape(
    newest: Path, statement: str, difference: str
) -> None:
    state = damaged(newest, statement)
    assert (state.kind, state.shape, state.differences) == (StateKind.DIVERGED, NEWEST.name, (difference,))
    assert f"differs from the predecessor's tables of {NEWEST.name}, the nearest: {difference}." in describe_state(
        state, "URL"
    )


def test_a_changed_type_is_reported(newest: Path) -> None:
    state = damaged(
        newest,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'size_bytes INTEGER', 'size_bytes TEXT') WHERE name = 'artifacts'",
    )
    assert state.kind is StateKind.DIVERGED
    assert state.differences == ("column artifacts.size_bytes: expected INTEGER NOT NULL, got TEXT NOT NULL",)


def test_a_shape_without_an_index_is_that_shape_and_the_index_is_named(newest: Path) -> None:
    state = damaged(newest, "DROP INDEX ix_calls_state_call_index_unique")
    assert (state.kind, state.shape) == (StateKind.PREDECESSOR, NEWEST.name)
    (difference,) = state.differences
    assert difference.startswith("index of calls is missing: ix_calls_state_call_index_unique")
    assert f", except that {difference}. Nothing was changed." in describe_state(state, "URL")


def columns_of(shape: Shape) -> set[tuple[str, ColumnSnapshot]]:
    """Return the columns alone."""
    return {(table.name, column) for table in shape.tables for column in table.columns}
