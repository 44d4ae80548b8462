"""Dialects of CSV: delimiters, quotes, numbers, nulls and headers."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins.csv import CsvSource, CsvSourceOptions


def source(path: Path, **options: object) -> CsvSource:
    return CsvSource(CsvSourceOptions.model_validate({"path": str(path), **options}))


def read(tmp_path: Path, content: str, **options: object) -> list[RowData | InvalidRow]:
    path = tmp_path / "in.csv"
    path.write_bytes(content.encode())
    return list(source(path, **options).read())


def fail(tmp_path: Path, content: str, **options: object) -> str:
    with pytest.raises(PluginError) as caught:
        read(tmp_path, content, **options)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def problems_of(rows: list[RowData | InvalidRow]) -> list[str]:
    return [row.error for row in rows if isinstance(row, InvalidRow)]


@pytest.mark.parametrize(
    ("content", "options", "rows"),
    [
        ('a;b\n1;"x;y"\n', {"delimiter": ";"}, [{"a": "1", "b": "x;y"}]),
        ("a\tb\n1,5\t2\n", {"delimiter": "\t"}, [{"a": "1,5", "b": "2"}]),
        ("a,b\n1,'x,''y'\n", {"quote": "'"}, [{"a": "1", "b": "x,'y"}]),
        ('a,b\n1,5" pipe\n"2",x\n', {"quote": None}, [{"a": "1", "b": '5" pipe'}, {"a": '"2"', "b": "x"}]),
        ('a,b\n"x\\"y",1\\,5\n', {"escape": "\\"}, [{"a": 'x"y', "b": "1,5"}]),
        ("a,b\nx\\\ny,2\n3,4\n", {"escape": "\\", "quote": None}, [{"a": "x\ny", "b": "2"}, {"a": "3", "b": "4"}]),
        ("a,b,c\n,NULL,null\n", {"null_values": ["", "NULL"]}, [{"a": None, "b": None, "c": "null"}]),
        ("a,b\n NULL ,NULL\n", {"null_values": ["NULL"]}, [{"a": " NULL ", "b": None}]),
        ("made by X\n\na\n1\n", {"skip_lines": 2}, [{"a": "1"}]),
        ('# x\na\n#1\n"#2"\n"3\n#4"\n', {"comment": "#"}, [{"a": "#2"}, {"a": "3\n#4"}]),
        ("1,2\n3,4\n", {"header": False, "fields": ["x", "y"]}, [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]),
        ("\ufeff1\n", {"header": False, "fields": ["x"]}, [{"x": "1"}]),
        ("made by X\n1\n", {"header": False, "fields": ["x"], "skip_lines": 1}, [{"x": "1"}]),
    ],
)
def test_a_dialect_is_read(tmp_path: Path, content: str, options: dict[str, object], rows: list[RowData]) -> None:
    assert read(tmp_path, content, **options) == rows


@pytest.mark.parametrize(
    ("header", "options", "names"),
    [
        (" Id , Order No. ", {}, [" Id ", " Order No. "]),
        (" Id , Order No. ", {"header_names": "strip"}, ["Id", "Order No."]),
        (" Id , Order No. ", {"header_names": "lower"}, ["id", "order no."]),
        (" Id , Order No. ", {"header_names": "upper"}, ["ID", "ORDER NO."]),
        (" Id , Größe (cm)", {"header_names": "snake"}, ["id", "größe_cm"]),
        ("a,,a,A,", {"number_names": True}, ["a", "field_2", "a_2", "A", "field_5"]),
        ("a,.,A,a", {"number_names": True, "header_names": "snake"}, ["a", "field_2", "a_2", "a_3"]),
    ],
)
def test_a_header_is_cleaned(tmp_path: Path, header: str, options: dict[str, object], names: list[str]) -> None:
    cells = [str(number) for number in range(len(names))]
    expected = dict(zip(names, cells, strict=True))
    assert read(tmp_path, f"{header}\n{','.join(cells)}\n", **options) == [expected]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a, A\n", {"header_names": "lower"}, "in.csv, header: the name 'a' occurs twice"),
        ("a,a,a_2\n", {"number_names": True}, "in.csv, header: the name 'a_2' occurs twice"),
        ("a\n", {"skip_lines": 3}, "in.csv: expected 3 lines to skip, got 1"),
        ('made by X\n"a" b,c\n', {"skip_lines": 1}, "in.csv, line 2: ',' expected after '\"'"),
        ("id;name\n1;Ada\n", {}, "in.csv, header: the only field is 'id;name': is the delimiter ';'? expected ','"),
        ("id,name\n", {"delimiter": ";"}, "in.csv, header: the only field is 'id,name': is the delimiter ','? expec"),
        ("a,b\n1,x\\\n", {"escape": "\\"}, "in.csv, line 2: a field with escaped line breaks begins here and is never"),
        ('a,b\n1\\",2\n3,"x\\"\n', {"escape": "\\"}, "in.csv, line 3: a quote opens here and is never closed"),
        ("a;b\n1;'x\n", {"delimiter": ";", "quote": "'"}, "in.csv, line 2: a quote opens here and is never closed"),
        (
            "ID,Name\n",
            {"schema": {"mode": "free", "fields": ["id: int"]}},
            "in.csv, header: the schema requires a field 'id', and it has 'ID': see header_names",
        ),
    ],
)
def test_a_file_of_another_dialect_is_an_error(
    tmp_path: Path, content: str, options: dict[str, object], message: str
) -> None:
    assert fail(tmp_path, content, **options).startswith(message)


def test_lines_that_are_skipped_are_counted(tmp_path: Path) -> None:
    rows = read(tmp_path, "made by X\n# x\na,b\n# y\n# z\n1\n1,2\n", skip_lines=1, comment="#", line_field="line")
    assert problems_of(rows) == ["line 6: expected 2 fields, got 1"]
    assert rows[1] == {"a": "1", "b": "2", "line": 7}


def test_a_quoted_name_may_have_another_delimiter(tmp_path: Path) -> None:
    assert read(tmp_path, '"a;b"\n1;2\n') == [{"a;b": "1;2"}]


def test_a_record_without_delimiters_asks_for_the_delimiter(tmp_path: Path) -> None:
    options = {"header": False, "fields": ["a", "b"]}
    assert problems_of(read(tmp_path, '1;2\n3\n"4,5"\n', **options)) == [
        "line 1: expected 2 fields, got 1: is the delimiter ';'? expected ','",
        "line 2: expected 2 fields, got 1",
        "line 3: expected 2 fields, got 1",
    ]


NUMBERS = {"mode": "free", "fields": ["n: float", "i: int", "t: str?"]}


@pytest.mark.parametrize(
    ("decimal", "thousands", "cells", "row"),
    [
        (",", None, ("1,5", "7"), {"n": 1.5, "i": 7, "t": "1,5"}),
        (",", ".", ("-1.234.567,25", "1.000"), {"n": -1234567.25, "i": 1000, "t": "1,5"}),
        (".", ",", (" 1,234.5e3 ", "+12,345"), {"n": 1_234_500.0, "i": 12_345, "t": "1,5"}),
        (".", "\u00a0", ("1\u00a0000", "1"), {"n": 1000.0, "i": 1, "t": "1,5"}),
        (",", None, ("1,5e3", "2"), {"n": 1500.0, "i": 2, "t": "1,5"}),
        (",", "'", (",5", "123456"), {"n": 0.5, "i": 123_456, "t": "1,5"}),
    ],
)
def test_numbers_are_read_in_the_notation_of_the_dialect(
    tmp_path: Path, decimal: str, thousands: str | None, cells: tuple[str, str], row: RowData
) -> None:
    content = f"n|i|t\n{'|'.join(cells)}|1,5\n"
    options = {"decimal": decimal, "thousands": thousands, "schema": NUMBERS, "delimiter": "|"}
    assert read(tmp_path, content, **options) == [row]


@pytest.mark.parametrize("cell", ["1.5", "1.0000", "12.34.567", ".123", "1,5.000", "1,5,0", "x", "1 5", "٣"])
def test_a_number_in_another_notation_is_refused(tmp_path: Path, cell: str) -> None:
    options = {"decimal": ",", "thousands": ".", "schema": NUMBERS, "delimiter": "|"}
    [bad, good] = read(tmp_path, f"n|i|t\n{cell}|1|x\n1,5|2|x\n", **options)
    assert good == {"n": 1.5, "i": 2, "t": "x"}
    assert isinstance(bad, InvalidRow)
    assert bad.data == {"n": cell, "i": "1", "t": "x"}
    assert bad.error.startswith("line 2: field 'n': expected a number such as 1.234,5, got text of ")


def test_decimals_are_read_in_the_notation_of_the_dialect(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["d: decimal(2)", "day: date"]}
    options = {"delimiter": ";", "decimal": ",", "thousands": ".", "schema": schema}
    row, bad = read(tmp_path, "d;day\n-1.234,50;2026-03-01\n1.5;2026-03-01\n", **options)
    assert row == {"d": Decimal("-1234.50"), "day": date(2026, 3, 1)}
    assert problems_of([bad]) == ["line 3: field 'd': expected a number such as 1.234,5, got text of 3 characters"]


def test_every_number_in_another_notation_is_named(tmp_path: Path) -> None:
    options = {"decimal": ",", "schema": NUMBERS, "delimiter": "|"}
    [problem] = problems_of(read(tmp_path, "n|i|t\n1.5|x|y\n", **options))
    assert problem == (
        "line 2: field 'n': expected a number such as 1234,5, got text of 3 characters; "
        "field 'i': expected a number such as 1234,5, got text of 1 character"
    )


def test_an_invalid_row_keeps_its_numbers_as_they_were_read(tmp_path: Path) -> None:
    options = {"decimal": ",", "schema": NUMBERS, "delimiter": "|"}
    [bad] = read(tmp_path, "n|i|t\n1,5|2,5|x\n", **options)
    assert isinstance(bad, InvalidRow)
    assert bad.data == {"n": "1,5", "i": "2,5", "t": "x"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": ";;"}, "delimiter\n  Value error, expected one character, and no line break, got ';;'"),
        ({"delimiter": "\\t"}, "a tab is '\\t' in double quotes"),
        ({"delimiter": "\n"}, "expected one character, and no line break"),
        ({"delimiter": "\0"}, "expected one character, and no line break"),
        ({"delimiter": '"'}, "delimiter and quote both begin with '\"': expected different characters"),
        ({"escape": ","}, "delimiter and escape both begin with ','"),
        ({"comment": '"x'}, "quote and comment both begin with '\"'"),
        ({"thousands": "."}, "thousands: '.' cannot be told from other characters of a number"),
        ({"thousands": "e"}, "thousands: 'e' cannot be told from other characters of a number"),
        ({"decimal": ","}, "decimal and thousands are for fields that the schema declares as numbers: it has none"),
        ({"fields": ["a"]}, "fields: expected only with header: false; a header has the names"),
        ({"header": False}, "header: false needs the names of the fields: add the list fields"),
        ({"header": False, "fields": ["a", "a"]}, "fields: expected a name of its own for each field"),
        ({"header": False, "fields": ["a", ""]}, "fields: expected a name of its own for each field"),
        ({"header": False, "fields": []}, "at least 1 item"),
        ({"null_values": [None]}, "expected texts, got None: write it in quotes"),
        ({"skip_lines": -1}, "greater than or equal to 0"),
    ],
)
def test_an_impossible_dialect_is_refused(tmp_path: Path, options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(tmp_path / "in.csv", **options)
    assert problem in str(caught.value)
