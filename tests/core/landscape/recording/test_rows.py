from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.predecessor_reads import RowDataResult, RowDataState
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore, IntegrityError
from tests.fixtures.records import record_graph


@pytest.fixture
def payloads(tmp_path: Path) -> FilesystemPayloadStore:
    return FilesystemPayloadStore(tmp_path / "payloads")


@pytest.fixture
def keeping(landscape: LandscapeDB, payloads: FilesystemPayloadStore) -> LandscapeRecorder:
    """A recorder that keeps what it is given."""
    recorder = LandscapeRecorder(landscape, payload_store=payloads)
    record_graph(recorder)
    return recorder


def test_a_row_is_recorded_with_the_hash_of_its_content(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 3, {"name": "é", "id": 1})
    assert recorder.get_row(row.row_id) == recorder.get_row(row.row_id, run_id="run") == row
    assert (row.run_id, row.source_node_id, row.row_index, row.source_data_ref) == ("run", "source", 3, None)
    assert row.source_data_hash == hashlib.sha256('{"id":1,"name":"é"}'.encode()).hexdigest()


def test_the_caller_may_give_id_and_reference(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {}, row_id="mine", payload_ref="elsewhere")
    assert (row.row_id, row.source_data_ref) == ("mine", "elsewhere")


def test_rows_are_listed_as_they_were_read(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    for index in (10, 2, 0):
        recorder.create_row("run", "source", index, {}, row_id=f"row-{index}")
    assert [row.row_index for row in recorder.get_rows("run")] == [0, 2, 10]
    assert recorder.get_rows("nowhere") == []
    assert recorder.get_row("nowhere") is None


def test_a_quarantined_row_may_hold_what_json_cannot_express(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {"value": math.nan}, quarantined=True)
    problem = "a number is not finite, which JSON does not have"
    described = f'{{"__canonical_error__":"{problem}","__repr__":"{{\'value\': nan}}","__type__":"dict"}}'
    assert row.source_data_hash == hashlib.sha256(described.encode()).hexdigest()


# -- content ---------------------------------------------------------------------------------------------------------


def test_content_is_kept_under_its_hash(keeping: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = keeping.create_row("run", "source", 0, {"b": 2.0, "a": None})
    assert row.source_data_ref == row.source_data_hash
    assert payloads.retrieve(row.source_data_hash) == b'{"a":null,"b":2}'
    available = RowDataResult(state=RowDataState.AVAILABLE, data={"a": None, "b": 2})
    assert keeping.get_row_data(row.row_id) == keeping.get_row_data(row.row_id, run_id="run") == available


def test_content_that_was_purged_is_gone(keeping: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = keeping.create_row("run", "source", 0, {})
    payloads.delete(row.source_data_hash)
    assert keeping.get_row_data(row.row_id) == RowDataResult(state=RowDataState.PURGED, data=None)


def test_content_that_was_altered_is_an_error(keeping: LandscapeRecorder, tmp_path: Path) -> None:
    row = keeping.create_row("run", "source", 0, {})
    (tmp_path / "payloads" / row.source_data_hash[:2] / row.source_data_hash).write_bytes(b'{"forged":true}')
    with pytest.raises(IntegrityError, match=r"The file was altered\.$"):
        keeping.get_row_data(row.row_id)


def test_content_that_was_never_stored(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {})
    assert recorder.get_row_data(row.row_id) == RowDataResult(state=RowDataState.NEVER_STORED, data=None)


def test_content_without_a_store_to_read_it_from(keeping: LandscapeRecorder, recorder: LandscapeRecorder) -> None:
    row = keeping.create_row("run", "source", 0, {})
    assert recorder.get_row_data(row.row_id) == RowDataResult(state=RowDataState.STORE_NOT_CONFIGURED, data=None)


def test_content_of_an_unknown_row(recorder: LandscapeRecorder) -> None:
    assert recorder.get_row_data("nowhere") == RowDataResult(state=RowDataState.ROW_NOT_FOUND, data=None)


def test_a_row_is_explained_with_its_content(keeping: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = keeping.create_row("run", "source", 5, {"id": 1})
    explained = keeping.explain_row("run", row.row_id)
    assert explained is not None
    assert {name: getattr(explained, name) for name in ("row_id", "run_id", "source_node_id", "row_index")} == {
        "row_id": row.row_id,
        "run_id": "run",
        "source_node_id": "source",
        "row_index": 5,
    }
    assert (explained.source_data_hash, explained.created_at) == (row.source_data_hash, row.created_at)
    assert (explained.source_data, explained.payload_available) == ({"id": 1}, True)
    payloads.delete(row.source_data_hash)
    purged = keeping.explain_row("run", row.row_id)
    assert purged is not None
    assert (purged.source_data, purged.payload_available) == (None, False)
    assert keeping.explain_row("run", "nowhere") is None
    assert keeping.explain_row("nowhere", row.row_id) is None


@pytest.mark.parametrize("state", RowDataState)
def test_a_result_has_content_exactly_when_it_is_available(state: RowDataState) -> None:
    available = state is RowDataState.AVAILABLE
    RowDataResult(state=state, data={} if available else None)
    with pytest.raises(ValueError, match="row data") as caught:
        RowDataResult(state=state, data=None if available else {})
    got = "NoneType" if available else "dict"
    assert str(caught.value) == f"row data: expected content exactly when available, got {state} and {got}"
