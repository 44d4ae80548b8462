"""Every tool that the benchmark compares exports the records."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.recording import record_rows
from benchmarks.rivals import RIVALS, Rival


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rivals") / "audit.db"
    record_rows(f"sqlite:///{path}", 40)
    return path


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.tool)
def test_every_tool_writes_the_records(rival: Rival, database: Path, tmp_path: Path) -> None:
    if missing := rival.missing():
        pytest.skip(missing)
    rival.job(database, tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 0]
    assert bool(written) == ("dropped" not in rival.tool)
