"""Gates, at which a condition or function routes tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from elspeth.contracts.errors import describe_kind, recordable_message
from elspeth.contracts.expressions import EvaluationError, Expression, NotedRow, route_label
from elspeth.contracts.python_functions import RowFunction
from elspeth.contracts.routing import FORK
from elspeth.core.settings.steps import GateSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import PLUGIN_ERRORS, Failure
from elspeth.engine.reasons import Reasons
from elspeth.engine.steps import Step
from elspeth.engine.tokens import LiveToken, Onward, copy_row, lose_branch
from elspeth.engine.trail import TrailWriter, Visit

__all__ = ["GateStep"]


class GateStep(Step):
    """Evaluates the condition or function for each token's row.

    `joins` maps each branch to the coalesce that waits for it.
    """

    def __init__(
        self,
        trail: TrailWriter,
        place: Place,
        settings: GateSettings,
        condition: Expression | RowFunction,
        joins: Mapping[str, Place],
    ) -> None:
        self._trail = trail
        self._place = place
        self._condition = condition
        self._routes = settings.routes
        self._reasons = Reasons(condition.source, trail.reason_key)
        # The fields that a function of the whole row reads are unknown. The visit has the hash of the row.
        self._is_noted = self._reasons.have_values and condition.names_fields
        self._joins = {branch: joins.get(branch) for branch in settings.fork_to or ()}

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Send a token along one edge, or fork it."""
        visit = self._trail.arrive(token, self._place)
        try:
            value, asked = self._decide(token)
        except EvaluationError as error:
            field = {} if error.field is None else {"field": error.field}
            return self._trail.refuse(visit, self._failure(str(error), type(error).__name__, field))
        except PLUGIN_ERRORS as error:  # a function may fail in any way, and one row must not end the run
            return self._trail.refuse(visit, self._failure(recordable_message(error), type(error).__name__, {}))
        label = route_label(value)
        if label not in self._routes:
            message = f"expected one of the labels {', '.join(self._routes)}, got {describe_kind(value)}"
            return self._trail.refuse(visit, self._failure(message, "RouteError", {}))
        reason = self._reasons.decision(value, label)
        state_id = self._trail.complete(visit, token.row_hash, reason)
        if self._is_noted:  # only in routing events, because every export contains the reasons of visits
            reason = self._reasons.with_values(value, label, token.row, asked)
        if self._routes[label] == FORK:
            self._trail.route_copies(state_id, self._place, self._joins, reason)
            return self._fork(visit)
        self._trail.route(state_id, self._place, label, reason)
        return [self._trail.depart(token, self._place, label)]

    def _decide(self, token: LiveToken) -> tuple[object, Collection[str]]:
        """Return the result, and the fields that were read.

        The fields are only noted if they are recorded.
        """
        # A function may change its row.
        row = token.row if isinstance(self._condition, Expression) else copy_row(token.row)
        if not self._is_noted:
            return self._condition.evaluate(row), ()
        noted = NotedRow(row)
        return self._condition.evaluate(noted), noted.asked

    def _fork(self, visit: Visit) -> Onward:
        children = zip(self._joins, self._trail.fork(visit, self._joins), strict=True)
        onward = [self._trail.depart(child, self._place, branch) for branch, child in children]
        if any(self._joins.values()):
            return onward
        return [*onward, *lose_branch(visit.token.branches)]

    def _failure(self, message: str, kind: str, field: Mapping[str, str]) -> Failure:
        return Failure(message=message, kind=kind, details={"condition": self._condition.source, **field})
