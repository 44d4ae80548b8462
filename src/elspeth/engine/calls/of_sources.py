"""Makes a source's calls, or answers them from records."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from elspeth.contracts.enums import CallStatus
from elspeth.contracts.plugins import CallError, CallingSource, JsonObject
from elspeth.core.canonical import CanonicalText
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.calls.exchange import Attempt, Exchange
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.calls.recorded import ReplayCaller

__all__ = ["SourceCalls"]

_GLANCE = 0.2
"""The seconds between two checks whether the run is to stop."""


class SourceCalls:
    """Answers the requests of a source, and records its calls.

    A request that an earlier process of the run recorded gets the recorded answer, because the rows after it may be
    recorded, too. `check` is called while an answer is awaited, and may raise.
    """

    def __init__(
        self,
        source: CallingSource,
        external: ExternalCalls,
        db: LandscapeDB,
        recorder: LandscapeRecorder,
        *,
        run_id: str,
        node_id: str,
        operation_id: str,
        check: Callable[[], None],
    ) -> None:
        self._source = source
        self._external = external
        self._recorder = recorder
        self._run_id = run_id
        self._operation_id = operation_id
        self._check = check
        self._before = ReplayCaller(db, external.payloads, run_id, source_node_id=node_id)
        self._made: list[Attempt] = []
        self._committed = 0
        source.caller = self.ask

    def ask(self, request: JsonObject, within: float | None) -> JsonObject:
        """Return the answer to a request.

        Raises CallError if there is none within `within` seconds.
        """
        recorded = self._before.answer(request, row_index=None).response
        if recorded is not None:
            return recorded
        future = self._external.caller.start(self._source, request, row_index=None)
        self._await(future, within)
        exchange = future.result()
        self._external.note_usage(self._source, exchange)
        self._made += exchange.attempts
        return _answer(exchange)

    def record(self) -> None:
        """Record the calls since the last commit.

        Their contents are stored in the same unit of work, because an earlier unit that failed may not have stored
        them. A crash before the commit leaves contents that no record refers to.
        """
        store = self._external.payloads.store
        for attempt in self._made:
            request = CanonicalText.of(attempt.request)
            response = None if attempt.response is None else CanonicalText.of(attempt.response)
            self._recorder.record_operation_call(
                self._operation_id,
                self._source.call_type,
                CallStatus.SUCCESS if attempt.error is None else CallStatus.ERROR,
                request,
                response,
                attempt.error,
                attempt.latency_ms,
                run_id=self._run_id,
                request_ref=store(request.text.encode()),
                response_ref=None if response is None else store(response.text.encode()),
            )

    def settle(self) -> None:
        """Drop the calls that were recorded, after a commit."""
        self._committed += len(self._made)
        self._made.clear()

    def record_rest(self) -> None:
        """Record the calls that no commit has recorded.

        A commit that failed may have taken effect.
        """
        recorded = self._recorder.get_operation_calls(self._operation_id, run_id=self._run_id)
        del self._made[: len(recorded) - self._committed]
        self.record()
        self._made.clear()

    def _await(self, future: Future[Exchange], within: float | None) -> None:
        deadline = None if within is None else time.monotonic() + within
        while not wait([future], _GLANCE).done:
            self._check()
            if deadline is not None and time.monotonic() > deadline:
                raise CallError(f"no answer within {within:.3g} seconds, all attempts included", is_retryable=False)


def _answer(exchange: Exchange) -> JsonObject:
    """Return the answer of an exchange.

    Raises CallError if there is none, or if it differs from the recorded answer with which it is compared.
    """
    if exchange.response is None:
        attempts = f" ({len(exchange.attempts)} attempts)" if len(exchange.attempts) > 1 else ""
        raise CallError(f"{(exchange.failure or {}).get('exception')}{attempts}", is_retryable=False)
    if (difference := exchange.difference) is not None:
        raise CallError(
            "the answer is not the recorded one: "
            f"expected SHA-256 {difference.recorded_hash}, got {difference.received_hash}",
            is_retryable=False,
        )
    return exchange.response
