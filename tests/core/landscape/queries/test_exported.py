"""Exports as tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.queries import exported
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.records import ROW, TOKEN
from tests.fixtures.records import record_everything


def test_only_the_requested_types_are_loaded_and_progress_counts_all_records(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_everything(recorder)
    path = tmp_path / "trail.jsonl"
    total = write_export(landscape, "run", path, format=ExportFormat.JSONL)
    monkeypatch.setattr(exported, "_ROWS", 2)
    counted: list[int] = []
    stored: list[object] = []
    with (
        exported.open_exported(
            path, [ROW, TOKEN], counted.append, on_record=lambda each: stored.append(each.record["record_type"])
        ) as (connection, run_id),
        landscape.connection() as original,
    ):
        assert run_id == "run"
        for each in (ROW, TOKEN):
            count = select(func.count()).select_from(each.table).where(each.table.c.run_id == "run")
            assert connection.scalar(count) == original.scalar(count)
    assert counted == sorted(set(counted))
    assert counted[-1] == total
    assert (len(stored), stored[0], stored[-1]) == (total + 1, "run", "manifest")
