from __future__ import annotations

import hashlib

import pytest

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import Determinism, NodeType, RoutingMode
from tests.fixtures.records import DYNAMIC, NODES, TYPED, record_graph


@pytest.mark.parametrize("node_type", [NodeType.GATE, "gate"], ids=repr)
@pytest.mark.parametrize("determinism", [Determinism.SEEDED, "seeded"], ids=repr)
def test_a_node_is_recorded_with_its_configuration(
    recorder: LandscapeRecorder, node_type: NodeType | str, determinism: Determinism | str
) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    node = recorder.register_node(
        run_id,
        "threshold",
        node_type,
        "1.2",
        {"limit": 3},
        node_id="gate",
        sequence=4,
        schema_hash="abc",
        determinism=determinism,
        schema_config=TYPED,
        input_contract={"in": 1},
        output_contract={"out": 1},
    )
    assert recorder.get_node("gate", run_id) == recorder.get_node("gate") == node
    assert (node.node_type, node.determinism) == (NodeType.GATE, Determinism.SEEDED)
    assert node.config_json == '{"limit":3}'
    assert node.config_hash == hashlib.sha256(b'{"limit":3}').hexdigest()
    assert (node.sequence_in_pipeline, node.schema_hash, node.schema_mode) == (4, "abc", "strict")
    assert node.schema_fields_json == (
        '[{"name":"id","required":true,"type":"int"},{"name":"name","required":false,"type":"str"}]'
    )
    assert (node.input_contract_json, node.output_contract_json) == ('{"in":1}', '{"out":1}')


def test_a_node_that_says_little_gets_an_id_and_is_deterministic(recorder: LandscapeRecorder) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    node = recorder.register_node(run_id, "p", "source", "1", {}, schema_config=DYNAMIC)
    assert len(node.node_id) == 32
    assert node.determinism is Determinism.DETERMINISTIC
    assert (node.schema_mode, node.schema_fields_json, node.sequence_in_pipeline) == ("dynamic", None, None)


def test_nodes_are_listed_in_pipeline_order_those_without_a_place_last(recorder: LandscapeRecorder) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    for node_id, sequence in (("b", None), ("last", 2), ("first", 0), ("a", None)):
        recorder.register_node(
            run_id, "p", "transform", "1", {}, node_id=node_id, sequence=sequence, schema_config=DYNAMIC
        )
    assert [node.node_id for node in recorder.get_nodes(run_id)] == ["first", "last", "a", "b"]
    assert recorder.get_nodes("nowhere") == []


@pytest.mark.parametrize("mode", [RoutingMode.DIVERT, "divert"], ids=repr)
def test_an_edge_is_recorded(recorder: LandscapeRecorder, mode: RoutingMode | str) -> None:
    record_graph(recorder)
    edge = recorder.register_edge("run", "transform", "sink", "on error", mode, edge_id="errors")
    assert recorder.get_edge("errors") == recorder.get_edge("errors", run_id="run") == edge
    assert (edge.from_node_id, edge.to_node_id, edge.label) == ("transform", "sink", "on error")
    assert edge.default_mode is RoutingMode.DIVERT
    assert len(recorder.register_edge("run", "transform", "sink", "continue", "move").edge_id) == 32


def test_edges_are_listed_in_the_order_of_registration(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    recorder.register_edge("run", "sink", "source", "loop", "move", edge_id="a")
    assert [edge.edge_id for edge in recorder.get_edges("run")] == ["continue", "copy", "a"]
    assert recorder.get_edge_map("run") == {
        ("source", "continue"): "continue",
        ("gate", "copy"): "copy",
        ("sink", "loop"): "a",
    }
    assert recorder.get_edges("nowhere") == []
    assert recorder.get_edge_map("nowhere") == {}


def test_two_runs_may_use_the_same_node_ids(recorder: LandscapeRecorder) -> None:
    record_graph(recorder, "one")
    record_graph(recorder, "two")
    for run_id in ("one", "two"):
        found = [recorder.get_node(node_id, run_id) for node_id in NODES]
        assert [node.run_id for node in found if node] == [run_id] * len(NODES)


def test_an_unknown_node_is_none(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    assert recorder.get_node("nowhere") is None
    assert recorder.get_node("nowhere", "run") is None
    assert recorder.get_node("source", "nowhere") is None


@pytest.mark.parametrize(
    ("schema", "mode"),
    [({"mode": "free", "fields": ["id: int"]}, "free"), ({"mode": "observed"}, "dynamic")],
    ids=["free", "dynamic"],
)
def test_the_mode_of_a_nodes_schema_is_recorded(
    recorder: LandscapeRecorder, schema: dict[str, object], mode: str
) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    config = SchemaConfig.from_dict(schema)
    assert recorder.register_node(run_id, "p", "source", "1", {}, schema_config=config).schema_mode == mode
