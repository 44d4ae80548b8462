"""Exporting an imported run gives the same bytes again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema.contracts import AdoptedValue, AuditRecord, TransformErrorRecord, ValidationErrorRecord
from elspeth_strategies import whole_runs
from tests.fixtures.effort import law
from tests.fixtures.landscapes import NewLandscape, in_memory

Content = dict[str, bytes]


def content(path: Path) -> Content:
    """Return the files of an export by name."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def truthful(run: list[AuditRecord]) -> list[AuditRecord]:
    """Return the run with correct hashes of its withheld content."""
    return [truthful_record(record) for record in run]


def truthful_record(record: AuditRecord) -> AuditRecord:
    if isinstance(record, ValidationErrorRecord | TransformErrorRecord) and record.row_data_json is not None:
        return replace(record, row_hash=hashlib.sha256(record.row_data_json.encode()).hexdigest())
    if isinstance(record, AdoptedValue) and record.contents_json is not None:
        return replace(record, contents_hash=hashlib.sha256(record.contents_json.encode()).hexdigest())
    return record


def there_and_back(
    source: LandscapeDB, run_id: str, target: LandscapeDB, *, form: ExportFormat, key: bytes | None, payloads: bool
) -> tuple[Content, Content]:
    """Return an export, and the export of its import."""
    with TemporaryDirectory() as directory:
        first, second = Path(directory) / "first" / "trail", Path(directory) / "second" / "trail"
        write_export(source, run_id, first, format=form, signing_key=key, include_payloads=payloads)
        import_export(target, first, signing_key=key)
        write_export(target, run_id, second, format=form, signing_key=key, include_payloads=payloads)
        return content(first), content(second)


LOSSLESS = [ExportFormat.JSONL, ExportFormat.JSON, ExportFormat.PARQUET, ExportFormat.CSV]


@pytest.mark.parametrize("form", LOSSLESS)
@given(run=whole_runs(), key=st.none() | st.binary(min_size=1), payloads=st.booleans())
@law(25)
def test_exporting_an_imported_export_gives_the_same_bytes(
    form: ExportFormat, run: list[AuditRecord], key: bytes | None, payloads: bool
) -> None:
    with in_memory() as source, in_memory() as target:
        RecordStore(source).add(*truthful(run))
        first, second = there_and_back(source, run[0].run_id, target, form=form, key=key, payloads=payloads)
        assert first == second


@pytest.mark.postgres
@pytest.mark.parametrize("form", LOSSLESS)
@given(run=whole_runs())
@law(10)
def test_a_round_trip_through_the_other_database_gives_the_same_bytes(
    on_postgresql: NewLandscape, form: ExportFormat, run: list[AuditRecord]
) -> None:
    with in_memory() as source, on_postgresql() as target, in_memory() as third:
        RecordStore(source).add(*truthful(run))
        first, second = there_and_back(source, run[0].run_id, target, form=form, key=None, payloads=True)
        _, last = there_and_back(target, run[0].run_id, third, form=form, key=None, payloads=True)
        assert first == second == last
