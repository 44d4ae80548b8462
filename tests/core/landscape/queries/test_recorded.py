"""What a pipeline asks about earlier records."""

from __future__ import annotations

import pytest

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries import recorded
from elspeth.core.landscape.queries.recorded import row_hashes
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.records import record_graph


@pytest.mark.parametrize("rows", [0, 4, 5])
def test_each_row_has_one_hash_however_many_are_read_at_once(
    landscape: LandscapeDB, recorder: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(recorded, "_CHUNK", 2)
    with recorder.unit_of_work():
        for run_id in ("run", "other"):
            record_graph(recorder, run_id)
        recorder.create_row("other", "source", 0, {"id": "other"})
        for index in reversed(range(rows)):
            recorder.create_row("run", "source", index, {"id": index})
    assert list(row_hashes(landscape, "run", "source")) == [
        (index, stable_hash({"id": index})) for index in range(rows)
    ]
