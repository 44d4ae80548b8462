"""The CSV source: rows, invalid rows and unreadable files."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins import _csv_lines
from elspeth.plugins.csv import CsvSource, CsvSourceOptions

AS_UTF_16 = "expected text in UTF-8; if that is what it is, set encoding: utf-16"


def source(path: Path, schema: object = None) -> CsvSource:
    options = {"path": str(path)} | ({} if schema is None else {"schema": schema})
    return CsvSource(CsvSourceOptions.model_validate(options))


def read(tmp_path: Path, content: bytes, schema: object = None) -> list[RowData | InvalidRow]:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    return list(source(path, schema).read())


def invalid(tmp_path: Path, line: int, data: RowData, problem: str) -> InvalidRow:
    return InvalidRow(data=data, error=f"line {line}: {problem}", file=str(tmp_path / "in.csv"), line=line)


def fail(tmp_path: Path, content: bytes, schema: object = None) -> str:
    with pytest.raises(PluginError) as caught:
        read(tmp_path, content, schema)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_values_stay_text_without_a_schema(tmp_path: Path) -> None:
    assert read(tmp_path, b"id,name\n1,Ada\n02,\n") == [{"id": "1", "name": "Ada"}, {"id": "02", "name": ""}]


def test_values_are_coerced_by_a_schema(tmp_path: Path) -> None:
    rows = read(tmp_path, b"id,ok,note\n1,yes,x\n", {"mode": "free", "fields": ["id: int", "ok: bool"]})
    assert rows == [{"id": 1, "ok": True, "note": "x"}]


def test_quotes_byte_order_marks_line_ends_and_blank_lines_are_handled(tmp_path: Path) -> None:
    content = '\ufeff"id","text"\r\n1,"a ""quoted"", multi\r\nline"\r\n\r\n2,plain'.encode()
    assert read(tmp_path, content) == [{"id": "1", "text": 'a "quoted", multi\r\nline'}, {"id": "2", "text": "plain"}]


def test_reading_continues_after_an_invalid_row(tmp_path: Path) -> None:
    content = b'id,name\n1,Ada\n2\n3,Bob,x,y\n4,"open" quote\n5,\xff\xfe\n6,nul\x00\n7,Eve\n'
    assert read(tmp_path, content) == [
        {"id": "1", "name": "Ada"},
        invalid(tmp_path, 3, {"id": "2"}, "expected 2 fields, got 1"),
        invalid(tmp_path, 4, {"id": "3", "name": "Bob", "__extra__": ["x", "y"]}, "expected 2 fields, got 4"),
        invalid(tmp_path, 5, {"__raw__": '4,"open" quote\n'}, "',' expected after '\"'"),
        invalid(tmp_path, 6, {"id": "5", "name": "\\xff\\xfe"}, "bytes that are not UTF-8"),
        invalid(tmp_path, 7, {"id": "6", "name": "nul\\x00"}, "NUL characters"),
        {"id": "7", "name": "Eve"},
    ]


def test_a_row_over_several_lines_is_named_by_its_first_line(tmp_path: Path) -> None:
    assert read(tmp_path, b'a,b\n1,2\n"x\ny\nz"\n')[1] == invalid(
        tmp_path, 3, {"a": "x\ny\nz"}, "expected 2 fields, got 1"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'a\n1\n"2\n3\n', 3),
        (b'a\n1\n"2', 3),
        (b'"a\n1\n2\n', 1),
        (b'a,b\n1,"x\ny","z\n4,5\n', 3),
        (b'a,b\r\n"x\r""\r\n,",5" ,"\r\n', 4),
        (b'a,b\rx"y,"1\r2\r', 2),
        ('a,b\nü"ü,"\xff\0\n'.encode("latin-1"), 2),
    ],
)
def test_a_quote_that_never_closes_is_an_error_of_the_file(tmp_path: Path, content: bytes, line: int) -> None:
    assert fail(tmp_path, content) == f"in.csv, line {line}: a quote opens here and is never closed"


def test_an_open_quote_takes_at_most_the_lines_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('a,b\n1,"x\n\ny"\n2,"' + "z\n" * 1_000)
    reader = source(path)
    rows = reader.read()
    assert next(rows) == {"a": "1", "b": "x\n\ny"}
    with pytest.raises(PluginError) as caught:
        next(rows)
    limit = "1,000 lines: close it; if the record is longer, raise max_record_lines and run the pipeline again"
    assert str(caught.value) == f"{path}, line 5: a quote opens here and is not closed within {limit}"
    options = CsvSourceOptions.model_validate({"path": str(path), "max_record_lines": 2})
    with pytest.raises(PluginError, match=r"line 2: a quote opens here and is not closed within 2 lines"):
        list(CsvSource(options).read())


def test_a_record_may_have_as_many_lines_as_the_options_say(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('a\n"x\ny\nz"\n1\n')
    options = CsvSourceOptions.model_validate({"path": str(path), "max_record_lines": 3})
    assert list(CsvSource(options).read()) == [{"a": "x\ny\nz"}, {"a": "1"}]


def test_values_that_do_not_fit_the_schema_keep_the_row_as_it_was_read(tmp_path: Path) -> None:
    rows = read(tmp_path, b"id,n\nx,1\n2,y\n", {"mode": "strict", "fields": ["id: int", "n: float"]})
    assert rows == [
        invalid(tmp_path, 2, {"id": "x", "n": "1"}, "field 'id': expected an integer, got text of 1 character"),
        invalid(tmp_path, 3, {"id": "2", "n": "y"}, "field 'n': expected a number, got text of 1 character"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "in.csv, header: expected a header line with the names of the fields"),
        (b"\n1,2\n", "in.csv, header: expected a header line with the names of the fields"),
        (b"a,a,,b,b\n", "in.csv, header: field 3 has no name; the name 'a' occurs twice; the name 'b' occurs twice"),
        (b"a,a,a\n", "in.csv, header: the name 'a' occurs twice"),
        (b"a\xff\n", "in.csv, header: bytes that are not UTF-8"),
        (b"i\0d\0\n\0", "in.csv, header: NUL characters, as in UTF-16"),
        (b"\xff\xfei\0d\0", f"in.csv begins like UTF-16: {AS_UTF_16}"),
        (b"\xfe\xff\0i\0d", f"in.csv begins like UTF-16: {AS_UTF_16}"),
        (b"\x1f\x8b\x08\0", "in.csv is truncated: its compressed data have no end"),
        (b"PK\x03\x04", "in.csv begins like a zip archive, as spreadsheets are: expected text in UTF-8"),
        (b'"a" b,c\n', "in.csv, line 1: ',' expected after '\"'"),
    ],
)
def test_an_unusable_header_is_an_error_of_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    assert fail(tmp_path, content) == message


def test_a_header_that_does_not_fit_the_schema_is_an_error_of_the_file(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["id: int", "name: str", "note: str?"]}
    assert fail(tmp_path, b"id,other\n1,2\n", schema) == (
        "in.csv, header: the schema requires a field 'name'; the schema does not allow the field 'other'"
    )


def test_a_header_with_another_delimiter_or_with_spaces_is_named(tmp_path: Path) -> None:
    schema = {"mode": "free", "fields": ["id: int", "amount: float"]}
    assert fail(tmp_path, b"id;amount;name\n1;2;x\n", schema) == (
        "in.csv, header: the only field is 'id;amount;name': is the delimiter ';'? expected ','; "
        "the schema requires a field 'id'; the schema requires a field 'amount'"
    )
    assert fail(tmp_path, b"id, amount \n1,2\n", schema) == (
        "in.csv, header: the schema requires a field 'amount', and ' amount ' has spaces around it: see header_names"
    )


def test_a_line_too_long_to_hold_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv_lines, "MAX_CHARACTERS", 10)
    assert fail(tmp_path, b"a\n1\n" + b"x" * 11 + b"\n") == "in.csv, line 3: longer than 10 characters"


def test_a_record_too_long_to_hold_is_an_error_that_names_its_quote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_csv_lines, "MAX_CHARACTERS", 10)
    message = fail(tmp_path, b'a\n"12345\n67890"\n')
    assert message == "in.csv, line 2: a quote opens here and is not closed within 10 characters"


def test_reading_does_not_lower_limits_set_by_other_code(tmp_path: Path) -> None:
    before = csv.field_size_limit(1 << 28)
    try:
        assert read(tmp_path, b"a\n1\n") == [{"a": "1"}]
        assert csv.field_size_limit() == 1 << 28
    finally:
        csv.field_size_limit(before)


def test_a_file_may_be_longer_than_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv_lines, "MAX_CHARACTERS", 10)
    assert read(tmp_path, b"a\n" + b"123456789\n" * 5) == [{"a": "123456789"}] * 5
    assert read(tmp_path, b'a\n"123\n456"\n') == [{"a": "123\n456"}]


@pytest.mark.parametrize(("name", "reason"), [("missing.csv", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        list(source(tmp_path / name).read())
    assert str(caught.value) == f"{tmp_path / name} cannot be read: {reason}"


def test_progress_is_known_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "x\n" * 100_000)
    reader = source(path)
    assert reader.fraction_read() is None
    rows = reader.read()
    next(rows)
    first = reader.fraction_read()
    assert first is not None
    assert 0 < first < 0.5
    (begun,) = reader.inputs()
    assert (begun.rows, begun.is_complete, begun.content_hash, begun.size_bytes) == (1, False, None, None)
    assert sum(1 for _ in rows) == 99_999
    assert reader.fraction_read() == 1.0


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("a", "b"), *rows])
    found = read(tmp_path_factory.mktemp("csv"), buffer.getvalue().encode())
    assert found == [{"a": a, "b": b} for a, b in rows]


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_rows_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        rows = read(tmp_path_factory.mktemp("csv"), b"a,b\n" + content)
    except PluginError:
        return
    for row in rows:
        text = repr(row if isinstance(row, dict) else row.data)
        assert text.encode().decode() == text


def test_the_schema_may_require_a_field_that_the_source_adds(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id\n7\n")
    schema = {"mode": "strict", "fields": ["id: int", "line: int"]}
    options = {"path": str(tmp_path / "in.csv"), "line_field": "line", "schema": schema}
    assert list(CsvSource(CsvSourceOptions.model_validate(options)).read()) == [{"id": 7, "line": 2}]


def test_a_name_in_other_case_is_named_whatever_the_case_of_the_schema(tmp_path: Path) -> None:
    said = fail(tmp_path, b"AMOUNT\n1\n", {"mode": "free", "fields": ["Amount: int"]})
    assert said == "in.csv, header: the schema requires a field 'Amount', and it has 'AMOUNT': see header_names"


def test_a_line_too_long_to_hold_is_named_by_its_own_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv_lines, "MAX_CHARACTERS", 10)
    assert fail(tmp_path, b'a\n"x\n' + b"y" * 20) == "in.csv, line 3: longer than 10 characters"


def test_a_name_with_spaces_and_in_another_case_is_shown(tmp_path: Path) -> None:
    assert fail(tmp_path, b" ID ,b\n1,2\n", {"mode": "free", "fields": ["id: int"]}) == (
        "in.csv, header: the schema requires a field 'id', and it has ' ID ': see header_names"
    )
