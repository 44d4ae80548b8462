"""A gate: a condition decides which way a token goes."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth.contracts.display import kind_of
from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.expressions import EvaluationError, Expression, route_label
from elspeth.contracts.routing import FORK
from elspeth.core.settings.model import GateSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.flow import Failure, Flow
from elspeth.engine.tokens import Branch, Token

__all__ = ["GateStep"]


class GateStep:
    """Evaluates the condition for each token's row. `joins` names the coalesce that waits for a branch."""

    is_ordered = False

    def __init__(
        self, flow: Flow, place: Place, settings: GateSettings, condition: Expression, joins: Mapping[str, Place]
    ) -> None:
        self._flow = flow
        self._place = place
        self._condition = condition
        self._routes = settings.routes
        self._branches = tuple(settings.fork_to or ())
        self._joins = joins
        self._node_id = flow.node(place).node_id

    def take(self, token: Token, along: Wire) -> None:  # noqa: ARG002  the same whichever way a token came
        """Send the token along the edge of the label that the condition selects, or a child along each branch."""
        visit = self._flow.arrive(token, self._node_id)
        try:
            value = self._condition.evaluate(token.row)
        except EvaluationError as error:
            field = {} if error.field is None else {"field": error.field}
            self._flow.refuse(visit, self._place, self._failure(str(error), type(error).__name__, field))
            return
        label = route_label(value)
        if label not in self._routes:
            message = f"expected one of the labels {', '.join(self._routes)}, got {kind_of(value)}"
            self._flow.refuse(visit, self._place, self._failure(message, "RouteError", {}))
            return
        reason: dict[str, object] = {"condition": self._condition.source, "result": value, "label": label}
        state_id = self._flow.complete(visit, token.row_hash, reason)
        if self._routes[label] == FORK:
            self._flow.route(state_id, self._place, self._branches, reason)
            self._fork(token, visit.step)
        else:
            self._flow.route(state_id, self._place, [label], reason)
            self._flow.send(token, self._place, label)

    def _fork(self, token: Token, step: int) -> None:
        flow = self._flow
        children = flow.recorder.fork_token(
            token.token_id,
            token.row_id,
            self._branches,
            run_id=flow.run_id,
            step_in_pipeline=step,
            record_parent_outcome=True,
        )
        flow.count(RowOutcome.FORKED)
        joined = False
        for name, child in zip(self._branches, children, strict=True):
            branch = Branch(name=name, group=child.fork_group_id or "", join=self._joins.get(name))
            joined = joined or branch.join is not None
            made = Token(
                token_id=child.token_id,
                row_id=token.row_id,
                row_index=token.row_index,
                row=token.row,
                row_hash=token.row_hash,
                step=token.step,
                branches=(*token.branches, branch),
            )
            flow.send(made, self._place, name)
        if not joined:
            flow.lose(token.branches)

    def _failure(self, message: str, kind: str, field: Mapping[str, str]) -> Failure:
        return Failure(message=message, kind=kind, details={"condition": self._condition.source, **field})
