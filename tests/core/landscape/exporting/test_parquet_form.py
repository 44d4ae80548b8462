"""Exports as Parquet, read by pyarrow and the reader."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elspeth.core.canonical import canonical_bytes, timestamp_text
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting import _parquet_form as parquet_form
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.reader import read_export
from elspeth.core.landscape.lines import ranges, reading
from elspeth_schema.arrow import SCHEMAS
from elspeth_schema.records import RECORD_TYPES, Kind
from tests.fixtures.every_type import with_every_type
from tests.fixtures.executors import InlineExecutor
from tests.fixtures.rich_run import export_to, recorded, rich_run

Record = dict[str, object]

ARROW_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Export a rich run."""
    return export_to(tmp_path / "export", ExportFormat.PARQUET)


def refusal(path: Path) -> str:
    with pytest.raises(ExportError) as refused:
        list(read_export(path))
    return str(refused.value).removeprefix(str(path))


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def test_schemas_are_those_of_the_record_types() -> None:
    assert [*SCHEMAS] == [*RECORD_TYPES]
    for name, record_type in RECORD_TYPES.items():
        assert [(field.name, field.type, field.nullable) for field in SCHEMAS[name]] == [
            (column.name, ARROW_TYPES[column.kind], record_type.table.c[column.name].nullable)
            for column in record_type.columns
        ]
        reasons = [(field.metadata or {}).get(b"withheld", b"").decode() or None for field in SCHEMAS[name]]
        assert reasons == [column.withheld for column in record_type.columns]


@pytest.mark.parametrize("key", [None, b"key"])
@pytest.mark.parametrize("include_payloads", [False, True])
def test_the_files_hold_every_record_of_the_jsonl_form(
    tmp_path: Path, key: bytes | None, *, include_payloads: bool
) -> None:
    jsonl, directory = (
        export_to(
            tmp_path / form,
            form,
            with_every_type(rich_run()),
            signing_key=key,
            include_payloads=include_payloads,
        )
        for form in (ExportFormat.JSONL, ExportFormat.PARQUET)
    )
    lines = jsonl.read_bytes()
    found = b""
    for name in RECORD_TYPES:
        for row in pq.read_table(directory / f"{name}.parquet").to_pylist():
            values = {
                column: timestamp_text(value) if isinstance(value, datetime) else value for column, value in row.items()
            }
            found += canonical_bytes({"record_type": name, **values}) + b"\n"
    assert found + (directory / "manifest.json").read_bytes() == lines


def test_times_have_their_type_and_null_is_not_empty(parquet: Path) -> None:
    (run,) = pq.read_table(parquet / "run.parquet").to_pylist()
    assert run["started_at"] == datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert (run["export_error"], run["export_sink"]) == ("", None)
    assert pq.read_table(parquet / "token.parquet")["branch_name"].to_pylist() == [None, "", None, None]


def test_contents_do_not_depend_on_the_number_of_rows_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_FETCH", 1)
    monkeypatch.setattr(parquet_form, "_GROUP_ROWS", 3)
    in_threes = export_to(tmp_path / "threes", ExportFormat.PARQUET)
    assert pq.ParquetFile(in_threes / "token.parquet").num_row_groups == 2
    monkeypatch.setattr(parquet_form, "_GROUP_BYTES", 1)
    assert pq.ParquetFile(export_to(tmp_path / "ones", ExportFormat.PARQUET) / "token.parquet").num_row_groups > 2
    found = [(entry.where, entry.record) for entry in read_export(in_threes)]
    monkeypatch.undo()
    at_once = export_to(tmp_path / "at-once", ExportFormat.PARQUET)
    assert found == [(entry.where, entry.record) for entry in read_export(at_once)]


def test_the_records_of_all_row_groups_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FETCH", 1)
    monkeypatch.setattr(parquet_form, "_GROUP_ROWS", 1)
    with LandscapeDB.in_memory() as db:
        run_id = recorded(db, rich_run())
        assert write_export(db, run_id, tmp_path / "trail", format=ExportFormat.PARQUET) == len(rich_run())


@pytest.mark.parametrize(
    ("rows", "size", "groups"),
    [(3, 1 << 20, [3, 3, 1]), (7, 1 << 20, [7]), (100, 10, [5, 2]), (100, 1, [1] * 7)],
    ids=["by rows", "all", "by bytes", "one by one"],
)
def test_a_row_group_ends_when_it_is_large(
    monkeypatch: pytest.MonkeyPatch, rows: int, size: int, groups: list[int]
) -> None:
    monkeypatch.setattr(parquet_form, "_GROUP_ROWS", rows)
    monkeypatch.setattr(parquet_form, "_GROUP_BYTES", size)
    assert list(parquet_form._joined([("row", 1, b"x\n")] * 7)) == [(number, b"x\n" * number) for number in groups]


def test_several_processes_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_PART", 1)
    executor = InlineExecutor()
    with LandscapeDB(f"sqlite:///{tmp_path / 'audit.db'}") as db:
        run_id = recorded(db, rich_run())
        for name, shared in (("shared", executor), ("alone", None)):
            write_export(db, run_id, tmp_path / name, format=ExportFormat.PARQUET, executor=shared)
    assert executor.jobs > 0
    alone = {path.name: path for path in (tmp_path / "alone").glob("*.parquet")}
    assert all(pq.read_table(path).equals(pq.read_table(tmp_path / "shared" / name)) for name, path in alone.items())
    assert len(alone) == len(list((tmp_path / "shared").glob("*.parquet")))


def test_types_without_records_have_no_file(tmp_path: Path) -> None:
    directory = export_to(tmp_path / "export", ExportFormat.PARQUET, rich_run()[:1])
    assert {path.name for path in directory.iterdir()} == {"manifest.json", "run.parquet"}


def test_a_signed_export_has_a_signature_in_every_row(tmp_path: Path) -> None:
    directory = export_to(tmp_path / "export", ExportFormat.PARQUET, signing_key=b"key")
    for path in directory.glob("*.parquet"):
        *_, signature = pq.read_schema(path)
        assert (signature.name, signature.type, signature.nullable) == ("signature", pa.string(), False)


def test_places_are_named_by_file_and_row(parquet: Path) -> None:
    places = [entry.where for entry in read_export(parquet)]
    assert places[:3] == ["run.parquet, row 1", "secret_resolution.parquet, row 1", "run_process.parquet, row 1"]


def test_a_changed_value_is_found(parquet: Path) -> None:
    rewritten(
        parquet / "row.parquet",
        lambda table: table.set_column(
            table.schema.get_field_index("source_data_hash"),
            table.schema.field("source_data_hash"),
            pa.array(["0" * 64, "1" * 64]),
        ),
    )
    claimed = json.loads((parquet / "manifest.json").read_bytes())["final_hash"]
    problem = refusal(parquet)
    assert problem.startswith(', manifest.json: manifest: final_hash: expected "')
    assert problem.endswith(f'", derived from what comes before, got "{claimed}"')


def test_swapped_rows_are_found(parquet: Path) -> None:
    rewritten(parquet / "token.parquet", lambda table: table.take([1, 0, 2, 3]))
    problem = "token_id: expected a value after 'token-2', got 'token-1': repeated, or out of order"
    assert refusal(parquet) == f", token.parquet, row 2: {problem}"


def test_a_value_that_breaks_the_schema_is_found(parquet: Path) -> None:
    rewritten(
        parquet / "row.parquet",
        lambda table: table.set_column(3, table.schema.field("row_index"), pa.array([-1, 1])),
    )
    problem = "row_index: expected an integer from 0 to 9007199254740991, got -1"
    assert refusal(parquet) == f", row.parquet, row 1: rows run_id='run-1' row_id='row-b': {problem}"


def test_a_value_that_json_cannot_hold_is_refused(parquet: Path) -> None:
    rewritten(
        parquet / "secret_resolution.parquet",
        lambda table: table.set_column(2, table.schema.field("timestamp"), pa.array([float("nan")])),
    )
    problem = "expected values that canonical JSON can hold: a number is not finite, which JSON does not have"
    assert refusal(parquet) == f", secret_resolution.parquet, row 1: {problem}"


def test_a_time_beyond_the_calendar_is_refused(parquet: Path) -> None:
    beyond = pa.array([2**62]).cast(pa.timestamp("us", tz="UTC"))
    rewritten(
        parquet / "run.parquet",
        lambda table: table.set_column(1, table.schema.field("started_at"), beyond),
    )
    assert refusal(parquet).startswith(", run.parquet, after row 0: expected a readable Parquet file: ")


def test_a_missing_file_is_found(parquet: Path) -> None:
    (parquet / "checkpoint.parquet").unlink()
    problem = "manifest: record_count: expected 36, derived from what comes before, got 37"
    assert refusal(parquet) == f", manifest.json: {problem}"


def test_a_file_of_an_unknown_type_is_refused(parquet: Path) -> None:
    (parquet / "tokens.parquet").write_bytes((parquet / "token.parquet").read_bytes())
    problem = "expected TYPE.parquet of a known record type, or manifest.json"
    assert refusal(parquet) == f", tokens.parquet: {problem}"


def test_an_unknown_column_is_refused(parquet: Path) -> None:
    rewritten(parquet / "row.parquet", lambda table: table.append_column("note", pa.array(["", ""])))
    assert refusal(parquet) == ", row.parquet: column 'note' is not a field of records of type row"


def test_a_missing_column_is_refused(parquet: Path) -> None:
    rewritten(parquet / "row.parquet", lambda table: table.drop_columns("source_data_ref"))
    assert refusal(parquet) == ", row.parquet: column 'source_data_ref' is missing"


def test_a_column_of_another_type_is_refused(parquet: Path) -> None:
    rewritten(
        parquet / "row.parquet",
        lambda table: table.set_column(
            3, pa.field("row_index", pa.int32(), nullable=False), pa.array([0, 1], pa.int32())
        ),
    )
    problem = "expected column 'row_index' of type int64, never null, got 'row_index' of type int32, never null"
    assert refusal(parquet) == f", row.parquet: {problem}"


def test_columns_in_another_order_are_refused(parquet: Path) -> None:
    rewritten(parquet / "row.parquet", lambda table: table.select([1, 0, 2, 3, 4, 5, 6]))
    problem = "expected column 'run_id' of type string, never null, got 'row_id' of type string, never null"
    assert refusal(parquet) == f", row.parquet: {problem}"


def test_a_truncated_file_is_refused(parquet: Path) -> None:
    content = (parquet / "row.parquet").read_bytes()
    (parquet / "row.parquet").write_bytes(content[:-10])
    assert refusal(parquet).startswith(", row.parquet, after row 0: expected a readable Parquet file: ")


def test_a_truncated_manifest_is_refused(parquet: Path) -> None:
    content = (parquet / "manifest.json").read_bytes()
    (parquet / "manifest.json").write_bytes(content[:-1])
    assert refusal(parquet) == ", manifest.json: expected a line feed at its end: the file is truncated"


def test_a_directory_without_manifest_is_refused(parquet: Path) -> None:
    (parquet / "manifest.json").unlink()
    assert refusal(parquet) == ": is not an export: expected a file, a bag, or a directory with manifest.json"


def test_without_pyarrow_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "elspeth.core.landscape.exporting._parquet_form")
    with pytest.raises(LandscapeError) as refused:
        export_to(tmp_path / "export", ExportFormat.PARQUET)
    message = (
        "the parquet form needs pyarrow, which is not installed: in a checkout of elspeth, pip install '.[parquet]'"
    )
    assert str(refused.value) == message
    assert list(tmp_path.iterdir()) == []
