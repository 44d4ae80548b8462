"""Handles SIGINT, SIGTERM and SIGHUP, which end a command.

During a run, the first signal only requests a stop at a safe point.

A signal that ends a command is raised as an exception at the current point of the program. Python drops an exception
that is raised in a `__del__`, or in a callback of a weak reference or a C library. If an exception was dropped before
the command reported it, it is raised again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import ClassVar

__all__ = ["RaisingHandler", "StopRequest", "Stopped", "find_stop", "note_signals", "raise_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], None]

_REPEAT_AFTER_S = 0.02
"""The delay before an exception is raised again, in seconds. Most callbacks have returned by then."""


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end at once.

    It is a KeyboardInterrupt, because libraries clean up after that. The code that reports it to the user sets
    `is_reported`.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.is_reported = False
        self._handler = RaisingHandler.in_charge
        super().__init__("interrupted" if self.signal is signal.SIGINT else f"stopped by {self.signal.name}")

    def __del__(self) -> None:
        """Repeat the signal if nobody has reported it."""
        if self._handler is not None and not self.is_reported and self._handler is RaisingHandler.in_charge:
            # An exception raised here would be dropped again.
            timer = threading.Timer(_REPEAT_AFTER_S, self._handler.repeat, [self.signal])
            timer.daemon = True
            timer.start()

    @property
    def exit_code(self) -> int:
        """Return the exit code for the signal."""
        return _exit_code(self.signal)


class StopRequest:
    """The signal that asked a run to stop, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Return whether a signal has arrived."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Return the signal's exit code, or 0 without one."""
        return 0 if self.signal is None else _exit_code(self.signal)


def find_stop(error: BaseException) -> Stopped | None:
    """Return the stop that is or caused an exception."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        if isinstance(each, Stopped):
            return each
        seen.add(id(each))
        each = each.__cause__ or each.__context__
    return None


class RaisingHandler:
    """Raises every signal as `Stopped`.

    Only the first SIGHUP counts: a closing terminal sends several, and the second would interrupt the cleaning up after
    the first.
    """

    in_charge: ClassVar[RaisingHandler | None] = None

    def __init__(self) -> None:
        self.raised: int | None = None
        self._received = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Raise the signal."""
        if not self._received or number != signal.SIGHUP:
            self._received = True
            self.raised = number
            raise Stopped(number)

    def lost_stop(self) -> Stopped | None:
        """Return a stop for the last signal, if any."""
        return None if self.raised is None else Stopped(self.raised)

    def repeat(self, number: signal.Signals) -> None:
        """Send a dropped signal to the main thread again."""
        main = threading.main_thread().ident
        if RaisingHandler.in_charge is self and main is not None:
            self._received = False
            signal.pthread_kill(main, number)


@contextmanager
def raise_signals() -> Iterator[RaisingHandler]:
    """Raise `Stopped` for every signal while the block lasts."""
    handler, before = RaisingHandler(), RaisingHandler.in_charge
    with _handle(handler), _without_dropped_stops():
        RaisingHandler.in_charge = handler
        try:
            yield handler
        finally:
            RaisingHandler.in_charge = before


@contextmanager
def note_signals(*, shared: bool = False) -> Iterator[StopRequest]:
    """Note the first signal, and raise `Stopped` afterwards.

    `shared` says that workers have the rows at hand, which are then not recorded. Further SIGHUPs are ignored, as by
    `RaisingHandler`.
    """
    request = StopRequest()
    # A handler may interrupt code that holds a lock or writes to a stream; putting into this queue is safe.
    messages: SimpleQueue[str] = SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        if request.signal is None:
            request.signal = signal.Signals(number)
            messages.put(_stop_message(request.signal, shared=shared))
        elif number != signal.SIGHUP:
            raise Stopped(number)

    thread = threading.Thread(target=_print_messages, args=(messages,), name="signals", daemon=True)
    with _handle(note):
        thread.start()
        try:
            yield request
        finally:
            messages.put("")
            thread.join()


@contextmanager
def _without_dropped_stops() -> Iterator[None]:
    """Keep Python from printing stops that it drops."""
    before = sys.unraisablehook

    def ignore_stops(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            before(unraisable)

    sys.unraisablehook = ignore_stops
    try:
        yield
    finally:
        sys.unraisablehook = before


def _exit_code(number: int) -> int:
    """Return 128 plus the signal's number, as shells do."""
    return 128 + number


def _print_messages(messages: SimpleQueue[str]) -> None:
    while message := messages.get():
        sys.stderr.write(message)


def _stop_message(received: signal.Signals, *, shared: bool) -> str:
    if shared:
        name = "" if received is signal.SIGINT else f"{received.name}: "
        return f"{name}stopping; the rows that workers have at hand are processed again when the run is resumed\n"
    if received is signal.SIGINT:
        return "stopping when the rows at hand are recorded; press Ctrl-C again to stop at once\n"
    return f"{received.name}: stopping when the rows at hand are recorded; SIGTERM now stops at once\n"


@contextmanager
def _handle(handler: _Handler) -> Iterator[None]:
    """Handle the signals while the block lasts.

    Signals that are ignored, as by `nohup` or for commands in the background, stay ignored. Only the main thread can
    receive signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number in _SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in handled:
            signal.signal(number, handler)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
