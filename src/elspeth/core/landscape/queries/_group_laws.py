"""Queries for the laws about tokens made from others.

Each part of a query names the run: for a part of an OR, PostgreSQL reads in advance all records that it may need, and
without this condition those of all runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import JSON, ColumnElement, Integer, Select, and_, case, cast, exists, func, literal, or_, select

from elspeth.core.landscape.queries._token_laws import LawQuery
from elspeth.evidence.format.laws import Law
from elspeth_schema.contracts import BatchStatus, RowOutcome
from elspeth_schema.tables import (
    batch_members_table,
    batch_outputs_table,
    batches_table,
    edges_table,
    node_states_table,
    rows_table,
    token_outcomes_table,
    token_parents_table,
    tokens_table,
)

__all__ = ["query_batches", "query_groups", "query_origins"]

_rows, _tokens, _links, _outcomes = rows_table.c, tokens_table.c, token_parents_table.c, token_outcomes_table.c
_states, _edges = node_states_table.c, edges_table.c
_batches, _members, _outputs = batches_table.c, batch_members_table.c, batch_outputs_table.c

_TOKEN = "token"  # noqa: S105 - a type of output
_KINDS = (
    (RowOutcome.FORKED, "fork_group_id"),
    (RowOutcome.EXPANDED, "expand_group_id"),
    (RowOutcome.COALESCED, "join_group_id"),
)
_MADE = or_(*(_tokens[column].is_not(None) for _, column in _KINDS))


def query_origins(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for tokens of no, several or distant origins."""
    yield LawQuery(
        Law.ORIGINS,
        "expected tokens to be sent by the source, made from others, or to come out of a batch, which does not hold"
        " for",
        _tokens_of_other_origins(run_id),
    )
    yield LawQuery(
        Law.ORIGINS,
        "expected tokens to begin one step behind those that they were made from, along an edge, which does not hold"
        " for",
        _made_tokens_out_of_place(run_id),
    )
    came = _tokens_out_of_batches(run_id).subquery()
    first = _visit(came.c.output_id, run_id, newest=False)
    along = exists().where(
        _edges.run_id == run_id, _edges.from_node_id == _batches.aggregation_node_id, _edges.to_node_id == first
    )
    yield LawQuery(
        Law.ORIGINS,
        "expected tokens that came out of a batch to go on along an edge, which does not hold for",
        select(came.c.output_id)
        .join(batches_table, and_(_batches.run_id == run_id, _batches.batch_id == came.c.batch_id))
        .where(~along),
    )


def _tokens_out_of_batches(run_id: str) -> Select[tuple[str, str]]:
    """Select tokens that batches made, with the batches.

    Members that came out of their batch again are left out.
    """
    is_member = exists().where(
        _members.run_id == run_id,
        _members.batch_id == _outputs.batch_id,
        _members.token_id == _outputs.output_id,
    )
    return (
        select(_outputs.output_id, _outputs.batch_id)
        .join(tokens_table, and_(_tokens.run_id == _outputs.run_id, _tokens.token_id == _outputs.output_id))
        .where(_outputs.run_id == run_id, _outputs.output_type == _TOKEN, ~is_member)
    )


def _tokens_of_other_origins(run_id: str) -> Select[tuple[str]]:
    """Select tokens that have no origin, or several."""
    came = _tokens_out_of_batches(run_id).subquery()
    counted = select(came.c.output_id, func.count().label("times")).group_by(came.c.output_id).subquery()
    read = exists().where(
        _states.run_id == run_id,
        _states.token_id == _tokens.token_id,
        _states.node_id == _rows.source_node_id,
    )
    origins = case((read, 1), else_=0) + case((_MADE, 1), else_=0) + func.coalesce(counted.c.times, 0)
    return (
        select(_tokens.token_id)
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .join(counted, counted.c.output_id == _tokens.token_id, isouter=True)
        .where(_tokens.run_id == run_id, origins != 1)
    )


def _made_tokens_out_of_place(run_id: str) -> Select[tuple[str]]:
    """Select tokens that do not begin behind their parents.

    A token begins one step behind the last visits of all parents of its group, which must be visits to the same node.
    """
    group = func.coalesce(*(_tokens[column] for _, column in _KINDS))
    parents = (
        select(group.label("group_id"), _links.parent_token_id)
        .distinct()
        .join(token_parents_table, and_(_links.run_id == _tokens.run_id, _links.token_id == _tokens.token_id))
        .where(_tokens.run_id == run_id, _MADE)
        .subquery()
    )
    last_step = _visit(parents.c.parent_token_id, run_id, newest=True, column=_states.step_index)
    last_node = _visit(parents.c.parent_token_id, run_id, newest=True)
    visited = select(parents.c.group_id, last_step.label("step"), last_node.label("node_id")).subquery()
    ends = (
        select(
            visited.c.group_id,
            func.max(visited.c.step).label("step"),
            func.max(visited.c.node_id).label("node_id"),
            func.count(visited.c.node_id.distinct()).label("nodes"),
        )
        .group_by(visited.c.group_id)
        .subquery()
    )
    end = ends.c
    first_step = _visit(_tokens.token_id, run_id, newest=False, column=_states.step_index)
    along = exists().where(
        _edges.run_id == run_id,
        _edges.from_node_id == end.node_id,
        _edges.to_node_id == _visit(_tokens.token_id, run_id, newest=False),
    )
    return (
        select(_tokens.token_id)
        .join(ends, end.group_id == group, isouter=True)
        .where(
            _tokens.run_id == run_id,
            _MADE,
            or_(end.nodes.is_(None), end.nodes != 1, func.coalesce(first_step, -1) != end.step + 1, ~along),
        )
    )


def _visit(
    token_id: ColumnElement[str],
    run_id: str,
    *,
    newest: bool,
    column: ColumnElement[object] | ColumnElement[str] | ColumnElement[int] = _states.node_id,
) -> ColumnElement[object]:
    """Return a column of a token's first or last visit."""
    order = (_states.step_index.desc(), _states.attempt.desc()) if newest else (_states.step_index, _states.attempt)
    visits = select(column).where(_states.run_id == run_id, _states.token_id == token_id).order_by(*order).limit(1)
    return visits.correlate_except(node_states_table).scalar_subquery()


def query_groups(run_id: str, dialect: str) -> Iterator[LawQuery]:
    """Yield queries for inconsistent forks, expansions and merges.

    Their parents and children must be those that the outcomes name.
    """
    links = select(func.count()).where(_links.run_id == _tokens.run_id, _links.token_id == _tokens.token_id)
    parents = links.scalar_subquery()
    split = or_(_tokens.fork_group_id.is_not(None), _tokens.expand_group_id.is_not(None))
    several = sum((case((_tokens[column].is_not(None), 1), else_=0) for _, column in _KINDS), start=literal(0))
    yield LawQuery(
        Law.GROUPS,
        "expected one parent for each child of a fork or expansion, and parents for each merged token, which does not"
        " hold for",
        select(_tokens.token_id).where(
            _tokens.run_id == run_id,
            or_(several > 1, and_(split, parents != 1), and_(_tokens.join_group_id.is_not(None), parents == 0)),
        ),
    )
    yield LawQuery(
        Law.GROUPS,
        "expected parents only of tokens that were made from others, got parents of",
        _links_of_others(run_id),
    )
    for outcome, column in _KINDS:
        yield from _query_kind(run_id, outcome, column)
    yield LawQuery(
        Law.GROUPS,
        "expected as many children as the outcome says, got another number for",
        _miscounted(run_id, dialect),
    )


def _links_of_others(run_id: str) -> Select[tuple[str]]:
    """Select children whose parent did not end in their group."""
    ended = or_(
        *(and_(_outcomes.outcome == outcome.value, _outcomes[column] == _tokens[column]) for outcome, column in _KINDS)
    )
    became = exists().where(
        _outcomes.run_id == run_id,
        _outcomes.token_id == _links.parent_token_id,
        _outcomes.is_terminal == 1,
        ended,
    )
    return (
        select(_links.token_id)
        .join(tokens_table, and_(_tokens.run_id == _links.run_id, _tokens.token_id == _links.token_id))
        .where(_links.run_id == run_id, ~became)
    )


def _query_kind(run_id: str, outcome: RowOutcome, column: str) -> Iterator[LawQuery]:
    """Yield queries for groups of one kind."""
    made, told = _tokens[column], _outcomes[column]
    of_kind = and_(_outcomes.outcome == outcome.value, _outcomes.is_terminal == 1)
    yield LawQuery(
        Law.GROUPS,
        f"expected a group where a token was {outcome.value}, and nowhere else, which does not hold for",
        select(_outcomes.token_id).where(
            _outcomes.run_id == run_id, or_(and_(of_kind, told.is_(None)), and_(told.is_not(None), ~of_kind))
        ),
    )
    children = select(made.label("group_id"), func.count().label("children")).where(
        _tokens.run_id == run_id, made.is_not(None)
    )
    groups = children.group_by(made).subquery()
    is_parent = exists().where(
        _links.run_id == run_id,
        _links.parent_token_id == _outcomes.token_id,
        _tokens.run_id == run_id,
        _tokens.token_id == _links.token_id,
        made == told,
    )
    too_late = _outcomes.context_json.contains('"merged":false', autoescape=True)
    fits: ColumnElement[bool] = is_parent
    if outcome is RowOutcome.COALESCED:
        is_any_parent = exists().where(_links.run_id == run_id, _links.parent_token_id == _outcomes.token_id)
        fits = or_(is_parent, and_(~is_any_parent, func.coalesce(too_late, False)))
        yield LawQuery(
            Law.GROUPS,
            "expected one token of each merge, got several of group",
            select(groups.c.group_id).where(groups.c.children != 1),
        )
    else:
        yield LawQuery(
            Law.GROUPS,
            "expected one parent of all children of a fork or expansion, got several of group",
            select(made)
            .join(token_parents_table, and_(_links.run_id == _tokens.run_id, _links.token_id == _tokens.token_id))
            .where(_tokens.run_id == run_id, made.is_not(None))
            .group_by(made)
            .having(func.count(_links.parent_token_id.distinct()) > 1),
        )
    yield LawQuery(
        Law.GROUPS,
        f"expected a further token for every one that was {outcome.value}, got none for",
        select(_outcomes.token_id)
        .join(groups, groups.c.group_id == told, isouter=True)
        .where(_outcomes.run_id == run_id, of_kind, told.is_not(None), or_(groups.c.group_id.is_(None), ~fits)),
    )


def _miscounted(run_id: str, dialect: str) -> Select[tuple[str]]:
    """Select tokens with another number of children than expected."""
    found = []
    for outcome, column in _KINDS[:2]:
        made = _tokens[column]
        groups = (
            select(made.label("group_id"), func.count().label("children"))
            .where(_tokens.run_id == run_id, made.is_not(None))
            .group_by(made)
            .subquery()
        )
        expected = _expected(outcome, dialect)
        found.append(
            select(_outcomes.token_id)
            .join(groups, groups.c.group_id == _outcomes[column])
            .where(
                _outcomes.run_id == run_id,
                _outcomes.outcome == outcome.value,
                _outcomes.expected_branches_json.is_not(None),
                func.coalesce(expected, -1) != groups.c.children,
            )
        )
    either = found[0].union_all(found[1]).subquery()
    return select(either.c.token_id)


def _expected(outcome: RowOutcome, dialect: str) -> ColumnElement[int]:
    """Return the number of children that an outcome expects.

    It is the number of branches of a fork, or the count of an expansion.
    """
    text = _outcomes.expected_branches_json
    document = text if dialect == "sqlite" else cast(text, JSON)
    if outcome is RowOutcome.FORKED:
        return func.json_array_length(document, type_=Integer)
    if dialect == "sqlite":
        return func.json_extract(text, "$.count", type_=Integer)
    return cast(cast(text, JSON)["count"].as_string(), Integer)


def query_batches(run_id: str) -> Iterator[LawQuery]:
    """Yield queries for inconsistent members of batches.

    The members of a batch are consumed by it or come out again, and no other token is consumed.
    """
    yield LawQuery(
        Law.BATCHES,
        "expected every member of a completed batch, and no other, to be consumed or to come out of it, which does not"
        " hold for",
        _members_of_other_ends(run_id),
    )
    yield LawQuery(
        Law.BATCHES,
        "expected tokens that were consumed to be members of the batch that they name, at its node, which does not hold"
        " for",
        _consumed_elsewhere(run_id),
    )
    exists_here = exists().where(_tokens.run_id == run_id, _tokens.token_id == _outputs.output_id)
    yield LawQuery(
        Law.BATCHES,
        "expected tokens of the run to come out of batches, got others:",
        select(_outputs.output_id).where(_outputs.run_id == run_id, _outputs.output_type == _TOKEN, ~exists_here),
    )


def _members_of_other_ends(run_id: str) -> Select[tuple[str]]:
    """Select members whose end contradicts the end of their batch."""
    consumed = exists().where(
        _outcomes.run_id == run_id,
        _outcomes.token_id == _members.token_id,
        _outcomes.batch_id == _members.batch_id,
        _outcomes.is_terminal == 1,
    )
    came_out = exists().where(
        _outputs.run_id == run_id,
        _outputs.batch_id == _members.batch_id,
        _outputs.output_type == _TOKEN,
        _outputs.output_id == _members.token_id,
    )
    completed = _batches.status == BatchStatus.COMPLETED.value
    return (
        select(_members.token_id)
        .join(batches_table, and_(_batches.run_id == _members.run_id, _batches.batch_id == _members.batch_id))
        .where(_members.run_id == run_id, case((completed, 1), else_=0) != case((or_(consumed, came_out), 1), else_=0))
    )


def _consumed_elsewhere(run_id: str) -> Select[tuple[str]]:
    """Select consumed tokens that are not members of their batch."""
    is_member = exists().where(
        _members.run_id == run_id,
        _members.token_id == _outcomes.token_id,
        _members.batch_id == _outcomes.batch_id,
    )
    named = _outcomes.batch_id.is_not(None)
    is_consumed = _outcomes.outcome == RowOutcome.CONSUMED_IN_BATCH.value
    here = exists().where(
        _batches.run_id == run_id,
        _batches.batch_id == _outcomes.batch_id,
        _batches.aggregation_node_id == _visit(_outcomes.token_id, run_id, newest=True),
    )
    return select(_outcomes.token_id).where(
        _outcomes.run_id == run_id,
        _outcomes.is_terminal == 1,
        or_(and_(named, ~is_consumed), and_(is_consumed, ~named), and_(named, or_(~is_member, ~here))),
    )
