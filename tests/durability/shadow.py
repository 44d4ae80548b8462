"""The preloaded library that watches a process's files.

fsync_shadow.c says what it does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NO_COMPILER", "Shadow", "build_library"]

NO_COMPILER = "durability: no C compiler found (cc, gcc or clang)"

_SOURCE = Path(__file__).with_name("fsync_shadow.c")
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def build_library(directory: Path) -> Path | None:
    """Build the library; None on a machine without a compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    library = directory / "fsync_shadow.so"
    subprocess.run([compiler, *_FLAGS, "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)
    return library


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """The faults of a process that changes files below `root`.

    It is killed right before its n-th change or sync (`stop_event`), or its n-th sync or change of names
    (`stop_barrier`). After `room` more bytes the disk is full for the paths that match `full` (fnmatch).
    """

    preloaded: Path
    root: Path
    journal: Path | None = None
    counts: Path | None = None
    stop_event: int | None = None
    stop_barrier: int | None = None
    room: int | None = None
    full: str | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        values = {
            "ROOT": self.root,
            "JOURNAL": self.journal,
            "COUNTS": self.counts,
            "STOP_EVENT": self.stop_event,
            "STOP_BARRIER": self.stop_barrier,
            "ROOM": self.room,
            "FULL": self.full,
        }
        named = {f"FSYNC_SHADOW_{name}": str(value) for name, value in values.items() if value is not None}
        return {**os.environ, **named, "LD_PRELOAD": str(self.preloaded)}
