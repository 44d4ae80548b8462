"""Commands as processes, and signals to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["COMMAND", "run_with_signal", "start_command", "workers_of"]

_SIGNALLED = """
import os, signal, sys
number, moment = int(sys.argv.pop(1)), float(sys.argv.pop(1))
signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), number))
signal.setitimer(signal.ITIMER_PROF, moment)
from elspeth.cli import run
try:
    run()
finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
"""

COMMAND = "from elspeth.cli import run; run()"


def run_with_signal(
    number: signal.Signals, moment: float, *arguments: str, directory: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and send it a signal.

    `moment` is in seconds of its processor time, so the speed of the machine does not matter.
    """
    program = [sys.executable, "-c", _SIGNALLED, str(int(number)), str(moment), *arguments]
    return subprocess.run(
        program, cwd=directory, env=os.environ | (environ or {}), capture_output=True, text=True, check=False
    )


def start_command(*arguments: str, directory: Path, own_group: bool = False) -> subprocess.Popen[str]:
    """Start a command without waiting for it."""
    program = [sys.executable, "-c", COMMAND, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        program, cwd=directory, stdout=pipe, stderr=pipe, text=True, process_group=0 if own_group else None
    )


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a command, newest last.

    They are children of the process that forks them.
    """
    with suppress(OSError):
        servers = [child for child in _children_of(pid) if b"forkserver" in _command_line(child)]
        return [worker for server in servers for worker in _children_of(server)]
    return []


def _children_of(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
