"""Fields of outputs traced to fields of inputs."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.plugins import FieldOrigins
from elspeth.openlineage.columns import trace_columns
from elspeth.openlineage.records import FIELD_ORIGINS, LineageRecords, record_origins
from elspeth.plugins.manager import PluginManager
from elspeth_schema.contracts import Edge, Node, NodeType, RoutingMode
from tests.engine.pipelines import build, csv_settings, execute
from tests.openlineage.specification import assert_valid
from tests.openlineage.test_events import events_of, records_in

Json = dict[str, Any]
Step = tuple[str, Json] | FieldOrigins
"""A transform by its name and options, or where one says that its fields come from."""

_PLUGINS = PluginManager.installed()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> LineageRecords:
    place = tmp_path_factory.mktemp("columns")
    (place / "in.csv").write_text("id,kind,amount\n1,x,2\n")
    settings = csv_settings(place)
    settings["datasource"]["options"]["schema"] = {"mode": "strict", "fields": ["id: int", "kind: str", "amount: int"]}
    # A name that would be masked, were it the key of a setting.
    mapper = {"mappings": {"id": "order_key"}, "computed": {"twice": "row['amount'] * 2"}}
    settings["row_plugins"] = [{"plugin": "field_mapper", "options": mapper}]
    execute(build(place, settings))
    return records_in(f"sqlite:///{place / 'audit.db'}")


def _node(node_id: str, node_type: NodeType, plugin: str, like: Node, config: Json, **more: str) -> Node:
    node = dataclasses.replace(like, node_id=node_id, node_type=node_type, plugin_name=plugin)
    fields, mode = more.get("schema_fields_json"), more.get("schema_mode")
    return dataclasses.replace(node, config_json=json.dumps(config), schema_fields_json=fields, schema_mode=mode)


def _traced(records: LineageRecords, *steps: Step, fields: list[str], mode: str = "strict") -> Json:
    """Return the origins of each field behind some transforms."""
    like, edge = records.nodes[0], records.edges[0]
    dataset = [{"namespace": "file", "name": "/in"}]
    names = json.dumps([{"name": name, "type": "str"} for name in fields])
    nodes = [
        _node("0", NodeType.SOURCE, "csv", like, {"datasets": dataset}, schema_mode=mode, schema_fields_json=names)
    ]
    for number, step in enumerate(steps, start=1):
        origins = step if isinstance(step, FieldOrigins) else _PLUGINS.transform(*step).field_origins()
        config = {} if origins is None else {FIELD_ORIGINS: record_origins(origins)}
        nodes.append(_node(str(number), NodeType.TRANSFORM, "any", like, config))
    nodes.append(_node("sink", NodeType.SINK, "csv", like, {}))
    edges = [
        dataclasses.replace(edge, from_node_id=first.node_id, to_node_id=then.node_id, default_mode=RoutingMode.MOVE)
        for first, then in pairwise(nodes)
    ]
    return _short(trace_columns(dataclasses.replace(records, nodes=nodes, edges=edges)).get("sink", {}))


def _short(columns: Json) -> Json:
    return {
        name: " ".join(f"{each['field']}:{each['transformations'][0]['subtype'][0]}" for each in origins)
        for name, origins in columns.items()
    }


_AB = {"a": "a:I", "b": "b:I"}
_TABLE = {"plugin": "csv", "options": {"path": "none.csv"}}
_LLM = {"base_url": "http://127.0.0.1:1", "model": "m", "prompt": "{{ row.a }}", "response_schema": ["score: int"]}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], {"a": "a:I", "b": "b:I"}),
        ([("filter", {"condition": "True"}), ("dedupe", {}), ("passthrough", {})], {"a": "a:I", "b": "b:I"}),
        ([("rename", {"fields": {"a": "b", "b": "a"}})], {"b": "a:I", "a": "b:I"}),
        ([("select", {"fields": ["b"]})], {"b": "b:I"}),
        ([("drop", {"fields": ["b"]})], {"a": "a:I"}),
        ([("cast", {"fields": {"a": "int"}}), ("rename", {"fields": {"a": "c"}})], {"c": "a:T", "b": "b:I"}),
        ([("truncate", {"fields": {"b.text": 3}})], {"a": "a:I", "b": "b:T"}),
        ([("rename", {"fields": {"b.text": "c"}})], {"a": "a:I", "b": "b:T", "c": "b:T"}),
        ([("value_transform", {"fields": {"c": "row['a']", "d": "row['c'] + 1"}})], _AB | {"c": "a:T", "d": "a:T"}),
        ([("json_explode", {"array_field": "b"})], {"a": "a:I", "item": "b:T"}),
        ([("lookup", {"table": _TABLE, "match": {"a": "a"}, "add": {"c": "c"}})], _AB),
        ([("field_mapper", {"mappings": {"a": "c"}, "select_only": True})], {"c": "a:I"}),
        ([("field_mapper", {"mapping": {"a": "c"}, "computed": {"b": "1"}})], {"c": "a:I"}),
        ([("field_mapper", {"mapping": {"a": "c"}, "computed": {"c": "row['c'] + 1"}})], {"b": "b:I", "c": "a:T"}),
        ([("llm", _LLM), ("rename", {"fields": {"a": "c", "score": "d"}})], {"b": "b:I", "c": "a:I"}),
        ([("rename", {"fields": {"a": "c"}}), ("flatten", {})], {}),
        ([FieldOrigins(derived={"c": ["a", "b"]}, removed=["a"])], {"b": "b:I", "c": "a:T b:T"}),
    ],
)
def test_fields_are_traced_through_steps_that_name_their_origins(
    records: LineageRecords, steps: list[Step], expected: Json
) -> None:
    assert _traced(records, *steps, fields=["a", "b"]) == expected


def test_only_named_fields_of_rows_with_further_fields_are_traced(records: LineageRecords) -> None:
    steps: list[Step] = [
        ("drop", {"fields": ["gone", "f.gone"]}),
        ("cast", {"fields": {"c.d": "int"}}),
        ("truncate", {"fields": {"d": 3}}),
        ("rename", {"fields": {"a": "b", "c": "e", "gone": "back", "gone.inside": "g", "f.gone": "h"}}),
    ]
    assert _traced(records, *steps, fields=[], mode="dynamic") == {"b": "a:I", "e": "c:T"}


@pytest.mark.parametrize(("mode", "more"), [("strict", {}), ("fixed", {}), ("free", {"c": "b:I"})])
def test_rows_of_a_closed_schema_have_no_further_fields(records: LineageRecords, mode: str, more: Json) -> None:
    assert _traced(records, ("rename", {"fields": {"b": "c"}}), fields=["a"], mode=mode) == {"a": "a:I", **more}


def test_origins_recorded_in_another_form_are_ignored(records: LineageRecords) -> None:
    (node,) = records.nodes_of(NodeType.TRANSFORM)
    assert records.field_origins(node) is not None
    others: list[object] = ["unchanged", {"same": {}}, None]
    for recorded in others:
        other = dataclasses.replace(node, config_json=json.dumps({FIELD_ORIGINS: recorded}))
        assert dataclasses.replace(records, nodes=[other]).field_origins(other) is None


def test_fields_that_arrive_by_several_ways_have_several_origins(records: LineageRecords) -> None:
    like, edge = records.nodes[0], records.edges[0]

    def source(name: str) -> Node:
        named = {"datasets": [{"namespace": "file", "name": f"/{name}"}]}
        fields = json.dumps([{"name": "id", "type": "int"}, {"name": name, "type": "int"}])
        return _node(name, NodeType.SOURCE, "csv", like, named, schema_mode="strict", schema_fields_json=fields)

    def way(start: str, mode: RoutingMode = RoutingMode.MOVE) -> Edge:
        return dataclasses.replace(edge, from_node_id=start, to_node_id="sink", default_mode=mode)

    nodes = [source("x"), source("y"), source("z"), _node("sink", NodeType.SINK, "csv", like, {})]
    edges = [way("x"), way("y", RoutingMode.COPY), way("z", RoutingMode.DIVERT)]
    found = trace_columns(dataclasses.replace(records, nodes=nodes, edges=edges))["sink"]
    assert [each["name"] for each in found["id"]] == ["/x", "/y"], "rows that failed are not followed"
    assert sorted(found) == ["id", "x", "y"]
    changed = dataclasses.replace(records, nodes=[*nodes[:3], _node("unknown", NodeType.TRANSFORM, "any", like, {})])
    ends = [dataclasses.replace(edge, from_node_id="z", to_node_id="unknown", default_mode=RoutingMode.MOVE)]
    ends += [way("unknown"), way("x")]
    assert trace_columns(dataclasses.replace(changed, nodes=[*changed.nodes, nodes[3]], edges=ends)) == {}
    two = json.dumps({"datasets": [{"namespace": "file", "name": name} for name in "xy"]})
    both = [dataclasses.replace(nodes[0], config_json=two), nodes[3]]
    assert trace_columns(dataclasses.replace(records, nodes=both, edges=[way("x")])) == {}, "of which it is, is unknown"


def test_a_field_that_is_lost_on_one_way_is_traced_along_the_other(records: LineageRecords) -> None:
    like, edge = records.nodes[0], records.edges[0]
    nodes = [
        _node(name, NodeType.SOURCE, "csv", like, {"datasets": [{"namespace": "file", "name": name}]}) for name in "xy"
    ]
    steps = {
        "drop": FieldOrigins(removed=["a"]),
        "cast": FieldOrigins(changed=["c"]),
        "rename": FieldOrigins(same={"b": "a", "d": "c"}),
    }
    nodes += [
        _node(name, NodeType.TRANSFORM, "any", like, {FIELD_ORIGINS: record_origins(origins)})
        for name, origins in steps.items()
    ]
    nodes.append(_node("sink", NodeType.SINK, "csv", like, {}))
    ways = [("x", "drop"), ("drop", "rename"), ("y", "cast"), ("cast", "rename"), ("rename", "sink")]
    edges = [
        dataclasses.replace(edge, from_node_id=first, to_node_id=then, default_mode=RoutingMode.MOVE)
        for first, then in ways
    ]
    found: Json = trace_columns(dataclasses.replace(records, nodes=nodes, edges=edges))["sink"]
    assert "y" in [each["name"] for each in found["b"]]
    assert {each["transformations"][0]["subtype"] for each in found["d"]} == {"TRANSFORMATION"}


def test_the_facet_of_a_run_names_the_fields_of_its_input(records: LineageRecords) -> None:
    (_, end) = events_of(records)
    assert_valid(end)
    (read,) = end["inputs"]
    for written in end["outputs"]:
        fields = written["facets"]["columnLineage"]["fields"]
        assert _short({name: each["inputFields"] for name, each in fields.items()}) == {
            "amount": "amount:I",
            "kind": "kind:I",
            "order_key": "id:I",
            "twice": "amount:T",
        }
        assert {each["inputFields"][0]["name"] for each in fields.values()} == {read["name"]}
    assert Path(read["name"]).name == "in.csv"
    names = [each["name"] for each in read["facets"]["schema"]["fields"]]
    assert names == ["id", "kind", "amount"]
