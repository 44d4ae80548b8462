"""The JSON sources: arrays, lines and invalid rows."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins import json_text
from elspeth.plugins.json import JsonlSource, JsonSource, JsonSourceOptions

DIGITS = f'{{"a": {"7" * 5_000}}}'


def read(plugin: type[JsonlSource], path: Path, content: bytes, schema: object = None) -> list[RowData | InvalidRow]:
    path.write_bytes(content)
    options = {"path": str(path)} | ({} if schema is None else {"schema": schema})
    return list(plugin(plugin.options_model.model_validate(options)).read())


def invalid(tmp_path: Path, line: int, data: RowData, problem: str, element: int) -> InvalidRow:
    error = f"element {element}, line {line}: {problem}"
    return InvalidRow(data=data, error=error, file=str(tmp_path / "in"), line=line)


@pytest.mark.parametrize(
    ("plugin", "content"),
    [
        (JsonSource, b'[{"a": 1}, {"a": "\xc3\xa9"}]'),
        (JsonSource, b'\xef\xbb\xbf  \n[{"a":1}\n,\n{"a":"\\u00e9"}]\n'),
        (JsonSource, b'{"a": 1}\n{"a": "\xc3\xa9"}'),
        (JsonlSource, b'{"a": 1}\r\n\n{"a": "\xc3\xa9"}\n'),
    ],
)
def test_rows_are_read_from_arrays_and_lines(tmp_path: Path, plugin: type[JsonlSource], content: bytes) -> None:
    assert read(plugin, tmp_path / "in", content) == [{"a": 1}, {"a": "é"}]


@pytest.mark.parametrize(("plugin", "content"), [(JsonSource, b"[]"), (JsonSource, b""), (JsonlSource, b"\n \n")])
def test_a_file_may_have_no_rows(tmp_path: Path, plugin: type[JsonlSource], content: bytes) -> None:
    assert read(plugin, tmp_path / "in", content) == []


@pytest.mark.parametrize(
    ("line", "data", "error"),
    [
        (b"{", "{", "not JSON: Expecting property name enclosed in double quotes at character 2"),
        (b"[1]", [1], "expected an object, got a list of 1 item"),
        (b'{"a": NaN}', '{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}', "a name occurs twice in one object"),
        (b'{"a": 1e999}', '{"a": 1e999}', "a number is too large for a float"),
        (b'{"a": -1e999}', '{"a": -1e999}', "a number is too large for a float"),
        (b'{"a": -1e-400}', '{"a": -1e-400}', "a number is too small for a float, and is not zero"),
        (DIGITS.encode(), DIGITS, "an integer has too many digits to be read"),
        (b'{"a": "\xff"}', '{"a": "\\xff"}', "bytes that are not UTF-8"),
        (b"[" * 100_000, "[" * 100_000, "not JSON that can be read: nested too deeply"),
    ],
    ids=["syntax", "array", "nan", "twice", "large", "large and negative", "small", "digits", "bytes", "depth"],
)
def test_a_line_that_is_not_a_row_is_invalid_and_reading_goes_on(
    tmp_path: Path, line: bytes, data: object, error: str
) -> None:
    content = b'{"a": 1}\n' + line + b'\n{"a": 2}\n'
    first, bad, last = read(JsonlSource, tmp_path / "in", content)
    assert (first, last) == ({"a": 1}, {"a": 2})
    assert isinstance(bad, InvalidRow)
    assert bad.data == {"__raw__": data}
    assert bad.error == f"line 2: {error}"


def test_a_line_as_long_as_one_may_be_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"a": 12}\n'
    monkeypatch.setattr("elspeth.plugins.json.MAX_CHARACTERS", len(content) - 1)
    assert read(JsonlSource, tmp_path / "in", content * 2) == [{"a": 12}] * 2
    [bad] = read(JsonlSource, tmp_path / "in", b" " + content)
    assert isinstance(bad, InvalidRow)
    assert bad.error == f"line 1: longer than {len(content) - 1} characters, of which the first are kept"


def test_a_line_too_long_to_hold_is_invalid_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth.plugins.json.MAX_CHARACTERS", 20)
    monkeypatch.setattr("elspeth.plugins.json._KEPT_CHARACTERS", 5)
    monkeypatch.setattr("elspeth.plugins._look_ahead._CHUNK", 10)
    content = b'{"a": "' + b"x" * 100 + b'"}\n{"a": 2}\n'
    bad, last = read(JsonlSource, tmp_path / "in", content)
    assert last == {"a": 2}
    assert isinstance(bad, InvalidRow)
    assert bad.error == "line 1: longer than 20 characters, of which the first are kept"
    assert bad.data == {"__raw__": '{"a":'}


def test_a_line_of_the_greatest_length_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.plugins.json.MAX_CHARACTERS", 20)
    content = b"\n".join([b'{"a": "' + b"x" * 11 + b'"}', b'{"a": 2}', b'{"a": "' + b"x" * 11 + b'"}'])
    assert read(JsonlSource, tmp_path / "in", content) == [{"a": "x" * 11}, {"a": 2}, {"a": "x" * 11}]


def test_an_element_too_long_to_hold_is_an_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_CHARACTERS", 20)
    monkeypatch.setattr(json_text, "_CHUNK", 8)
    with pytest.raises(
        PluginError, match="in, element 1: an element is longer than 20 characters at line 1, column 12"
    ):
        read(JsonSource, tmp_path / "in", b'[{"a": 1}, {"a": "' + b"x" * 100 + b'"}]')


def test_only_the_length_of_one_element_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_CHARACTERS", 20)
    monkeypatch.setattr(json_text, "_CHUNK", 27)
    content = b'[{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]'
    assert read(JsonSource, tmp_path / "in", content) == [{"a": number} for number in (1, 2, 3, 4)]


def test_a_line_that_is_nested_too_deeply_is_no_value_over_several_lines() -> None:
    assert not json_text.spans_lines(["[" * 100_000 + "\n", "1\n"])


def test_an_element_that_does_not_fit_is_invalid(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["a: int"]}
    assert read(JsonSource, tmp_path / "in", b'[{"a": "7"}, 5, {"b": 1}]', schema) == [
        {"a": 7},
        invalid(tmp_path, 1, {"__raw__": 5}, "expected an object, got an integer", 1),
        invalid(tmp_path, 1, {"b": 1}, "field 'a' is missing; fields that are not in the schema: 1", 2),
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[", ", element 0: expected an element at line 1, column 2"),
        (b'[{"a": 1}', ", element 1: expected ',' or ']' after an element at line 1, column 10"),
        (b'[\n{"a": 1}\n {"a": 2}]', ", element 1: expected ',' or ']' after an element at line 3, column 2"),
        (b'[{"a": 1}] x', ": expected nothing after the array at line 1, column 12"),
        (b'[{"a": 1},\n\n{"a":\n }]', ", element 1: not JSON: Expecting value at line 4, column 2"),
        (b"[" * 100_000, ", element 0: nested too deeply at line 1, column 2"),
    ],
    ids=["open", "cut", "comma", "after", "syntax", "depth"],
)
def test_an_array_that_is_broken_is_an_error_of_the_file(tmp_path: Path, content: bytes, error: str) -> None:
    with pytest.raises(PluginError) as caught:
        read(JsonSource, tmp_path / "in", content)
    assert str(caught.value) == f"{tmp_path / 'in'}{error}"


@pytest.mark.parametrize("chunk", [1, 3, 65_536])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"b": 1, "a": {"b": 1, "b": 2}}', "a name occurs twice in one object"),
        ('{"a": 1e999}', "a number is too large for a float"),
        ('{"a": [0.1e-999]}', "a number is too small for a float, and is not zero"),
        (DIGITS, "an integer has too many digits to be read"),
        ("-Infinity", "-Infinity is not a JSON number"),
    ],
    ids=["nan", "twice", "large", "small", "digits", "bare"],
)
def test_an_element_that_is_not_a_row_is_invalid_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str, chunk: int
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    content = f'[{{"a": 1}},\n{{"a": 2}}, {text}\n, {{"a": 3}}]'
    assert read(JsonSource, tmp_path / "in", content.encode()) == [
        {"a": 1},
        {"a": 2},
        invalid(tmp_path, 2, {"__raw__": text}, problem, 2),
        {"a": 3},
    ]


@pytest.mark.parametrize("chunk", range(1, 9))
@pytest.mark.parametrize("number", ["1234567", "-0.0", "12.5e+10"])
def test_a_number_is_read_whole_wherever_a_chunk_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, chunk: int
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    [found, row] = read(JsonSource, tmp_path / "in", f'[{number}, {{"a": 1}}]'.encode())
    assert isinstance(found, InvalidRow)
    assert (repr(found.data), row) == (repr({"__raw__": json.loads(number)}), {"a": 1})


OBJECTS = [
    '{\n "rows": [\n  {"id":1,"amount":1}\n ]\n}',
    '{\n  "id": 1,\n  "name": "x"\n}\n',
    '\n\n{ "rows": [\r\n{"id": 1},\r\n{"id": 2}\r\n]}',
    '{\n  "id": 1,\n}\n',
    "{\n}\n",
    '{"id": 1,\n"name": "x"}',
    '{\n  "rows": [\n' + "".join(f'    {{"id": {n}}},\n' for n in range(100)),
]


@pytest.mark.parametrize("content", OBJECTS)
def test_one_object_over_several_lines_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(PluginError) as caught:
        read(JsonSource, tmp_path / "in", content.encode())
    assert str(caught.value) == (
        f"{tmp_path / 'in'}: the file is one object over several lines: "
        "expected an array of objects, or an object on each line; record_path names a list inside one object"
    )
    with pytest.raises(PluginError) as caught:
        read(JsonlSource, tmp_path / "in", content.encode())
    assert str(caught.value).endswith("one object over several lines: expected an object on each line")


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("content", [*OBJECTS, '[\n {"id": 1},\n {"id": 2}\n]'])
def test_a_value_over_several_lines_after_rows_is_found(tmp_path: Path, content: str, rows: int) -> None:
    before = '{"id": 0, "name": "y"}\n\n' * rows
    line = before.count("\n") + len(content) - len(content.lstrip("\n")) + 1
    what = "array" if content.startswith("[") else "object"
    with pytest.raises(PluginError) as caught:
        read(JsonlSource, tmp_path / "in", (before + content).encode())
    problem = f"an {what} over several lines begins here: expected an object on each line"
    advice = "; the plugin json reads arrays" if what == "array" else ""
    assert str(caught.value) == f"{tmp_path / 'in'}, line {line}: {problem}{advice}"
    if what == "array":
        with pytest.raises(PluginError) as caught:
            read(JsonSource, tmp_path / "in", (before + content).encode())
        assert str(caught.value) == f"{tmp_path / 'in'}, line {line}: {problem}"


def test_one_array_over_several_lines_is_refused_as_json_lines(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        read(JsonlSource, tmp_path / "in", b'[\n {"id": 1},\n {"id": 2}\n]')
    assert str(caught.value) == (
        f"{tmp_path / 'in'}: the file is one array over several lines: "
        "expected an object on each line; the plugin json reads arrays"
    )


@pytest.mark.parametrize(
    "first",
    [
        "{",
        '{"id":',
        '{"id": 1',
        '{"id": 1,',
        '{"id"',
        '{"a": [1',
        '{"a": [',
        '{"a": "x',
        '{"a": {"b": 2',
        "nonsense",
        "[1",
    ],
)
def test_a_first_line_that_is_cut_short_is_one_invalid_row(tmp_path: Path, first: str) -> None:
    rest = '\n{"id": 2}\r\n\n{"id": 3}\n'
    for content in (first + rest, first + "\r" + rest):
        bad, *good = read(JsonlSource, tmp_path / "in", content.encode())
        assert isinstance(bad, InvalidRow)
        assert good == [{"id": 2}, {"id": 3}]


def test_a_first_line_may_be_long(tmp_path: Path) -> None:
    row: RowData = {"a": "x" * 200_000}
    assert read(JsonlSource, tmp_path / "in", f"{json.dumps(row)}\n{json.dumps(row)}".encode()) == [row, row]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = JsonSource(JsonSourceOptions.model_validate({"path": str(tmp_path / "gone")}))
    assert source.fraction_read() is None
    with pytest.raises(PluginError) as caught:
        list(source.read())
    assert str(caught.value) == f"{tmp_path / 'gone'} cannot be read: No such file or directory"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab é"\\[]{},'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@given(rows=st.lists(st.dictionaries(st.text("abc"), VALUES, max_size=3), max_size=5), chunk=st.integers(1, 7))
def test_an_array_is_read_back_whatever_the_size_of_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RowData], chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_CHUNK", chunk)
        assert read(JsonSource, tmp_path_factory.mktemp("json") / "in", json.dumps(rows).encode()) == rows


@pytest.mark.parametrize("chunk", [1, 3, 5, 65_536])
def test_line_and_column_do_not_depend_on_how_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    for content, problem in (
        (b'[\n{"a": 1},\n  x]', ", element 1: not JSON: Expecting value at line 3, column 3"),
        (b'[{"a": 1},\n{"a": 2}] x', ": expected nothing after the array at line 2, column 11"),
        (b'[{"a": 1}\n\n   {"a": 2}]', ", element 1: expected ',' or ']' after an element at line 3, column 4"),
    ):
        with pytest.raises(PluginError) as caught:
            read(JsonSource, tmp_path / "in", content)
        assert str(caught.value) == f"{tmp_path / 'in'}{problem}"


def test_an_invalid_line_is_kept_as_it_is(tmp_path: Path) -> None:
    [bad] = read(JsonlSource, tmp_path / "in", b'  {"a" 1}\t \r\n')
    assert isinstance(bad, InvalidRow)
    assert bad.data == {"__raw__": '  {"a" 1}\t '}
