"""Exports are the same whether processes share the reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.lines import ranges
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format import bag
from elspeth.outputs.compression import Compression
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import RunStatus
from tests.fixtures.corruption import plant
from tests.fixtures.executors import ClusterExecutor, InlineExecutor
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_everything

KEY = b"a key of the tests"


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LandscapeDB]:
    """Open a database with an open run, not in memory."""
    if request.param == "sqlite":
        with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as db:
            record_everything(LandscapeRecorder(db), rows=5)
            yield db
        return
    new: NewLandscape = request.getfixturevalue("on_postgresql")
    with new() as db:
        record_everything(LandscapeRecorder(db), rows=5)
        yield db


@pytest.fixture
def ended(stored: LandscapeDB) -> LandscapeDB:
    """End the run as failed, with open records."""
    LandscapeRecorder(stored).complete_run("run", RunStatus.FAILED)
    return stored


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> InlineExecutor:
    """Return an executor that reads two records at a time."""
    monkeypatch.setattr(ranges, "_PART", 2)
    return ClusterExecutor()


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.JSON])
@pytest.mark.parametrize("key", [None, KEY])
def test_the_bytes_do_not_depend_on_the_number_of_workers(
    ended: LandscapeDB, executor: InlineExecutor, tmp_path: Path, form: ExportFormat, key: bytes | None
) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    count = write_export(ended, "run", one, format=form, signing_key=key)
    assert write_export(ended, "run", many, format=form, signing_key=key, executor=executor) == count
    assert executor.jobs > 10
    assert many.read_bytes() == one.read_bytes()


def test_compressed_bytes_do_not_depend_on_the_number_of_workers(
    ended: LandscapeDB, executor: InlineExecutor, tmp_path: Path
) -> None:
    for kind in Compression:
        one, many = tmp_path / f"one-{kind}", tmp_path / f"many-{kind}"
        write_export(ended, "run", one, format=ExportFormat.JSONL, compression=kind)
        write_export(ended, "run", many, format=ExportFormat.JSONL, compression=kind, executor=executor)
        assert many.read_bytes() == one.read_bytes()
    assert executor.jobs > 10


def test_a_bag_holds_the_same_records(ended: LandscapeDB, executor: InlineExecutor, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    write_export(ended, "run", one, format=ExportFormat.BAG)
    write_export(ended, "run", many, format=ExportFormat.BAG, executor=executor)
    assert executor.jobs > 10
    for name in (bag.RECORDS, bag.LEAVES, bag.STATEMENT):
        assert (many / name).read_bytes() == (one / name).read_bytes()


def test_an_unfinished_run_is_read_by_one_process(stored: LandscapeDB, executor: InlineExecutor) -> None:
    lines = list(LandscapeExporter(stored, executor=executor).export_lines("run"))
    assert lines == list(LandscapeExporter(stored).export_lines("run"))
    assert executor.jobs == 0


def test_a_database_in_memory_is_read_by_one_process(executor: InlineExecutor) -> None:
    with LandscapeDB.in_memory() as db:
        recorder = LandscapeRecorder(db)
        record_everything(recorder)
        recorder.complete_run("run", RunStatus.FAILED)
        assert list(LandscapeExporter(db, executor=executor).export_lines("run"))
    assert executor.jobs == 0


def test_a_record_that_breaks_the_schema_is_named(ended: LandscapeDB, executor: InlineExecutor) -> None:
    list(
        LandscapeExporter(ended, executor=executor).export_lines("run")
    )  # opens the database, which checks its triggers
    plant(ended, "UPDATE node_states SET status = 'lost' WHERE state_id = 'state-open'")
    messages = []
    for exporter in (LandscapeExporter(ended), LandscapeExporter(ended, executor=executor)):
        with pytest.raises(AuditIntegrityError, match="node_states") as caught:
            list(exporter.export_lines("run"))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("text", [r"C:\new", r"\u0041", 'say "x"', "\\", "null", "é\U00010000", "tab\there"])
def test_text_that_looks_like_json_is_exported_unchanged(stored: LandscapeDB, text: str) -> None:
    LandscapeRecorder(stored).register_edge("run", "source", "sink", text, "move", edge_id=text)
    fast = [line.decode() for line in LandscapeExporter(stored).export_lines("run")]
    edges = LandscapeExporter(stored).export_run_grouped("run")["edge"]
    assert text in {edge["edge_id"] for edge in edges}
    assert text in {record["edge_id"] for record in map(json.loads, fast) if "edge_id" in record}
