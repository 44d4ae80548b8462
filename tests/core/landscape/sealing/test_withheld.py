"""Withheld content is checked against its hash."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import SealReport, check_seals
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import NodeType, RunStatus
from elspeth_schema.records import RECORD_TYPES
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.records import DYNAMIC


@pytest.fixture
def recorded(landscape: LandscapeDB) -> LandscapeDB:
    """Record a run in which source and transform refused rows."""
    recorder = LandscapeRecorder(landscape)
    recorder.begin_run({}, "v1", run_id="run")
    recorder.register_node("run", "csv", NodeType.SOURCE, "1", {}, node_id="source", schema_config=DYNAMIC)
    recorder.register_node("run", "x", NodeType.TRANSFORM, "1", {}, node_id="transform", schema_config=DYNAMIC)
    row = recorder.create_row("run", "source", 0, {"name": "Ada"})
    token = recorder.create_token(row.row_id)
    recorder.record_transform_error("run", token.token_id, "transform", {"name": "Ada"}, {}, "discard")
    for refused in ({"name": "Ada"}, {"amount": float("nan")}, "no row"):
        recorder.record_validation_error("run", "source", refused, "refused", "dynamic", "discard")
    recorder.complete_run("run", RunStatus.COMPLETED)
    return landscape


def report_of(database: LandscapeDB) -> SealReport:
    with database.snapshot() as connection:
        return check_seals(connection)


def change(database: LandscapeDB, table: str, value: str) -> None:
    with database.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql(f"UPDATE {table} SET row_data_json = {value}")  # noqa: S608  the test's own value


def test_every_withheld_column_has_an_exported_hash_beside_it() -> None:
    for record_type in RECORD_TYPES.values():
        exported = {column.name for column in record_type.columns if column.withheld is None}
        hashes = {column.hash_column for column in record_type.columns if column.withheld is not None}
        assert hashes <= exported


def test_recorded_content_matches_its_hash(recorded: LandscapeDB) -> None:
    assert report_of(recorded).faults == ()
    assert len(list(LandscapeExporter(recorded, include_payloads=True).export_lines("run"))) > 1


@pytest.mark.parametrize("table", ["validation_errors", "transform_errors"])
def test_altered_content_is_a_fault_and_is_not_exported(recorded: LandscapeDB, table: str) -> None:
    forged = json.dumps({"name": "FORGED"})
    change(recorded, table, f"'{forged}'")
    (fault,) = report_of(recorded).faults
    assert (fault.table, "row_data_json: expected the content with the SHA-256 " in fault.problem) == (table, True)
    assert "error_id=" in fault.key
    exporter = LandscapeExporter(recorded, b"key", include_payloads=True)
    exports: tuple[Callable[[], object], ...] = (
        lambda: list(exporter.export_lines("run", sign=True)),
        lambda: list(exporter.export_run("run")),
    )
    for export in exports:
        with pytest.raises(AuditIntegrityError) as caught:
            export()
        assert "FORGED" not in str(caught.value)
    assert list(LandscapeExporter(recorded).export_lines("run")) != []


def test_altered_content_is_the_fault_of_its_own_run(recorded: LandscapeDB) -> None:
    recorder = LandscapeRecorder(recorded)
    recorder.begin_run({}, "v1", run_id="other")
    recorder.complete_run("other", RunStatus.COMPLETED)
    change(recorded, "validation_errors", "'{}'")
    assert [fault.run_id for fault in report_of(recorded).faults] == ["run"]


def test_content_in_another_spelling_counts_as_equal(recorded: LandscapeDB) -> None:
    change(recorded, "transform_errors", """'{ "name" : "Ada" }'""")
    assert report_of(recorded).faults == ()


def test_erased_content_is_no_fault(recorded: LandscapeDB) -> None:
    change(recorded, "validation_errors", "NULL")
    assert report_of(recorded).faults == ()


def test_a_description_is_bound_by_the_hash_of_the_predecessor(recorded: LandscapeDB) -> None:
    """The predecessor hashed only the description of odd rows."""
    description = {"__repr__": "{'a': nan}", "__type__": "dict", "__canonical_error__": "not finite"}
    hashed = "7ddf2ea90f32f1c03e28bad8c416ab6231fbe28e978dc88355756639d5cec48e"

    def describe(content: object) -> None:
        text = json.dumps(content).replace("'", "''")
        with recorded.write_transaction() as connection:
            statement = f"UPDATE transform_errors SET row_hash = '{hashed}', row_data_json = '{text}'"  # noqa: S608
            connection.exec_driver_sql(statement)

    with recorded.write_transaction() as connection:
        drop_guards(connection)
    describe(description)
    assert list(LandscapeExporter(recorded, include_payloads=True).export_run("run")) != []
    describe({**description, "more": 1})
    with pytest.raises(AuditIntegrityError):
        list(LandscapeExporter(recorded, include_payloads=True).export_run("run"))
