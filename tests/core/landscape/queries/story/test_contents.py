"""The contents that a story's records refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.landscape.queries.story.contents import contents_in_store
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore, IntegrityError
from tests.fixtures.landscapes import in_memory
from tests.fixtures.records import record_graph


def contents_of(reference: str, store: Path) -> dict[str, object]:
    """Return the contents of a row with a reference."""
    with in_memory() as db:
        recorder = LandscapeRecorder(db)
        record_graph(recorder)
        recorder.create_row("run", "source", 0, {}, row_id="row", payload_ref=reference)
        recorder.create_token("row", run_id="run")
        with db.snapshot() as connection:
            story = row_story(DatabaseTrail(connection, "run"), 0)
        return contents_in_store(story, db, store)


def test_contents_that_are_not_kept_are_none(tmp_path: Path) -> None:
    store = FilesystemPayloadStore(tmp_path)
    kept = store.store(b'{"a":1}')
    assert contents_of(kept, tmp_path) == {kept: {"a": 1}}
    assert contents_of("0" * 64, tmp_path) == {"0" * 64: None}


def test_a_reference_of_another_program_has_no_content(tmp_path: Path) -> None:
    FilesystemPayloadStore(tmp_path).store(b"{}")
    assert contents_of("s3://bucket/../key", tmp_path) == {"s3://bucket/../key": None}


def test_an_altered_content_is_refused(tmp_path: Path) -> None:
    kept = FilesystemPayloadStore(tmp_path).store(b"{}")
    (tmp_path / kept[:2] / kept).write_bytes(b"{ }")
    with pytest.raises(IntegrityError, match=f"expected SHA-256 {kept}"):
        contents_of(kept, tmp_path)
