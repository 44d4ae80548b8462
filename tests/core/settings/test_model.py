"""Settings as typed values."""

from __future__ import annotations

from typing import Any

import pytest

from elspeth.core.settings import SettingsError
from elspeth.core.settings.loading import load_settings
from elspeth.core.settings.model import FailIfSettings, PositionalSettings, Settings, WiredSettings
from elspeth.core.settings.problems import location_text
from elspeth.plugins.manager import BUILTIN, PluginManager

PLUGINS = PluginManager((), BUILTIN)
NULL: dict[str, Any] = {"plugin": "null"}
STATS: dict[str, Any] = {"plugin": "batch_stats", "options": {"value_field": "v"}}

POSITIONAL: dict[str, Any] = {
    "datasource": NULL,
    "row_plugins": [{"plugin": "passthrough"}, {"plugin": "passthrough", "name": "mine"}, {"plugin": "drop"}],
    "gates": [
        {"name": "split", "condition": "True", "routes": {"true": "fork", "false": "out"}, "fork_to": ["a", "b"]}
    ],
    "coalesce": [{"name": "join", "branches": ["a", "b"]}],
    "aggregations": [{"name": "sums", **STATS}],
    "sinks": {"out": NULL},
    "output_sink": "out",
}
WIRED: dict[str, Any] = {
    "source": NULL | {"on_success": "a"},
    "sources": {"more": NULL | {"on_success": "a"}},
    "queues": {"a": {}},
    "transforms": [{"name": "t", "plugin": "passthrough", "input": "a", "on_success": "out"}],
    "sinks": {"out": NULL},
}


def names(settings: Settings) -> dict[str, str]:
    return {location_text(place): name for place, name in settings.node_names.items()}


def test_every_node_has_its_name_or_one_by_plugin_and_position() -> None:
    assert names(PositionalSettings.model_validate(POSITIONAL)) == {
        "datasource": "null",
        "row_plugins[0]": "passthrough_0",
        "row_plugins[1]": "mine",
        "row_plugins[2]": "drop_2",
        "aggregations[0]": "sums",
        "gates[0]": "split",
        "coalesce[0]": "join",
        "sinks.out": "out",
    }
    wired = WiredSettings.model_validate(WIRED)
    assert names(wired) == {"source": "source", "sources.more": "more", "transforms[0]": "t", "sinks.out": "out"}
    assert list(wired.source_parts) == [("source",), ("sources", "more")]


def test_only_a_sink_takes_the_rows_that_a_step_cannot_process() -> None:
    steps = [{"plugin": "passthrough", "options": {"on_error": each}} for each in ("out", "discard")]
    positional = PositionalSettings.model_validate({**POSITIONAL, "row_plugins": [*steps, {"plugin": "passthrough"}]})
    assert [each.error_sink for each in positional.row_plugins] == ["out", None, None]
    own: list[dict[str, Any]] = [{"on_error": "out", **steps[1]}, {"on_error": "discard", **steps[0]}, steps[0]]
    wired = WiredSettings.model_validate({**WIRED, "transforms": [WIRED["transforms"][0] | each for each in own]})
    assert [each.error_sink for each in wired.transforms] == ["out", None, "out"]


@pytest.mark.parametrize("limit", [0, 10, "0%", "1%", "12.5%", "100%"])
def test_a_limit_is_a_number_of_rows_or_a_part_of_them(limit: object) -> None:
    assert FailIfSettings.model_validate({"failed": limit}).failed == limit


@pytest.mark.parametrize("limit", [-1, True, 1.5, "10", "%", "1%%", "-1%", [1]], ids=repr)
def test_nothing_else_is_a_limit(limit: object) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**WIRED, "fail_if": {"failed": limit}}, environ={}, plugins=PLUGINS)
    (problem,) = map(str, caught.value.problems)
    expected = "fail_if.failed: expected a number of rows, such as 10, or a part of them, such as '1%', got "
    assert problem.startswith(expected)


def test_each_limit_of_an_unknown_step_is_reported() -> None:
    steps = {"split": 1, "join": 0, "splitt": "1%", "other": 2, "out": 1, "null": 1}
    with pytest.raises(SettingsError) as caught:
        load_settings({**WIRED, "fail_if": {"steps": steps}}, environ={}, plugins=PLUGINS)
    known = "expected one of source, more, t, out"
    assert [str(each) for each in caught.value.problems] == [
        f"fail_if.steps.{name}: unknown step {name!r}: {known}{hint}"
        for name, hint in {"split": "", "join": "", "splitt": "", "other": "", "null": ""}.items()
    ]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (7, "expected a text, got 7: put it in quotes"),
        (True, "expected a text, got True: put it in quotes"),
        (None, "expected a text, got None"),
        ([1], "expected a text, got [1]"),
    ],
    ids=repr,
)
def test_a_label_is_a_text(label: object, problem: str) -> None:
    settings = load_settings({**WIRED, "labels": {"ticket": "text", "empty": ""}}, environ={}, plugins=PLUGINS)
    assert settings.labels == {"ticket": "text", "empty": ""}
    with pytest.raises(SettingsError) as caught:
        load_settings({**WIRED, "labels": {"ticket": label}}, environ={}, plugins=PLUGINS)
    assert [str(each) for each in caught.value.problems] == [f"labels.ticket: {problem}"]


def test_settings_know_the_variables_that_they_were_made_with() -> None:
    tree = {**WIRED, "labels": {"a": "${A} ${UNUSED:-default}"}, "limit": "${LIMIT:-3}"}
    environ = {"A": "x", "B": "y", "ELSPETH_CONCURRENCY__MAX_WORKERS": "2", "ELSPETH_RUN_MODE": "live"}
    settings = load_settings(tree, environ=environ, plugins=PLUGINS)
    assert settings.variables == {"A", "ELSPETH_CONCURRENCY__MAX_WORKERS", "ELSPETH_RUN_MODE"}
    assert (settings.labels, settings.limit) == ({"a": "x default"}, 3)
    assert load_settings(tree, environ={"A": ""}, plugins=PLUGINS).variables == {"A"}


def test_all_values_that_no_file_could_hold_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**WIRED, "limit": {1, 2}, "labels": {"a": float("inf")}}, environ={}, plugins=PLUGINS)
    assert str(caught.value) == (
        "settings: 2 problems\n"
        "  limit: expected text, a number, true, false or null, got a value of type set; quote it\n"
        "  labels.a: expected a finite number, got inf"
    )
