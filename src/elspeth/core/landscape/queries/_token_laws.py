"""Queries for the laws about rows and single tokens.

Each part of a query names the run: for a part of an OR, PostgreSQL reads in advance all records that it may need, and
without this condition those of all runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, union_all

from elspeth.evidence.format.laws import Law
from elspeth_schema.contracts import BatchStatus, NodeStateStatus, NodeType, RoutingMode, RowOutcome
from elspeth_schema.tables import (
    batches_table,
    edges_table,
    node_states_table,
    nodes_table,
    routing_events_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
)

__all__ = [
    "LawQuery",
    "query_lifecycles",
    "query_outcomes",
    "query_readings",
    "query_routes",
    "query_rows",
    "query_visits",
]


class LawQuery(NamedTuple):
    """A query for keys of records that break a law.

    `law` is None for the query of work that has not ended. `problem` states what was expected and found; in messages
    the keys follow it.
    """

    law: Law | None
    problem: str
    keys: Select[tuple[str]]


_rows, _tokens, _outcomes = rows_table.c, tokens_table.c, token_outcomes_table.c
_states, _events, _nodes, _edges = node_states_table.c, routing_events_table.c, nodes_table.c, edges_table.c
_batches = batches_table.c

_ENDS_AT = {
    RowOutcome.FORKED: NodeType.GATE,
    RowOutcome.EXPANDED: NodeType.TRANSFORM,
    RowOutcome.DROPPED: NodeType.TRANSFORM,
    RowOutcome.COALESCED: NodeType.COALESCE,
    RowOutcome.CONSUMED_IN_BATCH: NodeType.AGGREGATION,
}
_AT_SINKS = (RowOutcome.COMPLETED, RowOutcome.ROUTED, RowOutcome.FAILED, RowOutcome.QUARANTINED)
_MOST_ATTEMPTS = 1 << 16
_FAILURES = (RowOutcome.FAILED, RowOutcome.QUARANTINED)


def query_rows(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for gaps, missing tokens, and missing outcomes."""
    counted = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id).scalar_subquery()
    yield LawQuery(
        Law.NUMBERS,
        "expected rows to be numbered from 0 without a gap, got further numbers for",
        # Numbers are unique and not negative, so a gap shows in a number that is too large.
        select(_rows.row_id).where(_rows.run_id == run_id, _rows.row_index >= counted),
    )
    carrier = select(_tokens.token_id).where(_tokens.run_id == _rows.run_id, _tokens.row_id == _rows.row_id)
    yield LawQuery(
        Law.TOKENS,
        "expected a token for every row, got none for row",
        select(_rows.row_id).where(_rows.run_id == run_id, ~carrier.exists()),
    )
    ending = select(_outcomes.outcome_id).where(
        _outcomes.run_id == _tokens.run_id, _outcomes.token_id == _tokens.token_id, _outcomes.is_terminal == 1
    )
    yield LawQuery(
        Law.ENDS,
        "expected a terminal outcome for every token, got none for",
        select(_tokens.token_id).where(_tokens.run_id == run_id, ~ending.exists()),
    )


def query_readings(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for rows that no source read exactly once."""
    sources = select(_nodes.node_id).where(_nodes.run_id == run_id, _nodes.node_type == NodeType.SOURCE.value)
    yield LawQuery(
        Law.READINGS,
        "expected rows of a source, got others:",
        select(_rows.row_id).where(_rows.run_id == run_id, _rows.source_node_id.not_in(sources)),
    )
    # PostgreSQL expects that HAVING leaves almost no groups, and would compare each row with all of them. So the
    # condition stands outside of the subquery.
    readings = (
        select(_rows.row_id, func.count().label("visits"))
        .join(tokens_table, and_(_tokens.run_id == _rows.run_id, _tokens.row_id == _rows.row_id))
        .join(
            node_states_table,
            and_(
                _states.run_id == _tokens.run_id,
                _states.token_id == _tokens.token_id,
                _states.node_id == _rows.source_node_id,
            ),
        )
        .where(_rows.run_id == run_id, _states.run_id == run_id, _states.node_id.in_(sources))
        .group_by(_rows.row_id)
    ).subquery()
    yield LawQuery(
        Law.READINGS,
        "expected one visit to its source of every row, got none or more of",
        select(_rows.row_id)
        .join(readings, readings.c.row_id == _rows.row_id, isouter=True)
        .where(_rows.run_id == run_id, func.coalesce(readings.c.visits, 0) != 1),
    )


def query_visits(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for tokens off the edges of the graph."""
    visited = exists().where(_states.run_id == _tokens.run_id, _states.token_id == _tokens.token_id)
    yield LawQuery(
        Law.VISITS,
        "expected a visit of every token, got none of",
        select(_tokens.token_id).where(_tokens.run_id == run_id, ~visited),
    )
    order = (_states.step_index, _states.attempt)
    pairs = (
        select(
            _states.state_id,
            _states.node_id,
            _states.step_index,
            func.lag(_states.node_id).over(partition_by=_states.token_id, order_by=order).label("node_before"),
            func.lag(_states.step_index).over(partition_by=_states.token_id, order_by=order).label("step_before"),
        )
        .where(_states.run_id == run_id)
        .subquery()
    )
    found = pairs.c
    along = exists().where(
        _edges.run_id == run_id, _edges.from_node_id == found.node_before, _edges.to_node_id == found.node_id
    )
    again = and_(found.step_index == found.step_before, found.node_id == found.node_before)
    yield LawQuery(
        Law.VISITS,
        "expected visits to follow each other step by step along edges, got others:",
        select(found.state_id).where(
            found.node_before.is_not(None), ~again, ~and_(found.step_index == found.step_before + 1, along)
        ),
    )


def query_routes(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for inconsistent decisions and diversions.

    They must be recorded at the node that made them, and their tokens must go along their edges.
    """
    of_state = and_(_events.run_id == _states.run_id, _events.state_id == _states.state_id)
    copy = RoutingMode.COPY.value
    yield LawQuery(
        Law.ROUTES,
        "expected routing events along edges that begin where their visit was and end at the next, got others:",
        _events_off_their_way(run_id),
    )
    yield LawQuery(
        Law.ROUTES,
        "expected a visit to send its token one way, or copies along several, which does not hold for",
        select(_events.state_id)
        .where(_events.run_id == run_id)
        .group_by(_events.state_id)
        .having(func.count() > 1, or_(func.min(_events.mode) != copy, func.max(_events.mode) != copy)),
    )
    yield LawQuery(
        Law.ROUTES,
        "expected a copy to be recorded for each child of a fork, got another number for",
        _forks_with_other_copies(run_id),
    )
    gates = select(_nodes.node_id).where(_nodes.run_id == run_id, _nodes.node_type == NodeType.GATE.value)
    yield LawQuery(
        Law.ROUTES,
        "expected the decision of every visit to a gate, got none of",
        select(_states.state_id).where(
            _states.run_id == run_id,
            _states.status == NodeStateStatus.COMPLETED.value,
            _states.node_id.in_(gates),
            ~exists().where(of_state, _events.mode != RoutingMode.DIVERT.value),
        ),
    )
    yield LawQuery(
        Law.ROUTES,
        "expected a record of why a token went on after a failure, got none for",
        select(_states.state_id).where(
            _states.run_id == run_id,
            _states.status == NodeStateStatus.FAILED.value,
            _visits_next(run_id),
            ~exists().where(of_state, _events.mode == RoutingMode.DIVERT.value),
        ),
    )


def _events_off_their_way(run_id: str) -> Select[tuple[str]]:
    """Select events whose edge does not join successive visits."""
    lost = and_(_events.mode != RoutingMode.COPY.value, ~_visits_next(run_id, _edges.to_node_id))
    return (
        select(_events.event_id)
        .join(node_states_table, and_(_events.run_id == _states.run_id, _events.state_id == _states.state_id))
        .join(edges_table, and_(_edges.run_id == _events.run_id, _edges.edge_id == _events.edge_id))
        .where(_events.run_id == run_id, or_(_edges.from_node_id != _states.node_id, lost))
    )


def _forks_with_other_copies(run_id: str) -> Select[tuple[str]]:
    """Select forked tokens with more or fewer copies than children."""
    copies = (
        select(_states.token_id, func.count().label("number"))
        .join(routing_events_table, and_(_events.run_id == _states.run_id, _events.state_id == _states.state_id))
        .where(_states.run_id == run_id, _events.run_id == run_id, _events.mode == RoutingMode.COPY.value)
        .group_by(_states.token_id)
        .subquery()
    )
    children = (
        select(_tokens.fork_group_id, func.count().label("number"))
        .where(_tokens.run_id == run_id, _tokens.fork_group_id.is_not(None))
        .group_by(_tokens.fork_group_id)
        .subquery()
    )
    return (
        select(_outcomes.token_id)
        .join(children, children.c.fork_group_id == _outcomes.fork_group_id)
        .join(copies, copies.c.token_id == _outcomes.token_id, isouter=True)
        .where(
            _outcomes.run_id == run_id,
            _outcomes.outcome == RowOutcome.FORKED.value,
            _outcomes.is_terminal == 1,
            func.coalesce(copies.c.number, 0) != children.c.number,
        )
    )


def _visits_next(run_id: str, node_id: ColumnElement[str] | None = None) -> ColumnElement[bool]:
    """Return the condition that a visit's token goes on.

    With a node, it goes on to that node. A visit that was attempted again does not count.
    """
    after, again = node_states_table.alias(), node_states_table.alias()
    there = () if node_id is None else (after.c.node_id == node_id,)
    return and_(
        exists().where(
            after.c.run_id == run_id,
            after.c.token_id == _states.token_id,
            after.c.step_index == _states.step_index + 1,
            *there,
        ),
        ~exists().where(
            again.c.run_id == run_id,
            again.c.token_id == _states.token_id,
            again.c.step_index == _states.step_index,
            again.c.attempt > _states.attempt,
        ),
    )


def query_outcomes(run_id: str) -> Iterator[LawQuery]:
    """Yield a query for outcomes that contradict the last visit."""
    kinds = _ends_by_sink_and_node(run_id).cte()
    several = (
        select(func.max(kinds.c.token_id).label("token_id"))
        .where(kinds.c.sink_name.is_not(None))
        .group_by(kinds.c.sink_name)
        .having(func.count() > 1)
    )
    either = union_all(select(kinds.c.wrong.label("token_id")).where(kinds.c.wrong.is_not(None)), several).subquery()
    yield LawQuery(
        Law.OUTCOMES,
        "expected each outcome to be what the token's last visit shows, at the sink that it names, got another for",
        select(either.c.token_id),
    )


def _ends_by_sink_and_node(run_id: str) -> Select[tuple[str | None, str, str | None]]:
    """Select the terminal outcomes by sink and last node.

    Each group has the sink's name, the id of a token, and, if there is one, the id of a token whose last visit
    contradicts its outcome.
    """
    place = _states.step_index * _MOST_ATTEMPTS + _states.attempt
    newest = (
        select(_states.token_id, func.max(place).label("place"))
        .where(_states.run_id == run_id)
        .group_by(_states.token_id)
        .subquery()
    )
    return (
        select(
            _outcomes.sink_name,
            func.min(_outcomes.token_id).label("token_id"),
            func.min(case((_fits_last_visit(), None), else_=_outcomes.token_id)).label("wrong"),
        )
        .join(newest, newest.c.token_id == _outcomes.token_id)
        .join(
            node_states_table,
            and_(
                _states.run_id == _outcomes.run_id,
                _states.token_id == _outcomes.token_id,
                place == newest.c.place,
            ),
        )
        .join(nodes_table, and_(_nodes.run_id == _states.run_id, _nodes.node_id == _states.node_id))
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .group_by(_outcomes.sink_name, _states.node_id)
    )


def _fits_last_visit() -> ColumnElement[bool]:
    """Return the condition that the joined visit shows the outcome."""
    completed = _states.status == NodeStateStatus.COMPLETED.value
    at_a_sink = and_(_outcomes.sink_name.is_not(None), completed, _nodes.node_type == NodeType.SINK.value)
    elsewhere = case(
        *(
            (_outcomes.outcome == outcome.value, and_(completed, _nodes.node_type == kind.value))
            for outcome, kind in _ENDS_AT.items()
        ),
        (_outcomes.outcome.in_([each.value for each in _FAILURES]), _states.status == NodeStateStatus.FAILED.value),
        else_=False,
    )
    return or_(
        and_(_outcomes.outcome.in_([each.value for each in _AT_SINKS]), at_a_sink),
        and_(_outcomes.sink_name.is_(None), elsewhere),
    )


def query_lifecycles(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for batches and visits that have not ended."""
    yield LawQuery(
        None,
        "expected every batch to be processed, got unfinished",
        select(_batches.batch_id).where(
            _batches.run_id == run_id,
            _batches.status.not_in([status.value for status in BatchStatus if status.is_terminal]),
        ),
    )
    yield LawQuery(
        None,
        "expected every visit to a node to have ended, got unfinished",
        select(_states.state_id).where(
            _states.run_id == run_id,
            _states.status.not_in([status.value for status in NodeStateStatus if status.is_terminal]),
        ),
    )
