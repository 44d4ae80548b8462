"""The exporter: every record, in order, signed and closed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from sqlalchemy import event

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting import exporter as exporter_module
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.corruption import plant
from tests.fixtures.every_type import record_missing_types, with_every_type
from tests.fixtures.records import record_everything, record_graph, record_row
from tests.fixtures.rich_run import recorded, rich_run

KEY = b"a key of the tests"

WITHHELD = ["validation_error.row_data_json", "transform_error.row_data_json", "adopted_value.contents_json"]


# -- what an export holds --------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_the_children_of_an_expansion_share_a_group_that_the_parent_lacks() -> None:
    schema = SchemaConfig.from_dict({"fields": "dynamic"})
    db = LandscapeDB.in_memory()
    rec = LandscapeRecorder(db)
    run = rec.begin_run(config={}, canonical_version="v1")
    node = rec.register_node(
        run_id=run.run_id,
        plugin_name="t",
        node_type="transform",
        plugin_version="1",
        config={},
        schema_config=schema,
    )
    row = rec.create_row(run_id=run.run_id, source_node_id=node.node_id, row_index=0, data={})
    parent = rec.create_token(row_id=row.row_id)
    children = rec.expand_token(parent_token_id=parent.token_id, row_id=row.row_id, count=2, step_in_pipeline=1)
    tokens = [r for r in LandscapeExporter(db).export_run(run.run_id) if r.get("record_type") == "token"]
    groups = {token["token_id"]: token["expand_group_id"] for token in tokens}
    assert groups.keys() == {parent.token_id, *(child.token_id for child in children)}
    assert groups[parent.token_id] is None
    (group,) = {groups[child.token_id] for child in children}
    assert group is not None
    db.close()


@pytest.mark.smoke
def test_every_record_type_is_exported_in_schema_order_and_by_key(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    record_everything(recorder, rows=3)
    record_missing_types(landscape, "run")
    exported = list(LandscapeExporter(landscape).export_run("run"))
    types = [record["record_type"] for record in exported]
    assert list(dict.fromkeys(types)) == list(RECORD_TYPES)
    assert types == sorted(types, key=list(RECORD_TYPES).index)
    for name, record_type in RECORD_TYPES.items():
        records = [record for record in exported if record["record_type"] == name]
        assert records == sorted(records, key=lambda record: tuple(record[part] for part in record_type.order))


def test_rows_are_exported_as_they_were_read(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    for index in (10, 2, 9):
        record_row(recorder, index)
    rows = LandscapeExporter(landscape).export_run_grouped("run")["row"]
    assert [row["row_index"] for row in rows] == [2, 9, 10]


def test_text_is_ordered_by_code_point(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    names = ["a", "B", "\U00010000", "\uffff", "é", "Z", "_"]
    for name in names:
        recorder.register_edge("run", "source", "sink", name, "move", edge_id=name)
    edges = LandscapeExporter(landscape).export_run_grouped("run")["edge"]
    assert [edge["edge_id"] for edge in edges] == sorted([*names, "continue", "copy"])


def test_a_record_holds_json_values_and_says_what_is_null(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_everything(recorder)
    groups = LandscapeExporter(landscape).export_run_grouped("run")
    started = recorder.list_runs()[0].started_at
    assert groups["run"] == [
        {
            "record_type": "run",
            "run_id": "run",
            "started_at": started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "completed_at": None,
            "config_hash": hashlib.sha256(b'{"name":"small"}').hexdigest(),
            "settings_json": '{"name":"small"}',
            "reproducibility_grade": None,
            "canonical_version": "v1",
            "source_schema_json": None,
            "source_field_resolution_json": None,
            "status": "running",
            "export_status": "pending",
            "export_error": None,
            "exported_at": None,
            "export_format": "json",
            "export_sink": "trail",
            "schema_contract_json": None,
            "schema_contract_hash": None,
        }
    ]
    source = next(node for node in groups["node"] if node["node_id"] == "source")
    assert (source["determinism"], source["config_json"], source["schema_mode"]) == (
        "io_read",
        '{"of":"source"}',
        "strict",
    )
    terminal = [outcome["is_terminal"] for outcome in groups["token_outcome"]]
    assert sorted(terminal) == [False, True, True]


def test_withheld_content_is_exported_only_on_request(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_everything(recorder)

    def contents(exporter: LandscapeExporter) -> list[Any]:
        groups = exporter.export_run_grouped("run")
        errors = [*groups["validation_error"], *groups["transform_error"]]
        return [error.get("row_data_json", "withheld") for error in errors]

    assert contents(LandscapeExporter(landscape)) == ["withheld", "withheld"]
    assert contents(LandscapeExporter(landscape, include_payloads=True)) == ['{"id":"x"}', '{"id":"x"}']


def test_the_grouped_form_holds_the_same_records(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_everything(recorder)
    exporter = LandscapeExporter(landscape, KEY)
    for sign in (False, True):
        groups = exporter.export_run_grouped("run", sign)
        assert [record for group in groups.values() for record in group] == list(exporter.export_run("run", sign))
        assert all(record["record_type"] == name for name, group in groups.items() for record in group)


# -- which run, and when ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "export",
    [
        lambda exporter: list(exporter.export_run("nowhere")),
        lambda exporter: list(exporter.export_run("nowhere", sign=True)),
        lambda exporter: exporter.export_run_grouped("nowhere"),
        lambda exporter: list(exporter.export_lines("nowhere")),
    ],
    ids=["plain", "signed", "grouped", "lines"],
)
def test_an_unknown_run_is_refused(
    landscape: LandscapeDB, recorder: LandscapeRecorder, export: Callable[[LandscapeExporter], object]
) -> None:
    recorder.begin_run({}, "v1")
    with pytest.raises(RunNotFoundError) as caught:
        export(LandscapeExporter(landscape, KEY))
    assert str(caught.value) == f"run 'nowhere' is not in the audit database {landscape.url}"


def test_the_message_about_an_unknown_run_names_the_original_of_a_copy(sqlite_url: str) -> None:
    LandscapeDB(sqlite_url).close()
    with LandscapeDB(sqlite_url, create_tables=False, known_as="original.db") as copy:
        for export in (LandscapeExporter(copy).export_run, LandscapeExporter(copy).export_lines):
            with pytest.raises(RunNotFoundError) as caught:
                list(export("nowhere"))
            assert str(caught.value) == "run 'nowhere' is not in the audit database original.db"


def test_an_empty_run_is_its_own_record(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    (record,) = LandscapeExporter(landscape).export_run(run_id)
    assert (record["record_type"], record["run_id"]) == ("run", run_id)
    *_, manifest = LandscapeExporter(landscape, KEY).export_run(run_id, sign=True)
    assert (manifest["record_count"], manifest["counts"]) == (1, {"run": 1})


@pytest.mark.parametrize("status", ["running", "completed", "failed"])
def test_the_manifest_says_how_far_the_run_had_come(
    landscape: LandscapeDB, recorder: LandscapeRecorder, status: str
) -> None:
    record_graph(recorder)
    if status != "running":
        recorder.complete_run("run", status)
    *_, manifest = LandscapeExporter(landscape, KEY).export_run("run", sign=True)
    assert manifest["run_status"] == status


def test_an_export_holds_only_its_run(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    for run_id in ("one", "two"):
        record_everything(recorder, run_id)
    for run_id in ("one", "two"):
        assert {record["run_id"] for record in LandscapeExporter(landscape).export_run(run_id)} == {run_id}


def test_records_made_during_an_export_are_not_in_it(database_url: str) -> None:
    with LandscapeDB(database_url) as landscape:
        recorder = LandscapeRecorder(landscape)
        record_graph(recorder)
        record_row(recorder, 0)
        before = list(LandscapeExporter(landscape).export_run("run"))
        export = LandscapeExporter(landscape).export_run("run")
        seen = [next(export)]
        record_row(recorder, 1)
        recorder.complete_run("run", "completed")
        assert [*seen, *export] == before
        after = LandscapeExporter(landscape).export_run_grouped("run")
        assert (len(after["row"]), after["run"][0]["status"]) == (2, "completed")


def test_the_number_of_statements_does_not_depend_on_the_size_of_the_run(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    for run_id, rows in (("small", 10), ("large", 1000)):
        record_everything(recorder, run_id, rows=rows)
    assert statements(landscape, "large") == statements(landscape, "small")
    assert len([each for each in statements(landscape, "large") if each.startswith("SELECT")]) == len(RECORD_TYPES)


def statements(landscape: LandscapeDB, run_id: str) -> list[str]:
    """Return what one export sends to the database."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    event.listen(landscape.engine, "before_cursor_execute", note)
    list(LandscapeExporter(landscape).export_run(run_id))
    event.remove(landscape.engine, "before_cursor_execute", note)
    return sent


# -- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_signatures_and_manifest_can_be_recomputed(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_everything(recorder, rows=2)
    record_missing_types(landscape, "run")
    *records, manifest = LandscapeExporter(landscape, KEY).export_run("run", sign=True)
    for record in [*records, manifest]:
        unsigned = {name: value for name, value in record.items() if name != "signature"}
        assert record["signature"] == hmac.new(KEY, rfc8785.dumps(unsigned), hashlib.sha256).hexdigest()
    lines = b"".join(rfc8785.dumps(record) + b"\n" for record in records)
    counts = dict.fromkeys(RECORD_TYPES, 0)
    for record in records:
        counts[record["record_type"]] += 1
    assert {name: value for name, value in manifest.items() if name != "signature"} == {
        "record_type": "manifest",
        "run_id": "run",
        "run_status": "running",
        "epoch": EPOCH,
        "record_count": len(records),
        "counts": counts,
        "withheld": WITHHELD,
        "hash_algorithm": "sha256",
        "final_hash": hashlib.sha256(lines).hexdigest(),
        "signature_algorithm": "hmac-sha256",
    }


def test_signing_adds_only_signatures_and_the_manifest(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_everything(recorder)
    exporter = LandscapeExporter(landscape, KEY)
    *signed, _ = exporter.export_run("run", sign=True)
    for record in signed:
        del record["signature"]
    assert signed == list(exporter.export_run("run"))


def test_lines_are_the_canonical_json_of_the_complete_export(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    record_everything(recorder)
    for key in (KEY, b"k" * 64, b"k" * 65):  # HMAC hashes keys that are longer than a block
        exporter = LandscapeExporter(landscape, key)
        signed = [rfc8785.dumps(record) for record in exporter.export_run("run", sign=True)]
        assert list(exporter.export_lines("run", sign=True)) == signed
    *lines, _ = exporter.export_lines("run")
    assert lines == [rfc8785.dumps(record) for record in exporter.export_run("run")]


def test_an_exporter_with_a_key_signs_only_on_request(landscape: LandscapeDB) -> None:
    run_id = recorded(landscape, rich_run())
    plain, keyed = LandscapeExporter(landscape), LandscapeExporter(landscape, KEY)
    assert list(keyed.export_run(run_id)) == list(plain.export_run(run_id))
    assert list(keyed.export_lines(run_id)) == list(plain.export_lines(run_id))
    grouped = [[(name, list(records)) for name, records in each.export_run_by_type(run_id)] for each in (keyed, plain)]
    assert grouped[0] == grouped[1]


@pytest.mark.parametrize("key", [None, b""])
def test_signing_without_a_key_is_refused_at_once(landscape: LandscapeDB, key: bytes | None) -> None:
    exporter = LandscapeExporter(landscape, key)
    for export in (exporter.export_run, exporter.export_run_grouped, exporter.export_lines):
        with pytest.raises(ValueError, match="key") as caught:
            export("run", sign=True)
        assert str(caught.value) == "a signed export needs a key: pass signing_key to LandscapeExporter"


# -- corrupt databases -----------------------------------------------------------------------------------------------


INPUT = b'{"id":"x"}'
HEX = "text matching ^[0-9a-f]{64}$"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        pytest.param(
            "UPDATE nodes SET node_type = 'wizard' WHERE node_id = 'gate'",
            "nodes run_id='run' node_id='gate': node_type:"
            " expected one of source, transform, gate, aggregation, coalesce, sink, got 'wizard'",
            id="unknown enum value",
        ),
        pytest.param(
            "UPDATE node_states SET status = 'lost' WHERE state_id = 'state-open'",
            "node_states run_id='run' state_id='state-open': status:"
            " expected one of open, pending, completed, failed, got 'lost'",
            id="unknown shape",
        ),
        pytest.param(
            "UPDATE rows SET source_data_hash = 'abc' WHERE row_id = 'row-0'",
            f"rows run_id='run' row_id='row-0': source_data_hash: expected {HEX}, got 'abc'",
            id="broken hash",
        ),
        pytest.param(
            "UPDATE node_states SET output_hash = input_hash WHERE state_id = 'state-open'",
            "node_states run_id='run' state_id='state-open': output_hash: expected nothing while status is open,"
            f" got '{hashlib.sha256(INPUT).hexdigest()}'",
            id="state with too much",
        ),
        pytest.param(
            "UPDATE node_states SET output_hash = NULL WHERE state_id = 'state-completed'",
            f"node_states run_id='run' state_id='state-completed': output_hash: expected {HEX}, got None",
            id="state with too little",
        ),
        pytest.param(
            "UPDATE calls SET operation_id = (SELECT operation_id FROM operations), call_id = 'call', call_index = 7"
            " WHERE state_id = 'state-open'",
            "calls run_id='run' call_id='call': state_id, operation_id:"
            " expected exactly one of them, got 'state_id and operation_id'",
            id="call with two parents",
        ),
        pytest.param(
            "UPDATE calls SET state_id = NULL, call_id = 'call' WHERE state_id = 'state-open'",
            "calls run_id='run' call_id='call': state_id, operation_id: expected exactly one of them, got None",
            id="call without a parent",
        ),
        pytest.param(
            "UPDATE runs SET settings_json = '{'",
            "runs run_id='run': settings_json: expected JSON text, got '{'",
            id="no JSON",
        ),
        pytest.param(
            "UPDATE rows SET row_index = -5 WHERE row_id = 'row-0'",
            "rows run_id='run' row_id='row-0': row_index: expected an integer from 0 to 9007199254740991, got -5",
            id="out of range",
        ),
        pytest.param(
            "UPDATE token_outcomes SET is_terminal = 2, outcome_id = 'outcome' WHERE outcome = 'buffered'",
            "token_outcomes run_id='run' outcome_id='outcome': is_terminal: expected true or false, got 2",
            id="neither true nor false",
        ),
    ],
)
def test_a_corrupt_record_is_never_exported(
    landscape: LandscapeDB, recorder: LandscapeRecorder, statement: str, message: str
) -> None:
    record_everything(recorder)
    plant(landscape, statement)
    assert refusals(landscape) == {f"audit database {landscape.url}: {message}"}


def refusals(landscape: LandscapeDB) -> set[str]:
    """Return the messages of all ways to export a run."""
    said = set()
    exporter = LandscapeExporter(landscape)
    for export in (exporter.export_run, exporter.export_lines):
        with pytest.raises(AuditIntegrityError) as caught:
            list(export("run"))
        said.add(str(caught.value))
    return said


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        pytest.param(
            "UPDATE rows SET row_index = 'third' WHERE row_id = 'row-0'",
            "rows run_id='run' row_id='row-0': row_index: expected an integer from 0 to 9007199254740991, got 'third'",
            id="text for an integer",
        ),
        pytest.param(
            "UPDATE node_states SET duration_ms = 'fast' WHERE state_id = 'state-completed'",
            "node_states run_id='run' state_id='state-completed': duration_ms:"
            " expected a float from 0 to 9007199254740991, got 'fast'",
            id="text for a float",
        ),
        pytest.param(
            "UPDATE rows SET source_data_ref = x'00ff' WHERE row_id = 'row-0'",
            "rows run_id='run' row_id='row-0': source_data_ref:"
            r" expected text of at most 256 characters without NUL or lone surrogates, or nothing, got b'\x00\xff'",
            id="bytes for text",
        ),
        *(
            pytest.param(
                f"UPDATE rows SET created_at = {moment} WHERE row_id = 'row-0'",  # noqa: S608  # our own values
                f"rows run_id='run' row_id='row-0': created_at: expected a datetime in UTC, got {got}",
                id=moment,
            )
            for moment, got in (
                ("'yesterday'", "'yesterday'"),
                ("'2026-13-01 00:00:00.000000'", "'2026-13-01 00:00:00.000000'"),
                ("'0001-01-01 00:00:00+14:00'", "'0001-01-01 00:00:00+14:00'"),
                ("1", "1"),
                ("'0000-01-01 00:00:00.000000'", "'0000-01-01 00:00:00.000000'"),
                ("CAST('2026-01-01 00:00:00.000000' AS BLOB)", "b'2026-01-01 00:00:00.000000'"),
            )
        ),
    ],
)
def test_a_value_of_another_type_is_never_exported(statement: str, message: str) -> None:
    """Store another type, as SQLite allows."""
    with LandscapeDB.in_memory() as landscape:
        record_everything(LandscapeRecorder(landscape))
        plant(landscape, statement)
        assert refusals(landscape) == {f"audit database {landscape.url}: {message}"}


@pytest.mark.parametrize("key", [None, b"key"])
def test_groups_make_up_the_complete_export(landscape: LandscapeDB, key: bytes | None) -> None:
    run_id = recorded(landscape, with_every_type(rich_run()))
    exporter = LandscapeExporter(landscape, key)
    groups = {name: list(records) for name, records in exporter.export_run_by_type(run_id, sign=key is not None)}
    assert [*groups] == [*RECORD_TYPES, "manifest"]
    found = [record for records in groups.values() for record in records]
    assert found == [json.loads(line) for line in exporter.export_lines(run_id, sign=key is not None)]


def test_a_group_that_is_skipped_still_counts(landscape: LandscapeDB) -> None:
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
    assert plain[-1]["withheld"] == WITHHELD
    assert whole[-1]["withheld"] == []


def test_progress_counts_the_records_before_the_manifest(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "_PROGRESS_EVERY", 10)
    run_id = recorded(landscape, rich_run())
    counts: list[int] = []
    for _ in LandscapeExporter(landscape, progress=counts.append).export_run_by_type(run_id):
        pass
    assert counts == [10, 20, 30, len(rich_run())]
    of_chunks: list[int] = []
    list(LandscapeExporter(landscape, progress=of_chunks.append).export_lines(run_id))
    assert of_chunks == sorted(of_chunks)
    assert of_chunks[-1] == len(rich_run())
