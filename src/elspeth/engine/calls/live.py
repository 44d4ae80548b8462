"""Makes calls.

Several are made at the same time, no faster than the rate limits allow, and repeated if that may help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential

from elspeth.contracts.plugins import CallError, CallingPlugin, JsonObject
from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls.exchange import Attempt, Exchange, describe_error
from elspeth.engine.calls.rates import RateLimit, RateLimits
from elspeth.engine.errors import PLUGIN_ERRORS

__all__ = ["LiveCaller", "Wait"]

Wait = Callable[[float], bool]
"""A function that waits for seconds, or until the caller is closed, and returns whether it is closed."""

_Work = Callable[[], Exchange]


class LiveCaller:
    """Makes calls, with rate limits on every attempt."""

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
        self._workers = _Workers(max_workers)
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

    def start(self, plugin: CallingPlugin, request: JsonObject, *, row_index: int | None) -> Future[Exchange]:  # noqa: ARG002  the same for every row
        """Begin a call.

        Raises PluginError if the file of the rate limits cannot be used.
        """
        canonical_bytes(request)
        limit = self._limits.get(plugin.service)
        return self._workers.submit(lambda: self._exchange(plugin, request, limit))

    def close(self) -> None:
        """Stop waiting, and cancel the calls that have not begun.

        Calls in progress continue in the background, and their answers are lost.
        """
        self._closed.set()
        self._workers.close()
        self._limits.close()

    def _exchange(self, plugin: CallingPlugin, request: JsonObject, limit: RateLimit | None) -> Exchange:
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
        """Return the seconds until the next attempt.

        They exceed the delay in the settings only if the other side asks for that.
        """
        asked = _last(state).error
        after = asked.retry_after if asked is not None else None
        return max(self._backoff(state), min(after or 0.0, self._longest_delay))

    def _pause(self, seconds: float) -> None:
        if self._wait(min(seconds, threading.TIMEOUT_MAX)) or self._closed.is_set():
            raise CancelledError


# -- attempts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    attempt: Attempt
    error: CallError | None = None

    @property
    def may_be_repeated(self) -> bool:
        return self.error is not None and self.error.is_retryable


def _last(state: RetryCallState) -> _Try:
    """Return the newest attempt of a call."""
    assert state.outcome is not None  # noqa: S101  called only after an attempt
    made: _Try = state.outcome.result()
    return made


def _try(plugin: CallingPlugin, request: JsonObject) -> _Try:
    """Make one attempt.

    An answer that cannot be recorded is a failure.
    """
    begun = time.perf_counter()
    response: JsonObject | None = None
    failure: BaseException | None = None
    try:
        response = plugin.send(request)
        canonical_bytes(response)
    except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one call must not end the run
        response, failure = _recordable_answer(error), error
    latency_ms = (time.perf_counter() - begun) * 1000
    described = None if failure is None else describe_error(failure)
    attempt = Attempt(request=request, response=response, error=described, latency_ms=latency_ms)
    return _Try(attempt=attempt, error=failure if isinstance(failure, CallError) else None)


def _recordable_answer(error: BaseException) -> JsonObject | None:
    """Return an error's answer, if it can be recorded."""
    answer = error.answer if isinstance(error, CallError) else None
    try:
        canonical_bytes(answer)
    except CanonicalError:
        return None
    return answer


# -- threads ---------------------------------------------------------------------------------------------------------


class _Workers:
    """Up to `size` threads that work through a queue.

    Unlike the threads of ThreadPoolExecutor they are daemons, so that a stopping process does not wait for calls in
    progress, whose answers nobody will read.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[tuple[Future[Exchange], _Work] | None] = SimpleQueue()

    def submit(self, work: _Work) -> Future[Exchange]:
        """Queue work for the next free thread."""
        future: Future[Exchange] = Future()
        self._queue.put((future, work))
        if len(self._threads) < self._size:
            name = f"elspeth-call-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Cancel work that has not begun, and end idle threads.

        No more work may be submitted.
        """
        with suppress(Empty):
            while True:
                if (waiting := self._queue.get_nowait()) is not None:
                    waiting[0].cancel()
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            future, work = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                exchange = work()
            except BaseException as error:  # noqa: BLE001  raised again where the answer is awaited
                future.set_exception(error)
            else:
                future.set_result(exchange)
