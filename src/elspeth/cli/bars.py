"""Stages as bars on a terminal, however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from elspeth.cli.stages import Stage, duration

__all__ = ["Bars"]

_ELAPSED = len("0:00:00")
_BOTH_TIMES = len("0:00:00  0:00:00 left")
_WIDE = 60
"""Columns of a terminal that has place for the time that is left."""


class Bars:
    """A line for each stage: its name, a bar, details, and times. Details give way first, the bar never does."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the lines for the width that there is now."""
        stages = list(self._stages)
        if not stages:
            return
        width = options.max_width
        times = _BOTH_TIMES if width >= _WIDE else _ELAPSED
        name, bar = max(len(stage.name) for stage in stages), max(4, width // 4)
        details = max(0, width - sum(each + 1 for each in (name, bar, times)) - 1)
        columns = [Column(width=each, no_wrap=True, overflow="crop") for each in (name, bar, details, times) if each]
        grid = Table.grid(*columns, padding=(0, 1, 0, 0))
        for stage in stages:
            middle = [Text(_fitting(stage.details, details))] if details else []
            grid.add_row(Text(stage.name), _bar(stage, bar), *middle, _times(stage, times))
        yield grid


def _bar(stage: Stage, width: int) -> ProgressBar:
    fraction = 1.0 if stage.is_ended else stage.fraction
    return ProgressBar(total=1.0, completed=fraction or 0.0, width=width, pulse=fraction is None)


def _fitting(details: Sequence[str], width: int) -> str:
    """Return as many of the details as fit, the most important ones."""
    text = ""
    for detail in details:
        longer = f"{text}  {detail}" if text else detail
        if len(longer) > width:
            break
        text = longer
    return text


def _times(stage: Stage, width: int) -> Text:
    text = duration(stage.elapsed)
    if width == _BOTH_TIMES and stage.remaining is not None:
        text += f"  {duration(stage.remaining)} left"
    return Text(text)
