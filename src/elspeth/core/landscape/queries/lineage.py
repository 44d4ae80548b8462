"""The lineage of one token, for the predecessor's API."""

from __future__ import annotations

from dataclasses import dataclass, field

from elspeth.contracts.audit import RowLineage
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import (
    Call,
    NodeState,
    RoutingEvent,
    Token,
    TokenOutcome,
    TransformErrorRecord,
    ValidationErrorRecord,
)

__all__ = ["LineageResult", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageResult:
    """Everything recorded about one token."""

    token: Token
    source_row: RowLineage
    node_states: list[NodeState]
    routing_events: list[RoutingEvent]
    calls: list[Call]
    parent_tokens: list[Token]
    validation_errors: list[ValidationErrorRecord] = field(default_factory=list)
    transform_errors: list[TransformErrorRecord] = field(default_factory=list)
    outcome: TokenOutcome | None = None


def explain(
    recorder: LandscapeRecorder, run_id: str, token_id: str | None = None, row_id: str | None = None
) -> LineageResult | None:
    """Return the lineage of a token or row.

    A row stands for its token with a terminal outcome. Returns None if there is no such token.

    Raises ValueError if neither a token nor a row is given, or if the row has several such tokens.
    """
    if token_id is None and row_id is None:
        message = "explain needs a token_id or a row_id"
        raise ValueError(message)
    token = recorder.get_token(token_id, run_id=run_id) if token_id else _only_token(recorder, run_id, row_id or "")
    if token is None:
        return None
    row = recorder.explain_row(run_id, token.row_id)
    if row is None:
        return None
    states = recorder.get_node_states_for_token(token.token_id, run_id=run_id)
    parents = recorder.get_token_parents(token.token_id, run_id=run_id)
    found = (recorder.get_token(parent.parent_token_id, run_id=run_id) for parent in parents)
    return LineageResult(
        token=token,
        source_row=row,
        node_states=states,
        routing_events=[
            event for state in states for event in recorder.get_routing_events(state.state_id, run_id=run_id)
        ],
        calls=[call for state in states for call in recorder.get_calls(state.state_id, run_id=run_id)],
        parent_tokens=[parent for parent in found if parent is not None],
        validation_errors=recorder.get_validation_errors_for_row(run_id, row.source_data_hash),
        transform_errors=recorder.get_transform_errors_for_token(token.token_id, run_id=run_id),
        outcome=recorder.get_token_outcome(token.token_id, run_id=run_id),
    )


def _only_token(recorder: LandscapeRecorder, run_id: str, row_id: str) -> Token | None:
    tokens = {token.token_id: token for token in recorder.get_tokens(row_id, run_id=run_id)}
    outcomes = recorder.get_token_outcomes_for_row(run_id, row_id)
    ended = [tokens[outcome.token_id] for outcome in outcomes if outcome.is_terminal]
    if len(ended) > 1:
        # A fork or an expansion ends a token, too, but the row goes on in its children.
        parted = {outcome.token_id for outcome in outcomes if outcome.fork_group_id or outcome.expand_group_id}
        ended = [token for token in ended if token.token_id not in parted] or ended
    if len(ended) > 1:
        names = ", ".join(token.token_id for token in ended)
        message = f"row {row_id} has several tokens with a terminal outcome ({names}): say which by token_id"
        raise ValueError(message)
    return ended[0] if ended else next(iter(tokens.values()), None)
