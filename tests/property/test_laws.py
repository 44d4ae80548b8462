"""The laws of the audit trail, over generated runs."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema import contracts
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES
from elspeth_strategies import SHAPES, Shape, records, whole_runs
from tests.fixtures.effort import law
from tests.fixtures.landscapes import NewLandscape, in_memory

SCHEMA = json.loads(files("elspeth_schema").joinpath("export.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

Run = list[AuditRecord]

few = law(30)
"""Fewer examples, for laws that need a database for each."""


def store(database: LandscapeDB, run: Iterable[AuditRecord]) -> None:
    RecordStore(database).add(*run)


def exported(database: LandscapeDB, run: Run) -> list[bytes]:
    return list(LandscapeExporter(database).export_lines(run[0].run_id))


def export_of(run: Run) -> list[bytes]:
    with in_memory() as database:
        store(database, run)
        return exported(database, run)


@few
@given(run=whole_runs())
def test_every_stored_record_is_exported(new_landscape: NewLandscape, run: Run) -> None:
    with new_landscape() as database:
        store(database, run)
        *lines, _ = exported(database, run)
    assert sorted(lines) == sorted(canonical_bytes(exported_form(record)) for record in run)


def exported_form(record: AuditRecord) -> dict[str, object]:
    convert = mapper(record_type_of(record))
    return convert.to_record(list(convert.to_row(record).values()))


@law(100)
@given(run=whole_runs())
def test_each_line_is_the_canonical_json_of_its_record(run: Run) -> None:
    for line in export_of(run):
        assert line == rfc8785.dumps(json.loads(line))


@law(100)
@given(run=whole_runs())
def test_each_line_is_valid_under_the_generated_json_schema(run: Run) -> None:
    for line in export_of(run):
        VALIDATOR.validate(json.loads(line))


@pytest.mark.postgres
@few
@given(run=whole_runs())
def test_the_fast_path_gives_the_same_lines_as_the_plain_path(new_landscape: NewLandscape, run: Run) -> None:
    with new_landscape() as database:
        store(database, run)
        *fast, _ = exported(database, run)
        assert fast == [canonical_bytes(record) for record in LandscapeExporter(database).export_run(run[0].run_id)]


@few
@given(run=whole_runs(), key=st.binary(min_size=1, max_size=100))
def test_every_line_of_a_signed_export_is_signed_as_its_record_is(run: Run, key: bytes) -> None:
    with in_memory() as database:
        store(database, run)
        lines = list(LandscapeExporter(database, key).export_lines(run[0].run_id, sign=True))
    for line in lines:
        record = json.loads(line)
        assert rfc8785.dumps(record) == line
        unsigned = rfc8785.dumps({name: value for name, value in record.items() if name != "signature"})
        assert record["signature"] == hmac.new(key, unsigned, "sha256").hexdigest()


@few
@given(run=whole_runs())
def test_the_same_run_exports_to_the_same_bytes_from_both_databases(on_postgresql: NewLandscape, run: Run) -> None:
    with on_postgresql() as database:
        store(database, run)
        assert exported(database, run) == export_of(run)


@few
@given(run=whole_runs(), data=st.data())
def test_an_export_does_not_depend_on_the_order_of_insertion(
    new_landscape: NewLandscape, run: Run, data: st.DataObject
) -> None:
    shuffled = [
        record
        for record_type in RECORD_TYPES.values()
        for record in data.draw(st.permutations([each for each in run if record_type_of(each) is record_type]))
    ]
    with new_landscape() as database:
        store(database, shuffled)
        assert exported(database, run) == export_of(run)


@few
@given(run=whole_runs(), other=whole_runs())
def test_an_export_does_not_depend_on_other_runs(new_landscape: NewLandscape, run: Run, other: Run) -> None:
    if other[0].run_id == run[0].run_id:
        return
    with new_landscape() as database:
        store(database, other)
        store(database, run)
        assert exported(database, run) == export_of(run)


@few
@given(run=whole_runs(), size=st.integers(1, 7))
def test_an_export_does_not_depend_on_units_of_work(new_landscape: NewLandscape, run: Run, size: int) -> None:
    ended, *others = run
    assert isinstance(ended, contracts.Run)
    begun = replace(ended, status=contracts.RunStatus.RUNNING)
    with new_landscape() as database:
        recorder = RecordStore(database)
        recorder.add(begun)
        for start in range(0, len(others), size):
            with recorder.unit():
                recorder.add(*others[start : start + size])
        recorder.change(begun, ended)
        assert exported(database, run) == export_of(run)


@given(data=st.data(), shape=st.sampled_from(SHAPES))
@settings(max_examples=200)
def test_a_record_round_trips_through_a_row(data: st.DataObject, shape: Shape) -> None:
    record = data.draw(records(shape))
    convert = mapper(record_type_of(record))
    assert convert.from_row(list(convert.to_row(record).values())) == record
