"""When partitions end."""

from __future__ import annotations

import pytest

from elspeth.engine.partitions import Bounds, OpenPartition, Partition
from elspeth.engine.tally import Tally


@pytest.fixture
def tally() -> Tally:
    return Tally({})


def test_a_partition_has_at_least_one_row_however_late_it_is(tally: Tally) -> None:
    opened = OpenPartition.begin(tally, Bounds(rows=5, visits=5, seconds=0.0))
    assert not opened.is_full()
    opened.rows = 1
    assert opened.is_full()


def test_a_partition_is_limited_in_rows_and_visits(tally: Tally) -> None:
    tally.visits = 100
    opened = OpenPartition.begin(tally, Bounds(rows=2, visits=3, seconds=1e9))
    opened.rows = 1
    tally.visits += 2
    assert not opened.is_full()
    tally.visits += 1
    assert opened.is_full()
    tally.visits, opened.rows = 100, 2
    assert opened.is_full()


def test_a_partition_is_named_by_its_rows() -> None:
    assert str(Partition(source=("source",), first=7, rows=[{}])) == "row 7"
    assert str(Partition(source=("source",), first=7, rows=[{}, {}])) == "rows 7 to 8"
