"""Exports as CSV, as spreadsheets read them."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.exporting import _csv_form
from elspeth.core.landscape.exporting._csv_form import read_row_texts
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.reader import read_export
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.every_type import with_every_type
from tests.fixtures.rich_run import export_to, rich_run

Record = dict[str, object]


DOCUMENTS = ("datapackage.json", "manifest.json")


def rows_of(directory: Path, name: str) -> list[dict[str, str]]:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def records_of(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def field(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical_json(value)


@pytest.mark.parametrize("key", [None, b"key"])
@pytest.mark.parametrize("include_payloads", [False, True])
def test_the_files_hold_every_record_of_the_jsonl_form(
    tmp_path: Path, key: bytes | None, *, include_payloads: bool
) -> None:
    run = with_every_type(rich_run())
    jsonl, directory = (
        export_to(tmp_path / form, form, run, signing_key=key, include_payloads=include_payloads)
        for form in (ExportFormat.JSONL, ExportFormat.CSV)
    )
    *records, manifest = records_of(jsonl)
    assert {path.name for path in directory.iterdir()} == {*DOCUMENTS, *(f"{name}.csv" for name in RECORD_TYPES)}
    found = [{"record_type": name, **row} for name in RECORD_TYPES for row in rows_of(directory, name)]
    assert found == [{name: field(value) for name, value in record.items()} for record in records]
    assert records_of(directory / "manifest.json") == [manifest]


def test_a_header_holds_the_columns_in_schema_order(tmp_path: Path) -> None:
    run = with_every_type(rich_run())
    directory = export_to(tmp_path / "csv", ExportFormat.CSV, run, include_payloads=True, signing_key=b"key")
    for name, record_type in RECORD_TYPES.items():
        header = (directory / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
        assert header.split(",") == [*(column.name for column in record_type.columns), "signature"]


def test_types_without_records_have_no_file(tmp_path: Path) -> None:
    directory = export_to(tmp_path / "csv", ExportFormat.CSV, rich_run()[:1])
    assert {path.name for path in directory.iterdir()} == {*DOCUMENTS, "run.csv"}


def test_lines_end_as_in_rfc_4180(tmp_path: Path) -> None:
    content = (export_to(tmp_path / "csv", ExportFormat.CSV) / "token_parent.csv").read_bytes()
    assert content == (
        b"run_id,token_id,parent_token_id,ordinal\r\nrun-1,token-2,token-1,0\r\nrun-1,token-3,token-1,1\r\n"
    )


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    directory = export_to(tmp_path / "csv", ExportFormat.CSV, rich_run())
    header, *lines = (directory / "run.csv").read_text(encoding="utf-8").splitlines()
    doubled = [f"run_id,{header}", *(f"other,{line}" for line in lines)]
    (directory / "run.csv").write_text("".join(f"{line}\r\n" for line in doubled), encoding="utf-8", newline="")
    with pytest.raises(ExportError, match=r"csv, run\.csv: expected each column once in the header$"):
        list(read_export(directory))


HEADER = b"run_id,token_id,parent_token_id,ordinal\r\n"
ROW = b"run-1,token-2,token-1,0\r\n"
ROWS = ROW + b"run-1,token-3,token-1,1\r\n"
NOT_UTF_8 = f"'utf-8' codec can't decode byte 0xff in position {len(HEADER) + 6}: invalid start byte"
OF_ROW = "token_parents run_id='run-1' token_id='token-2' parent_token_id='token-1': ordinal"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (HEADER + ROW.replace(b",0", b""), ", row 1: expected 4 fields, got 3"),
        (HEADER + ROW + b"\r\n", ", row 2: expected 4 fields, got 1"),
        (HEADER + ROW + ROW.replace(b",0", b",1,"), ", row 2: expected 4 fields, got 5"),
        (HEADER + ROW.replace(b",0", b",one"), ", row 1: ordinal: expected integer in JSON, got 'one'"),
        (
            HEADER + ROW.replace(b",0", b",'" + b"1" * 40),
            f', row 1: ordinal: expected integer in JSON, got "\'{"1" * 29}"',
        ),
        (
            HEADER + ROW.replace(b",0", b","),
            f", row 1: {OF_ROW}: expected an integer from 0 to 9007199254740991, got None",
        ),
        (HEADER.replace(b",ordinal", b"") + ROW.replace(b",0", b""), ": column 'ordinal' is missing"),
        (HEADER.replace(b",", b",note,", 1) + ROW, ": column 'note' is not a field of records of type token_parent"),
        (b"", ": column 'ordinal' is missing"),
        (
            HEADER + ROW.replace(b"token-2", b"\xff"),
            f": expected a readable CSV file in UTF-8: {NOT_UTF_8}",
        ),
        (
            HEADER + ROW.replace(b"token-2", b'"token-2'),
            ": expected a quote that ends the last field: the file is truncated",
        ),
        (
            HEADER + ROW.replace(b"token-2", b'to"ken"-2'),
            """: expected fields as RFC 4180 has them, got 'to"ken"-2,token-1,0\\r\\n'""",
        ),
        (HEADER.replace(b"\r", b""), ": expected fields as RFC 4180 has them, got 'ordinal\\n'"),
        (HEADER + ROW[:-2], ": expected fields as RFC 4180 has them, got '0'"),
    ],
)
def test_each_fault_of_a_file_has_its_message(tmp_path: Path, content: bytes, problem: str) -> None:
    directory = export_to(tmp_path / "csv", ExportFormat.CSV)
    assert (directory / "token_parent.csv").read_bytes() == HEADER + ROWS
    (directory / "token_parent.csv").write_bytes(content)
    with pytest.raises(ExportError) as refused:
        list(read_export(directory))
    assert str(refused.value) == f"{directory}, token_parent.csv{problem}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tokens.csv", "expected TYPE.csv of a known record type, or manifest.json"),
        ("token.parquet", "expected TYPE.csv of a known record type, or manifest.json"),
        ("token.csv.zst", "expected one file for each record type, got token.csv, too"),
    ],
)
def test_a_file_that_does_not_belong_to_the_export_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    directory = export_to(tmp_path / "csv", ExportFormat.CSV)
    (directory / name).write_bytes((directory / "token.csv").read_bytes())
    with pytest.raises(ExportError) as refused:
        list(read_export(directory))
    assert str(refused.value) == f"{directory}, {name}: {problem}"


def test_a_manifest_in_another_layout_is_refused(tmp_path: Path) -> None:
    directory = export_to(tmp_path / "csv", ExportFormat.CSV)
    manifest = json.loads((directory / "manifest.json").read_bytes())
    (directory / "manifest.json").write_text(json.dumps(manifest, sort_keys=True) + "\n")
    with pytest.raises(ExportError) as refused:
        list(read_export(directory))
    expected, got = '{"artifact":1,"batch":1,"batch', ' {"artifact": 1, "batch": 1, "'
    problem = f"is not canonical JSON: expected {expected!r}... at byte 11, got {got!r}..."
    assert str(refused.value) == f"{directory}, manifest.json: {problem}"


def row_texts(content: str) -> list[str]:
    return list(read_row_texts(Path("csv"), "run.csv", StringIO(content, newline="\n")))


def test_a_row_ends_after_its_quotes() -> None:
    rows = ['a,"of\nfour\n\nlines ""here"""\r\n', 'b,"\r\n"\r\n', "c,\r\n"]
    assert row_texts("".join(rows)) == rows


@pytest.mark.parametrize("row", ["a" * 10 + "\n", '"a' + "\na" * 4 + '"\n'])
def test_a_row_that_is_too_long_is_refused(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv_form, "_MAX_LINE", len(row))
    assert row_texts(row * 2) == [row, row]
    monkeypatch.setattr(_csv_form, "_MAX_LINE", len(row) - 2)
    with pytest.raises(ExportError, match=r"run\.csv: expected rows of at most \d+ characters, got a longer one$"):
        row_texts(row)
