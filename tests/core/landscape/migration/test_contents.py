"""Digests of the contents of tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, StaticPool, create_engine

from elspeth.core.landscape.database.tables import TableMap, epoch_tables, map_tables
from elspeth.core.landscape.migration.contents import Meter, TableContent, read_contents_before
from elspeth_schema import EPOCH

FLOATS = st.floats(allow_nan=False).map(lambda number: number + 0.0)
"""Without the negative zero, which SQLite does not keep."""

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text(st.characters(codec="utf-8"))
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=8)

Rows = list[tuple[object, object]]


def content(rows: Rows) -> TableContent:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a, b)")
        for row in rows:
            connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", row)
        return content_of_table(connection)


def content_of_table(connection: Connection) -> TableContent:
    table = TableMap(before="t", after="t", columns=(("a", "a"), ("b", "b")), copies=0)
    return read_contents_before(connection, (table,), Meter(None))["t"]


@given(rows=ROWS, data=st.data())
def test_the_digest_does_not_depend_on_the_order_of_rows(rows: Rows, data: st.DataObject) -> None:
    assert content(data.draw(st.permutations(rows))) == content(rows)


@given(rows=ROWS, other=ROWS)
def test_tables_with_different_rows_have_different_digests(rows: Rows, other: Rows) -> None:
    same = sorted(map(repr, rows)) == sorted(map(repr, other))
    assert (content(rows) == content(other)) == same


@given(rows=ROWS)
def test_a_duplicate_row_counts_twice(rows: Rows) -> None:
    twice = content([*rows, *rows])
    assert twice.rows == 2 * len(rows)
    assert (twice.digest == content(rows).digest) == (not rows)


def test_an_empty_table_has_the_digest_zero() -> None:
    assert content([]) == TableContent(rows=0, digest="0" * 64)


@pytest.mark.parametrize("epoch", range(1, EPOCH))
def test_every_column_is_compared_except_backfilled_ones(epoch: int) -> None:
    maps = {table.before: table for table in map_tables(epoch, EPOCH)}
    lost = {
        f"{name}.{column}"
        for name, table in epoch_tables(epoch).tables.items()
        for column in set(table.columns.keys()) - {before for before, _ in maps[name].columns}
    }
    # Epoch 4 wanted hashes where older checkpoints have none; today an empty one is null.
    hashes = {"checkpoints.upstream_topology_hash", "checkpoints.checkpoint_node_config_hash"}
    assert lost == (hashes if epoch == 4 else set())
    assert {name: table.after for name, table in maps.items()} == {name: name for name in maps}
