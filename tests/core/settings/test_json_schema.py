"""The JSON Schema of settings agrees with the models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from codegen.reference.pages import EXAMPLES
from elspeth.core.settings._yaml_file import read_settings_file
from elspeth.core.settings.json_schema import PLUGIN_PLACES, VARIABLE, options_schema, settings_schema
from elspeth.plugins.manager import BUILTIN, PluginManager

ROOT = Path(__file__).parent.parent.parent.parent
SCHEMA = settings_schema(PluginManager((), BUILTIN))
VALIDATOR = Draft7Validator(SCHEMA)
SHOWN = [EXAMPLES / "settings" / f"{name}.yaml" for name in ("pipeline", "wired")]
FILES = [*(ROOT / "examples").glob("*/settings.yaml"), *SHOWN]
OTHER_PLUGINS = {"plugin_package"}  # examples that need other plugins


def messages(tree: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(tree)]


def pipeline(**changes: object) -> dict[str, Any]:
    """Return a small pipeline with some keys replaced."""
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"out": {"plugin": "jsonl", "options": {"path": "out.jsonl"}}},
        "output_sink": "out",
        **changes,
    }


def test_the_schema_is_a_valid_json_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_examples_satisfy_the_schema(path: Path) -> None:
    found = messages(read_settings_file(path))
    assert found == [] or path.parent.name in OTHER_PLUGINS


LATER = yaml.safe_load((ROOT / "tests" / "data" / "later_settings.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LATER)
def test_settings_of_the_later_releases_satisfy_the_schema(name: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(LATER[name]["settings"]))
    assert messages(read_settings_file(path)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"concurrency": {"max_workers": "${WORKERS}"}},
        {"run_mode": "${MODE:-live}"},
        {"landscape": {"enabled": "${AUDIT:-true}"}},
        {"datasource": {"plugin": "null"}},
        {"datasource": {"plugin": "${SOURCE}", "options": {"of": "any"}}},
        {
            "datasource": {
                "plugin": "csv",
                "options": {"path": "a", "schema": {"mode": "free", "fields": [{"a": "int"}]}},
            }
        },
    ],
    ids=str,
)
def test_the_schema_accepts_valid_settings(change: dict[str, object]) -> None:
    assert messages(pipeline(**change)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concurency": {}}, "$: Additional properties are not allowed ('concurency' was unexpected)"),
        (
            {"datasource": {"plugin": "csv", "options": {"path": "a", "pth": "b"}}},
            "$.datasource.options: Additional properties are not allowed ('pth' was unexpected)",
        ),
        ({"datasource": {"plugin": "csv", "options": {}}}, "$.datasource.options: 'path' is a required property"),
        ({"datasource": {"plugin": "csv"}}, "$.datasource: 'options' is a required property"),
        (
            {"datasource": {"plugin": "database", "options": {}}},
            "$.datasource.plugin: 'database' is not valid under any of the given schemas",
        ),
        (
            {"concurrency": {"max_workers": 0}},
            "$.concurrency.max_workers: 0 is not valid under any of the given schemas",
        ),
        ({"datasource": None}, "$.datasource: None is not of type 'object'"),
    ],
    ids=str,
)
def test_the_schema_refuses_invalid_settings(change: dict[str, object], message: str) -> None:
    assert messages(pipeline(**change)) == [message]


PLUGINS_BY_PLACE: dict[str, tuple[str, dict[str, object]]] = {
    "datasource": ("csv", {"path": "in.csv"}),
    "source": ("csv", {"path": "in.csv"}),
    "sources": ("csv", {"path": "in.csv"}),
    "sinks": ("csv", {"path": "out.csv"}),
    "row_plugins": ("passthrough", {}),
    "transforms": ("passthrough", {}),
    "aggregations": ("batch_stats", {"value_field": "v"}),
}


@pytest.mark.parametrize(
    ("place", "form"),
    [
        *((place, {}) for place in PLUGINS_BY_PLACE if place != "source"),
        *((place, {"queues": {}}) for place in ("source", "sinks", "aggregations")),
    ],
    ids=str,
)
def test_options_are_checked_wherever_a_plugin_stands(place: str, form: dict[str, object]) -> None:
    plugin, options = PLUGINS_BY_PLACE[place]

    def problems(given: dict[str, object]) -> list[str]:
        step = {"plugin": plugin, "options": given, **({"on_success": "x"} if place == "source" else {})}
        section = {"x": step} if place in {"sources", "sinks"} else step if "source" in place else [step]
        return [each for each in messages({**form, place: section}) if "options" in each]

    assert problems(options) == []
    assert "'pth'" in " ".join(problems({**options, "pth": "b"}))


def test_the_schema_of_options_has_the_keys_that_settings_have() -> None:
    for plugin in PluginManager((), BUILTIN).all():
        schema = options_schema(plugin.options_model)
        fields = plugin.options_model.model_fields
        assert list(schema.get("properties", {})) == [field.alias or name for name, field in fields.items()]
        assert "title" not in schema
        assert not any("title" in part for part in schema.get("properties", {}).values())


def test_every_place_of_plugins_has_a_test() -> None:
    assert PLUGINS_BY_PLACE.keys() == PLUGIN_PLACES.keys()


def walk(part: object, visit: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(part, dict):
        visit(part)
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        walk(each, visit)


def has_description(part: dict[str, Any]) -> bool:
    """Return whether editors show something about a key."""
    name = str(part.get("$ref")).rpartition("/")[2]
    definition = {} if name == VARIABLE else SCHEMA["definitions"].get(name, {})
    return any((part.get("description"), definition.get("description"), *map(has_description, part.get("anyOf", ()))))


def test_every_key_has_a_description() -> None:
    lacking: list[str] = []

    def note(part: dict[str, Any]) -> None:
        names = part.get("properties")
        if isinstance(names, dict) and "const" not in names.get("plugin", {}):  # conditions describe nothing
            lacking.extend(name for name, each in names.items() if isinstance(each, dict) and not has_description(each))

    walk(SCHEMA, note)
    assert lacking == []


def test_every_definition_is_used() -> None:
    used: set[str] = set()
    walk(SCHEMA, lambda part: used.add(part["$ref"]) if isinstance(part.get("$ref"), str) else None)
    assert used == {f"#/definitions/{name}" for name in SCHEMA["definitions"]}
