"""Counts the tokens on nodes and edges of a run.

A token takes an edge from one visit to the next. A token that a fork, an expansion, a merge or a batch made begins with
an edge from that node. Straight edges have no routing events, so visits are counted. If several edges join the same two
nodes, the routing event of the earlier visit names the edge; without such an event, it is the edge that is not for
failures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, and_, exists, func, select
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

_STRAY = ""
"""The placeholder for the id of an edge, for steps that follow no edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """A node, with the numbers of its tokens.

    Every token is accounted for: `began + entered + made == left + sum(ended.values()) + waiting`.

    `began` is the number of tokens that a source made of rows, `entered` that of tokens that came along edges, `made`
    that of children of forks and expansions, merged tokens and outputs of batches. `left` is the number of tokens that
    went on along edges. `ended` counts the others by outcome: kept by a sink, forked, joined, expanded, absorbed by a
    batch, dropped, failed or quarantined. `waiting` tokens have not ended: their last visit was here, or they were made
    here and have not gone on. `failed_visits` counts failed attempts, after which a token may have gone on.
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
        """Count tokens that came from outside or along edges."""
        return self.began + self.entered


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEdge:
    """An edge, and the number of tokens that took it."""

    from_node_id: str
    to_node_id: str
    label: str
    mode: RoutingMode
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The graph of a run with its numbers.

    `strays` counts steps of tokens along no edge of the graph, which other programs may record.
    """

    nodes: tuple[FlowNode, ...]
    edges: tuple[FlowEdge, ...]
    strays: int


def read_flow(connection: Connection, run_id: str) -> Flow:
    """Return the graph of a run with its numbers.

    Memory grows with the graph, not with the number of tokens.
    """
    edges = _read_edges(connection, run_id)
    numbers = _Numbers()
    counts = Counter[str]()
    for from_node, to_node, edge_id, number in connection.execute(_steps(run_id)):
        counts[edges.find(from_node, to_node, edge_id)] += numbers.add_step(from_node, to_node, number)
    for maker, edge_id, first, last, source, outcome, number in connection.execute(_journeys(run_id)):
        numbers.add_tokens(maker, first or source, last or maker or source, outcome, number)
        if maker is not None and first is not None:
            counts[edges.find(maker, first, edge_id)] += numbers.add_step(maker, first, number)
    return Flow(
        nodes=tuple(_read_nodes(connection, run_id, numbers)),
        edges=tuple(replace(edge, count=counts[edge_id]) for edge_id, edge in edges.by_id.items()),
        strays=counts[_STRAY],
    )


# -- edges -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """The edges by id.

    `straight` holds for two nodes the edge that a token takes if no event names another.
    """

    by_id: Mapping[str, FlowEdge]
    straight: Mapping[tuple[str, str], str]

    def find(self, from_node: str, to_node: str, edge_id: str | None) -> str:
        """Return the edge of a step, or `_STRAY`."""
        return (
            edge_id
            if edge_id is not None and edge_id in self.by_id
            else self.straight.get((from_node, to_node), _STRAY)
        )


def _read_edges(connection: Connection, run_id: str) -> _Edges:
    statement = (
        select(_edges.edge_id, _edges.from_node_id, _edges.to_node_id, _edges.label, _edges.default_mode)
        .where(_edges.run_id == run_id)
        .order_by(_edges.from_node_id, _edges.label, _edges.to_node_id, _edges.edge_id)
    )
    by_id = {
        edge_id: FlowEdge(from_node_id=from_node, to_node_id=to_node, label=label, mode=RoutingMode(mode), count=0)
        for edge_id, from_node, to_node, label, mode in connection.execute(statement)
    }
    straight: dict[tuple[str, str], str] = {}
    for edge_id, edge in sorted(by_id.items(), key=lambda item: item[1].mode is RoutingMode.DIVERT):
        straight.setdefault((edge.from_node_id, edge.to_node_id), edge_id)
    return _Edges(by_id=by_id, straight=straight)


def _steps(run_id: str) -> Select[str, str, str | None, int]:
    """Select how many tokens went from visit to visit.

    The last attempt of each visit counts. The edge is that of its routing event, null without one.
    """
    again = node_states_table.alias()
    is_final = ~exists().where(
        again.c.run_id == run_id,
        again.c.token_id == _states.token_id,
        again.c.step_index == _states.step_index,
        again.c.attempt > _states.attempt,
    )
    visits = (
        select(
            _states.state_id,
            _states.node_id,
            func.lead(_states.node_id)
            .over(partition_by=_states.token_id, order_by=_states.step_index)
            .label("next_id"),
        )
        .where(_states.run_id == run_id, is_final)
        .subquery()
    )
    at = visits.c
    taken = _event_along(run_id, at.state_id, at.next_id, _events.mode != RoutingMode.COPY.value)
    steps = select(at.node_id, at.next_id, taken.label("edge_id")).where(at.next_id.is_not(None)).subquery().c
    return select(steps.node_id, steps.next_id, steps.edge_id, func.count()).group_by(
        steps.node_id, steps.next_id, steps.edge_id
    )


def _event_along(
    run_id: str, state_id: ColumnElement[Any], node_id: ColumnElement[Any], *conditions: ColumnElement[bool]
) -> ScalarSelect[str]:
    """Select the edge that a visit's event names."""
    return (
        select(func.min(_events.edge_id))
        .join(edges_table, and_(_edges.run_id == _events.run_id, _edges.edge_id == _events.edge_id))
        .where(_events.run_id == run_id, _events.state_id == state_id, _edges.to_node_id == node_id, *conditions)
        .correlate_except(routing_events_table, edges_table)
        .scalar_subquery()
    )


# -- tokens ----------------------------------------------------------------------------------------------------------


def _journeys(run_id: str) -> Select[*tuple[Any, ...]]:
    """Select how many tokens have the same beginning and end.

    The columns are the node that made the token, the edge to its first node if an event names it, its first node, its
    last, the source of its row, its outcome, and the number. All parents of a merged token ended at one node, so one of
    them stands for all. Every lookup for a token uses an index.
    """
    parent = select(func.min(_links.parent_token_id)).where(
        _links.run_id == run_id, _links.token_id == _tokens.token_id
    )
    outcome = select(func.min(_outcomes.outcome)).where(
        _outcomes.run_id == run_id, _outcomes.token_id == _tokens.token_id, _outcomes.is_terminal == 1
    )
    tokens = (
        select(
            _tokens.token_id,
            _tokens.branch_name,
            _rows.source_node_id,
            parent.scalar_subquery().label("parent_id"),
            outcome.scalar_subquery().label("outcome"),
            _visit(run_id, _tokens.token_id, _states.node_id, newest=False).label("first_id"),
            _visit(run_id, _tokens.token_id, _states.node_id, newest=True).label("last_id"),
        )
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .where(_tokens.run_id == run_id)
        .subquery()
    )
    made = select(
        tokens,
        _visit(run_id, tokens.c.parent_id, _states.state_id, newest=True).label("maker_state_id"),
        coalesce(
            _visit(run_id, tokens.c.parent_id, _states.node_id, newest=True), _batch_node(run_id, tokens.c.token_id)
        ).label("maker_id"),
    ).subquery()
    at = made.c
    is_copy = and_(_events.mode == RoutingMode.COPY.value, _edges.label == at.branch_name)
    copied = _event_along(run_id, at.maker_state_id, at.first_id, is_copy).label("edge_id")
    every = select(at.maker_id, copied, at.first_id, at.last_id, at.source_node_id, at.outcome).subquery().c
    return select(*every, func.count()).group_by(*every)


def _visit(
    run_id: str, token_id: ColumnElement[Any], column: ColumnElement[Any], *, newest: bool
) -> ScalarSelect[str | None]:
    """Select a column of a token's first or last visit."""
    order = (_states.step_index.desc(), _states.attempt.desc()) if newest else (_states.step_index, _states.attempt)
    visits = select(column).where(_states.run_id == run_id, _states.token_id == token_id).order_by(*order).limit(1)
    return visits.correlate_except(node_states_table).scalar_subquery()


def _batch_node(run_id: str, token_id: ColumnElement[Any]) -> ScalarSelect[str | None]:
    """Select the aggregation whose batch made a token.

    A member that left its batch again was not made by the batch.
    """
    is_member = exists().where(
        _members.run_id == run_id, _members.batch_id == _outputs.batch_id, _members.token_id == _outputs.output_id
    )
    return (
        select(func.min(_batches.aggregation_node_id))
        .select_from(batch_outputs_table)
        .join(batches_table, and_(_batches.run_id == _outputs.run_id, _batches.batch_id == _outputs.batch_id))
        .where(_outputs.run_id == run_id, _outputs.output_type == _TOKEN, _outputs.output_id == token_id, ~is_member)
        .correlate_except(batch_outputs_table, batches_table, batch_members_table)
        .scalar_subquery()
    )


# -- nodes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of tokens by node.

    In `stayed`, tokens that have not ended have the outcome None.
    """

    began: Counter[str] = field(default_factory=Counter)
    entered: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    stayed: defaultdict[str, Counter[str | None]] = field(default_factory=lambda: defaultdict(Counter))

    def add_step(self, from_node: str, to_node: str, number: int) -> int:
        """Add tokens that took a step, and return their number."""
        self.left[from_node] += number
        self.entered[to_node] += number
        return number

    def add_tokens(self, maker: str | None, first: str, last: str, outcome: str | None, number: int) -> None:
        """Add tokens with their beginning and their end.

        A token without a visit began at the source of its row, and stays where it was made.
        """
        if maker is None:
            self.began[first] += number
        else:
            self.made[maker] += number
        self.stayed[last][outcome] += number


def _read_nodes(connection: Connection, run_id: str, numbers: _Numbers) -> Iterator[FlowNode]:
    """Yield the nodes in the order of the pipeline."""
    failed = (
        select(_states.node_id, func.count())
        .where(_states.run_id == run_id, _states.status == NodeStateStatus.FAILED.value)
        .group_by(_states.node_id)
    )
    failed_visits = Counter({node_id: number for node_id, number in connection.execute(failed)})  # noqa: C416  no pairs
    names = step_names(connection, run_id)
    statement = select(
        _nodes.node_id, _nodes.node_type, _nodes.plugin_name, _nodes.plugin_version, _nodes.sequence_in_pipeline
    ).where(_nodes.run_id == run_id)
    for row in sorted(connection.execute(statement), key=_place):
        node_id, stayed = row.node_id, numbers.stayed[row.node_id]
        yield FlowNode(
            node_id=node_id,
            name=names[node_id],
            node_type=NodeType(row.node_type),
            plugin_name=row.plugin_name,
            plugin_version=row.plugin_version,
            began=numbers.began[node_id],
            entered=numbers.entered[node_id],
            made=numbers.made[node_id],
            left=numbers.left[node_id],
            ended={outcome: stayed[outcome.value] for outcome in RowOutcome if outcome.value in stayed},
            waiting=stayed[None],
            failed_visits=failed_visits[node_id],
        )


def _place(row: Row[*tuple[Any, ...]]) -> tuple[object, ...]:
    """Return a node's sort key: sources first, sinks last."""
    sequence = row.sequence_in_pipeline
    kind = NodeType(row.node_type)
    return kind is NodeType.SINK, kind is not NodeType.SOURCE, sequence is None, sequence or 0, kind, row.node_id
