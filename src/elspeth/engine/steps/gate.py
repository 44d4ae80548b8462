"""Gates: a condition or function decides where tokens go."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth.contracts.errors import describe_kind, recordable_message
from elspeth.contracts.expressions import EvaluationError, Expression, route_label
from elspeth.contracts.python_functions import RowFunction
from elspeth.contracts.routing import FORK
from elspeth.core.canonical import CanonicalText
from elspeth.core.settings.steps import GateSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import Failure
from elspeth.engine.steps import Step
from elspeth.engine.tokens import LiveToken, Onward, copy_row, lose_branch
from elspeth.engine.trail import TrailWriter, Visit

__all__ = ["GateStep"]


class GateStep(Step):
    """Evaluates the condition or function for each token's row.

    `joins` names the coalesce that waits for a branch.
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
        self._reasons: dict[tuple[type, str], CanonicalText] = {}
        self._joins = {branch: joins.get(branch) for branch in settings.fork_to or ()}

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Send a token along one edge, or fork it."""
        visit = self._trail.arrive(token, self._place)
        try:
            # A function may change its row.
            row = token.row if isinstance(self._condition, Expression) else copy_row(token.row)
            value = self._condition.evaluate(row)
        except EvaluationError as error:
            field = {} if error.field is None else {"field": error.field}
            return self._trail.refuse(visit, self._failure(str(error), type(error).__name__, field))
        except Exception as error:  # noqa: BLE001  a function may fail in any way, and one row must not end the run
            return self._trail.refuse(visit, self._failure(recordable_message(error), type(error).__name__, {}))
        label = route_label(value)
        if label not in self._routes:
            message = f"expected one of the labels {', '.join(self._routes)}, got {describe_kind(value)}"
            return self._trail.refuse(visit, self._failure(message, "RouteError", {}))
        reason = self._reason(value, label)
        state_id = self._trail.complete(visit, token.row_hash, reason)
        if self._routes[label] == FORK:
            self._trail.route_copies(state_id, self._place, self._joins, reason)
            return self._fork(visit)
        self._trail.route(state_id, self._place, label, reason)
        return [self._trail.depart(token, self._place, label)]

    def _reason(self, value: object, label: str) -> CanonicalText:
        """Return the recorded reason, made once for each result.

        There are few: results without a route are refused before.
        """
        key = (type(value), label)  # True is equal to 1, and -0.0 to 0.0
        reason = self._reasons.get(key)
        if reason is None:
            reason = CanonicalText.of({"condition": self._condition.source, "result": value, "label": label})
            if isinstance(value, str | int | float | None):  # of these, type and label tell the value
                self._reasons[key] = reason
        return reason

    def _fork(self, visit: Visit) -> Onward:
        children = zip(self._joins, self._trail.fork(visit, self._joins), strict=True)
        onward = [self._trail.depart(child, self._place, branch) for branch, child in children]
        if any(self._joins.values()):
            return onward
        return [*onward, *lose_branch(visit.token.branches)]

    def _failure(self, message: str, kind: str, field: Mapping[str, str]) -> Failure:
        return Failure(message=message, kind=kind, details={"condition": self._condition.source, **field})
