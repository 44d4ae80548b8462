"""SIGINT, SIGTERM and SIGHUP: they end a command.

During a run the first one only asks it to stop at a safe point.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

__all__ = ["StopRequest", "Stopped", "note_signals", "raise_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end at once.

    It is a KeyboardInterrupt because libraries clean up after that.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__("interrupted" if self.signal is signal.SIGINT else f"stopped by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """Return the exit code for the signal."""
        return _exit_code(self.signal)


class StopRequest:
    """The signal that asked a run to stop, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Return whether a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Return the exit code for the signal, 0 for none."""
        return 0 if self.signal is None else _exit_code(self.signal)


@contextmanager
def raise_signals() -> Iterator[None]:
    """Raise `Stopped` for every signal while the block lasts.

    Only the first SIGHUP counts: a terminal that closes sends several, and the second would cut short the cleaning up
    after the first.
    """
    received = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal received
        if not received or number != signal.SIGHUP:
            received = True
            raise Stopped(number)

    with _handle(stop):
        yield


@contextmanager
def note_signals() -> Iterator[StopRequest]:
    """Note the first signal; raise `Stopped` for the next one.

    Further SIGHUPs are ignored, as by `raise_signals`.
    """
    request = StopRequest()
    # A handler may interrupt code that holds a lock or writes to a stream; putting into this queue is safe.
    messages: SimpleQueue[str] = SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        if request.signal is None:
            request.signal = signal.Signals(number)
            messages.put(_stop_message(request.signal))
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


def _exit_code(number: int) -> int:
    """Return 128 plus the signal's number, as shells do."""
    return 128 + number


def _print_messages(messages: SimpleQueue[str]) -> None:
    while message := messages.get():
        sys.stderr.write(message)


def _stop_message(received: signal.Signals) -> str:
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
