"""The contents that the records of a run refer to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.contents import find_contents, payload_place
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth_schema.contracts import Run
from tests.fixtures.records import record_graph
from tests.fixtures.rich_run import recorded, rich_run


def with_settings(settings: str) -> Run:
    run = rich_run()[0]
    assert isinstance(run, Run)
    return replace(run, settings_json=settings)


def test_settings_name_the_place_of_payloads(landscape: LandscapeDB) -> None:
    run_id = recorded(landscape, [with_settings('{"payload_store":{"base_path":"kept"}}')])
    assert payload_place(landscape, run_id) == Path("kept")


@pytest.mark.parametrize(
    "settings",
    ["{}", "[]", "null", '"text"', '{"payload_store":null}', '{"payload_store":"x"}', '{"payload_store":{}}'],
)
def test_settings_that_name_no_place_of_payloads_are_refused(landscape: LandscapeDB, settings: str) -> None:
    run_id = recorded(landscape, [with_settings(settings)])
    with pytest.raises(LandscapeError) as refused:
        payload_place(landscape, run_id)
    assert str(refused.value) == (
        "the settings of run run-1 do not say where its payloads are: name the place with --payloads"
    )


def refer(recorder: LandscapeRecorder, run_id: str, *references: str) -> None:
    """Record a run with a row for each reference."""
    record_graph(recorder, run_id)
    for index, reference in enumerate(references):
        recorder.create_row(run_id, "source", index, {}, payload_ref=reference)


def test_the_contents_of_a_run_are_those_that_its_records_name(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path
) -> None:
    store = FilesystemPayloadStore(tmp_path)
    kept, twice, others = (store.store(content) for content in (b"1", b"2", b"3"))
    refer(recorder, "run", kept, twice, twice, "0" * 64)
    refer(recorder, "other", others, "1" * 64)
    refer(recorder, "purged", "2" * 64)
    found = find_contents(landscape, "run", tmp_path)
    assert (sorted(found.kept), found.missing) == (sorted([kept, twice]), 1)
    assert dict(found.read()) == {kept: b"1", twice: b"2"}
    gone = find_contents(landscape, "purged", tmp_path)
    assert ([*gone.kept], gone.missing, [*gone.read()]) == ([], 1, [])


def test_without_a_store_all_contents_are_missing(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path
) -> None:
    refer(recorder, "run", "0" * 64)
    found = find_contents(landscape, "run", tmp_path / "nowhere")
    assert ([*found.kept], found.missing, [*found.read()]) == ([], 1, [])
    assert list(tmp_path.iterdir()) == []


def test_a_content_that_is_purged_during_an_export_ends_it(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path
) -> None:
    store = FilesystemPayloadStore(tmp_path)
    kept = store.store(b"1")
    refer(recorder, "run", kept)
    found = find_contents(landscape, "run", tmp_path)
    store.delete(kept)
    with pytest.raises(LandscapeError) as refused:
        list(found.read())
    assert str(refused.value) == f"payload {kept} was purged from {tmp_path} meanwhile: export again"
