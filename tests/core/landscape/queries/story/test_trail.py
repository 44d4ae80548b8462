"""The records of a run, from its database and export."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.exporting.format import READABLE
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.queries.story._index import LOOKUPS
from elspeth.core.landscape.queries.story.trail import DatabaseTrail, Trail, fetch_grouped, fetch_referred, open_export
from elspeth.core.landscape.records.mapping import record_type_of
from elspeth.core.landscape.records.store import RecordStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import AuditRecord, BatchStatus, TransformErrorRecord
from elspeth_schema.records import RECORD_TYPES, RecordType
from elspeth_strategies import whole_runs
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.told_run import record_told_run

R = TypeVar("R", bound=AuditRecord)


def answers(
    trail: Trail, record_type: RecordType[AuditRecord], column: str, values: Collection[str | int]
) -> list[str]:
    return sorted(map(repr, trail.records(record_type, column, values)))


@given(run=whole_runs(), form=st.sampled_from(sorted(READABLE)), data=st.data())
@settings(max_examples=20)
def test_the_database_and_the_export_give_equal_answers(
    new_landscape: NewLandscape, run: list[AuditRecord], form: ExportFormat, data: st.DataObject
) -> None:
    run_id = run[0].run_id
    payloads = form is not ExportFormat.BAG and data.draw(st.booleans(), "include_payloads")
    with new_landscape() as db, TemporaryDirectory() as directory:
        RecordStore(db).add(*run)
        path = Path(directory) / "export"
        write_export(db, run_id, path, format=form, include_payloads=payloads)
        with open_export(path) as export, db.snapshot() as connection:
            database = DatabaseTrail(connection, run_id)
            assert export.run_id == run_id
            for record_type in RECORD_TYPES.values():
                of_type = [record for record in run if record_type_of(record) is record_type]
                for column in LOOKUPS[record_type.name]:
                    values = {value for record in of_type if (value := getattr(record, column, None)) is not None}
                    asked = data.draw(st.sets(st.sampled_from(sorted(values))) if values else st.just(set()))
                    assert answers(database, record_type, column, asked) == answers(export, record_type, column, asked)


@pytest.fixture
def export(landscape: LandscapeDB, tmp_path: Path) -> Path:
    """Return an export that includes what exports withhold."""
    run = record_told_run(landscape)
    path = tmp_path / "export.jsonl"
    write_export(landscape, run.run_id, path, format=ExportFormat.JSONL, include_payloads=True)
    return path


def test_withheld_columns_are_null_in_every_trail(landscape: LandscapeDB, export: Path) -> None:
    assert '"row_data_json":"{' in export.read_text()
    with landscape.snapshot() as connection:
        with open_export(export) as exported:
            trails: list[Trail] = [DatabaseTrail(connection, "told"), exported]
            errors = [trail.records(records.TRANSFORM_ERROR, "transform_id", ["enrich"]) for trail in trails]
        for (error,) in errors:
            assert isinstance(error, TransformErrorRecord)
            assert error.row_data_json is None
            assert error.error_details_json == '{"reason":"no such customer"}'


def test_a_trail_has_no_records_of_other_runs(landscape: LandscapeDB) -> None:
    record_told_run(landscape, "told")
    record_told_run(landscape, "told too")
    with landscape.snapshot() as connection:
        (row,) = DatabaseTrail(connection, "told too").records(records.ROW, "row_index", [0])
    assert row.run_id == "told too"


def test_many_values_are_queried_in_several_statements(landscape: LandscapeDB) -> None:
    record_told_run(landscape)
    with landscape.snapshot() as connection:
        found = DatabaseTrail(connection, "told").records(records.ROW, "row_index", range(2500))
    assert sorted(row.row_index for row in found) == list(range(9))


def test_an_incomplete_export_is_refused(export: Path) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    export.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ExportError) as caught, open_export(export):
        pass
    assert str(caught.value) == (
        f"{export}, after line {len(lines) - 1}: expected the manifest, got the end: the export is incomplete"
    )


class ListTrail:
    """A trail of given records, true or not."""

    run_id = "told"

    def __init__(self, listed: Iterable[AuditRecord]) -> None:
        self._listed = list(listed)

    def records(self, record_type: RecordType[R], column: str, values: Collection[str | int]) -> list[R]:
        shapes = tuple(record_type.shapes.values())
        return [record for record in self._listed if isinstance(record, shapes) and getattr(record, column) in values]


def test_groups_are_in_the_order_of_the_named_columns(export: Path) -> None:
    with open_export(export) as trail:
        batches = trail.records(records.BATCH, "aggregation_node_id", ["sums"])
        (failed,) = (batch for batch in batches if batch.status is BatchStatus.FAILED)
        backwards = ListTrail(reversed(trail.records(records.BATCH_MEMBER, "batch_id", [failed.batch_id])))
    groups = fetch_grouped(backwards, records.BATCH_MEMBER, "batch_id", [failed.batch_id], "ordinal")
    assert [member.ordinal for member in groups[failed.batch_id]] == [0, 1]


def test_a_reference_to_a_missing_record_is_an_error(export: Path) -> None:
    with open_export(export) as trail:
        (row,) = trail.records(records.ROW, "row_index", [3])
    with pytest.raises(AuditIntegrityError) as caught:
        fetch_referred(ListTrail([]), records.NODE, [row], "source_node_id")
    assert str(caught.value) == (
        f"rows run_id='told' row_id='{row.row_id}': source_node_id: expected a node of the run, got 'source'"
    )
