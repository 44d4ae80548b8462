"""Calls that are made, repeated and abandoned."""

import re
import threading
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import CallError, JsonObject, PluginError
from elspeth.core.canonical import CanonicalError
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls import live as live_module
from elspeth.engine.calls.exchange import Exchange, describe_error
from elspeth.engine.calls.live import LiveCaller
from tests.engine.calls.oracle import FakeTime, Oracle, caller, unavailable

SAID: JsonObject = {"said": "know thyself"}
SECONDS = 30  # until a test that would hang fails


def exchange(time: FakeTime, oracle: Oracle, retry: RetrySettings | None = None) -> Exchange:
    with closing(caller(time, retry=retry)) as live:
        return live.start(oracle, {"asked": 1}, row_index=0).result(SECONDS)


def test_an_answer_is_returned_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "time", SimpleNamespace(perf_counter=iter([7.0, 7.25]).__next__))
    found = exchange(FakeTime(), Oracle.of([SAID]))
    (attempt,) = found.attempts
    assert (attempt.request, attempt.response, attempt.error) == ({"asked": 1}, SAID, None)
    assert attempt.latency_ms == 250
    assert (found.response, found.failure, found.difference) == (SAID, None, None)


@given(
    st.lists(st.integers(min_value=0, max_value=2), min_size=1, max_size=12),
    st.integers(min_value=1, max_value=5),
)
def test_answers_do_not_depend_on_the_number_of_workers(failures: list[int], workers: int) -> None:
    def answers(max_workers: int) -> list[tuple[JsonObject | None, int]]:
        lock, left = threading.Lock(), dict(enumerate(failures))

        def send(request: JsonObject) -> JsonObject:
            asked = int(str(request["asked"]))
            with lock:
                left[asked] -= 1
                if left[asked] >= 0:
                    raise unavailable()
            return {"said": asked}

        with closing(caller(FakeTime(), max_workers=max_workers)) as live:
            oracle = Oracle(send)
            futures = [live.start(oracle, {"asked": asked}, row_index=asked) for asked in range(len(failures))]
            found = [future.result(SECONDS) for future in futures]
        return [(each.response, len(each.attempts)) for each in found]

    expected = [({"said": asked}, count + 1) for asked, count in enumerate(failures)]
    assert answers(workers) == answers(1) == expected


def test_at_most_as_many_calls_as_workers_run_at_a_time() -> None:
    together, under_way, most = threading.Barrier(3), set[object](), [0]

    def send(request: JsonObject) -> JsonObject:
        under_way.add(request["asked"])
        most[0] = max(most[0], len(under_way))
        together.wait(SECONDS)  # which passes only when three calls are under way
        under_way.discard(request["asked"])
        return SAID

    with closing(caller(FakeTime(), max_workers=3)) as live:
        oracle = Oracle(send)
        futures = [live.start(oracle, {"asked": number}, row_index=number) for number in range(9)]
        assert [future.result(SECONDS).response for future in futures] == [SAID] * 9
    assert most == [3]


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        (RetrySettings(max_attempts=1), []),
        (RetrySettings(), [1.0, 2.0]),
        (RetrySettings(max_attempts=6, max_delay_seconds=5.0), [1.0, 2.0, 4.0, 5.0, 5.0]),
        (RetrySettings(max_attempts=4, initial_delay_seconds=0.5, exponential_base=3.0), [0.5, 1.5, 4.5]),
        (RetrySettings(max_attempts=3, initial_delay_seconds=90.0), [60.0, 60.0]),
    ],
)
def test_a_call_is_repeated_after_the_delays_of_the_settings(retry: RetrySettings, waits: list[float]) -> None:
    time = FakeTime()
    found = exchange(time, Oracle.of([unavailable()] * retry.max_attempts), retry)
    assert time.waits == waits
    error = {"exception": "answered 503", "type": "CallError", "is_retryable": True, "status": 503}
    assert [attempt.error for attempt in found.attempts] == [error] * retry.max_attempts
    assert (found.response, found.failure) == (None, error)


def test_repeating_ends_with_the_first_answer() -> None:
    time = FakeTime()
    found = exchange(time, Oracle.of([unavailable(), SAID]))
    assert (time.waits, [attempt.response for attempt in found.attempts]) == ([1.0], [None, SAID])


@pytest.mark.parametrize(("asked", "waited"), [(7.5, 7.5), (0.1, 1.0), (0.0, 1.0), (3600.0, 60.0)])
def test_the_server_can_request_a_longer_delay_up_to_the_maximum(asked: float, waited: float) -> None:
    time = FakeTime()
    found = exchange(time, Oracle.of([unavailable(retry_after=asked), SAID]))
    assert time.waits == [waited]
    assert found.attempts[0].error == {
        "exception": "answered 503",
        "type": "CallError",
        "is_retryable": True,
        "retry_after": asked,
        "status": 503,
    }


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (
            CallError("answered 404", is_retryable=False),
            {"exception": "answered 404", "type": "CallError", "is_retryable": False},
        ),
        (
            CallError("a\x00b\ud800", is_retryable=False),
            {"exception": "a\ufffdb\ufffd", "type": "CallError", "is_retryable": False},
        ),
    ],
)
def test_a_call_that_would_fail_again_is_not_repeated(error: Exception, recorded: JsonObject) -> None:
    time = FakeTime()
    found = exchange(time, Oracle.of([error]))
    assert ([attempt.error for attempt in found.attempts], time.waits) == ([recorded], [])


def test_an_exception_of_a_plugin_is_recorded_by_its_place_and_not_repeated() -> None:
    time = FakeTime()
    found = exchange(time, Oracle.of([KeyError("said")]))
    (attempt,) = found.attempts
    assert attempt.error is not None
    assert (attempt.error["type"], time.waits) == ("KeyError", [])
    assert re.fullmatch(r"raised at (tests\.engine\.calls\.oracle line \d+(, )?)+", str(attempt.error["exception"]))


def test_details_of_a_plugin_do_not_replace_the_error_of_a_call() -> None:
    details: JsonObject = {"exception": "another", "type": "Another", "is_retryable": True, "status": 404}
    error = CallError("answered 404", is_retryable=False, details=details)
    assert describe_error(error) == {
        "exception": "answered 404",
        "type": "CallError",
        "is_retryable": False,
        "status": 404,
    }


def test_an_unusable_answer_is_kept_with_the_failure() -> None:
    refused = CallError("answered 400", is_retryable=False, answer={"body": "no"})
    unrecordable = CallError("answered 400", is_retryable=False, answer={"body": float("nan")})
    found = [exchange(FakeTime(), Oracle.of([error])) for error in (refused, unrecordable)]
    assert [each.attempts[0].response for each in found] == [{"body": "no"}, None]
    assert [each.response for each in found] == [None, None]
    assert [each.failure for each in found] == [
        {"exception": "answered 400", "type": "CallError", "is_retryable": False}
    ] * 2


def test_an_answer_that_cannot_be_recorded_is_a_failure() -> None:
    found = exchange(FakeTime(), Oracle.of([{"said": float("nan")}]))
    assert found.response is None
    assert found.failure is not None
    assert found.failure["type"] == "CanonicalError"


def test_a_request_that_cannot_be_recorded_is_refused_at_once() -> None:
    with closing(caller(FakeTime())) as live, pytest.raises(CanonicalError):
        live.start(Oracle.of([SAID]), {"asked": 2**60}, row_index=0)


def test_each_attempt_counts_against_the_rate_limit() -> None:
    time = FakeTime()
    limits = RateLimitSettings(default_requests_per_minute=1)
    retry = RetrySettings(max_attempts=3, initial_delay_seconds=10.0, exponential_base=1.5)
    with closing(caller(time, retry=retry, rate_limit=limits)) as live:
        live.start(Oracle.of([unavailable(), unavailable(), SAID]), {"asked": 1}, row_index=0).result(SECONDS)
    backoff = [10.0, 15.0]
    assert [wait for wait in time.waits if wait in backoff] == backoff
    assert time.now == pytest.approx(120, abs=0.1)


def test_closing_closes_the_file_of_the_rate_limits(tmp_path: Path) -> None:
    limits = RateLimitSettings(default_requests_per_minute=2, persistence_path=str(tmp_path / "rates.db"))
    with closing(caller(FakeTime(), rate_limit=limits)) as live:
        live.start(Oracle.of([SAID]), {"asked": 1}, row_index=0).result(SECONDS)
        limit = live._limits.get("delphi")
    assert limit is not None
    with pytest.raises(PluginError, match="Cannot operate on a closed database"):
        limit.acquire(FakeTime().pause)


def test_errors_that_are_not_the_fault_of_the_row_are_raised() -> None:
    def send(_: JsonObject) -> JsonObject:
        raise KeyboardInterrupt

    with closing(caller(FakeTime())) as live, pytest.raises(KeyboardInterrupt):
        live.start(Oracle(send), {"asked": 1}, row_index=0).result(SECONDS)


def test_closing_gives_up_waiting_calls() -> None:
    asked = threading.Event()

    def send(_: JsonObject) -> JsonObject:
        asked.set()
        raise unavailable()

    live = LiveCaller(RetrySettings(initial_delay_seconds=1e10, max_delay_seconds=1e10), RateLimitSettings(), 1)
    future = live.start(Oracle(send), {"asked": 1}, row_index=0)
    assert asked.wait(SECONDS)
    live.close()
    with pytest.raises(CancelledError):
        future.result(SECONDS)


def test_closing_cancels_calls_that_have_not_begun_and_waits_for_none() -> None:
    begun, allowed = threading.Event(), threading.Event()

    def send(_: JsonObject) -> JsonObject:
        begun.set()
        assert allowed.wait(SECONDS)
        return SAID

    live = LiveCaller(RetrySettings(), RateLimitSettings(), 1)
    first, second = (live.start(Oracle(send), {"asked": number}, row_index=number) for number in range(2))
    assert begun.wait(SECONDS)
    live.close()
    assert (first.done(), second.cancelled()) == (False, True)
    allowed.set()
    assert first.result(SECONDS).response == SAID
    for thread in live._workers._threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_closing_ends_every_idle_thread() -> None:
    together = threading.Barrier(3)

    def send(_: JsonObject) -> JsonObject:
        together.wait(SECONDS)
        return SAID

    live = LiveCaller(RetrySettings(), RateLimitSettings(), 3)
    futures = [live.start(Oracle(send), {"asked": number}, row_index=number) for number in range(3)]
    assert [future.result(SECONDS).response for future in futures] == [SAID] * 3
    live.close()
    assert len(live._workers._threads) == 3
    for thread in live._workers._threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
