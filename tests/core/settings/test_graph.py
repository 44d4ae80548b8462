"""The graph that settings describe, and its checks."""

from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.contracts.enums import RoutingMode
from elspeth.core.settings import Settings, SettingsError, load_settings
from elspeth.core.settings.graph import wire
from elspeth.plugins.manager import PluginManager

PLUGINS = PluginManager.installed()

FORKED: dict[str, Any] = {
    "datasource": {"plugin": "null"},
    "sinks": {"out": {"plugin": "null"}, "copy": {"plugin": "null"}},
    "output_sink": "out",
    "row_plugins": [
        {"plugin": "passthrough"},
        {"plugin": "passthrough", "branch": "a"},
        {"plugin": "passthrough", "branch": "copy", "options": {"on_error": "out"}},
    ],
    "gates": [
        {
            "name": "split",
            "condition": "True",
            "routes": {"true": "fork", "false": "continue"},
            "fork_to": ["a", "b", "copy"],
        },
        {"name": "last", "condition": "row['x']", "routes": {"x": "continue"}},
    ],
    "coalesce": [{"name": "meet", "branches": ["a", "b"]}],
}


def load(tmp_path: Path, settings: dict[str, Any]) -> Settings:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_settings(path, environ={}, plugins=PLUGINS)


def test_branches_lead_to_a_join_or_a_sink(tmp_path: Path) -> None:
    wiring = wire(load(tmp_path, FORKED))
    gate, join = ("gates", 0), ("coalesce", 0)
    assert {(wire.origin, wire.label): (wire.target, wire.mode) for wire in wiring.wires} == {
        (("datasource",), "continue"): (("row_plugins", 0), RoutingMode.MOVE),
        (("row_plugins", 0), "continue"): (gate, RoutingMode.MOVE),
        (gate, "false"): (("gates", 1), RoutingMode.MOVE),
        (gate, "a"): (("row_plugins", 1), RoutingMode.COPY),
        (gate, "b"): (join, RoutingMode.COPY),
        (gate, "copy"): (("row_plugins", 2), RoutingMode.COPY),
        (("row_plugins", 1), "continue"): (join, RoutingMode.MOVE),
        (("row_plugins", 2), "continue"): (("sinks", "copy"), RoutingMode.MOVE),
        (("row_plugins", 2), "__error__"): (("sinks", "out"), RoutingMode.DIVERT),
        (join, "continue"): (("gates", 1), RoutingMode.MOVE),
        (("gates", 1), "x"): (("sinks", "out"), RoutingMode.MOVE),
    }
    order = wiring.places()
    assert all(order.index(wire.origin) < order.index(wire.target) for wire in wiring.wires)


def test_a_quorum_may_be_all_branches(tmp_path: Path) -> None:
    settings = load(tmp_path, changed(coalesce__0__policy="quorum", coalesce__0__quorum_count=2))
    assert settings.coalesce[0].quorum_count == 2


def changed(**changes: object) -> dict[str, Any]:
    """Return the settings with values at paths like ``gates__0__fork_to``."""
    settings = deepcopy(FORKED)
    for path, value in changes.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("__")]
        target: Any = settings
        for part in way:
            target = target[part]
        if isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    return settings


SECOND_FORK = {"name": "again", "condition": "True", "routes": {"true": "fork", "false": "continue"}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"gates__0__fork_to": None},
            [
                "gates[0].fork_to: is required when a route forks: name the branches",
                "row_plugins[1].branch: no gate forks to 'a': expected one of no branch at all",
                "row_plugins[2].branch: no gate forks to 'copy': expected one of no branch at all",
                "coalesce[0].branches[0]: no gate forks to 'a': expected one of no branch at all",
                "coalesce[0].branches[1]: no gate forks to 'b': expected one of no branch at all",
            ],
        ),
        (
            {"gates__1__fork_to": ["out"]},
            ["gates[1].fork_to: names branches, but no route forks: expected a route with the destination 'fork'"],
        ),
        ({"gates__0__fork_to": ["a", "b", "copy", "a"]}, ["gates[0].fork_to[3]: branch 'a' is named twice"]),
        (
            {"gates__0__fork_to": ["a", "b", "copy", "true"]},
            ["gates[0].fork_to[3]: 'true' is a route of this gate already: give the branch another name"],
        ),
        (
            {"gates__0__fork_to": ["a", "b", "copy", "continue"]},
            ["gates[0].fork_to[3]: 'continue' is a route of this gate already: give the branch another name"],
        ),
        (
            {"sinks__trail": {"plugin": "json", "options": {"path": "trail.json"}}}
            | {"landscape": {"export": {"enabled": True, "sink": "trail", "format": "json"}}}
            | {"gates__0__fork_to": ["a", "b", "copy", "trail"]},
            ["gates[0].fork_to[3]: sink 'trail' takes the export of the audit trail: rows need another sink"],
        ),
        (
            {"gates__0__fork_to": ["a", "b", "copy", "cpy"]},
            [
                (
                    "gates[0].fork_to[3]: branch 'cpy' leads nowhere: no coalesce lists it, "
                    "and no sink has its name; did you mean 'copy'?"
                )
            ],
        ),
        (
            {"sinks__a": {"plugin": "null"}},
            ["gates[0].fork_to[0]: 'a' is both a sink and a branch of a coalesce: give one of them another name"],
        ),
        (
            {"row_plugins__1__branch": "xy"},
            ["row_plugins[1].branch: no gate forks to 'xy': expected one of a, b, copy"],
        ),
        (
            {"coalesce__0__branches": ["a", "b", "c"]},
            ["coalesce[0].branches[2]: no gate forks to 'c': expected one of a, b, copy"],
        ),
        (
            {"coalesce__0__branches": ["a", "b", "a"]},
            ["coalesce[0].branches[2]: branch 'a' is listed by coalesce[0] already: a branch is joined once"],
        ),
        (
            {"coalesce__1": {"name": "twice", "branches": ["b", "a"]}},
            [
                "coalesce[1].branches[0]: branch 'b' is listed by coalesce[0] already: a branch is joined once",
                "coalesce[1].branches[1]: branch 'a' is listed by coalesce[0] already: a branch is joined once",
            ],
        ),
        (
            {"gates__2": SECOND_FORK | {"fork_to": ["a", "copy"]}},
            ["coalesce[0].branches[0]: gates[0] and gates[2] fork to 'a': a branch that is joined needs one fork"],
        ),
        (
            {
                "gates__0__fork_to": ["a", "copy"],
                "gates__2": SECOND_FORK | {"fork_to": ["b"]},
            },
            [
                (
                    "coalesce[0].branches: the branches come from gates[0] and gates[2]: "
                    "branches that meet must come from one fork"
                ),
            ],
        ),
        (
            {"row_plugins__1": {"plugin": "json_explode", "options": {"array_field": "x"}, "branch": "a"}},
            [
                (
                    "row_plugins[1].branch: 'json_explode' may make several rows of one, but rows of the branch 'a' "
                    "are joined again, each with those of its own fork"
                ),
            ],
        ),
        (
            {
                "aggregations": [
                    {"name": "sum", "plugin": "batch_stats", "options": {"value_field": "x"}, "branch": "a"}
                ]
            },
            [
                (
                    "aggregations[0].output_mode: expected 'passthrough', got 'single': rows of the branch 'a' are "
                    "joined again, each with those of its own fork"
                ),
            ],
        ),
        ({"coalesce__0__policy": "quorum"}, ["coalesce[0].quorum_count: is required by the policy 'quorum'"]),
        (
            {"coalesce__0__policy": "quorum", "coalesce__0__quorum_count": 3},
            ["coalesce[0].quorum_count: expected at most the 2 branches, got 3"],
        ),
        (
            {"coalesce__0__quorum_count": 1},
            ["coalesce[0].quorum_count: belongs to the policy 'quorum', got the policy 'require_all'"],
        ),
        (
            {"coalesce__0__policy": "best_effort"},
            ["coalesce[0].timeout_seconds: is required by the policy 'best_effort'"],
        ),
        (
            {"coalesce__0__merge": "select"},
            ["coalesce[0].select_branch: expected one of the branches a, b, got None"],
        ),
        (
            {"coalesce__0__select_branch": "a"},
            ["coalesce[0].select_branch: belongs to the merge 'select', got the merge 'union'"],
        ),
        (
            {"row_plugins__2__options": {"on_error": "oops"}},
            ["row_plugins[2].options.on_error: unknown sink 'oops': expected one of discard, copy, out"],
        ),
        (
            {"aggregations": [{"name": "x", "plugin": "batch_stats", "options": {"value_field": "x"}}] * 2},
            ["aggregations[1].name: the name 'x' is taken by aggregations[0]: give each its own"],
        ),
        (
            {
                "gates__0__routes": {"true": "fork", "false": "out"},
                "coalesce": [],
                "gates__0__fork_to": ["out", "copy"],
                "row_plugins": [],
            },
            ["gates[1]: no row comes here: no route of gates[0] continues"],
        ),
        (
            {"gates__2": SECOND_FORK | {"branch": "copy", "fork_to": ["copy"]}},
            ["row_plugins[2]: rows would go in a circle: row_plugins[2] -> gates[2] -> row_plugins[2]"],
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_a_graph_that_cannot_run_is_refused(tmp_path: Path, changes: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, changed(**changes))
    assert [str(problem) for problem in caught.value.problems] == expected


def test_a_nested_fork_that_meets_twice_cannot_be_joined(tmp_path: Path) -> None:
    inner = {"name": "inner", "condition": "True", "routes": {"true": "fork", "false": "continue"}, "branch": "a"}
    settings = changed(
        gates__2=inner | {"fork_to": ["p", "q", "r", "s"]},
        coalesce__1={"name": "first", "branches": ["p", "q"]},
        coalesce__2={"name": "second", "branches": ["r", "s"]},
    )
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, settings)
    assert [str(problem) for problem in caught.value.problems] == [
        (
            "gates[2].fork_to: meets again at 2 coalesce steps, but rows of the branch 'a' are joined again, "
            "each with those of its own fork: expected at most one"
        ),
    ]


FAILING: dict[str, Any] = {
    "datasource": {"plugin": "null", "options": {"on_validation_failure": "copy"}},
    "sinks": {"out": {"plugin": "null", "on_write_failure": "copy"}, "copy": {"plugin": "null"}},
    "output_sink": "out",
    "gates": [{"name": "g", "condition": "True", "routes": {"true": "continue", "false": "out"}}],
    "row_plugins": [
        {"plugin": "passthrough", "options": {"on_error": "copy"}},
        {"plugin": "passthrough", "options": {"on_error": "discard"}},
    ],
    "aggregations": [
        {"name": "a", "plugin": "batch_stats", "options": {"value_field": "v", "on_error": "copy"}},
        {"name": "b", "plugin": "batch_stats", "options": {"value_field": "v"}},
    ],
}


def test_rows_that_fail_are_diverted_to_the_sinks_that_are_named(tmp_path: Path) -> None:
    wires = wire(load(tmp_path, FAILING)).wires
    assert [(each.origin, each.label, each.target) for each in wires if each.mode is RoutingMode.DIVERT] == [
        (("datasource",), "__quarantine__", ("sinks", "copy")),
        (("row_plugins", 0), "__error__", ("sinks", "copy")),
        (("aggregations", 0), "__error__", ("sinks", "copy")),
        (("sinks", "out"), "__error__", ("sinks", "copy")),
    ]


def test_a_line_goes_through_transforms_then_aggregations_then_gates(tmp_path: Path) -> None:
    wiring = wire(load(tmp_path, FAILING))
    line = [("datasource",), ("row_plugins", 0), ("row_plugins", 1), ("aggregations", 0), ("aggregations", 1)]
    line += [("gates", 0), ("sinks", "out")]
    ways = {each.origin: each.target for each in wiring.wires if each.label == "continue"}
    assert [(place, ways[place]) for place in line[:-2]] == list(pairwise(line[:-1]))
    assert {each.label: each.completes for each in wiring.leaving(("gates", 0))} == {"true": True, "false": False}


def test_an_edge_into_a_join_has_the_name_of_its_branch(tmp_path: Path) -> None:
    """A row copied to the output sink does not complete."""
    wiring = wire(load(tmp_path, changed(gates__0__fork_to=["a", "b", "copy", "out"])))
    into = {(each.origin, each.label): each.connection for each in wiring.wires if each.target == ("coalesce", 0)}
    assert into == {(("row_plugins", 1), "continue"): "a", (("gates", 0), "b"): "b"}
    assert wiring.joins == {"a": ("coalesce", 0), "b": ("coalesce", 0)}
    (copied,) = [each for each in wiring.leaving(("gates", 0)) if each.label == "out"]
    assert (copied.mode, copied.target, copied.completes) == (RoutingMode.COPY, ("sinks", "out"), False)


def test_each_join_follows_its_own_fork(tmp_path: Path) -> None:
    inner = SECOND_FORK | {"branch": "copy", "fork_to": ["p", "q"]}
    wiring = wire(load(tmp_path, changed(gates__2=inner, coalesce__1={"name": "inner", "branches": ["p", "q"]})))
    assert [each.target for each in wiring.leaving(("coalesce", 0))] == [("gates", 1)]
    assert [each.target for each in wiring.leaving(("coalesce", 1))] == [("sinks", "copy")]


def test_one_source_and_named_sources_go_together(tmp_path: Path) -> None:
    settings = {
        "source": {"plugin": "null", "on_success": "out"},
        "sources": {"more": {"plugin": "null", "on_success": "more"}},
        "sinks": {"out": {"plugin": "null"}, "more": {"plugin": "null"}},
    }
    wires = wire(load(tmp_path, settings)).wires
    assert {(each.origin, each.target) for each in wires} == {
        (("source",), ("sinks", "out")),
        (("sources", "more"), ("sinks", "more")),
    }


def test_every_source_is_where_rows_begin(tmp_path: Path) -> None:
    step = {"plugin": "passthrough"}
    wiring = wire(
        load(
            tmp_path,
            {
                "sources": {each: {"plugin": "null", "on_success": each} for each in "ab"},
                "transforms": [
                    {**step, "name": "first", "input": "a", "on_success": "c"},
                    {**step, "name": "second", "input": "b", "on_success": "out", "on_error": "failed"},
                    {**step, "name": "third", "input": "c", "on_success": "out", "on_error": "discard"},
                ],
                "sinks": {"out": {"plugin": "null"}, "failed": {"plugin": "null"}},
            },
        )
    )
    assert wiring.sources == (("sources", "a"), ("sources", "b"))
    assert wiring.reached() == {each.target for each in wiring.wires} | set(wiring.sources)
    assert [(each.origin[1], each.label, each.target[1], each.connection, each.completes) for each in wiring.wires] == [
        ("a", "continue", 0, "a", False),
        ("b", "continue", 1, "b", False),
        (0, "continue", 2, "c", False),
        (1, "continue", "out", None, True),
        (1, "__error__", "failed", None, False),
        (2, "continue", "out", None, True),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gates__1__branch": "xy"}, ["gates[1].branch: no gate forks to 'xy': expected one of a, b, copy"]),
        (
            {
                "gates__2": SECOND_FORK | {"branch": "copy", "fork_to": ["p", "q"]},
                "coalesce__1": {"name": "meet", "branches": ["p", "q"]},
            },
            ["coalesce[1].name: the name 'meet' is taken by coalesce[0]: give each its own"],
        ),
        (
            {
                "sinks__out": {"plugin": "json", "options": {"path": "trail.json"}},
                "landscape": {"export": {"enabled": True, "sink": "out", "format": "json"}},
            },
            [
                "output_sink: sink 'out' takes the export of the audit trail: rows need another sink",
                (
                    "row_plugins[2].options.on_error: sink 'out' takes the export of the audit trail:"
                    " rows need another sink"
                ),
            ],
        ),
        (
            {"gates__1__name": None, "gates__2": SECOND_FORK | {"routes": {"true": "nowhere", "false": "continue"}}},
            [
                "gates[1].name: expected a valid string, got None",
                "gates[2].routes.true: unknown sink 'nowhere': expected one of continue, fork, copy, out",
            ],
        ),
    ],
    ids=str,
)
def test_a_graph_with_a_wrong_name_is_refused(tmp_path: Path, changes: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, changed(**changes))
    assert [str(problem) for problem in caught.value.problems] == expected
