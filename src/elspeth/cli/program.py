"""All commands as one program: `main` as a function, `run` as the console script."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextvars import copy_context

from elspeth.cli.signals import Stopped, signals_raised
from elspeth.cli.streams import unfailing_stderr

__all__ = ["main", "run"]

_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, one of `ExitCode`."""
    try:
        with unfailing_stderr(), signals_raised():
            from elspeth.cli.app import command  # noqa: PLC0415  loading it takes time, in which signals may come

            arguments = None if argv is None else list(argv)
            # In a context of its own: what its options switch off stays on for the next command.
            copy_context().run(command, args=arguments, prog_name="elspeth")
    except SystemExit as end:
        return int(end.code) if isinstance(end.code, int) else int(end.code is not None)
    except Stopped as stopped:
        # No command was at work yet, or its work is done.
        sys.stderr.write(f"error: {stopped}\n")
        return stopped.exit_code
    return 0


def run() -> None:
    """Run the command that the process was started with."""
    # Looking for garbage among modules, at every 700 new objects, would take a tenth of the time that a command starts.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(main())
