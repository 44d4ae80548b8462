"""Shows progress on standard error.

Progress is drawn as bars on a terminal, and printed as occasional lines elsewhere. If the command shows a log, the
lines are events in it.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from elspeth.cli.logs import log_is_shown
from elspeth.contracts.events import log_event

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from elspeth.core.landscape.migration.contents import Report

__all__ = [
    "Bars",
    "Display",
    "Stage",
    "duration",
    "migration_display",
    "progress_display",
    "progress_wanted",
    "record_display",
]

progress_wanted: ContextVar[bool] = ContextVar("progress_wanted", default=True)
"""Whether progress may be shown at all; `--no-progress` sets this to False."""

_LINE_INTERVAL_S = 30.0
"""The seconds between lines without a terminal."""

_REFRESHES_PER_SECOND = 4

_LEAST_S = 1.0
"""The least seconds of work from which the speed is estimated."""

_ELAPSED_WIDTH = len("0:00:00")
_BOTH_TIMES_WIDTH = len("0:00:00  0:00:00 left")
_WIDE = 60
"""The width of a terminal, in columns, from which the remaining time is shown."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """A stage of a command's work.

    It begins when it is created. `total` is in the unit of `done`, None if unknown. `details` are further facts for
    people, the most important first, and `facts` are those for programs.
    """

    name: str
    total: float | None = None
    clock: Callable[[], float] = time.monotonic
    done: float = 0.0
    details: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    _began: float = field(init=False)
    _ended: float | None = field(init=False, default=None)
    _first: tuple[float, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def update(
        self,
        done: float,
        total: float | None = None,
        details: Sequence[str] = (),
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Record how much is done.

        Work before the first update is left out of the speed.
        """
        if self._first is None:
            self._first = (self.clock(), done)
        self.done, self.total, self.details = done, self.total if total is None else total, details
        self.facts = {"done": done, "total": self.total} if facts is None else facts

    def end(self) -> None:
        """Stop the clock."""
        if self._ended is None:
            self._ended = self.clock()
        self.done = self.done if self.total is None else self.total

    @property
    def is_ended(self) -> bool:
        """Return whether the clock was stopped."""
        return self._ended is not None

    @property
    def elapsed(self) -> float:
        """Return the seconds that the stage lasted so far."""
        return (self.clock() if self._ended is None else self._ended) - self._began

    @property
    def fraction(self) -> float | None:
        """Return the fraction done, None if the total is unknown."""
        return None if not self.total else min(1.0, self.done / self.total)

    @property
    def remaining(self) -> float | None:
        """Return the seconds left at the speed so far.

        Returns None if that is unknown or the stage has ended.
        """
        if self.is_ended or not self.total or self._first is None:
            return None
        since, before = self._first
        done, seconds = self.done - before, self.clock() - since
        return None if done <= 0 or seconds < _LEAST_S else max(0.0, self.total - self.done) * seconds / done

    def as_line(self) -> str:
        """Return the stage as a line for a log."""
        parts = list(self.details)
        if self.fraction is not None:
            parts.append(f"{math.floor(100 * self.fraction)} %")
        parts.append(duration(self.elapsed))
        if self.remaining is not None:
            parts.append(f"{duration(self.remaining)} left")
        return f"{self.name}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class Bars:
    """Stages drawn as bars that fit the terminal.

    Each stage has a line with its name, a bar, details and times. On a narrow terminal, details are left out first.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the lines for the terminal's current width."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415  start time
        from rich.table import Column, Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        stages = list(self._stages)
        if not stages:
            return
        width = options.max_width
        times = _BOTH_TIMES_WIDTH if width >= _WIDE else _ELAPSED_WIDTH
        name, bar = max(len(stage.name) for stage in stages), max(4, width // 4)
        details = max(0, width - sum(each + 1 for each in (name, bar, times)) - 1)
        columns = [Column(width=each, no_wrap=True, overflow="crop") for each in (name, bar, details, times) if each]
        grid = Table.grid(*columns, padding=(0, 1, 0, 0))
        for stage in stages:
            fraction = 1.0 if stage.is_ended else stage.fraction
            drawn = ProgressBar(total=1.0, completed=fraction or 0.0, width=bar, pulse=fraction is None)
            middle = [Text(_fit(stage.details, details))] if details else []
            grid.add_row(Text(stage.name), drawn, *middle, Text(_times(stage, times)))
        yield grid


def _fit(details: Sequence[str], width: int) -> str:
    """Join as many details as fit, the most important ones."""
    text = ""
    for detail in details:
        longer = f"{text}  {detail}" if text else detail
        if len(longer) > width:
            break
        text = longer
    return text


def _times(stage: Stage, width: int) -> str:
    text = duration(stage.elapsed)
    if width == _BOTH_TIMES_WIDTH and stage.remaining is not None:
        text += f"  {duration(stage.remaining)} left"
    return text


class Display:
    """A display of the stages of one command.

    `show` is called before the first stage begins.
    """

    def __init__(self, show: Callable[[Display], None]) -> None:
        self.stages: list[Stage] = []
        self._show = show

    def begin(self, name: str, total: float | None = None) -> None:
        """Begin a stage and end the one before."""
        is_first = not self.stages
        self.end()
        self.stages.append(Stage(name=name, total=total))
        if is_first:
            self._show(self)

    def update(
        self,
        done: float,
        total: float | None = None,
        details: Sequence[str] = (),
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Record how much of the current stage is done."""
        self.stages[-1].update(done, total, details, facts)

    def end(self) -> None:
        """End the current stage."""
        if self.stages:
            self.stages[-1].end()


@contextmanager
def progress_display() -> Iterator[Display]:
    """Yield a display of stages."""
    with ExitStack() as stack:

        def show(display: Display) -> None:
            if not progress_wanted.get():
                return
            if log_is_shown.get():
                stack.enter_context(_tell_often(display, _log_stage))
            else:
                is_terminal = sys.stderr.isatty()
                stack.enter_context(_draw_bars(display) if is_terminal else _tell_often(display, _print_stage))

        display = Display(show)
        yield display
        display.end()


@contextmanager
def record_display(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows a number of records.

    `total` is the number that is expected, None if unknown.
    """
    of = "" if total is None else f" of {total:,}"
    with progress_display() as display:
        display.begin(description, total)
        yield lambda records: display.update(records, None, [f"{records:,}{of} records"])


@contextmanager
def migration_display() -> Iterator[Report]:
    """Yield a function that shows the number of migrated rows."""
    with progress_display() as display:

        def report(table: str, done: int, total: int) -> None:
            if not display.stages:
                display.begin("migrate", total)
            display.update(done, total, [table, f"{done:,} of {total:,} rows"])

        yield report


def _draw_bars(display: Display) -> Live:
    """Draw the stages on the terminal at each refresh."""
    from rich.console import Console  # noqa: PLC0415  start time
    from rich.live import Live  # noqa: PLC0415

    # Live draws in its own thread, so the clock advances while the database is working.
    return Live(Bars(display.stages), console=Console(stderr=True), refresh_per_second=_REFRESHES_PER_SECOND)


def _print_stage(stage: Stage) -> None:
    sys.stderr.write(f"{stage.as_line()}\n")
    sys.stderr.flush()


def _log_stage(stage: Stage) -> None:
    remaining = None if stage.remaining is None else round(stage.remaining, 1)
    times = {"elapsed_s": round(stage.elapsed, 1), "remaining_s": remaining}
    log_event(logging.INFO, "progress", stage.as_line(), phase=stage.name, **stage.facts, **times)


@contextmanager
def _tell_often(display: Display, tell: Callable[[Stage], None]) -> Iterator[None]:
    """Report the current stage at regular intervals."""
    is_over = threading.Event()

    def tell_often() -> None:
        while not is_over.wait(_LINE_INTERVAL_S):
            tell(display.stages[-1])

    # The thread runs in the context of the command, which names the run.
    thread = threading.Thread(target=copy_context().run, args=(tell_often,), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
