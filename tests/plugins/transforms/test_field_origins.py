"""Where fields of results come from, as lineage tells it."""

from __future__ import annotations

import pytest

from elspeth.contracts.plugins import FieldOrigins, PluginKind
from elspeth.plugins.manager import BUILTIN, PluginManager
from tests.fixtures.python_modules import ModuleWriter

PLUGINS = PluginManager.installed()
TABLE = {"plugin": "csv", "options": {"path": "none.csv"}}
URL = "https://api.example.com/{id}"
LLM: dict[str, object] = {"base_url": "https://api.example.com/v1", "model": "m", "prompt": "{{ row.a }}"}

CASES: list[tuple[str, dict[str, object], FieldOrigins | None]] = [
    ("cast", {"fields": {"a": "int", "b.c": "str?"}}, FieldOrigins(changed=["a", "b.c"])),
    ("dedupe", {"key": ["a"]}, FieldOrigins()),
    ("drop", {"fields": ["a", "b.c"]}, FieldOrigins(removed=["a", "b.c"])),
    ("drop", {"fields": ["a"], "on_missing": "ignore"}, FieldOrigins(removed=["a"])),
    (
        "field_mapper",
        {"mappings": {"a": "A"}, "computed": {"c": "row['b'] + row['A']", "d": "1"}},
        FieldOrigins(same={"A": "a"}, derived={"c": ["a", "b"], "d": []}, removed=["a"]),
    ),
    (
        "field_mapper",
        {"mapping": {"a": "A"}, "select_only": True},
        FieldOrigins(same={"A": "a"}, removed=["a"], keeps_others=False),
    ),
    ("filter", {"condition": "row['a'] > 1"}, FieldOrigins()),
    ("flatten", {}, None),
    ("http", {"url": URL}, FieldOrigins(derived={"http_response": ()})),
    ("http", {"url": URL, "fields": {"a": "status", "b": "body.b?"}}, FieldOrigins(derived={"a": (), "b": ()})),
    (
        "http",
        {"url": URL, "fields": {"a": "status"}, "response_field": "all"},
        FieldOrigins(derived={"a": (), "all": ()}),
    ),
    (
        "json_explode",
        {"array_field": "a.b", "output_field": "x"},
        FieldOrigins(derived={"x": ["a.b"], "x_index": []}, removed=["a.b"]),
    ),
    (
        "json_explode",
        {"array_field": "a", "include_index": False},
        FieldOrigins(derived={"item": ["a"]}, removed=["a"]),
    ),
    ("keyword_filter", {"fields": "all", "blocked_patterns": ["x"]}, FieldOrigins()),
    ("llm", LLM, FieldOrigins(derived={"llm_response": ()})),
    ("llm", {**LLM, "response_schema": ["b: int", "c: str"]}, FieldOrigins(derived={"b": (), "c": ()})),
    (
        "llm",
        {**LLM, "response_schema": ["b: int"], "response_field": "said"},
        FieldOrigins(derived={"b": (), "said": ()}),
    ),
    (
        "lookup",
        {"table": TABLE, "match": {"a": "x"}, "add": {"b": "y", "c": "z"}},
        FieldOrigins(derived={"b": (), "c": ()}),
    ),
    ("passthrough", {}, FieldOrigins()),
    ("rename", {"fields": {"a": "A", "b.c": "c"}}, FieldOrigins(same={"A": "a", "c": "b.c"}, removed=["a", "b.c"])),
    ("rename", {"fields": {"a": "b", "b": "a"}}, FieldOrigins(same={"b": "a", "a": "b"}, removed=[])),
    ("select", {"fields": ["b", "a"]}, FieldOrigins(same={"b": "b", "a": "a"}, keeps_others=False)),
    ("truncate", {"fields": {"a": 3, "b.c": 4}}, FieldOrigins(changed=["a", "b.c"])),
    (
        "value_transform",
        {"fields": {"c": "row['b'] + row['a']", "d": "row['c'] + row['e']", "a": "0"}},
        FieldOrigins(derived={"c": ["a", "b"], "d": ["a", "b", "e"], "a": []}),
    ),
]

FUNCTIONS = """
def of_fields(b: int, a: int = 0) -> int:
    return b

def of_row(row: dict[str, object]) -> dict[str, object]:
    return row

def from_row(row: dict[str, object]) -> int:
    return 1

def new_row(a: int) -> dict[str, object]:
    return {"a": a}
"""


@pytest.mark.parametrize(("plugin", "options", "expected"), CASES)
def test_a_transform_tells_where_its_fields_come_from(
    plugin: str, options: dict[str, object], expected: FieldOrigins | None
) -> None:
    assert PLUGINS.transform(plugin, options).field_origins() == expected


def test_every_builtin_transform_is_told_of_here() -> None:
    assert {plugin for plugin, _, _ in CASES} | {"python"} == set(BUILTIN[PluginKind.TRANSFORM])


@pytest.mark.parametrize(
    ("function", "result", "expected"),
    [
        ("of_fields", "c", FieldOrigins(derived={"c": ["b", "a"]})),
        ("of_row", None, None),
        ("from_row", "c", None),
        ("new_row", None, None),
    ],
)
def test_only_a_function_that_makes_a_field_of_fields_tells_their_origins(
    write_module: ModuleWriter, function: str, result: str | None, expected: FieldOrigins | None
) -> None:
    options = {"function": f"rules:{function}", "directory": str(write_module(FUNCTIONS)), "result": result}
    assert PLUGINS.transform("python", options).field_origins() == expected
