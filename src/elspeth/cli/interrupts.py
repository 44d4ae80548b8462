"""Ctrl-C during a run: the first asks it to stop at a safe point, the second stops it at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_requested"]


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """While the block lasts: whether Ctrl-C was pressed. The second time it does what it always does.

    Who ignores it, as shells make commands in the background do, goes on ignoring it.
    """
    pressed = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set  # signals reach the main thread only
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, usual)
        sys.stderr.write("stopping when the rows at hand are recorded; press Ctrl-C again to stop at once\n")

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
