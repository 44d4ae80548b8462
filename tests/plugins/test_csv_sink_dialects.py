"""The CSV sink: the dialects that it writes."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.rows import RowData
from elspeth.plugins.csv import CsvSink, CsvSinkOptions, CsvSource, CsvSourceOptions
from tests.fixtures.effort import law


def open_sink(path: Path, **options: object) -> CsvSink:
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(path), **options}))
    sink.open("run1")
    return sink


def written(path: Path, rows: list[RowData], **options: object) -> bytes:
    sink = open_sink(path, **options)
    for row in rows:
        sink.write(row)
    sink.finish()
    sink.publish()
    return path.read_bytes()


ROW: RowData = {"a": 1.5, "b": None, "c": "x;y", "d": True, "e": [1.5]}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "a,b,c,d,e\n1.5,,x;y,true,[1.5]\n"),
        ({"delimiter": ";", "decimal": ","}, 'a;b;c;d;e\n1,5;;"x;y";true;[1.5]\n'),
        ({"delimiter": "\t", "null_value": "\\N"}, "a\tb\tc\td\te\n1.5\t\\N\tx;y\ttrue\t[1.5]\n"),
        ({"delimiter": ";", "quote": "'", "decimal": ","}, "a;b;c;d;e\n1,5;;'x;y';true;[1.5]\n"),
        ({"decimal": ","}, 'a,b,c,d,e\n"1,5",,x;y,true,[1.5]\n'),
        ({"quote": None}, "a,b,c,d,e\n1.5,,x;y,true,[1.5]\n"),
        ({"quote": "'", "delimiter": ";"}, "a;b;c;d;e\n1.5;;'x;y';true;[1.5]\n"),
    ],
)
def test_a_dialect_is_written(tmp_path: Path, options: dict[str, object], text: str) -> None:
    assert written(tmp_path / "out", [ROW], **options).decode() == text


def test_the_decimal_character_is_for_decimals_and_not_for_dates(tmp_path: Path) -> None:
    rows: list[RowData] = [{"paid": Decimal("-1234.50"), "day": date(2026, 3, 1), "text": "1.5"}]
    text = written(tmp_path / "out", rows, delimiter=";", decimal=",").decode()
    assert text == "paid;day;text\n-1234,50;2026-03-01;1.5\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"])
def test_a_file_holds_its_text_in_the_encoding(tmp_path: Path, encoding: str) -> None:
    rows: list[RowData] = [{"grüße": "ä"}, {"grüße": "ö"}]
    assert written(tmp_path / "out", rows, encoding=encoding) == "grüße\nä\nö\n".encode(encoding)
    schema = {"mode": "strict", "fields": ["ü: str"]}
    assert written(tmp_path / "none", [], encoding=encoding, schema=schema) == "ü\n".encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_resumed_file_has_one_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    sink = open_sink(tmp_path / "out", encoding=encoding)
    sink.write({"a": "1"})
    sink.sync()
    position = sink.position()
    sink.write({"a": "lost"})
    sink.close()
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out"), "encoding": encoding}))
    sink.reopen("run1", position)
    sink.write({"a": "2"})
    sink.finish()
    sink.publish()
    assert (tmp_path / "out").read_bytes() == "a\n1\n2\n".encode(encoding)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"a": "€"}, {"encoding": "latin-1"}, "a field has a character that the encoding latin-1 does not have"),
        ({"a": "\ud800"}, {}, "a field has a character that the encoding utf-8 does not have"),
        ({"a": "1,5"}, {"quote": None}, "a field holds the delimiter or a line break, and the dialect has no quotes"),
        ({"a": "1\r5"}, {"quote": None}, "a field holds the delimiter or a line break, and the dialect has no quotes"),
        ({"a": None}, {"quote": None}, "the row is one empty field, which without quotes is no record"),
    ],
)
def test_a_row_that_the_dialect_cannot_hold_is_rejected(
    tmp_path: Path, row: RowData, options: dict[str, object], message: str
) -> None:
    sink = open_sink(tmp_path / "out", **options)
    with pytest.raises(RowRejectedError) as caught:
        sink.write(row)
    assert str(caught.value) == message
    sink.write({"a": "x"})
    sink.finish()
    sink.publish()
    assert (tmp_path / "out").read_bytes() == b"a\nx\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": ""}, "expected one character"),
        ({"delimiter": "'", "quote": "'"}, "delimiter and quote both begin with"),
        ({"encoding": "utf-9"}, "unknown encoding 'utf-9'"),
        ({"header": False}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_dialect_is_refused(tmp_path: Path, options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        open_sink(tmp_path / "out", **options)


TEXT = st.text(st.sampled_from("aN 5,;|\t'\"\\\r\n#é"), max_size=5).filter(lambda text: text != "N")
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@law(60)
@given(
    rows=st.lists(st.builds(lambda t, n: {"t": t, "n": n}, st.none() | TEXT, NUMBERS), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;|\t"),
    quote=st.sampled_from("\"'"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"]),
    compression=st.sampled_from(["none", "gzip", "zstd"]),
)
def test_a_dialect_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RowData], compression: str, **dialect: object
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows"
    written(path, rows, **dialect, null_value="N", compression=compression)
    schema = {"mode": "strict", "fields": ["t: str?", "n: float?"]}
    options = {"path": str(path), "null_values": ["N"], "schema": schema, **dialect}
    found = list(CsvSource(CsvSourceOptions.model_validate(options)).read())
    assert repr(found) == repr(rows)


def test_a_quote_inside_a_quoted_field_is_doubled(tmp_path: Path) -> None:
    rows: list[RowData] = [{"a": 'it\'s, "x"'}]
    assert written(tmp_path / "one", rows, quote="'").decode() == "a\n'it''s, \"x\"'\n"
    assert written(tmp_path / "two", rows).decode() == 'a\n"it\'s, ""x"""\n'
