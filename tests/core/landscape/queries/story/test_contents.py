"""The contents that a story's records refer to."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.bag_form import write_bag_of_run
from elspeth.core.landscape.exporting.contents import find_contents
from elspeth.core.landscape.queries.story.contents import contents_in_bag, contents_in_store
from elspeth.core.landscape.queries.story.model import RowStory
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore, IntegrityError
from tests.fixtures.landscapes import in_memory
from tests.fixtures.records import record_graph

STORED = {
    b'{"a":[1,null]}': {"a": [1, None]},
    b"null": "null",
    b'"text"': "text",
    b"0": 0,
    b"no JSON": "no JSON",
    b"\xff\xc3\xa9": "\ufffd\xe9",
    b"": "",
}
"""Contents, and what stories show of them."""


@pytest.fixture
def bagged(tmp_path: Path) -> Iterator[tuple[RowStory, Path, Path]]:
    """Return a story, and bags with all contents but one."""
    store = FilesystemPayloadStore(tmp_path / "store")
    with in_memory() as db:
        recorder = LandscapeRecorder(db)
        record_graph(recorder)
        recorder.create_row("run", "source", 0, {}, row_id="row", payload_ref="0" * 64)
        recorder.create_token("row", run_id="run", token_id="token")
        state = recorder.begin_node_state("token", "source", 0, {}, run_id="run", state_id="state")
        for index, content in enumerate([*STORED, b"null"]):
            reference = store.store(content)
            recorder.record_call(state.state_id, index, "http", "success", {}, {}, response_ref=reference, run_id="run")
        for name, archive in (("bag", False), ("bag.zip", True)):
            contents = find_contents(db, "run", tmp_path / "store")
            write_bag_of_run(db, "run", tmp_path / name, signer=None, archive=archive, contents=contents)
        with db.snapshot() as connection:
            yield row_story(DatabaseTrail(connection, "run"), 0), tmp_path / "bag", tmp_path / "bag.zip"


def test_a_bag_holds_the_contents_of_a_story(bagged: tuple[RowStory, Path, Path]) -> None:
    story, *bags = bagged
    expected = {"0" * 64: None} | {sha256(content).hexdigest(): shown for content, shown in STORED.items()}
    for path in bags:
        assert contents_in_bag(story, path) == expected
    assert next(iter(contents_in_bag(story, bags[0]))) == "0" * 64
    assert contents_in_bag(story, bags[0] / "data") == dict.fromkeys(expected)
    assert contents_in_bag(story, bags[0] / "data" / "records.jsonl") == dict.fromkeys(expected)


def test_a_content_that_was_altered_in_a_bag_is_refused(bagged: tuple[RowStory, Path, Path]) -> None:
    story, path, _ = bagged
    reference = sha256(b"0").hexdigest()
    (file,) = (each for each in path.rglob(reference) if each.is_file())
    file.write_bytes(b"1")
    with pytest.raises(LandscapeError) as refused:
        contents_in_bag(story, path)
    assert str(refused.value) == f"the content {reference} was altered: its SHA-256 is another"


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
