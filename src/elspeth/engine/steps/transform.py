"""Transforms, at which a row becomes another row, or several.

Some transforms call an external system.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from elspeth.contracts.enums import CallStatus
from elspeth.contracts.plugins import CallingTransform, RowDrop, RowError, Transform
from elspeth.contracts.routing import CONTINUE
from elspeth.contracts.rows import RowData, RowValidator
from elspeth.core.canonical import CanonicalText, stable_hash
from elspeth.core.landscape.queries.problems import DIFFERS_FROM
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.errors import PLUGIN_ERRORS, AnswerError, Failure
from elspeth.engine.steps import Step
from elspeth.engine.tokens import HashedRow, LiveToken, Onward, copy_row
from elspeth.engine.trail import TrailWriter, Visit

__all__ = ["CallStep", "TransformStep"]


class TransformStep(Step):
    """Passes each token's row to the plugin.

    An error with a row is recorded, and the run continues.
    """

    def __init__(self, trail: TrailWriter, place: Place, plugin: Transform) -> None:
        self._trail = trail
        self._place = place
        self._plugin = plugin
        self._validator = RowValidator(plugin.options.schema_config)
        self.is_ordered = not plugin.is_row_local

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Send on the plugin's result for the row."""
        visit = self._trail.arrive(token, self._place)
        try:
            result = self._plugin.process(copy_row(self._validator.validate(token.row)))
            if isinstance(result, RowError):
                return self._trail.refuse(visit, Failure.of(result))
            if isinstance(result, RowDrop):
                return self._trail.drop(
                    visit, {**result.details, "action": self._plugin.name, "dropped": result.reason}
                )
            outputs = [HashedRow.of(row) for row in self._rows(result)]
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one row must not end the run
            return self._trail.refuse(visit, Failure.of(error))
        if not isinstance(result, dict):
            return self._expand(visit, outputs)
        self._trail.change(visit, outputs[0], self._plugin.name)
        return [self._trail.depart(token, self._place, CONTINUE)]

    def _rows(self, result: object) -> list[RowData]:
        """Return the rows in a plugin's result.

        Raises AnswerError for a result that is not allowed.
        """
        name = self._plugin.name
        if isinstance(result, dict):
            return [result]
        if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
            kind = "a list that holds something else" if isinstance(result, list) else type(result).__name__
            raise AnswerError(f"transform {name!r} must return a row, a list of rows or a RowError, got {kind}")
        if not self._plugin.expands:
            raise AnswerError(f"transform {name!r} must return one row: it does not declare that it expands rows")
        if not result:
            raise AnswerError(
                f"transform {name!r} returned no rows: a row that ends here needs a RowDrop or RowError saying why"
            )
        return result

    def _expand(self, visit: Visit, outputs: list[HashedRow]) -> Onward:
        rows = [output.row for output in outputs]
        self._trail.complete(visit, stable_hash(rows), {"action": self._plugin.name, "rows": len(rows)})
        return [self._trail.depart(child, self._place, CONTINUE) for child in self._trail.expand(visit, outputs)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """The call begun for a token, or an error."""

    row: RowData
    since: datetime
    call: Future[Exchange] | Failure


class CallStep(Step):
    """Calls an external system for each token.

    The call begins as soon as the token is on its way to this step, and is recorded with the visit. A crash between the
    call and the commit leaves no record of the call, and the resumed run makes it again.
    """

    def __init__(
        self,
        trail: TrailWriter,
        place: Place,
        plugin: CallingTransform,
        external: ExternalCalls,
    ) -> None:
        self._trail = trail
        self._place = place
        self._plugin = plugin
        self._external = external
        self._validator = RowValidator(plugin.options.schema_config)
        self._questions: dict[str, _Question] = {}

    def expect(self, token: LiveToken) -> None:
        """Begin the call for a token."""
        since, row = datetime.now(UTC), token.row
        call: Future[Exchange] | Failure
        try:
            row = self._validator.validate(token.row)
            request = self._plugin.request(copy_row(row))
            if isinstance(request, RowError):
                call = Failure.of(request)
            else:
                call = self._external.caller.start(self._plugin, request, row_index=token.row_index)
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one row must not end the run
            call = Failure.of(error)
        self._questions[token.token_id] = _Question(row=row, since=since, call=call)

    def pending(self, token: LiveToken) -> Future[Exchange] | None:
        """Return the call in progress for a token, or None."""
        call = self._questions[token.token_id].call
        return None if isinstance(call, Failure) else call

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Send on the plugin's result for the answer."""
        question = self._questions.pop(token.token_id)
        visit = self._trail.arrive(token, self._place, question.since)
        if isinstance(question.call, Failure):
            return self._trail.refuse(visit, question.call)
        exchange = question.call.result()
        self._external.note_usage(self._plugin, exchange)
        outcome = self._outcome(question.row, exchange)
        if isinstance(outcome, Failure):
            state_id = self._trail.fail(visit, outcome)
            self._record_calls(state_id, exchange)
            return self._trail.divert(token, state_id, self._place, outcome)
        state_id = self._trail.change(visit, outcome, self._plugin.name, _comparison(exchange))
        self._record_calls(state_id, exchange)
        return [self._trail.depart(token, self._place, CONTINUE)]

    def _outcome(self, row: RowData, exchange: Exchange) -> HashedRow | Failure:
        """Return the plugin's result for the answer."""
        if exchange.response is None:
            error = dict(exchange.failure or {})
            message, kind = str(error.pop("exception", "")), str(error.pop("type", "CallError"))
            details = {**error, **_comparison(exchange), "attempts": len(exchange.attempts)}
            return Failure(message=message, kind=kind, details=details)
        try:
            result: object = self._plugin.result(copy_row(row), exchange.response)
            if isinstance(result, RowError):
                failure = Failure.of(result)
            elif not isinstance(result, dict):
                expected = f"transform {self._plugin.name!r} must return a row or a RowError"
                failure = Failure(message=f"{expected}, got {type(result).__name__}", kind="AnswerError")
            else:
                return HashedRow.of(result)
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one row must not end the run
            failure = Failure.of(error)
        return replace(failure, details={**failure.details, **_comparison(exchange)})

    def _record_calls(self, state_id: str, exchange: Exchange) -> None:
        for index, attempt in enumerate(exchange.attempts):
            request = CanonicalText.of(attempt.request)
            response = None if attempt.response is None else CanonicalText.of(attempt.response)
            self._trail.recorder.record_call(
                state_id,
                index,
                self._plugin.call_type,
                CallStatus.SUCCESS if attempt.error is None else CallStatus.ERROR,
                request,
                response,
                attempt.error,
                attempt.latency_ms,
                run_id=self._trail.run_id,
                request_ref=self._external.payloads.store(request.text.encode()),
                response_ref=None if response is None else self._external.payloads.store(response.text.encode()),
            )


def _comparison(exchange: Exchange) -> dict[str, object]:
    """Return the recorded answer's hash if the answer differs.

    The hash is None if no answer was recorded.
    """
    return {} if exchange.difference is None else {DIFFERS_FROM: exchange.difference.recorded_hash}
