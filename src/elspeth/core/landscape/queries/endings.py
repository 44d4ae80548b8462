"""Reads how the tokens of a run ended, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select

from elspeth.contracts.plugins import RowDrop
from elspeth.core.landscape.queries.problems import generalize_message, read_error
from elspeth_schema.contracts import NodeStateStatus, NodeType, RowOutcome
from elspeth_schema.records import NODE, NODE_STATE, ROW, RUN, TOKEN, TOKEN_OUTCOME
from elspeth_schema.tables import node_states_table, nodes_table, rows_table, token_outcomes_table, tokens_table

__all__ = ["ENDING_RECORDS", "EndedToken", "ended_tokens", "step_names"]

ENDING_RECORDS = (RUN, NODE, ROW, TOKEN, NODE_STATE, TOKEN_OUTCOME)
"""The record types that `ended_tokens` reads."""

_BAD = (RowOutcome.FAILED.value, RowOutcome.QUARANTINED.value)

_nodes, _rows, _tokens = nodes_table.c, rows_table.c, tokens_table.c
_states, _outcomes = node_states_table.c, token_outcomes_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedToken:
    """The end of one token.

    `row` is the index of its source row, `sink` the sink that took it. If the token failed or was quarantined, `step`
    is the step that refused it, `kind` the type of the error and `reason` its message. If it was dropped, they are the
    step that dropped it, `RowDrop` and the reason. For other tokens they are None.
    """

    row: int
    token_id: str
    outcome: str
    sink: str | None
    step: str | None
    kind: str | None
    reason: str | None

    def has_reason(self, text: str) -> bool:
        """Return whether the reason contains a text.

        The text may come from a summary, in which N stands for numbers.
        """
        if self.reason is None:
            return False
        kind = "" if self.kind is None else f"{self.kind}: "
        return text in f"{kind}{self.reason}" or text in f"{kind}{generalize_message(self.reason)}"


def step_names(connection: Connection, run_id: str, node_type: NodeType | None = None) -> dict[str, str]:
    """Return the names of steps by node id.

    `node_type` selects the steps of one type. A node id consists of the type of the node, its name and a digest; a node
    id in another form is used as the name itself.
    """
    statement = select(_nodes.node_id, _nodes.node_type).where(_nodes.run_id == run_id)
    if node_type is not None:
        statement = statement.where(_nodes.node_type == node_type.value)
    return {node_id: _step_name(node_id, node_type) for node_id, node_type in connection.execute(statement)}


def _step_name(node_id: str, node_type: str) -> str:
    match = re.fullmatch(rf"{node_type}_(.+)_[0-9a-f]{{8}}", node_id, re.DOTALL)
    return match[1] if match else node_id


def ended_tokens(
    connection: Connection,
    run_id: str,
    *,
    outcomes: Collection[RowOutcome] = (),
    sink: str | None = None,
    step: str | None = None,
    reason: str | None = None,
) -> Iterator[EndedToken]:
    """Yield how tokens ended, in the order of source rows.

    The arguments select tokens: those with one of the outcomes, those that the sink took, those that the step refused,
    and those whose reason contains the text. Memory does not grow with the number of tokens.
    """
    names = step_names(connection, run_id)
    statement = _select(run_id, outcomes, sink).execution_options(yield_per=1000)
    last: EndedToken | None = None
    with connection.execute(statement) as found:
        for row, token_id, outcome, sink_name, node_id, error_json, success_json in found:
            if last is not None and last.token_id != token_id:
                yield from _wanted(last, step, reason)
            kind, why = _reason(error_json, success_json)
            last = EndedToken(  # the last visit decides: a sink may refuse a row that had failed before
                row=row,
                token_id=token_id,
                outcome=outcome,
                sink=sink_name,
                step=None if node_id is None else names.get(node_id, node_id),
                kind=kind,
                reason=why,
            )
    if last is not None:
        yield from _wanted(last, step, reason)


def _reason(error_json: str | None, success_json: str | None) -> tuple[str | None, str | None]:
    """Return the kind and reason of an end."""
    if error_json is not None:
        return read_error(error_json)
    success = json.loads(success_json or "{}")
    dropped = success.get("dropped") if isinstance(success, dict) else None
    return (None, None) if dropped is None else (RowDrop.__name__, str(dropped))


def _wanted(token: EndedToken, step: str | None, reason: str | None) -> Iterator[EndedToken]:
    if (step is None or token.step == step) and (reason is None or token.has_reason(reason)):
        yield token


def _select(run_id: str, outcomes: Collection[RowOutcome], sink: str | None) -> Select[*tuple[Any, ...]]:
    decisive = and_(
        _states.run_id == _outcomes.run_id,
        _states.token_id == _outcomes.token_id,
        or_(
            and_(_outcomes.outcome.in_(_BAD), _states.status == NodeStateStatus.FAILED.value),
            and_(
                _outcomes.outcome == RowOutcome.DROPPED.value,
                _states.status == NodeStateStatus.COMPLETED.value,
            ),
        ),
    )
    statement = (
        select(
            _rows.row_index,
            _tokens.token_id,
            _outcomes.outcome,
            _outcomes.sink_name,
            _states.node_id,
            _states.error_json,
            _states.success_reason_json,
        )
        .join_from(
            token_outcomes_table,
            tokens_table,
            and_(_tokens.run_id == _outcomes.run_id, _tokens.token_id == _outcomes.token_id),
        )
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .outerjoin(node_states_table, decisive)
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .order_by(_rows.row_index, _tokens.token_id, _states.step_index, _states.attempt)
    )
    if outcomes:
        statement = statement.where(_outcomes.outcome.in_([each.value for each in outcomes]))
    return statement if sink is None else statement.where(_outcomes.sink_name == sink)
