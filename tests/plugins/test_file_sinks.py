"""The contents of the files of CSV and JSON sinks."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.rows import RowData
from elspeth.plugins.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.files import FileSink
from elspeth.plugins.json import JsonlSink, JsonSink
from tests.plugins.typed_rows import TEXTS, TYPED


def open_sink(plugin: type[FileSink], path: Path, schema: object = None) -> FileSink:
    options = {"path": str(path)} | ({} if schema is None else {"schema": schema})
    sink = plugin(plugin.options_model.model_validate(options))
    sink.open("run1")
    return sink


def written(plugin: type[FileSink], directory: Path, rows: list[RowData], schema: object = None) -> str:
    path = directory / "out"
    sink = open_sink(plugin, path, schema)
    for row in rows:
        sink.write(row)
    output = sink.finish()
    assert output is not None
    assert output.artifact_type == plugin.name
    sink.publish()
    return path.read_bytes().decode()


def test_csv_columns_come_from_the_first_row(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": "1", "name": 'Zoë, "Z"'}, {"id": "2"}]
    assert written(CsvSink, tmp_path, rows) == 'id,name\n1,"Zoë, ""Z"""\n2,\n'


def test_csv_columns_of_the_schema_come_first(tmp_path: Path) -> None:
    schema = {"mode": "free", "fields": ["b: str", "c: str?"]}
    assert written(CsvSink, tmp_path, [{"a": "1", "b": "2"}], schema) == "b,c,a\n2,,1\n"


def test_csv_cells_are_text_of_json_values(tmp_path: Path) -> None:
    row: RowData = {"int": 1, "float": 2.5, "true": True, "none": None, "list": [1, "é"], "text": "x"}
    assert written(CsvSink, tmp_path, [row]) == 'int,float,true,none,list,text\n1,2.5,true,,"[1, ""é""]",x\n'


@pytest.mark.parametrize("plugin", [CsvSink, JsonSink, JsonlSink], ids=lambda plugin: plugin.name)
def test_decimals_dates_times_and_durations_are_their_canonical_text(tmp_path: Path, plugin: type[FileSink]) -> None:
    assert written(plugin, tmp_path, [TYPED]) == written(plugin, tmp_path, [TEXTS])
    nested: RowData = {"list": [TYPED]}
    assert written(plugin, tmp_path, [nested]) == written(plugin, tmp_path, [{"list": [TEXTS]}])


@pytest.mark.parametrize(
    ("schema", "expected"), [(None, ""), ({"mode": "strict", "fields": ["a: int", "b: str"]}, "a,b\n")]
)
def test_a_csv_file_without_rows_has_the_known_header(tmp_path: Path, schema: object, expected: str) -> None:
    assert written(CsvSink, tmp_path, [], schema) == expected


def test_a_json_file_is_an_array_with_a_row_per_line(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": 1, "name": "Zoë"}, {"id": 2.5, "tags": [None, True]}]
    assert written(JsonSink, tmp_path, rows) == ('[\n{"id": 1, "name": "Zoë"},\n{"id": 2.5, "tags": [null, true]}\n]\n')


def test_a_json_file_without_rows_is_an_empty_array(tmp_path: Path) -> None:
    assert written(JsonSink, tmp_path, []) == "[]\n"


@pytest.mark.parametrize(
    ("plugin", "row", "schema", "message"),
    [
        (
            CsvSink,
            {"a": "2", "b": "3"},
            None,
            "fields that are not among the columns of the file, which are those of its first row: 1",
        ),
        (CsvSink, {"a": {1}}, None, "Object of type set is not JSON serializable"),
        (CsvSink, {"a": float("nan")}, None, "a number is not finite, which JSON does not have"),
        (JsonSink, {"a": float("nan")}, None, "a number is not finite, which JSON does not have"),
        (
            JsonSink,
            {"a": "x"},
            {"mode": "strict", "fields": ["a: int"]},
            "field 'a': expected an integer, got text of 1 character",
        ),
    ],
)
def test_a_rejected_row_leaves_nothing(
    tmp_path: Path, plugin: type[FileSink], row: RowData, schema: object, message: str
) -> None:
    path, first = tmp_path / "out", RowData(a="1")
    sink = open_sink(plugin, path, schema)
    sink.write(first)
    with pytest.raises(RowRejectedError) as caught:
        sink.write(row)
    assert str(caught.value) == message
    sink.finish()
    sink.publish()
    (tmp_path / "alone").mkdir()
    assert path.read_text() == written(plugin, tmp_path / "alone", [first], schema)


def test_a_csv_file_needs_a_column(tmp_path: Path) -> None:
    sink = open_sink(CsvSink, tmp_path / "out")
    with pytest.raises(RowRejectedError) as caught:
        sink.write({})
    assert str(caught.value) == "the row has no fields, so that the file would have no columns"
    sink.discard()


@pytest.mark.parametrize("plugin", [CsvSink, JsonSink])
def test_text_that_is_not_unicode_is_rejected_before_writing(tmp_path: Path, plugin: type[FileSink]) -> None:
    sink = open_sink(plugin, tmp_path / "out")
    with pytest.raises(RowRejectedError):
        sink.write({"a": "\ud800"})
    sink.write({"b": "fine"})
    sink.finish()
    sink.publish()
    (tmp_path / "alone").mkdir()
    assert (tmp_path / "out").read_text() == written(plugin, tmp_path / "alone", [{"b": "fine"}])


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(NAMES, min_size=1, max_size=3, unique=True), st.data())
def test_a_csv_file_reads_back_as_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    rows: list[RowData] = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, TEXT)), min_size=1, max_size=4))
    text = written(CsvSink, tmp_path_factory.mktemp("csv"), rows)
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == rows


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(TEXT, JSON_VALUES, max_size=3), max_size=4))
def test_a_json_file_reads_back_as_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RowData]
) -> None:
    assert json.loads(written(JsonSink, tmp_path_factory.mktemp("json"), rows)) == rows


def test_a_csv_file_of_failed_rows_has_a_column_for_further_fields(tmp_path: Path) -> None:
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out.csv")}))
    sink.expect_failed_rows()
    sink.open("run")
    sink.write({"a": 1, "__extra__": ["x"]})
    sink.sync()
    position = sink.position()
    sink.close()
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out.csv")}))
    sink.expect_failed_rows()
    sink.reopen("run", position)
    sink.write({"b": 2, "__extra__": ["y"]})
    sink.write({})
    sink.finish()
    sink.publish()
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["a", "__extra__"],
            ["1", '["x"]'],
            ["", '{"b": 2, "__extra__": ["y"]}'],
            ["", ""],
        ]


def test_a_csv_file_of_failed_rows_can_begin_with_a_row_without_fields(tmp_path: Path) -> None:
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out.csv")}))
    sink.expect_failed_rows()
    sink.open("run")
    sink.write({})
    sink.finish()
    sink.publish()
    assert (tmp_path / "out.csv").read_text() == '__extra__\n""\n'


@pytest.mark.parametrize("plugin", [CsvSink, JsonSink, JsonlSink], ids=lambda plugin: plugin.name)
def test_a_run_can_be_resumed_before_its_first_row(tmp_path: Path, plugin: type[FileSink]) -> None:
    first = open_sink(plugin, tmp_path / "out")
    position = first.position()
    first.close()
    second = plugin(plugin.options_model.model_validate({"path": str(tmp_path / "out")}))
    second.reopen("run1", position)
    second.write({"a": "1"})
    second.finish()
    second.publish()
    (tmp_path / "alone").mkdir()
    assert (tmp_path / "out").read_text() == written(plugin, tmp_path / "alone", [{"a": "1"}])


def test_the_column_for_further_fields_is_the_last(tmp_path: Path) -> None:
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out.csv")}))
    sink.expect_failed_rows()
    sink.open("run")
    sink.write({"__extra__": ["x"], "a": 1})
    sink.finish()
    sink.publish()
    assert (tmp_path / "out.csv").read_text() == 'a,__extra__\n1,"[""x""]"\n'


def test_a_file_of_failed_rows_without_rows_names_the_declared_columns(tmp_path: Path) -> None:
    schema = {"mode": "free", "fields": ["a: int", "b: int"]}
    sink = CsvSink(CsvSinkOptions.model_validate({"path": str(tmp_path / "out.csv"), "schema": schema}))
    sink.expect_failed_rows()
    sink.open("run")
    sink.finish()
    sink.publish()
    assert (tmp_path / "out.csv").read_text().startswith("a,b")


@pytest.mark.parametrize(("plugin", "text"), [(CsvSink, "a\n007\n"), (JsonlSink, '{"a": "007"}\n')])
def test_a_file_holds_the_values_of_the_rows_not_those_of_its_schema(
    tmp_path: Path, plugin: type[FileSink], text: str
) -> None:
    assert written(plugin, tmp_path, [{"a": "007"}], {"mode": "strict", "fields": ["a: int"]}) == text
