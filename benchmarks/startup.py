"""Start time of commands, beside importing only what they need."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Timing, best
from benchmarks.pipeline import write_pipeline

__all__ = ["Start", "starts"]

_REPEATS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A command beside the bare import; the goal is 1.5."""

    command: str
    taken: Timing
    floor: Timing


def starts(directory: Path) -> list[Start]:
    """Measure `elspeth --version` and `elspeth validate`."""
    write_pipeline(directory / "validated", 10)
    settings = str(directory / "validated" / "settings.yaml")
    return [
        Start(command="elspeth --version", taken=_command("--version"), floor=_python("import typer")),
        Start(
            command="elspeth validate",
            taken=_command("validate", "-s", settings),
            floor=_python("import typer, pydantic, yaml"),
        ),
    ]


def _command(*arguments: str) -> Timing:
    return _timed(str(Path(sys.executable).with_name("elspeth")), *arguments)


def _python(program: str) -> Timing:
    return _timed(sys.executable, "-c", program)


def _timed(*command: str) -> Timing:
    return best(lambda _: subprocess.run(command, check=True, capture_output=True), _REPEATS)  # noqa: S603
