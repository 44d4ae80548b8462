"""Files of text sources: encodings, compression, and several at once."""

import gzip
import hashlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginError, Source
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.outputs.compression import load_zstd
from elspeth.plugins import json_text
from elspeth.plugins._input_file import HashedBytes
from elspeth.plugins.csv import CsvSource
from elspeth.plugins.input_files import InputFile, TextSource
from elspeth.plugins.json import JsonlSource, JsonSource
from elspeth.plugins.parquet_source import ParquetSource
from tests.fixtures.effort import law
from tests.fixtures.object_store import Bucket, Failure

ROWS = b"id,name\n1,Ada\n2,Zo\xc3\xab\n"
READ: list[RowData] = [{"id": "1", "name": "Ada"}, {"id": "2", "name": "Zoë"}]


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def source(path: object, plugin: type[TextSource] = CsvSource, **options: object) -> TextSource:
    return plugin(plugin.options_model.model_validate({"path": path, **options}))


def read(path: object, plugin: type[TextSource] = CsvSource, **options: object) -> list[RowData | InvalidRow]:
    return list(source(path, plugin, **options).read())


def fail(path: object, plugin: type[TextSource] = CsvSource, **options: object) -> str:
    with pytest.raises(PluginError) as caught:
        read(path, plugin, **options)
    return str(caught.value)


def zstd(content: bytes) -> bytes:
    compressed: bytes = load_zstd().compress(content)
    return compressed


def parquet_of(columns: dict[str, list[str]]) -> bytes:
    made = io.BytesIO()
    parquet.write_table(pa.table(columns), made)
    return made.getvalue()


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


# -- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "UTF8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "mac_roman"],
)
def test_a_file_is_read_in_its_encoding(encoding: str) -> None:
    Path("in.csv").write_bytes(ROWS.decode().encode(encoding))
    assert read("in.csv", encoding=encoding) == READ
    if encoding.lower().startswith("utf8"):
        Path("in.csv").write_bytes(b"\xef\xbb\xbf" + ROWS)
        assert read("in.csv", encoding=encoding) == READ
    Path("in.json").write_bytes('\ufeff[{"id": "1", "name": "Ada"}, {"id": "2", "name": "Zoë"}]'.encode("utf-16-be"))
    assert read("in.json", JsonSource, encoding="utf-16") == READ


@pytest.mark.parametrize(
    ("encoding", "cell", "shown", "named"),
    [
        ("utf-8", b"\xff\xc3", "\\xff\\xc3", "UTF-8"),
        ("ascii", "é".encode(), "\\xc3\\xa9", "ASCII"),
        ("cp1252", b"\x81", "\\x81", "CP1252"),
        ("shift_jis", b"\xff", "\\xff", "SHIFT_JIS"),
        ("utf-16-le", b"\x00\xd8", "\\x00\\xd8", "UTF-16-LE"),
    ],
)
def test_bytes_of_another_encoding_make_an_invalid_row(encoding: str, cell: bytes, shown: str, named: str) -> None:
    after = "\n2\n".encode(encoding)
    Path("in.csv").write_bytes("a\n".encode(encoding) + cell + after)
    bad, good = read("in.csv", encoding=encoding)
    error = f"line 2: bytes that are not {named}"
    assert bad == InvalidRow(data={"a": shown}, error=error, file="in.csv", line=2)
    assert good == {"a": "2"}


@pytest.mark.parametrize("chunk", [3, 65_536])
def test_bytes_of_another_encoding_in_an_array_make_an_invalid_row(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    Path("in.json").write_bytes(b'[{"a": "\xff"}, {"a": "b"}]')
    error = "element 0, line 1: bytes that do not fit the encoding"
    bad = InvalidRow(data={"__raw__": '{"a": "\\xff"}'}, error=error, file="in.json", line=1)
    assert read("in.json", JsonSource) == [bad, {"a": "b"}]


@pytest.mark.parametrize(("mark", "expected"), [("utf-16", "utf-8"), ("utf-32", "utf-8"), ("utf-8-sig", "cp1252")])
def test_the_byte_order_mark_of_another_encoding_is_named(mark: str, expected: str) -> None:
    Path("in.csv").write_bytes(ROWS.decode().encode(mark))
    found = mark.removesuffix("-sig")
    assert fail("in.csv", encoding=expected) == (
        f"in.csv begins like {found.upper()}: expected text in {expected.upper()}; "
        f"if that is what it is, set encoding: {found}"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_an_unknown_order_of_bytes_is_an_error_of_the_file(encoding: str) -> None:
    Path("in.csv").write_bytes(ROWS.decode().encode(f"{encoding}-le"))
    assert fail("in.csv", encoding=encoding) == (
        f"in.csv has no byte order mark, as {encoding.upper()} has: expected encoding {encoding}-le or {encoding}-be"
    )
    Path("in.csv").write_bytes(b"")
    assert fail("in.csv", encoding=encoding).startswith("in.csv, header: expected a header line")


@law(200)
@given(
    content=st.binary(max_size=60),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-7", "shift_jis", "gb18030", "iso2022_jp"]),
    plugin=st.sampled_from([CsvSource, JsonSource, JsonlSource]),
)
def test_any_bytes_give_rows_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, encoding: str, plugin: type[TextSource]
) -> None:
    path = tmp_path_factory.mktemp("any") / "in"
    path.write_bytes(content)
    rows: list[RowData | InvalidRow] = []
    message = str(path)
    try:
        rows = read(str(path), plugin, encoding=encoding)
    except PluginError as error:
        message = str(error)
    assert str(path) in message
    for row in rows:
        text = repr(row if isinstance(row, dict) else row.data)
        assert text.encode().decode() == text


@pytest.mark.parametrize("encoding", ["utf-9", "rot13", "base64", "undefined", "idna", ""])
def test_an_encoding_that_is_not_for_text_is_refused(encoding: str) -> None:
    with pytest.raises(ValidationError, match=r"unknown encoding .*: expected one of Python's, such as utf-8"):
        source("in.csv", encoding=encoding)


# -- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("name", ["in.csv.gz", "in.csv.zst", "in.csv"])
def test_a_compressed_file_is_recognised_by_its_content(name: str, compress: Callable[[bytes], bytes]) -> None:
    Path(name).write_bytes(compress(ROWS))
    assert read(name) == READ
    Path(name).write_bytes(compress(ROWS[:9]) + compress(ROWS[9:]))  # as `cat` joins them
    assert read(name) == READ
    Path(name).write_bytes(compress(b'{"rows": [{"id": "1"}]}'))
    assert read(name, JsonSource, record_path="rows") == [{"id": "1"}]
    assert read(name, JsonlSource) == [{"rows": [{"id": "1"}]}]


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_rows_before_the_damage_are_read(compress: Callable[[bytes], bytes]) -> None:
    whole = compress(ROWS + b"".join(b"%d,x%d\n" % (number, number**7) for number in range(20_000)))
    for content, problem in [
        (whole[:-20], "in.csv.gz is truncated: its compressed data have no end"),
        (whole[: len(whole) // 2] + bytes(100) + whole[len(whole) // 2 + 100 :], "in.csv.gz is damaged: "),
        (whole + gzip.compress(b"")[:10] + b"\xff" * 100, "in.csv.gz is damaged: "),
        (whole + b"PK\x03\x04 and more", "in.csv.gz is damaged: it cannot be decompressed any further"),
    ]:
        Path("in.csv.gz").write_bytes(content)
        rows = source("in.csv.gz").read()
        assert [next(rows), next(rows)] == READ
        with pytest.raises(PluginError) as caught:
            list(rows)
        assert str(caught.value).startswith(problem)


def test_zstd_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.csv").write_bytes(zstd(ROWS))
    monkeypatch.setattr("elspeth.outputs.compression._ZSTD_MODULE", "no.such_module")
    assert fail("in.csv").startswith("in.csv is compressed with zstd, which needs no.such_module")


def test_a_file_compressed_twice_is_named() -> None:
    Path("in.csv").write_bytes(gzip.compress(gzip.compress(ROWS)))
    assert fail("in.csv") == "in.csv begins like gzip: expected text in UTF-8"


def test_progress_counts_the_bytes_of_all_files_as_they_are() -> None:
    content = b"a\n" + b"".join(b"%d\n" % (number**7) for number in range(10_000))
    Path("1.csv").write_bytes(gzip.compress(content))
    Path("2.csv").write_bytes(content)
    Path("3.csv").write_bytes(content)
    files = source("*.csv")
    assert files.fraction_read() is None
    fractions = [files.fraction_read() or 0.0 for _ in files.read()]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.5
    assert files.fraction_read() == 1.0
    assert [each.rows for each in files.inputs()] == [10_000] * 3


def test_a_source_that_is_read_again_has_the_same_inputs() -> None:
    Path("1.csv").write_bytes(ROWS)
    again = source("1.csv")
    found = [(list(again.read()), list(again.inputs()), again.fraction_read()) for _ in range(2)]
    assert found[0] == found[1]
    assert [(each.rows, each.is_complete, each.size_bytes) for each in again.inputs()] == [(2, True, len(ROWS))]


@pytest.mark.parametrize("plugin", [CsvSource, JsonlSource])
def test_a_file_that_is_being_read_has_no_hash_yet(plugin: type[TextSource]) -> None:
    Path("in").write_bytes({CsvSource: b"a\n1\n2\n", JsonlSource: b'{"a": "1"}\n{"a": "2"}\n'}[plugin])
    opened = source("in", plugin)
    rows = opened.read()
    assert next(rows) == {"a": "1"}
    [read] = opened.inputs()
    found = (read.rows, read.is_complete, read.content_hash, read.size_bytes)
    assert found == (1, False, None, None)


def test_checking_a_pipe_does_not_wait_for_its_writer() -> None:
    os.mkfifo("pipe")
    checking = threading.Thread(target=source("pipe").check, daemon=True)
    checking.start()
    checking.join(20)
    assert not checking.is_alive()


def test_a_file_that_was_closed_counts_as_read() -> None:
    Path("1.csv").write_bytes(ROWS)
    file = InputFile(Path("1.csv"), "utf-8", is_only=True)
    assert file.bytes_read == 0
    with file.opened(newline="") as text:
        text.read()
    assert file.bytes_read == len(ROWS)


def test_a_pipe_is_read_as_it_fills() -> None:
    class Pipe(io.BytesIO):
        def readinto(self, _: object) -> int:
            raise AssertionError("this waits until the buffer is full")

    hashed = HashedBytes(Pipe(b"ab"))
    buffer = bytearray(4)
    assert (hashed.readinto(buffer), bytes(buffer), hashed.tell()) == (2, b"ab\0\0", 2)
    assert hashed.digest() == hashlib.sha256(b"ab").hexdigest()


# -- several files ---------------------------------------------------------------------------------------------------


def test_files_are_read_in_the_order_of_the_list_and_of_their_names() -> None:
    for name in ("b", "a", "c"):
        Path(f"{name}.csv").write_text(f"id,from\n1,{name}\n")
    found = [row["from"] for row in read(["c.csv", "[ab].csv"]) if isinstance(row, dict)]
    assert found == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("plugin", "content", "place"),
    [
        (CsvSource, "a,b\n1,2\n3\n", "line 3"),
        (JsonlSource, '{"a": 1}\n\n3\n', "line 3"),
        (JsonSource, '[{"a": 1},\n\n3]', "element 1, line 3"),
    ],
)
def test_an_invalid_row_names_its_file_and_line(plugin: type[TextSource], content: str, place: str) -> None:
    for name in ("1.in", "2.in"):
        Path(name).write_text(content)
    problem = "expected 2 fields, got 1" if plugin is CsvSource else "expected an object, got an integer"
    for path in ("*.in", ["1.in", "2.in"]):
        found = [(row.error, row.file, row.line) for row in read(path, plugin) if isinstance(row, InvalidRow)]
        assert found == [(f"{place} of {name}: {problem}", name, 3) for name in ("1.in", "2.in")]
    [alone] = [row for row in read("1.in", plugin) if isinstance(row, InvalidRow)]
    assert (alone.error, alone.file, alone.line) == (f"{place}: {problem}", "1.in", 3)


def test_all_problems_of_files_are_named_before_the_first_row() -> None:
    Path("a.csv").write_bytes(ROWS)
    message = (
        "no file matches '*.txt'; a.csv is named twice, first as a.csv: its rows would be read twice; "
        "gone.csv cannot be read: No such file or directory; . cannot be read: Is a directory"
    )
    paths = ["a.csv", "gone.csv", "*.txt", ".", "a.csv"]
    assert fail(paths) == message
    with pytest.raises(PluginError) as caught:
        source(paths).check()
    assert str(caught.value) == message


def test_a_header_unlike_the_first_is_named_before_the_first_row() -> None:
    Path("1.csv").write_bytes(ROWS)
    Path("2.csv").write_text("name,id\nEve,3\n")
    assert read("?.csv") == [*READ, {"name": "Eve", "id": "3"}]
    Path("3.csv").write_text("id,mail\n")
    problem = "3.csv, header: expected the fields of 1.csv, but it lacks 'name' and has 'mail' besides"
    assert fail("?.csv").startswith(problem)
    schema = {"mode": "free", "fields": ["id: int", "name: str?"]}
    assert len(read("?.csv", schema=schema)) == 3
    Path("3.csv").write_text("mail\n")
    assert fail("?.csv", schema=schema) == "3.csv, header: the schema requires a field 'id'"
    Path("3.csv").write_text("")
    with pytest.raises(PluginError) as caught:
        source("?.csv").check()
    assert str(caught.value) == "3.csv, header: expected a header line with the names of the fields"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (7, "expected a path, or a list of paths, got 7"),
        ([], r"expected a path, or a list of paths, got \[\]"),
        (["-", "-"], "'-' is standard input: expected no other path beside it"),
        (["-", "a.csv"], "'-' is standard input: expected no other path beside it"),
        ("", "at least 1 character"),
        (["a", 7], "valid string"),
    ],
)
def test_invalid_paths_are_refused(path: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        source(path)


@pytest.mark.parametrize(
    ("plugin", "content", "lines"),
    [
        (CsvSource, 'id\n1\n"\n2"\n3\n', [2, 3, 5]),
        (JsonlSource, '{"id": 1}\n\n{"id": 2}\n', [1, 3]),
        (JsonSource, '[{"id": 1},\n{\n"id": 2}]', [1, 2]),
    ],
)
def test_file_and_line_can_be_fields(plugin: type[TextSource], content: str, lines: list[int]) -> None:
    Path("1.in").write_text(content)
    schema = {"mode": "strict", "fields": ["id: any", "source: str", "line: int"]}
    rows = read("1.in", plugin, file_field="source", line_field="line", schema=schema)
    places = [(row["source"], row["line"]) for row in rows if isinstance(row, dict)]
    assert places == [("1.in", line) for line in lines]


def test_an_existing_field_is_not_replaced_by_the_file_field() -> None:
    Path("in.csv").write_bytes(ROWS)
    assert fail("in.csv", file_field="name") == (
        "in.csv, header: the field 'name' is also to be added: give file_field and line_field names of their own"
    )
    added = "the field {!r} is also to be added: give file_field and line_field names of their own"
    both = fail("in.csv", file_field="name", line_field="id")
    assert both == f"in.csv, header: {added.format('name')}; {added.format('id')}"
    Path("in.jsonl").write_text('{"a": 1}\n{"n": 2}\n')
    [row, bad] = read("in.jsonl", JsonlSource, line_field="n")
    assert row == {"a": 1, "n": 1}
    assert isinstance(bad, InvalidRow)
    assert bad.error == "line 2: the field 'n' is also to be added"
    Path("in.jsonl").write_text('{"n": null}\n')
    [bad] = read("in.jsonl", JsonlSource, line_field="n")
    assert isinstance(bad, InvalidRow)
    assert bad.error == "line 1: the field 'n' is also to be added"


# -- standard input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_standard_input_is_read_and_left_open(
    monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    pipe(monkeypatch, compress(ROWS + b"3\n"))
    piped = source("-")
    piped.check()
    *rows, bad = piped.read()
    assert rows == READ
    assert bad == InvalidRow(data={"id": "3"}, error="line 4: expected 2 fields, got 1", file="standard input", line=4)
    assert piped.fraction_read() is None
    assert sys.stdin.read() == ""


@pytest.mark.parametrize("plugin", [JsonSource, JsonlSource])
def test_json_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, plugin: type[TextSource]) -> None:
    rows = b"".join(b'\n{"id": %d}\n' % number for number in range(100))
    pipe(monkeypatch, rows)
    assert read("-", plugin) == [{"id": number} for number in range(100)]


def test_a_terminal_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert fail("-") == "standard input is a terminal: expected rows from a pipe or a file"
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(PluginError, match="standard input is closed: expected rows from a pipe or a file"):
            source("-").check()


def test_a_file_may_be_named_like_standard_input() -> None:
    Path("-").write_bytes(ROWS)
    assert read("./-") == READ


@pytest.mark.parametrize("plugin", [CsvSource, ParquetSource])
def test_an_object_that_is_replaced_while_its_rows_are_used_is_refused(bucket: Bucket, plugin: type[Source]) -> None:
    content = {CsvSource: ROWS, ParquetSource: parquet_of({"id": ["1", "2"], "name": ["Ada", "Zoë"]})}[plugin]
    bucket.put("in", content)
    url = bucket.url("in")
    rows = plugin(plugin.options_model.model_validate({"path": url})).read()
    assert next(rows) == READ[0]
    bucket.put("in", content + b" ")
    with pytest.raises(PluginError) as caught:
        list(rows)
    assert str(caught.value) == f"{url} cannot be read: it was replaced while it was read"


def test_an_object_is_recorded_with_its_version(bucket: Bucket) -> None:
    bucket.put("in.csv", ROWS)
    opened = source(bucket.url("in.csv"))
    assert list(opened.read()) == READ
    [read] = opened.inputs()
    assert (read.input_type, read.path_or_uri, read.rows) == ("object", bucket.url("in.csv"), 2)
    assert (read.object_version, read.size_bytes) == (bucket.version("in.csv"), len(ROWS))
    assert read.content_hash == hashlib.sha256(ROWS).hexdigest()


def test_an_object_whose_size_is_not_told_is_read_without_progress(bucket: Bucket) -> None:
    bucket.put("in.csv", ROWS)
    bucket.server.fail(Failure(method="HEAD", part="in.csv", status=403, code="AccessDenied", skip=1))
    opened = source(bucket.url("in.csv"))
    assert list(opened.read()) == READ
    assert opened.fraction_read() is None


def test_an_invalid_row_has_its_place_too() -> None:
    Path("in.csv").write_bytes(b"a,b\n\xff,1\n2\n")
    undecodable, short = read("in.csv", file_field="file", line_field="line")
    assert isinstance(undecodable, InvalidRow)
    assert isinstance(short, InvalidRow)
    assert undecodable.data == {"a": "\\xff", "b": "1", "file": "in.csv", "line": 2}
    assert short.data == {"a": "2", "file": "in.csv", "line": 3}


def test_the_file_field_is_the_path_as_it_was_found() -> None:
    Path("in").mkdir()
    Path("in/1.csv").write_bytes(ROWS)
    assert {row["file"] for row in read("in/*.csv", file_field="file") if isinstance(row, dict)} == {"in/1.csv"}
