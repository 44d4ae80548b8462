"""Calls that are made: several at a time, no faster than allowed, and again where that may help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential

from elspeth.contracts.plugins import CallError, JsonObject
from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls.exchange import Attempt, Exchange, described
from elspeth.engine.calls.rates import RateLimit, RateLimits
from elspeth.engine.calls.workers import Workers
from elspeth.plugins.base import CallingTransform

__all__ = ["LiveCaller", "Wait"]

Wait = Callable[[float], bool]
"""Waits for seconds, or until the caller is closed; whether it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    attempt: Attempt
    error: CallError | None = None

    @property
    def may_be_repeated(self) -> bool:
        return self.error is not None and self.error.is_retryable


class LiveCaller:
    """Makes calls. A limit of the rate holds for every attempt."""

    def __init__(
        self,
        retry: RetrySettings,
        rate_limit: RateLimitSettings,
        max_workers: int,
        *,
        wait: Wait | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._limits = RateLimits(rate_limit, clock=clock)
        self._workers = Workers(max_workers)
        self._longest_delay = retry.max_delay_seconds
        self._backoff = wait_exponential(
            multiplier=retry.initial_delay_seconds, exp_base=retry.exponential_base, max=retry.max_delay_seconds
        )
        self._retrying = Retrying(
            stop=stop_after_attempt(retry.max_attempts),
            retry=retry_if_result(lambda made: made.may_be_repeated),
            wait=self._delay,
            sleep=self._pause,
            retry_error_callback=_last,
        )

    def start(self, plugin: CallingTransform, request: JsonObject, *, row_index: int) -> Future[Exchange]:  # noqa: ARG002  a call is made for whatever row
        """Have the request answered by the plugin; PluginError if the file of the rate limits cannot be used."""
        canonical_bytes(request)
        limit = self._limits.of(plugin.service)
        return self._workers.submit(lambda: self._exchange(plugin, request, limit))

    def close(self) -> None:
        """Stop. Calls under way go on in the background, and their answers are lost."""
        self._closed.set()
        self._workers.close()
        self._limits.close()

    def _exchange(self, plugin: CallingTransform, request: JsonObject, limit: RateLimit | None) -> Exchange:
        attempts: list[Attempt] = []

        def attempt() -> _Try:
            if limit is not None:
                limit.acquire(self._pause)
            made = _try(plugin, request)
            attempts.append(made.attempt)
            return made

        self._retrying(attempt)
        return Exchange(attempts=tuple(attempts))

    def _delay(self, state: RetryCallState) -> float:
        """Seconds until the next attempt: more than the settings say only if the other side asks for that."""
        asked = _last(state).error
        after = asked.retry_after if asked is not None else None
        return max(self._backoff(state), min(after or 0.0, self._longest_delay))

    def _pause(self, seconds: float) -> None:
        if self._wait(min(seconds, threading.TIMEOUT_MAX)) or self._closed.is_set():
            raise CancelledError


def _last(state: RetryCallState) -> _Try:
    """The newest attempt of a call."""
    assert state.outcome is not None  # noqa: S101  asked after an attempt only
    made: _Try = state.outcome.result()
    return made


def _try(plugin: CallingTransform, request: JsonObject) -> _Try:
    """Ask once. An answer that cannot be recorded is none."""
    begun = time.perf_counter()
    response: JsonObject | None = None
    failure: Exception | None = None
    try:
        response = plugin.send(request)
        canonical_bytes(response)
    except Exception as error:  # noqa: BLE001  a plugin may fail in any way, and one call must not end the run
        response, failure = _recordable(error), error
    latency_ms = (time.perf_counter() - begun) * 1000
    error_facts = None if failure is None else described(failure)
    attempt = Attempt(request=request, response=response, error=error_facts, latency_ms=latency_ms)
    return _Try(attempt=attempt, error=failure if isinstance(failure, CallError) else None)


def _recordable(error: Exception) -> JsonObject | None:
    """What came instead of a usable answer, if it can be recorded."""
    answer = error.answer if isinstance(error, CallError) else None
    try:
        canonical_bytes(answer)
    except CanonicalError:
        return None
    return answer
