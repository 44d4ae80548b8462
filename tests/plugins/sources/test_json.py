"""The JSON sources: arrays and lines, and what of them cannot be a row."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.sources import json_text
from elspeth.plugins.sources.json import JsonlSource, JsonSource, JsonSourceOptions


def read(plugin: type[JsonlSource], path: Path, content: bytes, schema: object = None) -> list[Row | InvalidRow]:
    path.write_bytes(content)
    options = {"path": str(path)} | ({} if schema is None else {"schema": schema})
    return list(plugin(JsonSourceOptions.model_validate(options)).read())


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
        (b"[1]", [1], "expected an object, got [1]"),
        (b'{"a": NaN}', '{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}', "the name 'a' occurs twice in one object"),
        (b'{"a": "\xff"}', '{"a": "\\xff"}', "bytes that are not UTF-8"),
        (b"[" * 100_000, "[" * 100_000, "not JSON that can be read: nested too deeply"),
    ],
    ids=["syntax", "array", "nan", "twice", "bytes", "depth"],
)
def test_a_line_that_is_no_row_is_invalid_and_reading_goes_on(
    tmp_path: Path, line: bytes, data: object, error: str
) -> None:
    content = b'{"a": 1}\n' + line + b'\n{"a": 2}\n'
    first, bad, last = read(JsonlSource, tmp_path / "in", content)
    assert (first, last) == ({"a": 1}, {"a": 2})
    assert isinstance(bad, InvalidRow)
    assert bad.data == {"__raw__": data}
    assert bad.error == f"line 2: {error}"


def test_a_line_too_long_to_hold_is_invalid_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth.plugins.sources.json.MAX_CHARACTERS", 20)
    content = b'{"a": "' + b"x" * 100 + b'"}\n{"a": 2}\n'
    bad, last = read(JsonlSource, tmp_path / "in", content)
    assert last == {"a": 2}
    assert isinstance(bad, InvalidRow)
    assert bad.error == "line 1: longer than 20 characters, of which the first are kept"


def test_an_element_that_does_not_fit_is_invalid(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["a: int"]}
    assert read(JsonSource, tmp_path / "in", b'[{"a": "7"}, 5, {"b": 1}]', schema) == [
        {"a": 7},
        InvalidRow(data={"__raw__": 5}, error="element 1: expected an object, got 5"),
        InvalidRow(data={"b": 1}, error="element 2: field 'a' is missing; field 'b' is not in the schema"),
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[", "expected an element at character 2"),
        (b'[{"a": 1}', "expected ',' or ']' behind an element at character 10"),
        (b'[{"a": 1} {"a": 2}]', "expected ',' or ']' behind an element at character 11"),
        (b'[{"a": 1}] x', "expected nothing behind the array at character 12"),
        (b'[{"a": }]', "not JSON: Expecting value at character 8"),
        (b"[" * 100_000, "nested too deeply at character 2"),
    ],
    ids=["open", "cut", "comma", "behind", "syntax", "depth"],
)
def test_an_array_that_is_broken_is_an_error_of_the_file(tmp_path: Path, content: bytes, error: str) -> None:
    with pytest.raises(PluginError) as caught:
        read(JsonSource, tmp_path / "in", content)
    assert str(caught.value) == f"{tmp_path / 'in'}: {error}"


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
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_CHUNK", chunk)
        assert read(JsonSource, tmp_path_factory.mktemp("json") / "in", json.dumps(rows).encode()) == rows
