"""Databases as found, exported to directories: every change is noticed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.found.reading import find_found_lines
from elspeth.evidence.verifier.found import verify_found_export
from elspeth.evidence.verifier.procedure import Verdict, Verification

KEY = b"k" * 32
ROWS = "INSERT INTO t VALUES (1, 'a \"b\", c'), (2, x'00ff'), (3, 1.5), (4, NULL), (5, ''), (6, '1')"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a file with two tables."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.executescript(f"CREATE TABLE t (id INTEGER PRIMARY KEY, signature); {ROWS}; CREATE TABLE u (a)")
    return f"sqlite:///{tmp_path / 'x.db'}"


def verify(path: Path, signing_key: bytes | None = None) -> Verification:
    lines = find_found_lines(path)
    assert lines is not None
    return verify_found_export(lines, signing_key=signing_key)


@pytest.mark.parametrize("form", [ExportFormat.CSV, ExportFormat.PARQUET])
def test_signatures_are_in_the_last_column(url: str, tmp_path: Path, form: ExportFormat) -> None:
    target = tmp_path / "found"
    export_found(make_url(url), target, format=form, signing_key=KEY)
    assert verify(target, KEY).verdict is Verdict.VERIFIED
    assert verify(target).verdict is Verdict.SIGNATURE_UNCHECKED
    assert verify(target, b"x" * 32).verdict is Verdict.NOT_VERIFIED


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("form", [ExportFormat.CSV, ExportFormat.PARQUET])
def test_odd_tables_are_read_back_as_they_were_written(tmp_path: Path, form: ExportFormat, key: bytes | None) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.executescript(
            "CREATE TABLE names (signature, signature_, number, SIGNATURE__);"
            "INSERT INTO names VALUES (1, 2, 3, 4), (5, 6, 7, 8);"
            "CREATE TABLE undecodable (a, b); INSERT INTO undecodable VALUES (CAST(x'ff' AS TEXT), 'x'), (NULL, 'y');"
            "CREATE TABLE large (a, b); INSERT INTO large VALUES (zeroblob(200000), hex(zeroblob(100000)));"
            "CREATE TABLE zeros (a, b, c); INSERT INTO zeros VALUES (0, 0.0, ''), (x'', '0', 0);"
            "CREATE TABLE empty (a);"
        )
    url = make_url(f"sqlite:///{tmp_path / 'x.db'}")
    for name, each in (("lines", ExportFormat.JSONL), ("files", form)):
        export_found(url, tmp_path / name, format=each, signing_key=key)
    assert read(tmp_path / "files") == read(tmp_path / "lines")
    assert verify(tmp_path / "files", key).verdict is (Verdict.UNSIGNED if key is None else Verdict.VERIFIED)


def read(path: Path) -> list[bytes]:
    """Return the lines but for what depends on the time."""
    lines = find_found_lines(path)
    assert lines is not None
    return [re.sub(rb'"(?:read_at|final_hash|signature)":"[^"]*"', b"", line) for _, line in lines]


def test_only_text_is_quoted_in_csv(url: str, tmp_path: Path) -> None:
    export_found(make_url(url), tmp_path / "found", format=ExportFormat.CSV)
    assert (tmp_path / "found" / "table-2.csv").read_bytes().split(b"\r\n") == [
        b'"id","signature"',
        b'1,"a ""b"", c"',
        b"2,blob:AP8=",
        b"3,real:1.5",
        b"4,",
        b'5,""',
        b'6,"1"',
        b"",
    ]
    assert (tmp_path / "found" / "table-3.csv").read_bytes() == b'"a"\r\n'


def test_columns_of_parquet_have_the_type_of_their_values(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.executescript(
            "CREATE TABLE t (i INTEGER, r REAL, s TEXT, b, mixed, bad, none TEXT);"
            "INSERT INTO t VALUES (9007199254740993, 1, 'a', x'00', 1, 'x', NULL),"
            " (NULL, 9e999, NULL, NULL, 'x', CAST(x'ff' AS TEXT), NULL)"
        )
    export_found(make_url(f"sqlite:///{tmp_path / 'x.db'}"), tmp_path / "found", format=ExportFormat.PARQUET)
    table = pq.read_table(tmp_path / "found" / "table-2.parquet")
    assert table.to_pylist() == [
        {"i": 2**53 + 1, "r": 1.0, "s": "a", "b": b"\0", "mixed": "1", "bad": '"x"', "none": None},
        {
            "i": None,
            "r": float("inf"),
            "s": None,
            "b": None,
            "mixed": '"x"',
            "bad": '{"text_bytes":"/w=="}',
            "none": None,
        },
    ]
    assert verify(tmp_path / "found").verdict is Verdict.UNSIGNED


def replace_text(name: str, before: bytes, after: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = (path / name).read_bytes()
        assert before in content
        (path / name).write_bytes(content.replace(before, after, 1))

    return change


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a value": (replace_text("table-2.csv", b"AP8=", b"AP4="), "final_hash"),
    "text for a number": (replace_text("table-2.csv", b'6,"1"', b"6,1"), "final_hash"),
    "empty text for null": (replace_text("table-2.csv", b"4,", b'4,""'), "final_hash"),
    "another spelling": (
        replace_text("table-2.csv", b"4,", b"4.0,"),
        "table-2.csv, row 4: expected 2 fields as they are",
    ),
    "quotes left out": (replace_text("table-2.csv", b'6,"1"', b"6,x"), "expected a number, true, false or NAME:VALUE"),
    "nested JSON": (
        replace_text("table-2.csv", b"4,", b"[" * 2000 + b","),
        "expected a number, true, false or NAME:VALUE",
    ),
    "JSON of another type": (
        replace_text("table-2.csv", b"4,", b"{},"),
        "expected a number, true, false or NAME:VALUE",
    ),
    "a large number": (replace_text("table-2.csv", b"4,", b"9007199254740993,"), "values that canonical JSON can hold"),
    "a row": (replace_text("table-2.csv", b"4,\r\n", b""), "record_count: expected 11"),
    "rows exchanged": (replace_text("table-2.csv", b'4,\r\n5,""', b'5,""\r\n4,'), "final_hash"),
    "a field more": (replace_text("table-2.csv", b"4,\r\n", b"4,,\r\n"), "expected 2 fields as they are exported"),
    "another line end": (replace_text("table-2.csv", b"4,\r\n", b"4,\n"), "expected fields as RFC 4180 has them"),
    "an open quote": (replace_text("table-2.csv", b'6,"1"', b'6,"1'), "expected a quote that ends the last field"),
    "another header": (replace_text("table-2.csv", b"signature", b"signed"), "table-2.csv: expected the header"),
    "bytes that are not UTF-8": (replace_text("table-2.csv", b"c", b"\xff"), "expected a CSV file in UTF-8"),
    "an unknown name": (
        replace_text("table-2.csv", b"blob:", b"blub:"),
        "values: signature: expected a value of the form",
    ),
    "a file less": (
        lambda path: (path / "table-2.csv").unlink(),
        "table-2: expected the rows of this table, got no file",
    ),
    "a file more": (lambda path: (path / "table-9.csv").write_bytes(b""), "table-9.csv: expected no such file"),
    "a foreign file": (lambda path: (path / "notes.txt").write_bytes(b""), "notes.txt: expected tables.jsonl, table-N"),
    "no tables": (lambda path: (path / "tables.jsonl").unlink(), "cannot be read: No such file"),
    "a table": (replace_text("tables.jsonl", b'"key":["id"]', b'"key":[]'), "final_hash"),
    "the manifest": (replace_text("manifest.json", b'"row":8', b'"row":7'), "manifest: counts: expected"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_every_change_to_csv_is_found(case: str, url: str, tmp_path: Path) -> None:
    target = tmp_path / "found"
    export_found(make_url(url), target, format=ExportFormat.CSV)
    change, message = CHANGES[case]
    change(target)
    result = verify(target)
    assert result.verdict is Verdict.NOT_VERIFIED
    assert message in " ".join(fault.detail for fault in result.faults)


def as_json(table: pa.Table, value: bytes) -> pa.Table:
    field = pa.field("id", pa.string(), metadata={"elspeth": "json"})
    return table.set_column(0, field, pa.array([value.decode()] * table.num_rows))


def test_every_change_to_parquet_is_found(url: str, tmp_path: Path) -> None:
    target = tmp_path / "found"
    export_found(make_url(url), target, format=ExportFormat.PARQUET)
    path = target / "table-2.parquet"
    table, content = pq.read_table(path), path.read_bytes()
    changed = [
        table.slice(1),
        table.slice(0, 5),
        table.take(pa.array([1, 0, 2, 3, 4, 5])),
        table.rename_columns(["id", "other"]),
        table.select(["signature", "id"]),
        table.append_column("more", table["id"]),
        table.set_column(0, "id", pa.array([9, 2, 3, 4, 5, 6])),
        table.set_column(0, "id", pa.array(["1", "2", "3", "4", "5", "6"])),
        table.set_column(0, "id", pa.array([{"a": 1}] * 6)),
        as_json(table, b"9007199254740993"),
        as_json(table, b"[" * 2000),
        as_json(table, b"[" * 900 + b"]" * 900),
        as_json(table, b"{}"),
        table.replace_schema_metadata({}).cast(pa.schema([("id", pa.int64()), ("signature", pa.string())])),
    ]
    for each in changed:
        pq.write_table(each, path)
        assert verify(target).verdict is Verdict.NOT_VERIFIED
    for damaged in (b"", content[:-1], content[: len(content) // 2], b"PAR1" * 10):
        path.write_bytes(damaged)
        assert verify(target).verdict is Verdict.NOT_VERIFIED
    path.write_bytes(content)
    assert verify(target).verdict is Verdict.UNSIGNED


def test_a_directory_replaces_only_its_own_kind(url: str, tmp_path: Path) -> None:
    target = tmp_path / "found"
    for form in (ExportFormat.CSV, ExportFormat.PARQUET, ExportFormat.CSV):
        export_found(make_url(url), target, format=form)
        assert {path.suffix for path in target.iterdir()} == {".json", ".jsonl", f".{form}"}
    (target / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not an export of a database as found"):
        export_found(make_url(url), target, format=ExportFormat.CSV)
    assert (target / "notes.txt").exists()
