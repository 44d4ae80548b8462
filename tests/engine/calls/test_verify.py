"""Live answers compared with recorded ones."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import closing

import pytest

from elspeth.contracts.plugins import CallError, JsonObject
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls.exchange import Difference, Exchange
from elspeth.engine.calls.live import LiveCaller
from elspeth.engine.calls.recorded import ReplayCaller, VerifyCaller
from tests.engine.calls.asking import FakeTime, Oracle, caller
from tests.engine.calls.recorded import RUN_ID, Asked, record_asking
from tests.engine.calls.test_replay import MemoryStore

SECONDS = 30
Answer = JsonObject | CallError


def verified(recorded: Sequence[JsonObject | None], received: Sequence[Answer]) -> list[Exchange]:
    """Verify one call for each row, and return the exchanges."""
    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        visits: list[Asked] = [(index, {"asked": index}, [answer]) for index, answer in enumerate(recorded)]
        record_asking(db, store, visits)
        with closing(VerifyCaller(caller(FakeTime()), ReplayCaller(db, store, RUN_ID))) as verify:
            oracle = Oracle.of(received)
            futures = [verify.start(oracle, {"asked": index}, row_index=index) for index in range(len(received))]
            return [future.result(SECONDS) for future in futures]


def difference(index: int, recorded: object, received: object) -> Difference:
    hashes = [None if said is None else stable_hash({"said": said}) for said in (recorded, received)]
    return Difference(
        row_index=index,
        request_hash=stable_hash({"asked": index}),
        recorded_hash=hashes[0],
        received_hash=hashes[1],
    )


def test_each_answer_is_compared_with_the_recorded_one() -> None:
    gone = CallError("answered 410", is_retryable=False)
    recorded: list[JsonObject | None] = [{"said": 1, "at": "dawn"}, {"said": 2}, {"said": 3}, None, None]
    received: list[Answer] = [{"said": 1, "at": "dusk"}, {"said": 0}, gone, {"said": 4}, gone, {"said": 5}]
    exchanges = verified(recorded, received)
    expected = [difference(1, 2, 0), difference(2, 3, None), difference(3, None, 4), difference(5, None, 5)]
    assert [each.difference for each in exchanges] == [None, *expected[:3], None, expected[3]]
    assert [each.response for each in exchanges] == [None if each is gone else each for each in received]


def test_an_answer_that_the_plugin_does_not_know_is_compared_as_a_whole() -> None:
    (found,) = verified([{"murmured": 1}], [{"said": 1}])
    assert found.difference is not None
    assert found.difference.recorded_hash == stable_hash({"murmured": 1})


def test_closing_cancels_the_calls() -> None:
    begun, allowed = threading.Event(), threading.Event()

    def send(_: JsonObject) -> JsonObject:
        begun.set()
        assert allowed.wait(SECONDS)
        raise CallError("answered 503", is_retryable=True)

    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        record_asking(db, store, [])
        live = LiveCaller(RetrySettings(), RateLimitSettings(), 1)
        verify = VerifyCaller(live, ReplayCaller(db, store, RUN_ID))
        first, second = (verify.start(Oracle(send), {"asked": number}, row_index=0) for number in range(2))
        assert begun.wait(SECONDS)
        verify.close()
        allowed.set()
        for future in (first, second):
            with pytest.raises(CancelledError):
                future.result(SECONDS)
        assert second.cancelled()
