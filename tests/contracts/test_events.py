"""Events of a run in its log."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest

from elspeth.contracts.events import Event, event_of, events_of_run, log_event


def test_only_the_events_of_a_run_have_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "elspeth.events")
    with events_of_run("outer"):
        with suppress(ZeroDivisionError), events_of_run("inner"):
            log_event(logging.WARNING, "row_failed", "row 4 failed", row=4)
            raise ZeroDivisionError
        log_event(logging.INFO, "run_began", "100 % began")
    log_event(logging.INFO, "run_ended", "ended", run_id="its own")
    log_event(logging.DEBUG, "hidden", "not shown")
    assert [(each.levelname, each.getMessage(), event_of(each)) for each in caplog.records] == [
        ("WARNING", "row 4 failed", Event("row_failed", {"run_id": "inner", "row": 4})),
        ("INFO", "100 % began", Event("run_began", {"run_id": "outer"})),
        ("INFO", "ended", Event("run_ended", {"run_id": "its own"})),
    ]


def test_other_records_are_no_events() -> None:
    record = logging.makeLogRecord({"event": {"name": "of another library"}})
    assert (event_of(record), event_of(logging.makeLogRecord({}))) == (None, None)
