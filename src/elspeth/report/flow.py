"""The graph of a run, with numbers of tokens.

A token goes along an edge from one visit to the next; one that was made by a fork, an expansion, a merge or a batch
begins along an edge from the node that made it. Straight edges have no routing events, so visits are what is counted.
Where several edges join the same two nodes, the routing event of the visit before says which was taken; without one it
is the edge that is not for failures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import CTE, Connection, Select, Subquery, and_, exists, func, select
from sqlalchemy.sql.functions import coalesce

from elspeth.core.landscape.queries.endings import step_names
from elspeth_schema.contracts import NodeStateStatus, NodeType, RoutingMode, RowOutcome
from elspeth_schema.tables import (
    batch_members_table,
    batch_outputs_table,
    batches_table,
    edges_table,
    node_states_table,
    nodes_table,
    routing_events_table,
    rows_table,
    token_outcomes_table,
    token_parents_table,
    tokens_table,
)

__all__ = ["Flow", "FlowEdge", "FlowNode", "read_flow"]

_rows, _tokens, _links, _outcomes = rows_table.c, tokens_table.c, token_parents_table.c, token_outcomes_table.c
_states, _events, _nodes, _edges = node_states_table.c, routing_events_table.c, nodes_table.c, edges_table.c
_batches, _members, _outputs = batches_table.c, batch_members_table.c, batch_outputs_table.c

_TOKEN = "token"  # noqa: S105 - a type of output

_ORDER = (
    NodeType.SOURCE,
    NodeType.TRANSFORM,
    NodeType.GATE,
    NodeType.AGGREGATION,
    NodeType.COALESCE,
    NodeType.SINK,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """A node, and what became of the tokens at it.

    Every token is accounted for: `began + entered + made == left + sum(ended.values()) + waiting`.

    `began` are tokens that a source made of rows, `entered` those that came along edges, `made` the children of forks
    and expansions, merged tokens and outputs of batches. `left` are tokens that went on along edges. `ended` counts the
    others by outcome: kept by a sink, forked, joined, expanded, absorbed by a batch, dropped, failed or quarantined.
    `waiting` have not ended: their last visit was here, or they were made here and have not gone on. `failed_visits`
    counts failed attempts, after which a token may have gone on.
    """

    node_id: str
    name: str
    node_type: NodeType
    plugin_name: str
    plugin_version: str
    began: int
    entered: int
    made: int
    left: int
    ended: Mapping[RowOutcome, int]
    waiting: int
    failed_visits: int

    @property
    def came(self) -> int:
        """Tokens that came here from outside or along an edge."""
        return self.began + self.entered


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEdge:
    """An edge, and how many tokens went along it."""

    from_node_id: str
    to_node_id: str
    label: str
    mode: RoutingMode
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The graph of a run with its numbers.

    `strays` counts steps of tokens along no edge of the graph; other programs may record them.
    """

    nodes: tuple[FlowNode, ...]
    edges: tuple[FlowEdge, ...]
    strays: int


def read_flow(connection: Connection, run_id: str) -> Flow:
    """Return the graph of a run with its numbers.

    Memory grows with the graph, not with the number of tokens.
    """
    edges = _read_edges(connection, run_id)
    steps = Counter[tuple[str, str]]()
    counts = Counter[str]()
    strays = 0
    visits = _visits(run_id)
    for statement in (_steps(run_id, visits), _beginnings(run_id, visits)):
        for from_node, to_node, edge_id, number in connection.execute(statement):
            steps[from_node, to_node] += number
            edge = edges.find(from_node, to_node, edge_id)
            if edge is None:
                strays += number
            else:
                counts[edge] += number
    flow_edges = tuple(
        FlowEdge(
            from_node_id=each.from_node, to_node_id=each.to_node, label=each.label, mode=each.mode, count=counts[key]
        )
        for key, each in edges.by_id.items()
    )
    return Flow(nodes=tuple(_read_nodes(connection, run_id, visits, steps)), edges=flow_edges, strays=strays)


# -- edges -----------------------------------------------------------------------------------------------------------


class _Edge(NamedTuple):
    from_node: str
    to_node: str
    label: str
    mode: RoutingMode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    by_id: Mapping[str, _Edge]
    straight: Mapping[tuple[str, str], str]
    """The edge between two nodes that a token goes along if no event names another."""

    def find(self, from_node: str, to_node: str, edge_id: str | None) -> str | None:
        return edge_id if edge_id in self.by_id else self.straight.get((from_node, to_node))


def _read_edges(connection: Connection, run_id: str) -> _Edges:
    statement = (
        select(_edges.edge_id, _edges.from_node_id, _edges.to_node_id, _edges.label, _edges.default_mode)
        .where(_edges.run_id == run_id)
        .order_by(_edges.from_node_id, _edges.label, _edges.to_node_id, _edges.edge_id)
    )
    by_id = {row[0]: _Edge(row[1], row[2], row[3], RoutingMode(row[4])) for row in connection.execute(statement)}
    straight: dict[tuple[str, str], str] = {}
    for edge_id, edge in sorted(by_id.items(), key=lambda item: item[1].mode is RoutingMode.DIVERT):
        straight.setdefault((edge.from_node, edge.to_node), edge_id)
    return _Edges(by_id=by_id, straight=straight)


def _visits(run_id: str) -> CTE:
    """Select each visit's last attempt, with its neighbours.

    `is_first` and `is_last` tell whether the token had no other visit before or after it. A visit is a step of a token;
    further attempts are at the same step.
    """
    again = node_states_table.alias()
    is_final = ~exists().where(
        again.c.run_id == run_id,
        again.c.token_id == _states.token_id,
        again.c.step_index == _states.step_index,
        again.c.attempt > _states.attempt,
    )
    return (
        select(
            _states.token_id,
            _states.state_id,
            _states.node_id,
            func.lag(_states.node_id)
            .over(partition_by=_states.token_id, order_by=_states.step_index)
            .label("node_before"),
            func.lead(_states.node_id)
            .over(partition_by=_states.token_id, order_by=_states.step_index)
            .label("node_after"),
        )
        .where(_states.run_id == run_id, is_final)
        .cte("visits")
    )


def _steps(run_id: str, visits: CTE) -> Select[str, str, str | None, int]:
    """Select how many tokens went from node to node."""
    at = visits.c
    taken = _events_along(run_id, copies=False)
    return (
        select(at.node_id, at.node_after, taken.c.edge_id, func.count())
        .join(taken, and_(taken.c.state_id == at.state_id, taken.c.to_node_id == at.node_after), isouter=True)
        .where(at.node_after.is_not(None))
        .group_by(at.node_id, at.node_after, taken.c.edge_id)
    )


def _events_along(run_id: str, *, copies: bool) -> Subquery:
    """Select routing events with their edges."""
    is_copy = _events.mode == RoutingMode.COPY.value
    return (
        select(_events.state_id, _events.edge_id, _edges.to_node_id, _edges.label)
        .join(edges_table, and_(_edges.run_id == _events.run_id, _edges.edge_id == _events.edge_id))
        .where(_events.run_id == run_id, is_copy if copies else ~is_copy)
        .subquery()
    )


def _beginnings(run_id: str, visits: CTE) -> Select[str, str, str | None, int]:
    """Select how many made tokens went to their first node."""
    first, origins = visits.alias(), _origins(run_id, visits)
    copy = _events_along(run_id, copies=True)
    return (
        select(origins.c.node_id, first.c.node_id, copy.c.edge_id, func.count())
        .select_from(first)
        .join(origins, origins.c.token_id == first.c.token_id)
        .join(tokens_table, and_(_tokens.run_id == run_id, _tokens.token_id == first.c.token_id))
        .join(
            copy,
            and_(
                copy.c.state_id == origins.c.state_id,
                copy.c.to_node_id == first.c.node_id,
                copy.c.label == _tokens.branch_name,
            ),
            isouter=True,
        )
        .where(first.c.node_before.is_(None))
        .group_by(origins.c.node_id, first.c.node_id, copy.c.edge_id)
    )


# -- nodes -----------------------------------------------------------------------------------------------------------


def _origins(run_id: str, visits: CTE) -> CTE:
    """Select the tokens that nodes made, with the nodes.

    `state_id` is that of the visit that made it, null for what came out of a batch. Where each parent of a merged token
    ended is the same node; one of them stands for all.
    """
    parent = (
        select(_links.token_id, func.min(_links.parent_token_id).label("parent_id"))
        .where(_links.run_id == run_id)
        .group_by(_links.token_id)
        .subquery()
    )
    at = visits.alias().c
    made = select(parent.c.token_id, at.node_id, at.state_id).join(
        parent, and_(at.token_id == parent.c.parent_id, at.node_after.is_(None))
    )
    is_member = exists().where(
        _members.run_id == run_id, _members.batch_id == _outputs.batch_id, _members.token_id == _outputs.output_id
    )
    has_parent = exists().where(_links.run_id == run_id, _links.token_id == _outputs.output_id)
    came = (
        select(_outputs.output_id, func.min(_batches.aggregation_node_id), func.max(_batches.aggregation_state_id))
        .join(batches_table, and_(_batches.run_id == _outputs.run_id, _batches.batch_id == _outputs.batch_id))
        .join(tokens_table, and_(_tokens.run_id == _outputs.run_id, _tokens.token_id == _outputs.output_id))
        .where(_outputs.run_id == run_id, _outputs.output_type == _TOKEN, ~is_member, ~has_parent)
        .group_by(_outputs.output_id)
    )
    return made.union_all(came).cte("origins")


def _read_nodes(
    connection: Connection, run_id: str, visits: CTE, steps: Mapping[tuple[str, str], int]
) -> Iterator[FlowNode]:
    """Yield the nodes in the order of the pipeline."""
    entered, left = Counter[str](), Counter[str]()
    for (from_node, to_node), number in steps.items():
        left[from_node] += number
        entered[to_node] += number
    origins = _origins(run_id, visits)
    made = _count_by_node(connection, select(origins.c.node_id, func.count()).group_by(origins.c.node_id))
    began = _count_by_node(connection, _begun(run_id, visits, origins))
    ended = _read_ended(connection, run_id, visits, origins)
    failed = _count_by_node(
        connection,
        select(_states.node_id, func.count())
        .where(_states.run_id == run_id, _states.status == NodeStateStatus.FAILED.value)
        .group_by(_states.node_id),
    )
    names = step_names(connection, run_id)
    statement = select(
        _nodes.node_id, _nodes.node_type, _nodes.plugin_name, _nodes.plugin_version, _nodes.sequence_in_pipeline
    ).where(_nodes.run_id == run_id)
    found = sorted(
        connection.execute(statement),
        key=lambda row: (
            row.node_type == NodeType.SINK.value,
            row.node_type != NodeType.SOURCE.value,
            row.sequence_in_pipeline is None,
            row.sequence_in_pipeline or 0,
            _ORDER.index(NodeType(row.node_type)),
            row.node_id,
        ),
    )
    for node_id, node_type, plugin_name, plugin_version, _ in found:
        ends = dict(ended[node_id])
        waiting = ends.pop(None, 0)
        yield FlowNode(
            node_id=node_id,
            name=names[node_id],
            node_type=NodeType(node_type),
            plugin_name=plugin_name,
            plugin_version=plugin_version,
            began=began[node_id],
            entered=entered[node_id],
            made=made[node_id],
            left=left[node_id],
            ended={outcome: ends[outcome] for outcome in RowOutcome if outcome in ends},
            waiting=waiting,
            failed_visits=failed[node_id],
        )


def _count_by_node(connection: Connection, statement: Select[str, int]) -> Counter[str]:
    return Counter({node_id: number for node_id, number in connection.execute(statement)})  # noqa: C416  rows are no pairs to mypy


def _begun(run_id: str, visits: CTE, origins: CTE) -> Select[str, int]:
    """Select how many tokens of rows began at each node.

    That is where their first visit was. One without a visit began at the source of its row.
    """
    first = visits.alias()
    node_id = coalesce(first.c.node_id, _rows.source_node_id)
    return (
        select(node_id, func.count())
        .select_from(tokens_table)
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .join(origins, origins.c.token_id == _tokens.token_id, isouter=True)
        .join(first, and_(first.c.token_id == _tokens.token_id, first.c.node_before.is_(None)), isouter=True)
        .where(_tokens.run_id == run_id, origins.c.token_id.is_(None))
        .group_by(node_id)
    )


def _read_ended(
    connection: Connection, run_id: str, visits: CTE, origins: CTE
) -> Mapping[str, Mapping[RowOutcome | None, int]]:
    """Count tokens by their last node and their outcome.

    Without a visit it is the node that made it, or the source of its row. The outcome of a token that has not ended is
    None.
    """
    last = visits.alias()
    node_id = coalesce(last.c.node_id, origins.c.node_id, _rows.source_node_id)
    statement = (
        select(node_id, _outcomes.outcome, func.count())
        .select_from(tokens_table)
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .join(origins, origins.c.token_id == _tokens.token_id, isouter=True)
        .join(last, and_(last.c.token_id == _tokens.token_id, last.c.node_after.is_(None)), isouter=True)
        .join(
            token_outcomes_table,
            and_(_outcomes.run_id == run_id, _outcomes.token_id == _tokens.token_id, _outcomes.is_terminal == 1),
            isouter=True,
        )
        .where(_tokens.run_id == run_id)
        .group_by(node_id, _outcomes.outcome)
    )
    found: defaultdict[str, dict[RowOutcome | None, int]] = defaultdict(dict)
    for place, outcome, number in connection.execute(statement):
        found[place][None if outcome is None else RowOutcome(outcome)] = number
    return found
