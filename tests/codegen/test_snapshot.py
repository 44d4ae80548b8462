"""Snapshots as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.history import EPOCHS, read_history
from codegen.load import load_model
from codegen.snapshot import snapshot_of
from elspeth.schema.snapshots import (
    CheckSnapshot,
    ColumnSnapshot,
    IndexSnapshot,
    KeySnapshot,
    Kind,
    LifecycleSnapshot,
    ReferenceSnapshot,
    Snapshot,
    TableSnapshot,
    format_snapshot,
    parse_snapshot,
)

SCHEMA = Path(__file__).parents[2] / "schema"
HISTORY = Path(__file__).parents[2] / "generated" / EPOCHS

NAMES = st.text(st.sampled_from('abc_"\\é'), min_size=1, max_size=5)
MAYBE = st.none() | NAMES
SEVERAL = st.lists(NAMES, min_size=1, max_size=3).map(tuple)


def some(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


TABLES = st.builds(
    TableSnapshot,
    name=NAMES,
    record_type=MAYBE,
    columns=st.lists(
        st.builds(
            ColumnSnapshot,
            name=NAMES,
            type=st.sampled_from(("string", "string(64)", "bigint", "double", "integer", "timestamp")),
            nullable=st.booleans(),
            kind=st.sampled_from(Kind),
            values=some(NAMES),
            pattern=MAYBE,
            minimum=st.none() | st.integers(-1, 1),
            maximum=st.none() | st.integers(-1, 1),
            withheld=st.booleans(),
            backfill=MAYBE,
            renamed_from=MAYBE,
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    primary_key=st.none() | st.builds(KeySnapshot, name=MAYBE, columns=SEVERAL),
    foreign_keys=some(
        st.builds(ReferenceSnapshot, name=MAYBE, columns=SEVERAL, table=NAMES, target_columns=SEVERAL, on_delete=MAYBE)
    ),
    uniques=some(st.builds(KeySnapshot, name=MAYBE, columns=SEVERAL)),
    checks=some(st.builds(CheckSnapshot, name=NAMES, condition=NAMES)),
    indexes=some(st.builds(IndexSnapshot, name=NAMES, columns=SEVERAL, unique=st.booleans(), where=MAYBE)),
    lifecycle=st.none()
    | st.builds(LifecycleSnapshot, status=MAYBE, final=some(NAMES), while_open=some(NAMES), afterwards=some(NAMES)),
    export_order=some(NAMES),
    renamed_from=MAYBE,
)
SNAPSHOTS = st.builds(Snapshot, epoch=st.integers(1, 99), tables=st.lists(TABLES, min_size=1, max_size=3).map(tuple))


@given(snapshot=SNAPSHOTS)
def test_a_snapshot_survives_being_written_and_read(snapshot: Snapshot) -> None:
    assert parse_snapshot(format_snapshot(snapshot)) == snapshot


@given(snapshot=SNAPSHOTS)
def test_each_column_and_constraint_takes_one_line(snapshot: Snapshot) -> None:
    parts = [
        part
        for table in snapshot.tables
        for part in (table.columns, table.foreign_keys, table.uniques, table.checks, table.indexes)
    ]
    lines = format_snapshot(snapshot).splitlines()
    assert len([line for line in lines if line.startswith("      {")]) == sum(map(len, parts))


@pytest.mark.parametrize("path", sorted(HISTORY.glob("*.json")), ids=lambda path: path.stem)
def test_each_kept_snapshot_has_the_format_of_today(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_snapshot(parse_snapshot(text)) == text


def test_the_schema_is_the_newest_epoch() -> None:
    assert read_history(HISTORY)[-1] == snapshot_of(load_model(SCHEMA / "landscape.yaml"))
