"""What the exporter offers to forms: one record type after another, withheld columns, a count."""

from __future__ import annotations

import json

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting import exporter as exporter_module
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema.contracts import RunStatus
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.every_type import with_every_type
from tests.fixtures.rich_run import recorded, rich_run


@pytest.mark.parametrize("key", [None, b"key"])
def test_groups_are_the_complete_export(landscape: LandscapeDB, key: bytes | None) -> None:
    run_id = recorded(landscape, with_every_type(rich_run()))
    exporter = LandscapeExporter(landscape, key)
    groups = {name: list(records) for name, records in exporter.export_run_by_type(run_id, sign=key is not None)}
    assert [*groups] == [*RECORD_TYPES, "manifest"]
    found = [record for records in groups.values() for record in records]
    assert found == [json.loads(line) for line in exporter.export_lines(run_id, sign=key is not None)]


def test_a_group_that_is_passed_over_still_counts(landscape: LandscapeDB) -> None:
    run_id = recorded(landscape, rich_run())
    exporter = LandscapeExporter(landscape)
    *_, (name, (manifest,)) = (
        (name, list(records) if name == "manifest" else []) for name, records in exporter.export_run_by_type(run_id)
    )
    assert name == "manifest"
    assert manifest == json.loads([*exporter.export_lines(run_id)][-1])


def test_types_without_records_are_left_out(landscape: LandscapeDB) -> None:
    run_id = recorded(landscape, rich_run()[:1])
    assert [name for name, _ in LandscapeExporter(landscape).export_run_by_type(run_id)] == ["run", "manifest"]


def test_groups_see_one_snapshot(database_url: str) -> None:
    run = rich_run(status=RunStatus.RUNNING)
    with LandscapeDB(database_url) as db:
        recorded(db, run[:-1])
        groups = LandscapeExporter(db).export_run_by_type(run[0].run_id)
        next(groups)
        RecordStore(db).add(run[-1])
        assert "checkpoint" not in [name for name, _ in groups]


def test_payloads_are_exported_when_included(landscape: LandscapeDB) -> None:
    run_id = recorded(landscape, rich_run())
    plain = [json.loads(line) for line in LandscapeExporter(landscape).export_lines(run_id)]
    whole = [json.loads(line) for line in LandscapeExporter(landscape, include_payloads=True).export_lines(run_id)]
    added = {
        record["record_type"]: {name: record[name] for name in record.keys() - other.keys()}
        for record, other in zip(whole[:-1], plain[:-1], strict=True)
        if record != other
    }
    assert added == {
        "validation_error": {"row_data_json": '{"name": "Ada"}'},
        "transform_error": {"row_data_json": "null"},
    }
    assert plain[-1]["withheld"] == ["validation_error.row_data_json", "transform_error.row_data_json"]
    assert whole[-1]["withheld"] == []


def test_progress_counts_the_records_before_the_manifest(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "_PROGRESS_EVERY", 10)
    run_id = recorded(landscape, rich_run())
    counts: list[int] = []
    for _ in LandscapeExporter(landscape, progress=counts.append).export_run_by_type(run_id):
        pass
    assert counts == [10, 20, 30, 35]
    of_chunks: list[int] = []
    list(LandscapeExporter(landscape, progress=of_chunks.append).export_lines(run_id))
    assert of_chunks == sorted(of_chunks)
    assert of_chunks[-1] == 35
