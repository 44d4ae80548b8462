"""A thread sends events while the run goes on."""

from __future__ import annotations

import copy
import json
import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from openlineage.client.event_v2 import RunEvent
from openlineage.client.transport import Transport

from elspeth.openlineage.events import beat
from elspeth.openlineage.sending import Sender, TransportError, open_transport


class _Kept(Transport):
    """Keeps events, and fails for some of them."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.events: list[RunEvent] = []
        self.changed = threading.Condition()
        self.is_closed = False
        self._failures = iter(failures)

    def emit(self, event: Any) -> None:  # noqa: ANN401  as the client has it
        failure = next(self._failures, None)
        if failure is not None:
            raise failure
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def close(self, timeout: float = -1) -> bool:
        self.is_closed = timeout == 0
        return True

    def wait_for(self, count: int) -> list[str | None]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.events) >= count, 30)
            return [None if each.eventType is None else each.eventType.value for each in self.events]


def event(event_type: str) -> dict[str, object]:
    return {
        "eventType": event_type,
        "eventTime": "2020-11-22T10:00:00.000000Z",
        "producer": "https://w3id.org/elspeth",
        "run": {"runId": "0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d", "facets": {}},
        "job": {"namespace": "shop", "name": "orders", "facets": {}},
        "inputs": [],
        "outputs": [],
    }


def test_a_long_run_sends_running_events_until_its_end() -> None:
    transport = _Kept()
    sender = Sender(transport, beat_s=0.01)
    sender.send(event("START"))
    assert transport.wait_for(3)[:3] == ["START", "RUNNING", "RUNNING"]
    times = [each.eventTime for each in transport.events[:3]]
    assert times == sorted(times)
    sender.send(event("COMPLETE"))
    assert sender.finish(30) is None
    assert transport.wait_for(4)[-1] == "COMPLETE"
    assert transport.is_closed


def test_no_events_are_sent_after_the_stop() -> None:
    transport = _Kept()
    sender = Sender(transport, beat_s=0.01)
    sender.send(event("ABORT"))
    transport.wait_for(1)
    assert not threading.Event().wait(0.05)
    assert sender.finish(30) is None
    assert transport.wait_for(1) == ["ABORT"]


def test_one_failure_of_several_is_counted_and_described_without_its_message() -> None:
    sender = Sender(_Kept(RuntimeError("https://me:secret@catalogue"), None))
    sender.send(event("START"))
    sender.send(event("COMPLETE"))
    assert sender.finish(30) == "1 of 2 lineage events was not sent: RuntimeError"


def test_only_the_first_of_several_failures_is_reported() -> None:
    sender = Sender(_Kept(RuntimeError(), ValueError()))
    sender.send(event("START"))
    sender.send(event("COMPLETE"))
    assert sender.finish(30) == "2 of 2 lineage events were not sent: RuntimeError"


def test_a_sender_without_events_starts_no_thread() -> None:
    before = threading.active_count()
    sender = Sender(_Kept())
    assert (sender.finish(30), threading.active_count()) == (None, before)


def test_an_interruption_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    class Waiting(_Kept):
        def emit(self, event: Any) -> None:  # noqa: ANN401
            answered.wait(30)
            super().emit(event)

    sender = Sender(Waiting())
    sender.send(event("START"))

    def interrupt(_self: threading.Thread, _timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    assert sender.finish(0.01) == "1 of 1 lineage event was not sent: there was no answer within 0.01 s"
    kept_alive = [each for each in threading.enumerate() if each.name == "openlineage" and not each.daemon]
    assert kept_alive == [], "a server that never answers must not keep the process alive"
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupt)
        assert sender.finish(30) == "1 of 1 lineage event was not sent: interrupted"
    answered.set()


def test_a_transport_that_cannot_be_used_is_described_without_its_password() -> None:
    with pytest.raises(TransportError, match="cannot be used: ValueError") as raised:
        open_transport({"type": "http", "url": "https://me:hush@catalogue:port"})
    assert "https://me:[redacted]@catalogue:port" in str(raised.value)
    assert "hush" not in str(raised.value)


def test_the_transport_console_writes_where_logs_are_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    logger = logging.getLogger("openlineage.client.transport.console")
    monkeypatch.setattr(logger, "handlers", [])
    for _ in range(2):
        sender = Sender(open_transport({"type": "composite", "transports": [{"type": "console"}]}))
        sender.send(event("START"))
        assert sender.finish(30) is None
        [line] = capsys.readouterr().err.splitlines()
        assert json.loads(line)["eventType"] == "START"


def test_the_transport_console_adds_nothing_to_logs_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("openlineage.client.transport.console")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.Handler()])
    open_transport({"type": "console"}).close()
    assert logger.handlers == []


def test_a_running_event_repeats_the_start_at_another_time() -> None:
    start = event("START")
    time = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
    assert beat(start, time) == {**start, "eventType": "RUNNING", "eventTime": "2026-11-22T10:05:00.000000Z"}


def test_settings_are_not_changed_by_the_client() -> None:
    config: dict[str, Any] = {"type": "composite", "transports": [{"type": "noop", "name": "first", "priority": 2}]}
    before = copy.deepcopy(config)
    open_transport(config).close()
    assert config == before
