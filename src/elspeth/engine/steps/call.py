"""A transform that asks a system outside: its calls are begun early and recorded with the visit that needed them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from elspeth.contracts.enums import CallStatus
from elspeth.contracts.plugins import JsonObject, Row, RowError
from elspeth.contracts.routing import CONTINUE
from elspeth.core.canonical import canonical_bytes, stable_hash
from elspeth.core.landscape.queries.differing_answers import DIFFERS_FROM
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.calls.caller import Outside
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.flow import Failure, Flow
from elspeth.engine.tokens import Token, changed_fields, independent
from elspeth.plugins.base import CallingTransform
from elspeth.plugins.coercion import RowValidator

__all__ = ["CallStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What was asked for a token, and when; `asked` is why nothing was."""

    row: Row
    since: datetime
    asked: Future[Exchange] | Failure


class CallStep:
    """Asks as soon as a token is on its way here, and goes on with the answer when the token is taken.

    A crash between the call and the commit of what it brought leaves no record of it: the call is made again.
    """

    is_ordered = False

    def __init__(self, flow: Flow, place: Place, plugin: CallingTransform, outside: Outside) -> None:
        self._flow = flow
        self._place = place
        self._plugin = plugin
        self._caller = outside.caller
        self._payloads = outside.payloads
        self._node_id = flow.node(place).node_id
        self._validator = RowValidator(plugin.options.schema_config)
        self._questions: dict[str, _Question] = {}

    def expect(self, token: Token) -> None:
        """Begin the call for a token."""
        since, row = datetime.now(UTC), token.row
        asked: Future[Exchange] | Failure
        try:
            row = self._validator.validate(token.row)
            request = self._plugin.request(independent(row))
            if isinstance(request, RowError):
                asked = Failure.of(request)
            else:
                asked = self._caller.start(self._plugin, request, row_index=token.row_index)
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way, and one row must not end the run
            asked = Failure.of(error)
        self._questions[token.token_id] = _Question(row=row, since=since, asked=asked)

    def pending(self, token: Token) -> Future[Exchange] | None:
        """The call that is under way for a token."""
        asked = self._questions[token.token_id].asked
        return None if isinstance(asked, Failure) else asked

    def take(self, token: Token, along: Wire) -> None:  # noqa: ARG002  the same whichever way a token came
        """Send on the row that the plugin makes of the answer."""
        question = self._questions.pop(token.token_id)
        visit = self._flow.arrive(token, self._node_id, question.since)
        if isinstance(question.asked, Failure):
            self._flow.refuse(visit, self._place, question.asked)
            return
        exchange = question.asked.result()
        outcome = self._outcome(question.row, exchange)
        if isinstance(outcome, Failure):
            self._record_calls(self._flow.refuse(visit, self._place, outcome), exchange)
            return
        before, (row, row_hash) = token.row, outcome
        self._record_calls(self._flow.complete(visit, row_hash, self._reason(before, row, exchange)), exchange)
        token.row, token.row_hash = row, row_hash
        self._flow.send(token, self._place, CONTINUE)

    def _outcome(self, row: Row, exchange: Exchange) -> tuple[Row, str] | Failure:
        """What the plugin makes of the answer, with its hash."""
        if exchange.response is None:
            error = dict(exchange.failure or {})
            message, kind = str(error.pop("exception", "")), str(error.pop("type", "CallError"))
            facts = {**error, **_comparison(exchange), "attempts": len(exchange.attempts)}
            return Failure(message=message, kind=kind, details=facts)
        try:
            result: object = self._plugin.result(independent(row), exchange.response)
            if isinstance(result, RowError):
                failure = Failure.of(result)
            elif not isinstance(result, dict):
                expected = f"transform {self._plugin.name!r} must return a row or a RowError"
                failure = Failure(message=f"{expected}, got {type(result).__name__}", kind="AnswerError")
            else:
                return result, stable_hash(result)
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way, and one row must not end the run
            failure = Failure.of(error)
        return replace(failure, details={**failure.details, **_comparison(exchange)})

    def _reason(self, before: Row, after: Row, exchange: Exchange) -> dict[str, object]:
        """What the trail says of a visit."""
        return {
            "action": self._plugin.name,
            "fields_modified": changed_fields(before, after),
            **_comparison(exchange),
        }

    def _record_calls(self, state_id: str, exchange: Exchange) -> None:
        for index, attempt in enumerate(exchange.attempts):
            self._flow.recorder.record_call(
                state_id,
                index,
                self._plugin.call_type,
                CallStatus.SUCCESS if attempt.error is None else CallStatus.ERROR,
                attempt.request,
                attempt.response,
                attempt.error,
                attempt.latency_ms,
                run_id=self._flow.run_id,
                request_ref=self._kept(attempt.request),
                response_ref=None if attempt.response is None else self._kept(attempt.response),
            )

    def _kept(self, content: JsonObject) -> str:
        return self._payloads.store(canonical_bytes(content))


def _comparison(exchange: Exchange) -> dict[str, object]:
    """Where the answer is not that of a recorded run: the hash of the recorded one, None if there was none."""
    return {} if exchange.difference is None else {DIFFERS_FROM: exchange.difference.recorded_hash}
