"""Calls answered from a recorded run, or compared with it."""

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from elspeth.contracts.enums import CallStatus, CallType, NodeType, OperationType
from elspeth.contracts.plugins import CallError, JsonObject
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import canonical_bytes, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore, PayloadStore
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls import recorded as recorded_module
from elspeth.engine.calls.exchange import Attempt, Difference, Exchange
from elspeth.engine.calls.live import LiveCaller
from elspeth.engine.calls.recorded import ReplayCaller, VerifyCaller
from tests.engine.calls.oracle import FakeTime, Oracle, caller
from tests.engine.calls.recording import ERROR, RUN_ID, Asked, record_run_with_calls
from tests.fixtures.effort import law

SECONDS = 30
Answer = JsonObject | CallError
ASKED: JsonObject = {"asked": "whither"}
ORACLE = Oracle.of([])


class MemoryStore:
    """A payload store in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def store(self, content: bytes) -> str:
        key = f"{len(self._kept):064x}"
        self._kept[key] = content
        return key

    def retrieve(self, content_hash: str) -> bytes:
        return self._kept[content_hash]

    def exists(self, content_hash: str) -> bool:
        return content_hash in self._kept

    def delete(self, content_hash: str) -> bool:
        return self._kept.pop(content_hash, None) is not None


@pytest.fixture
def db(database_url: str) -> Iterator[LandscapeDB]:
    with LandscapeDB(database_url) as database:
        yield database


@pytest.fixture
def payloads(tmp_path: Path) -> FilesystemPayloadStore:
    return FilesystemPayloadStore(tmp_path / "payloads")


def said(word: object) -> JsonObject:
    return {"said": word}


def failure(found: Exchange) -> Any:  # noqa: ANN401  whatever is recorded
    assert len(found.attempts) == 1
    assert (found.response, found.attempts[0].latency_ms) == (None, None)
    return found.failure


def answers(caller: ReplayCaller, row_index: int, request: JsonObject = ASKED) -> Exchange:
    future = caller.start(ORACLE, request, row_index=row_index)
    assert future.done()
    return future.result()


def test_attempts_are_replayed_as_they_were(db: LandscapeDB, payloads: PayloadStore) -> None:
    record_run_with_calls(db, payloads, [(0, ASKED, [None, said("home")]), (1, ASKED, [None])])
    caller = ReplayCaller(db, payloads, RUN_ID)
    failed = Attempt(request=ASKED, response=None, error=ERROR, latency_ms=1.5)
    answered = Attempt(request=ASKED, response=said("home"), error=None, latency_ms=1.5)
    assert answers(caller, 0) == Exchange(attempts=(failed, answered))
    assert answers(caller, 1) == Exchange(attempts=(failed,))


def test_a_failure_is_replayed_with_its_unusable_answer_if_that_was_kept(db: LandscapeDB, tmp_path: Path) -> None:
    payloads = FilesystemPayloadStore(tmp_path / "payloads")
    record_run_with_calls(db, payloads, [(0, ASKED, [{"refused": "why"}])])
    caller = ReplayCaller(db, payloads, RUN_ID)
    kept = Attempt(request=ASKED, response={"refused": "why"}, error=ERROR, latency_ms=1.5)
    assert answers(caller, 0) == Exchange(attempts=(kept,))
    assert (answers(caller, 0).response, answers(caller, 0).failure) == (None, ERROR)
    for file in [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]:
        file.unlink()
    gone = Attempt(request=ASKED, response=None, error=ERROR, latency_ms=1.5)
    assert answers(caller, 0) == Exchange(attempts=(gone,))


def test_repeated_requests_are_answered_in_the_recorded_order(db: LandscapeDB, payloads: PayloadStore) -> None:
    visits: list[Asked] = [(0, ASKED, [said("north")]), (0, ASKED, [said("south")]), (0, {"asked": 2}, [said("east")])]
    record_run_with_calls(db, payloads, visits)
    caller = ReplayCaller(db, payloads, RUN_ID)
    found = [answers(caller, 0), answers(caller, 0, {"asked": 2}), answers(caller, 0)]
    assert [each.response for each in found] == [said("north"), said("east"), said("south")]
    assert failure(answers(caller, 0))["exception"] == "run asking has no recorded answer to this request"


def test_a_source_gets_only_the_answers_that_it_received_itself(db: LandscapeDB, payloads: PayloadStore) -> None:
    record_run_with_calls(db, payloads, [])
    recorder = LandscapeRecorder(db)
    schema = SchemaConfig.from_dict({"fields": "dynamic"})
    for name in ("north", "south"):
        recorder.register_node(RUN_ID, name, NodeType.SOURCE, "1", {}, node_id=name, schema_config=schema)
        operation = recorder.begin_operation(RUN_ID, name, OperationType.SOURCE_LOAD)
        kept = payloads.store(canonical_bytes(said(name)))
        recorder.record_operation_call(
            operation.operation_id,
            CallType.HTTP,
            CallStatus.SUCCESS,
            ASKED,
            said(name),
            latency_ms=1.0,
            run_id=RUN_ID,
            response_ref=kept,
        )
    for name in ("south", "north"):
        caller = ReplayCaller(db, payloads, RUN_ID, source_node_id=name)
        assert caller.answer(ASKED, row_index=None).response == said(name)
        other = caller.answer({"asked": "other"}, row_index=None)
        assert failure(other)["exception"] == "run asking has no recorded answer to this request"


def test_answers_are_found_again_after_their_window_was_dropped(
    db: LandscapeDB, payloads: PayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_module, "_WINDOW_ROWS", 1)
    monkeypatch.setattr(recorded_module, "_WINDOWS", 2)
    record_run_with_calls(db, payloads, [(index, ASKED, [said(index)]) for index in range(4)])
    caller, order = ReplayCaller(db, payloads, RUN_ID), (0, 1, 2, 0, 3, 2)
    assert [answers(caller, index).response for index in order] == [said(index) for index in order]


@law(25)
@given(st.lists(st.integers(min_value=0, max_value=4000), min_size=1, max_size=30))
def test_recorded_answers_are_found_in_any_order(rows: list[int]) -> None:
    counts = Counter(rows)
    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        record_run_with_calls(
            db, store, [(row, ASKED, [said([row, n])]) for row in sorted(counts) for n in range(counts[row])]
        )
        caller = ReplayCaller(db, store, RUN_ID)
        asked: Counter[int] = Counter()
        for row in rows:
            assert answers(caller, row).response == said([row, asked[row]])
            asked[row] += 1


def test_the_number_of_queries_does_not_grow_with_the_number_of_rows(db: LandscapeDB) -> None:
    store = MemoryStore()
    record_run_with_calls(db, store, [(row, ASKED, [said(1)]) for row in range(250)])
    caller = ReplayCaller(db, store, RUN_ID)
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *details: statements.append(details[2]))
    assert {str(answers(caller, row).response) for row in range(250)} == {"{'said': 1}"}
    assert [re.findall("FROM ([a-z_]+)", each) for each in statements if "FROM" in each] == [
        ["rows"],
        ["tokens"],
        ["node_states"],
        ["calls"],
    ]


def test_a_request_that_was_not_recorded_fails(db: LandscapeDB, payloads: PayloadStore) -> None:
    record_run_with_calls(db, payloads, [(0, ASKED, [said("home")])])
    caller = ReplayCaller(db, payloads, RUN_ID)
    expected = {
        "exception": "run asking has no recorded answer to this request",
        "type": "CallError",
        "is_retryable": False,
    }
    assert failure(answers(caller, 0, {"asked": "else"})) == expected
    assert failure(answers(caller, 1)) == expected


def test_an_answer_without_payload_fails(db: LandscapeDB, payloads: PayloadStore) -> None:
    record_run_with_calls(db, None, [(0, ASKED, [said("home")])])
    assert failure(answers(ReplayCaller(db, payloads, RUN_ID), 0))["exception"] == (
        "run asking kept no payload of the answer to this request"
    )


def test_an_answer_whose_payload_is_lost_or_altered_fails(db: LandscapeDB, tmp_path: Path) -> None:
    payloads = FilesystemPayloadStore(tmp_path / "payloads")
    record_run_with_calls(db, payloads, [(0, ASKED, [said("home")])])
    (file,) = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file() and b"home" in path.read_bytes()]
    file.write_bytes(b'{"said":"away"}')
    caller = ReplayCaller(db, payloads, RUN_ID)
    assert re.fullmatch(
        "the payload of the answer that run asking recorded cannot be read: "
        rf"payload {re.escape(str(file))}: expected SHA-256 {file.name}, got [0-9a-f]{{64}}\. The file was altered\.",
        failure(answers(caller, 0))["exception"],
    )
    file.unlink()
    assert failure(answers(caller, 0))["exception"] == (
        f"the payload of the answer that run asking recorded is gone: {file.name}"
    )


def test_a_payload_that_is_not_the_recorded_answer_fails(db: LandscapeDB) -> None:
    store = MemoryStore()
    record_run_with_calls(db, store, [(0, ASKED, [said("home")])])
    store._kept = dict.fromkeys(store._kept, b'{"said":"away"}')
    assert re.fullmatch(
        r"payload [0-9a-f]{64} is not the answer that run asking recorded: "
        r"expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}",
        failure(answers(ReplayCaller(db, store, RUN_ID), 0))["exception"],
    )


def test_a_payload_that_cannot_be_read_fails(db: LandscapeDB, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    record_run_with_calls(db, store, [(0, ASKED, [said("home")])])
    caller = ReplayCaller(db, store, RUN_ID)
    problem = "the payload of the answer that run asking recorded cannot be read: "
    store._kept = dict.fromkeys(store._kept, b"no JSON")
    assert failure(answers(caller, 0))["exception"].startswith(f"{problem}Expecting value")

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(MemoryStore, "retrieve", refuse)
    assert failure(answers(caller, 0))["exception"] == f"{problem}[Errno 13] Permission denied"


def test_an_unknown_run_is_refused(db: LandscapeDB, payloads: PayloadStore) -> None:
    with pytest.raises(RunNotFoundError) as raised:
        ReplayCaller(db, payloads, "other")
    assert str(raised.value) == f"audit database {db.url} holds no run 'other'"


def verified(recorded: Sequence[JsonObject | None], received: Sequence[Answer]) -> list[Exchange]:
    """Verify one call for each row, and return the exchanges."""
    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        visits: list[Asked] = [(index, {"asked": index}, [answer]) for index, answer in enumerate(recorded)]
        record_run_with_calls(db, store, visits)
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


def test_an_answer_that_the_plugin_cannot_read_is_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = verified([{"murmured": 1}], [{"said": 1}])
    assert found.difference is not None
    assert found.difference.recorded_hash == stable_hash({"murmured": 1})

    def fail(*_: object) -> JsonObject:
        raise TypeError

    monkeypatch.setattr(Oracle, "comparable", fail)
    same, other = verified([{"said": 1}, {"said": 1}], [{"said": 1}, {"said": 2}])
    assert (same.difference, other.difference) == (None, difference(1, 1, 2))


def test_errors_that_are_not_the_fault_of_the_row_are_raised() -> None:
    def send(_: JsonObject) -> JsonObject:
        raise KeyboardInterrupt

    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        record_run_with_calls(db, store, [])
        with closing(VerifyCaller(caller(FakeTime()), ReplayCaller(db, store, RUN_ID))) as verify:
            future = verify.start(Oracle(send), ASKED, row_index=0)
            with pytest.raises(KeyboardInterrupt):
                future.result(SECONDS)


def test_closing_cancels_the_calls() -> None:
    begun, allowed = threading.Event(), threading.Event()

    def send(_: JsonObject) -> JsonObject:
        begun.set()
        assert allowed.wait(SECONDS)
        raise CallError("answered 503", is_retryable=True)

    with LandscapeDB.in_memory() as db:
        store = MemoryStore()
        record_run_with_calls(db, store, [])
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
