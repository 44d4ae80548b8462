"""What a run reports about broken source files."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.outputs.compression import load_zstd
from elspeth.plugins.manager import PluginManager

pytestmark = pytest.mark.usefixtures("own_directory")

WHEN_THOROUGH = pytest.mark.thorough

Captured = pytest.CaptureFixture[str]

INTEGER_ID = {"schema": {"mode": "free", "fields": ["id: int"]}}
EURO = {**INTEGER_ID, "delimiter": ";", "decimal": ",", "thousands": "."}
EURO["schema"] = {"mode": "free", "fields": ["id: float"]}
LIST = {"record_path": "data.items"}
RECORD_IN_THE_WAY = "expected an object at data for record_path data.items at line 1, column 10"


class Broken(NamedTuple):
    """A broken file, and the message about it.

    `said` is the error of the file or, if it begins with "row: ", the reason of its only invalid row.
    """

    plugin: str
    content: bytes
    said: str
    options: dict[str, Any] = {}  # noqa: RUF012  not changed


def zstd(content: bytes) -> bytes:
    compressed: bytes = load_zstd().compress(content)
    return compressed


BROKEN = {
    # -- not the file that was meant
    "empty": Broken("csv", b"", "in, header: expected a header line with the names of the fields"),
    "blank lines only": Broken("csv", b"\n\n\n", "in, header: expected a header line with the names of the fields"),
    "a spreadsheet": Broken(
        "csv", b"PK\x03\x04\x14\0", "in begins like a zip archive, as spreadsheets are: expected text in UTF-8"
    ),
    "Parquet": Broken("jsonl", b"PAR1\x15\x04", "in begins like Parquet: expected text in UTF-8"),
    "bzip2": Broken("json", b"BZh91AY&SY", "in begins like bzip2: expected text in UTF-8"),
    "xz": Broken("csv", b"\xfd7zXZ\0\0", "in begins like xz: expected text in UTF-8"),
    "gzip in gzip": Broken("csv", gzip.compress(gzip.compress(b"id\n")), "in begins like gzip: expected text in UTF-8"),
    "no Parquet": Broken("parquet", b"id\n1\n", "in cannot be read: "),
    # -- encodings
    "UTF-16": Broken(
        "csv",
        "id\n1\n".encode("utf-16"),
        "in begins like UTF-16: expected text in UTF-8; if that is what it is, set encoding: utf-16",
    ),
    "UTF-16 without a mark": Broken("csv", "id\n1\n".encode("utf-16-le"), "in, header: NUL characters, as in UTF-16"),
    "UTF-16 of unknown order": Broken(
        "json",
        "[]".encode("utf-16-be"),
        "in has no byte order mark, as UTF-16 has: expected encoding utf-16-le or utf-16-be",
        {"encoding": "utf-16"},
    ),
    "UTF-8 as cp1252": Broken(
        "csv",
        b"\xef\xbb\xbfid\n1\n",
        "in begins like UTF-8: expected text in CP1252; if that is what it is, set encoding: utf-8",
        {"encoding": "cp1252"},
    ),
    "Latin-1 in the header": Broken("csv", b"gr\xf6\xdfe\n1\n", "in, header: bytes that are not UTF-8"),
    "Latin-1 in a row": Broken("csv", b"id\n1\n\xe9\n", "row: line 3: bytes that are not UTF-8"),
    "Latin-1 in a line": Broken("jsonl", b'{"id": 1}\n{"id": "\xe9"}\n', "row: line 2: bytes that are not UTF-8"),
    "Latin-1 in an array": Broken(
        "json", b'[{"id": 1},\n{"id": "\xe9"}]', "row: element 1, line 2: bytes that do not fit the encoding"
    ),
    "half a character of UTF-16": Broken(
        "csv", "id\n1\n2\n".encode("utf-16") + b"3", "row: line 4: bytes that are not UTF-16", {"encoding": "utf-16"}
    ),
    "NUL": Broken("csv", b"id\n1\na\0b\n", "row: line 3: NUL characters"),
    # -- compression
    "truncated gzip": Broken(
        "csv", gzip.compress(b"id\n1\n2\n")[:-9], "in is truncated: its compressed data have no end"
    ),
    "truncated Zstandard": Broken(
        "jsonl", zstd(b'{"id": 1}\n')[:-2], "in is truncated: its compressed data have no end"
    ),
    "damaged gzip": Broken(
        "csv", gzip.compress(b"id\n1\n2\n")[:-8] + bytes(8), "in is damaged: it cannot be decompressed any further"
    ),
    "text after gzip": Broken(
        "csv", gzip.compress(b"id\n1\n") + b"id\n2\n", "in is damaged: it cannot be decompressed any further"
    ),
    # -- CSV: header
    "another delimiter": Broken(
        "csv", b"id;name\n1;Ada\n", "in, header: the only field is 'id;name': is the delimiter ';'? expected ','"
    ),
    "tabs": Broken(
        "csv", b"id\tn\n1\t2\n", r"in, header: the only field is 'id\tn': is the delimiter '\t'? expected ','"
    ),
    "commas": Broken(
        "csv", b"id,n\n", "in, header: the only field is 'id,n': is the delimiter ','? expected ';'", {"delimiter": ";"}
    ),
    "a field without a name": Broken("csv", b"id,,name\n", "in, header: field 2 has no name"),
    "a name twice": Broken("csv", b"id,name,id\n", "in, header: the name 'id' occurs twice"),
    "a name twice when clean": Broken(
        "csv", b"Id, id\n", "in, header: the name 'id' occurs twice", {"header_names": "lower"}
    ),
    "a field is missing": Broken("csv", b"name\nAda\n", "in, header: the schema requires a field 'id'", INTEGER_ID),
    "another spelling": Broken(
        "csv", b"ID\n1\n", "in, header: the schema requires a field 'id', and it has 'ID': see header_names", INTEGER_ID
    ),
    "spaces around a name": Broken(
        "csv",
        b"a, id\n1,2\n",
        "in, header: the schema requires a field 'id', and ' id' has spaces around it: see header_names",
        INTEGER_ID,
    ),
    "a field too many": Broken(
        "csv",
        b"id,x\n",
        "in, header: the schema does not allow the field 'x'",
        {"schema": {"mode": "strict", "fields": ["id: int"]}},
    ),
    "fewer lines than are skipped": Broken("csv", b"id\n", "in: expected 5 lines to skip, got 1", {"skip_lines": 5}),
    "a quote in the header": Broken("csv", b'"id"x,n\n', "in, line 1: ',' expected after '\"'"),
    # -- CSV: rows
    "a quote that never closes": Broken(
        "csv", b'id,n\n1,2\n3,"4\n' + b"5,6\n" * 500, "in, line 3: a quote opens here and is never closed"
    ),
    "a quote that closes too late": Broken(
        "csv",
        b'id,n\n1,"2\n' + b"5,6\n" * 5 + b'7,8"\n',
        "in, line 2: a quote opens here and is not closed within 3 lines: close it; if the record is longer, raise "
        "max_record_lines and run the pipeline again",
        {"max_record_lines": 3},
    ),
    "an escape at the end": Broken(
        "csv",
        b"id,n\n1,2\n3,4\\\n",
        "in, line 3: a field with escaped line breaks begins here and is never closed",
        {"escape": "\\"},
    ),
    "a quote inside a field": Broken("csv", b'id\n1\n"2" x\n', "row: line 3: ',' expected after '\"'"),
    "a cell too few": Broken("csv", b"id,n\n1,2\n3\n", "row: line 3: expected 2 fields, got 1"),
    "a cell too many": Broken("csv", b"id,n\n1,2\n3,4,5\n", "row: line 3: expected 2 fields, got 3"),
    "another delimiter in one row": Broken(
        "csv", b"id,n\n1,2\n3;4\n", "row: line 3: expected 2 fields, got 1: is the delimiter ';'? expected ','"
    ),
    "text for a number": Broken(
        "csv", b"id\n1\nx\n", "row: line 3: field 'id': expected an integer, got text of 1 character", INTEGER_ID
    ),
    "a point for a comma": Broken(
        "csv",
        b"id\n1,5\n1.5\n",
        "row: line 3: field 'id': expected a number such as 1.234,5, got text of 3 characters",
        EURO,
    ),
    # -- JSON
    "an object over several lines": Broken(
        "jsonl", b'{\n "id": 1\n}\n', "in: the file is one object over several lines: expected an object on each line"
    ),
    "an array for lines": Broken(
        "jsonl",
        b'[\n{"id": 1}\n]\n',
        "in: the file is one array over several lines: expected an object on each line; the plugin json reads arrays",
    ),
    "a list inside an object": Broken(
        "json",
        b'{\n"items": [\n{"id": 1}]}\n',
        "in: the file is one object over several lines: expected an array of objects, or an object on each line; "
        "record_path names a list inside one object",
    ),
    "an array that is cut off": Broken(
        "json", b'[{"id": 1},\n{"id": 2}', "in, element 2: expected ',' or ']' after an element at line 2, column 10"
    ),
    "an array with a syntax error": Broken(
        "json",
        b'[{"id": 1},\n{"id" 2}]',
        "in, element 1: not JSON: Expecting ':' delimiter at line 2, column 7",
    ),
    "text after an array": Broken(
        "json", b'[{"id": 1}]\n[{"id": 2}]', "in: expected nothing after the array at line 2, column 1"
    ),
    "no list at the path": Broken(
        "json", b'{"data": {}}', "in: the object at data has no 'items' for record_path data.items: it ends", LIST
    ),
    "a list in the way": Broken("json", b'{"data": [{"items": []}]}', f"in: {RECORD_IN_THE_WAY}", LIST),
    "no list but a text": Broken(
        "json",
        b'{"data": {"items": "none"}}',
        "in: expected an array at record_path data.items at line 1, column 20",
        LIST,
    ),
    "a line that is cut off": Broken(
        "jsonl", b'{"id": 1}\n{"id": 2', "row: line 2: not JSON: Expecting ',' delimiter at character 9"
    ),
    "a line that is a list": Broken(
        "jsonl", b'{"id": 1}\n[1]\n', "row: line 2: expected an object, got a list of 1 item"
    ),
    "NaN": Broken("json", b'[{"id": 1},\n{"id": NaN}]', "row: element 1, line 2: NaN is not a JSON number"),
    "a name twice in an object": Broken(
        "jsonl", b'{"id": 1}\n{"id": 1, "id": 2}\n', "row: line 2: a name occurs twice in one object"
    ),
    "nested without end": Broken(
        "jsonl", b'{"id": 1}\n' + b"[" * 100_000, "row: line 2: not JSON that can be read: nested too deeply"
    ),
    "digits without end": Broken(
        "json",
        b'[{"id": 1},\n{"id": ' + b"7" * 5_000 + b"}]",
        "row: element 1, line 2: an integer has too many digits to be read",
    ),
}


def run(capsys: Captured, broken: Broken, path: str) -> tuple[int, str]:
    """Run a pipeline with a broken file.

    Returns the exit code and the text on standard error.
    """
    options = {**broken.options, "path": path, "on_validation_failure": "bad"}
    settings = {
        "datasource": {"plugin": broken.plugin, "options": options},
        "output_sink": "out",
        "sinks": {
            "out": {"plugin": "csv", "options": {"path": "out.csv"}},
            "bad": {"plugin": "jsonl", "options": {"path": "bad.jsonl"}},
        },
        "landscape": {"enabled": False},
    }
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    code = main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"])
    return code, capsys.readouterr().err


def check(broken: Broken, code: int, err: str) -> None:
    """Check the message about a file, and what is left."""
    visible = sorted(path.name for path in Path().iterdir() if not path.name.startswith("."))
    assert "Traceback" not in err
    if broken.said.startswith("row: "):
        assert code == 0, err
        [bad] = [json.loads(line) for line in Path("bad.jsonl").read_text().splitlines()]
        assert f"row: {bad['error_reason']}" == broken.said
        assert len(Path("out.csv").read_text().splitlines()) >= 2
    else:
        assert code == 1
        assert err.startswith(f"error: {broken.said}"), err
        assert set(visible) <= {"in", "settings.yaml"}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_gives_one_message(broken: Broken) -> None:
    Path("in").write_bytes(broken.content)
    source = PluginManager.installed().source(broken.plugin, {**broken.options, "path": "in"})
    rows: list[RowData | InvalidRow] = []
    try:
        rows.extend(source.read())
        said = [f"row: {row.error}" for row in rows if isinstance(row, InvalidRow)]
    except PluginError as error:
        said = [str(error)]
    assert [each[: len(broken.said)] for each in said] == [broken.said]


SOME = ["empty", "another delimiter", "truncated gzip", "a quote that never closes", "a cell too few", "NaN"]


@pytest.mark.parametrize("name", [pytest.param(each, marks=[] if each in SOME else WHEN_THOROUGH) for each in BROKEN])
def test_a_run_reports_a_broken_file_and_publishes_nothing(capsys: Captured, name: str) -> None:
    Path("in").write_bytes(BROKEN[name].content)
    check(BROKEN[name], *run(capsys, BROKEN[name], "in"))


@pytest.mark.parametrize("name", ["truncated gzip", "a cell too few", "an object over several lines"])
def test_broken_standard_input_is_reported(capsys: Captured, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    broken = BROKEN[name]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(broken.content))))
    said = broken.said.replace("in", "standard input", 1) if broken.said.startswith("in") else broken.said
    check(broken._replace(said=said), *run(capsys, broken, "-"))
