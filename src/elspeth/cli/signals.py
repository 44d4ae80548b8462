"""SIGINT, SIGTERM and SIGHUP: they end a command; the first one lets a run stop at a safe point."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

__all__ = ["StopRequest", "Stopped", "signals_raised", "stop_requested"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end at once.

    It is a KeyboardInterrupt for the libraries that clean up after one.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__("interrupted" if self.signal is signal.SIGINT else f"stopped by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """The code of a command that the signal ended."""
        return _exit_code(self.signal)


class StopRequest:
    """Whether a signal has asked a run to stop, and which."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Return whether a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The code of a command that a signal ended; 0 if none came."""
        return 0 if self.signal is None else _exit_code(self.signal)


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise `Stopped` for each of the signals while the block lasts.

    Only the first SIGHUP counts: a terminal that closes sends several, and the second would cut short what cleans up
    after the first.
    """
    received = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal received
        if not received or number != signal.SIGHUP:
            received = True
            raise Stopped(number)

    with _handling(stop):
        yield


@contextmanager
def stop_requested() -> Iterator[StopRequest]:
    """Take note of the first signal while the block lasts; the next one raises `Stopped`.

    A further SIGHUP is passed over, as `signals_raised` does.
    """
    request = StopRequest()
    # What is put into this queue may be put by a handler; a stream or a lock could be in use at that moment.
    noted: SimpleQueue[str] = SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        if request.signal is None:
            request.signal = signal.Signals(number)
            noted.put(_stopping(request.signal))
        elif number != signal.SIGHUP:
            raise Stopped(number)

    speaker = threading.Thread(target=_say, args=(noted,), name="signals", daemon=True)
    with _handling(note):
        speaker.start()
        try:
            yield request
        finally:
            noted.put("")
            speaker.join()


def _exit_code(number: int) -> int:
    """Return 128 and the signal's number, as shells have it."""
    return 128 + number


def _say(texts: SimpleQueue[str]) -> None:
    while text := texts.get():
        sys.stderr.write(text)


def _stopping(received: signal.Signals) -> str:
    if received is signal.SIGINT:
        return "stopping when the rows at hand are recorded; press Ctrl-C again to stop at once\n"
    return f"{received.name}: stopping when the rows at hand are recorded; SIGTERM now stops at once\n"


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    """Handle the signals while the block lasts.

    Those that are ignored, as by `nohup` or for commands in the background, stay ignored. Only the main thread can
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
