"""Sends events by transports of the OpenLineage client.

A separate thread sends them, so that a working run never waits for a server. At its end a run waits for that thread,
but only until a deadline. All failures are reported as one problem.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from elspeth.contracts.errors import RecordableError, format_count
from elspeth.core.secrets import mask_text, redact
from elspeth.openlineage.events import Event, EventType, beat

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from openlineage.client.transport import Transport

__all__ = ["Sender", "TransportError", "open_transport"]

_BEAT_S = 300.0
"""The seconds without an event after which one is sent that shows that the run is alive."""

_REPEATED = re.compile(r"too many (\d{3}) error responses")
"""The message of the client's HTTP library about a server that answers every attempt with an error."""

_CONSOLE = "openlineage.client.transport.console"
"""The logger to which the client's transport `console` writes."""


class TransportError(RecordableError):
    """The configuration of a transport cannot be used."""


def open_transport(config: Mapping[str, object]) -> Transport:
    """Return the client's transport for a configuration.

    Raises TransportError, whose message hides the secrets in URLs.
    """
    from openlineage.client.transport import get_default_factory  # noqa: PLC0415  an extra

    if "console" in _types(config):
        _show_console()
    try:
        return get_default_factory().create(cast("dict[str, str]", deepcopy(dict(config))))
    except Exception as error:
        # A transport may be given by its import path, so any error may be raised.
        reason = mask_text(str(error), redact)
        raise TransportError(f"cannot be used: {type(error).__name__}: {reason}") from error


def _types(config: object) -> Iterator[object]:
    """Yield the types of a transport and its parts."""
    if isinstance(config, Mapping):
        yield config.get("type")
        for value in config.values():
            yield from _types(value)
    elif isinstance(config, list):
        for value in config:
            yield from _types(value)


def _show_console() -> None:
    """Let the transport `console` write to standard error."""
    logger = logging.getLogger(_CONSOLE)
    logger.setLevel(logging.INFO)
    handlers = (*logger.handlers, *logging.getLogger().handlers)
    if all(isinstance(each, logging.NullHandler) for each in handlers):
        logger.addHandler(_ConsoleHandler())


class _ConsoleHandler(logging.Handler):
    """Writes messages to the current standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{record.getMessage()}\n")


@dataclass(slots=True)
class _Tally:
    """Counts of sent and failed events, kept by the thread."""

    given: int = 0
    sent: int = 0
    reason: str = ""


class Sender:
    """Sends events one after another, from a thread.

    After `beat_s` seconds without an event, sends one that shows that the run is alive.
    """

    def __init__(self, transport: Transport, *, beat_s: float = _BEAT_S) -> None:
        self._transport = transport
        self._beat_s = beat_s
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._tally = _Tally()
        # A daemon: a server that never answers must not keep the process alive.
        self._thread = Thread(target=self._work, name="openlineage", daemon=True)

    def send(self, event: Event) -> None:
        """Queue an event, without waiting for the server."""
        if not self._tally.given:
            self._thread.start()
        self._tally.given += 1
        self._events.put(event)

    def stop(self) -> None:
        """Accept no more events, without waiting for the queue."""
        self._events.put(None)

    def finish(self, deadline_s: float) -> str | None:
        """Wait until all events are sent, or until the deadline.

        Returns a problem that says which events were not sent, or None.
        """
        tally = self._tally
        if not tally.given:
            return None
        self.stop()
        late = f"there was no answer within {deadline_s:g} s"
        try:
            self._thread.join(deadline_s)
        except KeyboardInterrupt:
            late = "interrupted"
        lost = tally.given - tally.sent
        if not lost:
            return None
        what = f"{lost:,} of {format_count(tally.given, 'lineage event')} {'was' if lost == 1 else 'were'} not sent"
        reasons = [tally.reason, late if self._thread.is_alive() else ""]
        return f"{what}: {'; '.join(filter(None, reasons))}"

    def _work(self) -> None:
        last: Event | None = None
        while True:
            try:
                event = self._events.get(timeout=self._beat_s)
            except Empty:
                if last is not None and last["eventType"] in {EventType.START, EventType.RUNNING}:
                    self._emit(beat(last, datetime.now(UTC)))
                continue
            if event is None:
                break
            last = event
            if self._emit(event):
                self._tally.sent += 1
        self._transport.close(timeout=0)

    def _emit(self, event: Event) -> bool:
        try:
            self._transport.emit(_client_event(event))
        except Exception as error:  # noqa: BLE001  a transport may be given by its import path: any error may be raised
            self._tally.reason = self._tally.reason or _describe(error)
            return False
        return True


def _client_event(event: Event) -> RunEvent:
    """Return an event in the form that transports take."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState  # noqa: PLC0415

    run, job = cast("dict[str, Any]", event["run"]), cast("dict[str, Any]", event["job"])
    inputs, outputs = cast("list[dict[str, Any]]", event["inputs"]), cast("list[dict[str, Any]]", event["outputs"])
    return RunEvent(
        eventType=RunState[str(event["eventType"])],
        eventTime=str(event["eventTime"]),
        producer=str(event["producer"]),
        run=Run(**run),
        job=Job(**job),
        inputs=[InputDataset(**each) for each in inputs],
        outputs=[OutputDataset(**each) for each in outputs],
    )


def _describe(error: Exception) -> str:
    """Describe an error without URLs and tokens.

    Messages of the client contain URLs, which may contain tokens.
    """
    answer = getattr(getattr(error, "response", None), "status_code", None)
    repeated = _REPEATED.search(str(error))
    if answer is not None or repeated is not None:
        return f"the server answered {answer if repeated is None else repeated[1]}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{type(error).__name__}: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
