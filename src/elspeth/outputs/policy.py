"""Whether an output may be written to a path, and replace what is there."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from elspeth.outputs.places import Protected, protector_of, real_path

__all__ = ["Kind", "OutputPolicy", "OutputRefusedError", "problem_with", "refuse"]

_BAG_DECLARATION = "bagit.txt"
"""RFC 8493, section 2.1.1: a directory with this file is a bag."""

_WORTH_MORE = {
    "a SQLite database": re.compile(rb"SQLite format 3\0"),
    "a key": re.compile(rb"-----BEGIN [A-Z ]*KEY-----"),
    "a bag": re.compile(rb"PK\x03\x04.{26}bag/", re.DOTALL),
}
"""What a file is -> how it begins. A bag in a zip file begins with the header of a member below `bag/`."""

_START = 64


class OutputRefusedError(FileExistsError):
    """A path that an output may not have: `filename`, and in `strerror` why and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(errno.EEXIST, problem, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class Kind(Enum):
    """What an output is, and so what it can take the place of."""

    FILE = "a file"
    DIRECTORY = "a directory"
    UNIQUE = "something that never replaces anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPolicy:
    """What may be where an output goes.

    `objection` is asked about what is there already, a regular file that is not empty or a directory that is not empty:
    why it may not be replaced, None if it may. `force` does without asking. Nothing replaces what is `protected`.
    """

    kind: Kind
    objection: Callable[[Path], str | None]
    protected: Sequence[Protected] = ()
    force: bool = False


def problem_with(path: Path, policy: OutputPolicy) -> str | None:
    """Return why the path may not be written, None if it may. Changes nothing.

    A symbolic link is followed, and what it leads to is judged; a link that leads nowhere is a problem.
    """
    protector = protector_of(path, policy.protected)
    if protector is not None:
        return f"is {protector.what}, which no output may touch: name another path"
    real = real_path(path)
    try:
        found = path.stat()
    except (OSError, ValueError):
        return "is a symbolic link that leads nowhere: name a file" if _is_link(path) else _parent_problem(real)
    if policy.kind is Kind.UNIQUE:
        return policy.objection(path)
    if not (stat.S_ISREG if policy.kind is Kind.FILE else stat.S_ISDIR)(found.st_mode):
        return f"expected the path of {policy.kind.value}, got that of {_described(found.st_mode)}"
    if _is_empty(real, found):
        return _parent_problem(real)
    objection = _irreplaceable(real) if policy.force else policy.objection(path)
    return objection or _parent_problem(real)


def refuse(path: Path, policy: OutputPolicy) -> None:
    """Raise OutputRefusedError if the path may not be written."""
    problem = problem_with(path, policy)
    if problem is not None:
        raise OutputRefusedError(path, problem)


def _parent_problem(real: Path) -> str | None:
    """Return why nothing can be put beside what the path names."""
    can_be_made = False
    for parent in real.parents:
        mode = _mode_of(parent)
        if mode is None:
            continue
        if not stat.S_ISDIR(mode):
            return f"its directory cannot be made: {parent} is {_described(mode)}"
        if not can_be_made and not os.access(parent, os.W_OK | os.X_OK):
            return f"cannot be written: nothing can be put into {parent}"
        can_be_made = True
        if _mode_of(parent / _BAG_DECLARATION) is not None:
            return f"lies in the bag {parent}, to which nothing may be added: name another path"
    return None


def _is_empty(real: Path, found: os.stat_result) -> bool:
    """Return whether nothing would be lost with a file or directory."""
    return next(real.iterdir(), None) is None if stat.S_ISDIR(found.st_mode) else found.st_size == 0


def _irreplaceable(real: Path) -> str | None:
    """Return what not even force replaces: kinds of files that are worth more than any output."""
    try:
        with real.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    what = next((what for what, pattern in _WORTH_MORE.items() if pattern.match(start)), None)
    return None if what is None else f"is {what}, which --force does not replace: move it away"


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def _described(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISREG(mode):
        return "a file"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
