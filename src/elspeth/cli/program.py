"""The program, from its arguments to its exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextvars import copy_context

from elspeth.cli.signals import Stopped, raise_signals
from elspeth.cli.terminal import named_stdout, unfailing_stderr

__all__ = ["main", "run"]

_GC_THRESHOLD = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    `argv` defaults to the arguments of the process. The code is one of `ExitCode`.
    """
    try:
        with unfailing_stderr(), named_stdout(), raise_signals():
            from elspeth.cli.app import command  # noqa: PLC0415  loading it takes time, in which signals may come

            arguments = None if argv is None else list(argv)
            # In its own context, so this command's options do not affect the next command.
            copy_context().run(command, args=arguments, prog_name="elspeth")
    except SystemExit as end:
        return int(end.code) if isinstance(end.code, int) else int(end.code is not None)
    except Stopped as stopped:
        # The command had not begun, or had already ended.
        sys.stderr.write(f"error: {stopped}\n")
        return stopped.exit_code
    return 0


def run() -> None:
    """Run the command that the process was started with."""
    # Collecting garbage after every 700 new objects would take a tenth of the time that a command needs to start.
    gc.set_threshold(_GC_THRESHOLD)
    sys.exit(main())
