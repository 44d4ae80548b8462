"""Damage to a known shape is described with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, NullPool, StaticPool, create_engine

from elspeth.core.landscape.database.state import DatabaseState, StateKind, detect_state
from elspeth.core.landscape.database.tables import snapshot_tables
from elspeth.schema.predecessor import Shape
from elspeth.schema.snapshots import ColumnSnapshot, Snapshot, TableSnapshot, default_kind
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.effort import law
from tests.fixtures.predecessor import EPOCHS_BY_DATE, SHAPES

CORE = {"runs", "nodes", "rows", "tokens", "node_states"}
"""Tables that every audit database has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A changed table, with the sentence that describes the difference.

    `told` is the beginning of the sentence. `of_columns` is false where only an index or constraint differs.
    """

    before: TableSnapshot
    after: TableSnapshot | None
    told: str
    of_columns: bool = True


@st.composite
def damages(draw: st.DrawFn, table: TableSnapshot) -> Damage:
    """Draw damage to a table."""
    key = table.primary_key.columns if table.primary_key is not None else ()
    others = [column for column in table.columns if column.name not in key]
    kinds = [
        "add",
        "retype",
        *["drop"] * bool(others),
        *["index"] * bool(table.indexes),
        *["table"] * (table.name not in CORE),
    ]
    match draw(st.sampled_from(kinds)):
        case "add":
            column = ColumnSnapshot(name="note", type="text", nullable=True, kind=default_kind("text"))
            after = replace(table, columns=(*table.columns, column))
            return Damage(before=table, after=after, told=f"column {table.name}.note is not expected")
        case "retype":
            column = draw(st.sampled_from(table.columns))
            word = "text" if column.type == "integer" else "integer"
            changed = replace(column, type=word, kind=default_kind(word))
            after = replace(table, columns=tuple(changed if each == column else each for each in table.columns))
            return Damage(before=table, after=after, told=f"column {table.name}.{column.name}: expected ")
        case "drop":
            column = draw(st.sampled_from(others))
            return Damage(
                before=table, after=_without(table, column.name), told=f"column {table.name}.{column.name} is missing"
            )
        case "index":
            index = draw(st.sampled_from(table.indexes))
            after = replace(table, indexes=tuple(each for each in table.indexes if each != index))
            told = f"index of {table.name} is missing: {index.name} "
            return Damage(before=table, after=after, told=told, of_columns=False)
    return Damage(before=table, after=None, told=f"table {table.name} is missing")


def _without(table: TableSnapshot, column: str) -> TableSnapshot:
    """Return the table without a column and its dependents."""
    return replace(
        table,
        columns=tuple(each for each in table.columns if each.name != column),
        foreign_keys=tuple(each for each in table.foreign_keys if column not in each.columns),
        uniques=tuple(each for each in table.uniques if column not in each.columns),
        checks=tuple(each for each in table.checks if column not in each.condition),
        indexes=tuple(
            each for each in table.indexes if column not in each.columns and column not in (each.where or "")
        ),
    )


@st.composite
def damaged_shapes(draw: st.DrawFn) -> tuple[Shape, tuple[Damage, ...]]:
    """Draw a known shape with damage to some tables."""
    shape = draw(st.sampled_from(list(SHAPES.values())))
    tables = draw(st.lists(st.sampled_from(shape.tables), min_size=1, max_size=3, unique_by=lambda each: each.name))
    return shape, tuple(draw(damages(table)) for table in tables)


def damaged(shape: Shape, done: tuple[Damage, ...]) -> Iterator[TableSnapshot]:
    """Yield the remaining tables, without dangling references."""
    changed = {each.before.name: each.after for each in done}
    tables = [changed.get(table.name, table) for table in shape.tables]
    left = {table.name: {column.name for column in table.columns} for table in tables if table is not None}
    for table in tables:
        if table is not None:
            keys = tuple(key for key in table.foreign_keys if left.get(key.table, set()) >= set(key.target_columns))
            yield replace(table, foreign_keys=keys)


def require_told(state: DatabaseState, shape: Shape, done: tuple[Damage, ...]) -> None:
    """Check that a state names all damage, or less elsewhere."""
    of_columns = [each for each in done if each.of_columns]
    if state.kind is StateKind.OLDER:  # the damage turned it into another known shape, which is an epoch
        assert shape.name not in EPOCHS_BY_DATE
        return
    assert state.shape is not None
    if state.shape == shape.name:
        for each in done:
            assert [told for told in state.differences if told.startswith(each.told)], (each.told, state.differences)
        assert state.kind is (StateKind.DIVERGED if of_columns else StateKind.PREDECESSOR)
    else:
        told = [each for each in state.differences if each.startswith(("column", "table", "primary key"))]
        assert len(told) <= len(of_columns), (state.shape, state.differences)
        assert state.kind is (StateKind.DIVERGED if told else StateKind.PREDECESSOR)


@law(60)
@given(drawn=damaged_shapes())
def test_damage_to_a_known_shape_is_described_with_its_place(drawn: tuple[Shape, tuple[Damage, ...]]) -> None:
    shape, done = drawn
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        snapshot_tables(Snapshot(epoch=0, tables=tuple(damaged(shape, done)))).create_all(connection)
        require_told(detect_state(connection), shape, done)
    engine.dispose()


@pytest.mark.thorough
@pytest.mark.postgres
@settings(max_examples=25)
@given(drawn=damaged_shapes())
def test_damage_is_described_on_postgresql(postgresql_server: URL, drawn: tuple[Shape, tuple[Damage, ...]]) -> None:
    shape, done = drawn
    # References, checks and partial indexes would refuse a column whose type was changed.
    tables = tuple(
        replace(table, foreign_keys=(), checks=(), indexes=tuple(each for each in table.indexes if each.where is None))
        for table in damaged(shape, done)
    )
    url = create_database(postgresql_server)
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            snapshot_tables(Snapshot(epoch=0, tables=tables)).create_all(connection)
            require_told(detect_state(connection), shape, done)
    finally:
        drop_database(postgresql_server, url)
