"""Directories that are still there after a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["make_directory", "sync_directory"]


def make_directory(path: Path) -> None:
    """Make the directory, and those above it that are missing; once this returns, all survive a power cut.

    OSError if that is not possible. A crash leaves at most one directory that may be lost, the last one made: whoever
    goes on from there syncs it first.
    """
    path = path.absolute()
    missing = [each for each in (path, *path.parents) if not each.exists()]
    if not missing:
        path.mkdir(exist_ok=True)  # raises for a file of that name
    found = missing[-1].parent if missing else path
    with contextlib.suppress(PermissionError):  # where we may not look, we did not make it
        sync_directory(found.parent)
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creations, renames and removals."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
