"""The steps of tokens and the operations of sources and sinks, read from a trail."""

from __future__ import annotations

from collections.abc import Collection

from elspeth.core.landscape.queries.story.model import OperationStory, RouteStory, StepStory
from elspeth.core.landscape.queries.story.trail import Trail, grouped, referred
from elspeth_schema import records
from elspeth_schema.contracts import Artifact, NodeState, NodeStateStatus, NodeType

__all__ = ["read_operations", "read_steps"]


def read_steps(trail: Trail, token_ids: Collection[str]) -> dict[str, tuple[StepStory, ...]]:
    """The visits of each token to nodes, in the order of steps and attempts."""
    visits = grouped(trail, records.NODE_STATE, "token_id", token_ids, "step_index", "attempt", "state_id")
    states = {state.state_id: state for group in visits.values() for state in group}
    nodes = referred(trail, records.NODE, states.values(), "node_id")
    routes = _read_routes(trail, states)
    calls = grouped(trail, records.CALL, "state_id", states, "call_index", "call_id")
    sinks = [node_id for node_id, node in nodes.items() if node.node_type is NodeType.SINK]
    operations = read_operations(trail, sinks)
    artifacts = _read_artifacts(trail, states.values())
    return {
        token_id: tuple(
            StepStory(
                node=nodes[state.node_id],
                state=state,
                routes=routes.get(state.state_id, ()),
                calls=calls.get(state.state_id, ()),
                operations=operations.get(state.node_id, ()),
                artifacts=artifacts.get(state.state_id, ()),
            )
            for state in group
        )
        for token_id, group in visits.items()
    }


def read_operations(trail: Trail, node_ids: Collection[str]) -> dict[str, tuple[OperationStory, ...]]:
    """The operations of each node, in the order in which they began."""
    found = grouped(trail, records.OPERATION, "node_id", node_ids, "started_at", "operation_id")
    ids = [operation.operation_id for group in found.values() for operation in group]
    calls = grouped(trail, records.CALL, "operation_id", ids, "call_index", "call_id")
    return {
        node_id: tuple(
            OperationStory(operation=operation, calls=calls.get(operation.operation_id, ())) for operation in group
        )
        for node_id, group in found.items()
    }


def _read_routes(trail: Trail, state_ids: Collection[str]) -> dict[str, tuple[RouteStory, ...]]:
    """The edges that each state chose, in order."""
    found = grouped(trail, records.ROUTING_EVENT, "state_id", state_ids, "created_at", "ordinal", "event_id")
    edges = referred(trail, records.EDGE, [event for group in found.values() for event in group], "edge_id")
    targets = referred(trail, records.NODE, edges.values(), "to_node_id")
    return {
        state_id: tuple(
            RouteStory(event=event, edge=edges[event.edge_id], target=targets[edges[event.edge_id].to_node_id])
            for event in group
        )
        for state_id, group in found.items()
    }


def _read_artifacts(trail: Trail, states: Collection[NodeState]) -> dict[str, tuple[Artifact, ...]]:
    """The artifacts that each state made; for a completed state that made none, those of its node."""
    order = ("created_at", "artifact_id")
    made = grouped(trail, records.ARTIFACT, "produced_by_state_id", [state.state_id for state in states], *order)
    others = [state for state in states if state.status is NodeStateStatus.COMPLETED and state.state_id not in made]
    of_node = grouped(trail, records.ARTIFACT, "sink_node_id", {state.node_id for state in others}, *order)
    return made | {state.state_id: of_node.get(state.node_id, ()) for state in others}
