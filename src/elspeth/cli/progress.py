"""How far a command has come: bars on a terminal, elsewhere a line now and then; on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from elspeth.cli.stages import Stage

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Display", "progress_display", "progress_wanted"]

progress_wanted: ContextVar[bool] = ContextVar("progress_wanted", default=True)
"""Whether the program may show progress at all: `--no-progress` says no."""

_EVERY_S = 30.0
"""Seconds between the lines where there is no terminal."""

_REFRESHES_PER_SECOND = 4


class Display:
    """Shows the stages of one command, one after the other. `show` is called before the first."""

    def __init__(self, show: Callable[[Display], None]) -> None:
        self.stages: list[Stage] = []
        self._show = show

    def begin(self, name: str, total: float | None = None) -> None:
        """Begin a stage, which ends the one before."""
        is_first = not self.stages
        self.end()
        self.stages.append(Stage(name=name, total=total))
        if is_first:
            self._show(self)

    def update(self, done: float, total: float | None = None, details: Sequence[str] = ()) -> None:
        """Say how far the stage is."""
        self.stages[-1].update(done, total, details)

    def end(self) -> None:
        """End the stage."""
        if self.stages:
            self.stages[-1].end()


@contextmanager
def progress_display() -> Iterator[Display]:
    """Return a display that shows what it is told while the block lasts."""
    with ExitStack() as stack:

        def show(display: Display) -> None:
            if progress_wanted.get():
                stack.enter_context(_bars(display) if sys.stderr.isatty() else _lines(display))

        display = Display(show)
        yield display
        display.end()


def _bars(display: Display) -> Live:
    """Draw the stages on the terminal while the block lasts."""
    from rich.console import Console  # noqa: PLC0415  start time
    from rich.live import Live  # noqa: PLC0415

    from elspeth.cli.bars import Bars  # noqa: PLC0415

    # Drawn by a thread of its own, so that the clock goes on while the database is at work.
    return Live(Bars(display.stages), console=Console(stderr=True), refresh_per_second=_REFRESHES_PER_SECOND)


@contextmanager
def _lines(display: Display) -> Iterator[None]:
    """Print a line about the stage every so many seconds while the block lasts."""
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(_EVERY_S):
            sys.stderr.write(f"{display.stages[-1].as_line()}\n")
            sys.stderr.flush()

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()
