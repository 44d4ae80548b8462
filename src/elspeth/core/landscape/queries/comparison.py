"""Compares two runs: their settings, steps, counts and rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, func, literal, null, select, union_all

from elspeth.core.differences import Difference, find_differences
from elspeth.core.landscape.queries.endings import step_names
from elspeth.core.landscape.queries.runs import RecordedRun, recorded_settings
from elspeth_schema.contracts import NodeStateStatus
from elspeth_schema.records import CALL, EDGE, NODE, NODE_STATE, ROUTING_EVENT, ROW, RUN, TOKEN, TOKEN_OUTCOME
from elspeth_schema.tables import (
    calls_table,
    edges_table,
    node_states_table,
    nodes_table,
    routing_events_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
)

__all__ = [
    "COMPARED_RECORDS",
    "AnswerDifference",
    "CountDifference",
    "DifferingRow",
    "RowJourney",
    "compare_counts",
    "compare_rows",
    "compare_settings",
    "compare_steps",
]

COMPARED_RECORDS = (RUN, NODE, EDGE, ROW, TOKEN, NODE_STATE, TOKEN_OUTCOME, ROUTING_EVENT, CALL)
"""The record types that a comparison reads."""

_nodes, _edges, _rows = nodes_table.c, edges_table.c, rows_table.c
_tokens, _states, _outcomes = tokens_table.c, node_states_table.c, token_outcomes_table.c
_events, _calls = routing_events_table.c, calls_table.c


# -- settings, steps and counts --------------------------------------------------------------------------------------


def compare_settings(first: RecordedRun, second: RecordedRun) -> list[Difference]:
    """Return the differences of the recorded settings."""
    return list(find_differences(recorded_settings(*first), recorded_settings(*second)))


def compare_steps(first: RecordedRun, second: RecordedRun) -> list[Difference]:
    """Return the steps whose plugin or version differs.

    The path of a difference is the type and the name of the step.
    """
    before, after = (_plugins(*run) for run in (first, second))
    names = sorted(before.keys() | after.keys())
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def _plugins(connection: Connection, run_id: str) -> dict[str, str]:
    names = step_names(connection, run_id)
    statement = select(_nodes.node_id, _nodes.node_type, _nodes.plugin_name, _nodes.plugin_version)
    found = connection.execute(statement.where(_nodes.run_id == run_id))
    return {f"{kind} {names[node_id]}": f"{plugin} {version}" for node_id, kind, plugin, version in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDifference:
    """The numbers of tokens with one outcome in both runs."""

    outcome: str
    sink: str | None
    first: int
    second: int


def compare_counts(first: RecordedRun, second: RecordedRun) -> list[CountDifference]:
    """Return the outcomes and sinks with different numbers of tokens."""
    before, after = (_count_outcomes(*run) for run in (first, second))
    keys = sorted(before.keys() | after.keys(), key=lambda key: (key[0], key[1] or ""))
    return [
        CountDifference(outcome=key[0], sink=key[1], first=before[key], second=after[key])
        for key in keys
        if before[key] != after[key]
    ]


def _count_outcomes(connection: Connection, run_id: str) -> Counter[tuple[str, str | None]]:
    statement = (
        select(_outcomes.outcome, _outcomes.sink_name, func.count())
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .group_by(_outcomes.outcome, _outcomes.sink_name)
    )
    return Counter({(outcome, sink): count for outcome, sink, count in connection.execute(statement)})


# -- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJourney:
    """The ways and ends of the tokens of a row.

    `outcomes` are the outcomes with their sinks, `route` the labels of decisions with the steps that made them, and
    `failed_at` the steps that refused a token. All are sorted.
    """

    outcomes: tuple[tuple[str, str | None], ...]
    route: tuple[tuple[str, str], ...]
    failed_at: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDifference:
    """The differing results of a step for one row.

    `first` and `second` are the hashes of the rows that the step passed on, or None if it failed.
    """

    step: str
    input_hash: str
    first: tuple[str | None, ...]
    second: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingRow:
    """A source row that two runs read or treated differently.

    `differs` names the differences: `presence`, `content`, `outcomes`, `route`, `failed_at`, `answers`. A journey is
    None if the run has no such row.
    """

    row: int
    differs: tuple[str, ...]
    first: RowJourney | None
    second: RowJourney | None
    answers: tuple[AnswerDifference, ...]


class _Facts(NamedTuple):
    content_hash: str
    journey: RowJourney
    answers: Mapping[tuple[str, str], list[str | None]]


def compare_rows(first: RecordedRun, second: RecordedRun) -> Iterator[DifferingRow]:
    """Yield the rows that differ, in their order.

    Rows are compared by their index. Memory does not grow with their number.
    """
    firsts, seconds = _rows_of(*first), _rows_of(*second)
    one, other = next(firsts, None), next(seconds, None)
    while one is not None or other is not None:
        index = min(each[0] for each in (one, other) if each is not None)
        before = one[1] if one is not None and one[0] == index else None
        after = other[1] if other is not None and other[0] == index else None
        if (found := _compare(index, before, after)) is not None:
            yield found
        one = next(firsts, None) if before is not None else one
        other = next(seconds, None) if after is not None else other


def _compare(index: int, before: _Facts | None, after: _Facts | None) -> DifferingRow | None:
    answers: tuple[AnswerDifference, ...] = ()
    if before is None or after is None:
        differs = ["presence"]
    else:
        differs = ["content"] if before.content_hash != after.content_hash else []
        parts = ("outcomes", "route", "failed_at")
        differs += [part for part in parts if getattr(before.journey, part) != getattr(after.journey, part)]
        answers = tuple(_differing_answers(before, after))
        differs += ["answers"] if answers else []
    if not differs:
        return None
    return DifferingRow(
        row=index,
        differs=tuple(differs),
        first=None if before is None else before.journey,
        second=None if after is None else after.journey,
        answers=answers,
    )


def _differing_answers(before: _Facts, after: _Facts) -> Iterator[AnswerDifference]:
    """Yield the differing answers to the same request."""
    for step, input_hash in sorted(before.answers.keys() & after.answers.keys()):
        pair = before.answers[step, input_hash], after.answers[step, input_hash]
        if pair[0] != pair[1]:
            yield AnswerDifference(step=step, input_hash=input_hash, first=tuple(pair[0]), second=tuple(pair[1]))


def _rows_of(connection: Connection, run_id: str) -> Iterator[tuple[int, _Facts]]:
    names = step_names(connection, run_id)
    with connection.execute(_select_facts(run_id).execution_options(yield_per=1000)) as found:
        for index, facts in groupby(found, key=lambda fact: int(fact[0])):
            yield index, _collect(facts, names)


def _collect(facts: Iterator[Any], names: Mapping[str, str]) -> _Facts:
    content_hash = ""
    outcomes, route, failed_at = [], [], []
    answers: dict[tuple[str, str], list[str | None]] = {}
    for _, kind, a, b, c in facts:
        if kind == "row":
            content_hash = a
        elif kind == "outcome":
            outcomes.append((a, b))
        elif kind == "route":
            route.append((names.get(a, a), b))
        elif kind == "failed":
            failed_at.append(names.get(a, a))
        else:
            answers.setdefault((names.get(a, a), b), []).append(c)
    journey = RowJourney(
        outcomes=tuple(sorted(outcomes, key=lambda each: (each[0], each[1] or ""))),
        route=tuple(sorted(route)),
        failed_at=tuple(sorted(failed_at)),
    )
    sorted_answers = {key: sorted(each, key=lambda answer: answer or "") for key, each in answers.items()}
    return _Facts(content_hash, journey, sorted_answers)


def _select_facts(run_id: str) -> Select[*tuple[Any, ...]]:
    """Select the compared facts of each row, in order."""
    of_token = and_(_tokens.run_id == _states.run_id, _tokens.token_id == _states.token_id)
    of_row = and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id)
    visits = select(_rows.row_index).join_from(node_states_table, tokens_table, of_token).join(rows_table, of_row)
    visits = visits.where(_states.run_id == run_id)
    called = select(literal(1)).where(_calls.run_id == _states.run_id, _calls.state_id == _states.state_id).exists()
    of_event = and_(_events.run_id == _states.run_id, _events.state_id == _states.state_id)
    of_edge = and_(_edges.run_id == _events.run_id, _edges.edge_id == _events.edge_id)
    of_outcome = and_(_tokens.run_id == _outcomes.run_id, _tokens.token_id == _outcomes.token_id)
    outcomes = (
        select(_rows.row_index, literal("outcome"), _outcomes.outcome, _outcomes.sink_name, null())
        .join_from(token_outcomes_table, tokens_table, of_outcome)
        .join(rows_table, of_row)
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
    )
    routes = (
        visits.join(routing_events_table, of_event)
        .join(edges_table, of_edge)
        .add_columns(literal("route"), _edges.from_node_id, _edges.label, null())
    )
    failed = visits.where(_states.status == NodeStateStatus.FAILED.value).add_columns(
        literal("failed"), _states.node_id, null(), null()
    )
    answers = visits.where(called).add_columns(
        literal("answer"), _states.node_id, _states.input_hash, _states.output_hash
    )
    rows = select(
        _rows.row_index,
        literal("row").label("kind"),
        _rows.source_data_hash.label("a"),
        null().label("b"),
        null().label("c"),
    ).where(_rows.run_id == run_id)
    facts = union_all(rows, outcomes, routes, failed, answers).subquery()
    return select(facts).order_by(facts.c.row_index)
