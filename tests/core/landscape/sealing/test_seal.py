"""Seals: any later edit of a sealed value is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, update

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth.core.landscape.records.store import RecordStore
from elspeth.core.landscape.sealing import scope as scope_module
from elspeth.core.landscape.sealing import seal as seal_module
from elspeth.core.landscape.sealing.check import SealFault, check_seal
from elspeth.core.landscape.sealing.scope import (
    current_scope,
    locate,
    scope_from_json,
    sealed_chunks,
    seals_whole_lines,
)
from elspeth.core.landscape.sealing.seal import read_seals, read_secret, seal_run, sealed_epoch, sealed_record_count
from elspeth.evidence.format.merkle import leaf_hash, tree_root
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH, triggers
from elspeth_schema.contracts import AuditRecord, ExportStatus, NodeType, Run, RunStatus
from elspeth_schema.records import RECORD_TYPES, VALIDATION_ERROR
from elspeth_strategies import SHAPES, whole_runs
from tests.fixtures.effort import law
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_graph


def finished(run: list[AuditRecord]) -> list[AuditRecord]:
    """Return the records of a run, the run itself completed."""
    first, *rest = run
    assert isinstance(first, Run)
    return [replace(first, status=RunStatus.COMPLETED), *rest]


def drop_guards(connection: Connection) -> None:
    """Drop all triggers, as an intruder would first."""
    for name in triggers.KEPT[connection.dialect.name]:
        table = name.removeprefix("guard_").rpartition("_")[0]
        suffix = f" ON {table}" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER {name}{suffix}")


def sealed(database: LandscapeDB, run: list[AuditRecord]) -> None:
    RecordStore(database).add(*run)
    with database.write_transaction() as connection:
        seal_run(connection, run[0].run_id)


def fault_of(database: LandscapeDB) -> SealFault | None:
    with database.snapshot() as connection:
        (seal,) = read_seals(connection)
        return check_seal(connection, seal)


@given(run=whole_runs())
@law(20)
def test_the_seal_of_an_untouched_run_is_valid(new_landscape: NewLandscape, run: list[AuditRecord]) -> None:
    with new_landscape() as database:
        sealed(database, finished(run))
        assert fault_of(database) is None


@given(run=whole_runs())
@law(10)
def test_the_sealed_lines_are_those_of_the_export_without_changing_columns(
    new_landscape: NewLandscape, run: list[AuditRecord]
) -> None:
    with new_landscape() as database:
        sealed(database, finished(run))
        exported = [json.loads(line) for line in LandscapeExporter(database).export_lines(run[0].run_id)][:-1]
        with database.snapshot() as connection:
            (seal,) = read_seals(connection)
            located = [locate(each, seal.epoch) for each in scope_from_json(seal.scope_json)]
            lines = [line for each in located for some in sealed_chunks(connection, each, seal.run_id) for line in some]
            # The fast path and the path through contracts give the same bytes.
            assert lines == [
                line for each in located for line in scope_module._projected_lines(connection, each, seal.run_id)
            ]
    changing = {name: record_type.lifecycle.afterwards for name, record_type in RECORD_TYPES.items()}
    assert [json.loads(line) for line in lines] == [
        {name: value for name, value in record.items() if name not in changing[record["record_type"]]}
        for record in exported
    ]


@given(run=whole_runs(), data=st.data())
@law(25)
def test_a_changed_value_is_found_and_its_record_named(
    new_landscape: NewLandscape, run: list[AuditRecord], data: st.DataObject
) -> None:
    run = finished(run)
    victim = data.draw(st.sampled_from(run))
    record_type = record_type_of(victim)
    shape = next(shape for shape in SHAPES if shape.contract is type(victim))
    column = data.draw(
        st.sampled_from(
            [
                each.name
                for each in record_type.columns
                if each.withheld is None
                and each.name not in record_type.lifecycle.afterwards
                and each.name not in record_type.order
                and each.name not in record_type.key
                and each.name in shape.fields
                and each.name != record_type.discriminator
                and not any(each.name in reference.columns for reference in record_type.references)
            ]
        )
    )
    other = replace(victim, **{column: data.draw(shape.fields[column])})
    before, after = mapper(record_type).to_row(victim), mapper(record_type).to_row(other)
    assume(before != after)
    table = record_type.table
    with new_landscape() as database:
        sealed(database, run)
        with database.write_transaction() as connection:
            drop_guards(connection)
            same = [table.c[name] == before[name] for name in record_type.key]
            connection.execute(update(table).where(*same).values({column: after[column]}))
        key = " ".join(f"{name}={before[name]!r}" for name in record_type.key)
        problem = "is not the record that was sealed here"
        assert fault_of(database) == SealFault(run_id=run[0].run_id, table=table.name, key=key, problem=problem)


@given(run=whole_runs(), data=st.data())
@law(15)
def test_a_deleted_record_is_found(new_landscape: NewLandscape, run: list[AuditRecord], data: st.DataObject) -> None:
    run = finished(run)
    referred = {key.record_type for record_type in RECORD_TYPES.values() for key in record_type.references}
    loose = [record for record in run if record_type_of(record).name not in referred]
    assume(loose)
    victim = data.draw(st.sampled_from(loose))
    record_type = record_type_of(victim)
    table, row = record_type.table, mapper(record_type).to_row(victim)
    with new_landscape() as database:
        sealed(database, run)
        with database.write_transaction() as connection:
            drop_guards(connection)
            connection.execute(delete(table).where(*(table.c[name] == row[name] for name in record_type.key)))
        fault = fault_of(database)
    assert fault is not None
    assert (fault.run_id, fault.table) == (run[0].run_id, table.name)


def test_an_added_record_is_found(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    run_id = recorder.begin_run({}, "v1").run_id
    recorder.record_validation_error(run_id, None, {"a": 1}, "in time", "dynamic", "discard")
    recorder.complete_run(run_id, RunStatus.COMPLETED)
    (found,) = recorder.get_validation_errors_for_run(run_id)
    late = mapper(VALIDATION_ERROR).to_row(replace(found, error_id="f" * 32))
    with landscape.connection() as connection:
        connection.execute(insert(VALIDATION_ERROR.table), late)
    fault = fault_of(landscape)
    assert fault is not None
    assert fault.table == "validation_errors"
    assert fault.problem == "was added after the seal"


def test_columns_that_may_change_are_outside_the_seal(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    run_id = recorder.begin_run({}, "v1").run_id
    recorder.complete_run(run_id, RunStatus.COMPLETED)
    recorder.set_export_status(run_id, ExportStatus.COMPLETED, export_format="json")
    assert fault_of(landscape) is None


def test_a_forged_root_is_found_without_a_record_to_blame(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    run_id = recorder.begin_run({}, "v1").run_id
    recorder.complete_run(run_id, RunStatus.FAILED)
    with landscape.snapshot() as connection:
        (seal,) = read_seals(connection)
        fault = check_seal(connection, replace(seal, root="0" * 64))
    problem = "the records are not those that were sealed"
    assert fault == SealFault(run_id=run_id, table="", key="", problem=problem)


def test_the_root_is_that_of_the_sealed_lines(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    run_id = recorder.begin_run({}, "v1", run_id="r").run_id
    recorder.complete_run(run_id, RunStatus.COMPLETED)
    run = recorder.get_run(run_id)
    assert run is not None
    line = (
        '{"canonical_version":"v1","completed_at":"%s","config_hash":"%s","record_type":"run","run_id":"r",'
        '"schema_contract_hash":null,"schema_contract_json":null,"settings_json":"{}",'
        '"source_field_resolution_json":null,"source_schema_json":null,"started_at":"%s","status":"completed"}'
    )
    times = [
        moment.isoformat(timespec="microseconds")[:-6] + "Z" for moment in (run.completed_at, run.started_at) if moment
    ]
    text = line % (times[0], run.config_hash, times[1])
    with landscape.snapshot() as connection:
        (seal,) = read_seals(connection)
    assert seal.root == tree_root([leaf_hash(text.encode())]).hex()
    assert (seal.record_count, json.loads(seal.counts_json)) == (1, {"run": 1})


def test_each_run_has_a_secret_of_its_own(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    runs = [recorder.begin_run({}, "v1").run_id for _ in range(2)]
    with landscape.snapshot() as connection:
        secrets = {read_secret(connection, run_id) for run_id in runs}
        assert read_secret(connection, "no such run") is None
    assert len(secrets) == 2
    assert all(secret is not None and len(secret) == 64 for secret in secrets)


def test_a_run_with_several_pieces_of_leaves_is_sealed(landscape: LandscapeDB) -> None:
    rows = 4_500
    recorder = LandscapeRecorder(landscape)
    run_id = recorder.begin_run({}, "v1").run_id
    schema = SchemaConfig.from_dict({"fields": "dynamic"})
    recorder.register_node(run_id, "given", NodeType.SOURCE, "1", {}, node_id="source", schema_config=schema)
    with recorder.unit_of_work():
        for number in range(rows):
            recorder.create_row(run_id, "source", number, {"id": number})
    recorder.complete_run(run_id, RunStatus.COMPLETED)
    assert fault_of(landscape) is None
    with landscape.snapshot() as connection:
        (seal,) = read_seals(connection)
    assert json.loads(seal.counts_json) == {"run": 1, "node": 1, "row": rows}


def test_the_seal_has_the_number_of_records(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    reported: list[tuple[int, int]] = []
    record_rows(recorder, 5)  # as many as nodes
    record_graph(recorder, "beside")
    recorder.finalize_run("run", RunStatus.COMPLETED, progress=lambda done, total: reported.append((done, total)))
    assert [total for _, total in reported] == [reported[-1][0]] * len(reported)
    assert [done for done, _ in reported] == sorted({done for done, _ in reported})
    with landscape.snapshot() as connection:
        assert sealed_record_count(connection, "run") == reported[-1][0]
        assert sealed_record_count(connection, "other") is None


def test_each_run_has_its_own_seal_and_secret(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    for run_id, rows in (("b", 1), ("a", 2)):
        record_graph(recorder, run_id)
        for index in range(rows):
            recorder.create_row(run_id, "source", index, {})
        recorder.complete_run(run_id, RunStatus.COMPLETED)
    recorder.begin_run({}, "v1", run_id="open")
    with landscape.snapshot() as connection:
        assert [seal.run_id for seal in read_seals(connection)] == ["b", "a"]
        assert [seal.run_id for seal in read_seals(connection, "a")] == ["a"]
        counts = {run_id: sealed_record_count(connection, run_id) for run_id in ("b", "a", "open")}
        assert counts == {"b": 9, "a": 10, "open": None}
        epochs = [sealed_epoch(connection, run_id) for run_id in ("b", "a", "open", "nowhere")]
        assert epochs == [EPOCH, EPOCH, None, None]
        secrets = {read_secret(connection, run_id) for run_id in ("b", "a", "open")}
        assert (len(secrets), read_secret(connection, "nowhere")) == (3, None)


def test_an_interrupted_seal_leaves_the_run_open(
    landscape: LandscapeDB, recorder: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done > total - 2_000:
            raise KeyboardInterrupt

    monkeypatch.setattr(seal_module, "_PART", 2)
    record_rows(recorder, 4_000)
    with pytest.raises(KeyboardInterrupt):
        recorder.finalize_run("run", RunStatus.COMPLETED, progress=stop)
    run = recorder.get_run("run")
    assert run is not None
    assert run.status is RunStatus.RUNNING
    with landscape.snapshot() as connection:
        assert read_seals(connection) == []
    recorder.finalize_run("run", RunStatus.COMPLETED)
    assert fault_of(landscape) is None


def record_rows(recorder: LandscapeRecorder, rows: int) -> None:
    """Record a run with a number of rows."""
    record_graph(recorder)
    with recorder.unit_of_work():
        for index in range(rows):
            recorder.create_row("run", "source", index, {"id": index})


def test_a_run_with_a_damaged_record_is_not_sealed_and_the_database_is_named(landscape: LandscapeDB) -> None:
    record_rows(LandscapeRecorder(landscape), 1)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE rows SET source_data_hash = 'damaged'")
    with pytest.raises(AuditIntegrityError) as caught:
        LandscapeRecorder(landscape).complete_run("run", RunStatus.COMPLETED)
    assert str(caught.value).startswith(f"audit database {landscape.url}: rows run_id='run' row_id=")
    with landscape.snapshot() as connection:
        assert read_seals(connection) == []


def test_a_type_that_was_sealed_otherwise_is_not_read_as_today_s_lines() -> None:
    today = next(each for each in current_scope() if each.record_type == "call")
    others = [
        replace(today, order=today.order[::-1]),
        replace(today, columns=today.columns[1:]),
        replace(today, record_type="answer"),
    ]
    assert [seals_whole_lines(locate(each, EPOCH)) for each in (today, *others)] == [True, False, False, False]
