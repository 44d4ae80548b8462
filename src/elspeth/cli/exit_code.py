"""The exit codes that all commands share; docs/exit-codes.md is the table for users."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """What a command tells the shell. Codes above 128 name a signal, as shells do."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143
