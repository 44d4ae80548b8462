"""What all calls of a recorder share: units, contents, texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.base import describe, make_recordable
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from tests.fixtures.records import record_graph


class Deferred(FilesystemPayloadStore):
    """A payload store that notes when it should be durable."""

    def __init__(self, base_path: Path) -> None:
        super().__init__(base_path)
        self.calls: list[str] = []

    def store(self, content: bytes) -> str:
        self.calls.append("store")
        return super().store(content)

    def sync(self) -> None:
        self.calls.append("sync")

    def forget(self) -> None:
        self.calls.append("forget")


def test_contents_are_durable_before_the_records_that_refer_to_them(landscape: LandscapeDB, tmp_path: Path) -> None:
    payloads = Deferred(tmp_path)
    recorder = LandscapeRecorder(landscape, payload_store=payloads)
    record_graph(recorder)
    payloads.calls.clear()
    with recorder.unit_of_work():
        for index in range(2):
            recorder.create_row("run", "source", index, {"id": index})
        assert payloads.calls == ["store", "store"]
    assert payloads.calls == ["store", "store", "sync"]
    payloads.calls.clear()

    def interrupt() -> None:
        with recorder.unit_of_work():
            recorder.create_row("run", "source", 2, {"id": 2})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert payloads.calls == ["store", "forget"]
    assert len(recorder.get_rows("run")) == 2


class Odd:
    def __repr__(self) -> str:
        return "odd \x00 \ud800"


def test_a_description_holds_what_databases_can_store() -> None:
    found = make_recordable({"x": Odd()})
    assert found == {
        "__repr__": "{'x': odd \ufffd \ufffd}",
        "__type__": "dict",
        "__canonical_error__": "value of type Odd has no canonical JSON",
    }
    assert describe({"x": Odd()}) == describe(found)


def test_times_are_recorded_to_the_microsecond(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    moments = [recorder.create_row("run", "source", index, {}).created_at for index in range(3)]
    assert any(moment.microsecond for moment in moments)
    assert moments == sorted(moments)
