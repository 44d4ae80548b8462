"""The program, from its arguments to its exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextvars import copy_context

from elspeth import __version__
from elspeth.cli.signals import RaisingHandler, Stopped, find_stop, raise_signals
from elspeth.cli.terminal import named_stdout, unfailing_stderr

__all__ = ["main", "run"]

_GC_THRESHOLD = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    `argv` defaults to the arguments of the process. The code is one of `ExitCode`.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    signals: RaisingHandler | None = None
    try:
        with unfailing_stderr(), named_stdout(), raise_signals() as signals:
            if arguments == ["--version"] and _print_version():
                return 0
            # Loading these takes time, during which signals may arrive.
            from elspeth.cli.app import command  # noqa: PLC0415
            from elspeth.cli.logs import hidden_logs  # noqa: PLC0415

            with hidden_logs():
                # In its own context, so this command's options do not affect the next command.
                copy_context().run(command, args=arguments, prog_name="elspeth")
    except (SystemExit, Stopped) as end:
        stop = find_stop(end)
        if stop is not None and not stop.is_reported:
            return _report_stop(stop)
        code = end.code if isinstance(end, SystemExit) else None
        return int(code) if isinstance(code, int) else int(code is not None)
    except Exception:
        # While pydantic builds a class, it replaces a stop by another error, which mentions the stop only in its text.
        stop = signals.lost_stop() if signals is not None else None
        if stop is None:
            raise
        return _report_stop(stop)
    return 0


def _report_stop(stop: Stopped) -> int:
    """Report a stop, and return its exit code."""
    stop.is_reported = True
    sys.stderr.write(f"error: {stop}\n")
    return stop.exit_code


def _print_version() -> bool:
    """Print the version, and return False if that failed.

    The library of the commands would take ten times as long to load. It only reports a failure.
    """
    try:
        print(f"elspeth {__version__}", flush=True)  # noqa: T201 - what the user asked for
    except OSError:
        return False
    return True


def run() -> None:
    """Run the command that the process was started with."""
    # Collecting garbage after every 700 new objects would take a tenth of the start time of a command.
    gc.set_threshold(_GC_THRESHOLD)
    code = main()
    # Searching all objects for cycles once more, as Python does when it ends, would take as long again.
    gc.freeze()
    sys.exit(code)
