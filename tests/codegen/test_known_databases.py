"""The table of the predecessor's databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen import writer
from codegen.known_databases import with_known_databases
from elspeth.core.landscape.database.known_shapes import known_shapes
from elspeth.core.landscape.database.tables import load_snapshot
from elspeth_schema import EPOCH

PAGE = Path(__file__).parents[2] / "docs" / "upgrading.md"
EPOCHS = [load_snapshot(epoch) for epoch in range(1, EPOCH + 1)]


def test_the_table_has_a_line_for_each_known_database() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for shape in known_shapes():
        start = f"| {shape.date} | {len(shape.tables)} | {shape.columns} | {', '.join(shape.releases)} | "
        assert [line for line in lines if line.startswith(start)], shape.name
    assert [line.partition("as ")[2] for line in lines if "`migrate`, as" in line] == [
        f"epoch {epoch}, or `adopt` |" for epoch in (1, 2, 3, 4)
    ]


def test_an_edit_of_the_table_is_shown_and_overwritten(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    page = tmp_path / "upgrading.md"
    page.write_text(text.replace("| 2026-01-13 | 13 | 102 |", "| 2026-01-13 | 13 | 103 |"), encoding="utf-8")
    wanted = with_known_databases(page.read_text(encoding="utf-8"), known_shapes(), EPOCHS)
    assert wanted == text
    (shown,) = writer.drift_of_page(page, wanted)
    assert "+| 2026-01-13 | 13 | 102 |" in shown
    assert writer.write_page(page, wanted) == [f"wrote {tmp_path.name}/upgrading.md"]
    assert (writer.drift_of_page(page, wanted), writer.write_page(page, wanted)) == ([], [])


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a line <!-- Written by codegen"):
        with_known_databases("# Upgrading\n", known_shapes(), EPOCHS)
