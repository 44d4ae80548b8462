"""Which file a path means, by identity and not by name, whether or not the file exists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = [
    "Extent",
    "Place",
    "Protected",
    "Standing",
    "is_within",
    "place_of",
    "protector_of",
    "real_path",
    "standing_at",
]

_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to the name of a database for the files that belong to it."""

_ENDS_BESIDE_DATABASE = (".lock", ".bak")
"""How the names of our own files beside a database end: claims on runs, and backups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file, or where it would be: the nearest thing that exists, and the names that are missing below it."""

    device: int
    inode: int
    missing: tuple[str, ...] = ()


def real_path(path: Path) -> Path:
    """Return the absolute path with all symbolic links followed, also if nothing is there."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return path.absolute()  # a text that no file can have as its name


def place_of(path: Path) -> Place:
    """Return the identity of what a path names: two paths of one file have one place, hard links included."""
    real = real_path(path)
    missing: list[str] = []
    for each in (real, *real.parents):
        try:
            found = each.stat()
        except (OSError, ValueError):
            missing.append(each.name)
            continue
        return Place(device=found.st_dev, inode=found.st_ino, missing=tuple(reversed(missing)))
    raise FileNotFoundError(path)  # not even the root directory can be looked at


def is_within(path: Path, directory: Path) -> bool:
    """Return whether the path names the directory, or something below it."""
    place = place_of(directory)
    return any(place_of(each) == place for each in _with_parents(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What tells a file from another one under the same name, and from itself after a change."""

    device: int
    inode: int
    size: int
    modified_ns: int


def standing_at(path: Path) -> Standing | None:
    """Return what is there now, without following a link in the last place; None if nothing is."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return Standing(device=found.st_dev, inode=found.st_ino, size=found.st_size, modified_ns=found.st_mtime_ns)


class Extent(Enum):
    """How much a protected path stands for."""

    FILE = "the file alone"
    TREE = "a directory, and everything below it"
    DATABASE = "a SQLite database, with the files beside it that belong to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """Something that no output may touch, and what it is, such as "the audit database"."""

    path: Path
    what: str
    extent: Extent = Extent.FILE

    def covers(self, path: Path) -> bool:
        """Return whether an output of this path would touch it."""
        match self.extent:
            case Extent.FILE:
                return place_of(path) == place_of(self.path)
            case Extent.TREE:
                return is_within(path, self.path)
            case Extent.DATABASE:
                return self._belongs_to_database(path)

    def _belongs_to_database(self, path: Path) -> bool:
        database, place = real_path(self.path), place_of(path)
        if any(place == place_of(database.with_name(database.name + end)) for end in _BESIDE_DATABASE):
            return True
        real = real_path(path)
        is_ours = real.name.startswith(f"{database.name}.") and real.name.endswith(_ENDS_BESIDE_DATABASE)
        return is_ours and place_of(real.parent) == place_of(database.parent)


def protector_of(path: Path, protected: Iterable[Protected]) -> Protected | None:
    """Return what protects the path, None if nothing does."""
    return next((each for each in protected if each.covers(path)), None)


def _with_parents(path: Path) -> Iterator[Path]:
    real = real_path(path)
    yield real
    yield from real.parents
