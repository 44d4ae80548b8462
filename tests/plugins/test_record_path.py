"""Lists of rows inside JSON objects."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins import json_text
from elspeth.plugins.json import JsonSource, JsonSourceOptions
from tests.fixtures.effort import law


def read(path: Path, content: str, record_path: object, **options: object) -> list[RowData | InvalidRow]:
    path.write_text(content)
    given_options = {"path": str(path), "record_path": record_path, **options}
    return list(JsonSource(JsonSourceOptions.model_validate(given_options)).read())


@pytest.mark.parametrize(
    ("content", "record_path"),
    [
        ('{"items": [{"a": 1}, {"a": 2}]}', "items"),
        ('{"n": 1, "items": [{"a": 1}, {"a": 2}], "next": {"items": []}}', ["items"]),
        ('{\n "data": {"x": "}]", "items": [\n{"a": 1},{"a": 2}\n]}, "data2": []}\n', "data.items"),
        ('{"a.b": {"": {"c": [{"a": 1}, {"a": 2}]}}}', ["a.b", "", "c"]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 65_536])
def test_the_rows_of_a_list_in_an_object_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, record_path: object, chunk: int
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    assert read(tmp_path / "in", content, record_path) == [{"a": 1}, {"a": 2}]


def test_an_element_that_does_not_fit_names_its_line(tmp_path: Path) -> None:
    [bad, good] = read(tmp_path / "in", '{"x": {\n"y": [\n7,\n{"a": NaN}]}}', "x.y")
    assert [bad, good] == [
        InvalidRow(
            data={"__raw__": 7},
            error="element 0, line 3: expected an object, got an integer",
            file=str(tmp_path / "in"),
            line=3,
        ),
        InvalidRow(
            data={"__raw__": '{"a": NaN}'},
            error="element 1, line 4: NaN is not a JSON number",
            file=str(tmp_path / "in"),
            line=4,
        ),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "expected an object for record_path x.y at line 1, column 1"),
        ("", "expected an object for record_path x.y at line 1, column 1"),
        ('{"x": []}', "expected an object at x for record_path x.y at line 1, column 7"),
        ('{"x": {"z": []}}', "the object at x has no 'y' for record_path x.y: it ends at line 1, column 16"),
        ('{" x": {"y": []}}', "the object has no 'x' for record_path x.y: it ends at line 1, column 18"),
        ("{}", "the object has no 'x' for record_path x.y: it ends at line 1, column 3"),
        ('{"x": {"y": {}}}', "expected an array at record_path x.y at line 1, column 13"),
        ('{"x": {"y": [], "y": []}}', "the name 'y' of record_path x.y occurs twice at line 1, column 21"),
        ('{"x": {"y": []}, "x": {"y": []}}', "the name 'x' of record_path x.y occurs twice at line 1, column 22"),
        ('{"x": {"y": []}} {}', "expected nothing after the object at line 1, column 18"),
        ('{"x": {"y": []}', "expected ',' or '}' after a value at line 1, column 16"),
        ('{"x": {"y": []}, 7}', "expected a name in double quotes at line 1, column 18"),
        ('{"x" {"y": []}}', "expected ':' after a name at line 1, column 6"),
        ('{"w": NaN, "v": [1,, "x": {"y": []}}', "not JSON: Expecting value at line 1, column 20"),
    ],
)
def test_an_object_without_the_list_is_an_error_of_the_file(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(PluginError) as caught:
        read(tmp_path / "in", content, "x.y")
    assert str(caught.value) == f"{tmp_path / 'in'}: {problem}"


@pytest.mark.parametrize("chunk", [3, 65_536])
def test_a_list_that_is_cut_off_names_its_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    with pytest.raises(PluginError, match="in, element 1: expected ',' or ']' after an element at line 1, column 24"):
        read(tmp_path / "in", '{"x": {"y": [{"a": 1}  ', "x.y")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"record_path": ""}, "expected names joined by points, as data.items, got ''"),
        ({"record_path": "a..b"}, "expected names joined by points"),
        ({"record_path": 7}, "expected names joined by points, as data.items, got 7"),
        ({"record_path": []}, "expected names joined by points, as data.items, got []"),
        ({"record_path": "a", "format": "jsonl"}, "record_path: expected only with format: json"),
        ({"format": "xml"}, "'json' or 'jsonl'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        JsonSourceOptions.model_validate({"path": "in", **options})
    assert problem in str(caught.value)


def test_the_format_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('[{"a": 1}]\n[{"a": 2}]\n')
    options = {"path": str(path), "format": "jsonl"}
    rows = JsonSource(JsonSourceOptions.model_validate(options)).read()
    assert [row.error for row in rows if isinstance(row, InvalidRow)] == [
        f"line {line}: expected an object, got a list of 1 item" for line in (1, 2)
    ]
    path.write_text('{\n"a": 1}\n')
    with pytest.raises(PluginError, match=r"one object over several lines: expected an object on each line$"):
        list(JsonSource(JsonSourceOptions.model_validate(options)).read())
    path.write_text('{"a": 1}\n')
    with pytest.raises(PluginError, match="in: expected an array at line 1, column 1"):
        list(JsonSource(JsonSourceOptions.model_validate(options | {"format": "json"})).read())


NAMES = st.text('ab."\\é', max_size=2)
VALUES = st.recursive(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=2), max_size=3)


@law(50)
@given(
    rows=ROWS,
    path=st.lists(NAMES, min_size=1, max_size=3),
    beside=st.dictionaries(NAMES, VALUES, max_size=2),
    chunk=st.integers(1, 9),
)
def test_the_rows_are_those_that_a_json_parser_finds(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[RowData],
    path: list[str],
    beside: dict[str, object],
    chunk: int,
) -> None:
    document: object = rows
    for name in reversed(path):
        document = beside | {name: document}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_CHUNK", chunk)
        assert read(tmp_path_factory.mktemp("json") / "in", json.dumps(document), path) == rows
