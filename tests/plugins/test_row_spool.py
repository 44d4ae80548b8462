"""Rows that wait on disk come back as they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from elspeth.contracts.rows import RowData
from elspeth.plugins.row_spool import RowSpool, in_groups, read_rows, row_line
from tests.plugins.typed_rows import TYPED

BREAKS = "a\nb\rc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i"
"""Characters that some programs take for line ends."""

MANY: list[RowData] = [{"text": BREAKS}, {}, dict(TYPED), {"nested": {"list": [dict(TYPED), None]}}]


def spool(directory: Path, rows: list[RowData]) -> RowSpool:
    made = RowSpool(directory / "x.rows")
    made.open("run1")
    for row in rows:
        made.append(row)
    made.sync()
    return made


def test_rows_are_read_back_with_their_types_and_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"".join(map(row_line, MANY)))
    assert repr(list(read_rows(tmp_path / "rows"))) == repr(MANY)


def test_a_spool_is_described_by_its_lines(tmp_path: Path) -> None:
    made = spool(tmp_path, MANY)
    content = b"".join(map(row_line, MANY))
    digest = hashlib.sha256(content).hexdigest()
    assert made.position() == {"bytes": len(content), "sha256": digest, "rows": 4}
    made.finish()
    assert (made.rows, made.size_bytes, made.content_hash) == (4, len(content), digest)
    assert list(made.read()) == MANY


def test_a_spool_goes_on_after_the_rows_of_its_position(tmp_path: Path) -> None:
    first = spool(tmp_path, MANY)
    position = first.position()
    first.append({"not": "recorded"})
    assert first.close() == str(tmp_path / ".x.rows.run1.partial")
    second = RowSpool(tmp_path / "x.rows")
    second.reopen("run1", position)
    second.append({"last": 1})
    second.finish()
    assert (list(second.read()), second.rows) == ([*MANY, {"last": 1}], 5)
    second.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_left_is_removed_once(tmp_path: Path) -> None:
    spool(tmp_path, MANY).close()
    for _ in range(2):
        RowSpool(tmp_path / "x.rows").remove("run1")
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_json_cannot_represent_does_not_count(tmp_path: Path) -> None:
    made = spool(tmp_path, [{"a": 1}])
    with pytest.raises(ValueError, match=r"^a number is not finite, which JSON does not have$"):
        made.append({"a": float("nan")})
    assert made.position()["rows"] == 1
    made.discard()


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (2, [2]), (3, [2, 1]), (4, [2, 2])])
def test_groups_hold_every_row_in_order_and_none_is_empty(count: int, sizes: list[int]) -> None:
    rows: list[RowData] = [{"n": number} for number in range(count)]
    groups = list(in_groups(iter(rows), 2))
    assert [len(group) for group in groups] == sizes
    assert [row for group in groups for row in group] == rows
