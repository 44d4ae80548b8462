"""Directories that are still there after a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["make_directory", "sync_directory"]


def make_directory(path: Path) -> None:
    """Make the directory, and those above it that are missing; once this returns, all survive a power cut.

    A crash before the sync leaves directories that may be lost; whoever makes them again syncs the last one again.
    """
    path = path.absolute()
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in made or [path]:
        with contextlib.suppress(PermissionError):  # a directory that we may not read: we made nothing in it
            sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creations, renames and removals."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
