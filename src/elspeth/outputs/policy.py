"""Which paths an output may be written to or replace.

Paths are compared by the identity of the file that they name, whether or not that exists.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from elspeth.objects.address import Place
from elspeth.outputs.irreplaceable import content_problem, name_problem

__all__ = [
    "Extent",
    "FileIdentity",
    "FileState",
    "Kind",
    "OutputLockedError",
    "OutputPolicy",
    "OutputRefusedError",
    "Protected",
    "check_output",
    "file_state",
    "foreign_objection",
    "identity_of",
    "is_within",
    "problem_with",
    "protection_of",
    "real_path",
]

_BAG_DECLARATION = "bagit.txt"
"""The file that makes a directory a bag (RFC 8493, section 2.1.1)."""

_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to a database's name for the files that belong to it."""

_OWN_DATABASE_SUFFIXES = (".lock", ".bak")
"""How the names of the product's files beside a database end: claims on runs, and backups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """The identity of a file that need not exist.

    It consists of the nearest existing file or directory and the names missing below it.
    """

    device: int
    inode: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """Identity, size and time of a file, to notice changes."""

    device: int
    inode: int
    size: int
    modified_ns: int


def real_path(path: Path) -> Path:
    """Return the absolute path with all symbolic links followed."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return path.absolute()  # the text cannot be a file name


def identity_of(path: Path) -> FileIdentity:
    """Return the identity of the file that a path names.

    Two paths of one file have one identity, hard links included.
    """
    real = real_path(path)
    missing: list[str] = []
    for each in (real, *real.parents):
        try:
            found = each.stat()
        except (OSError, ValueError):
            missing.append(each.name)
            continue
        return FileIdentity(device=found.st_dev, inode=found.st_ino, missing=tuple(reversed(missing)))
    raise FileNotFoundError(path)  # not even the root directory can be read


def is_within(path: Path, directory: Path) -> bool:
    """Return whether the path is the directory or below it."""
    identity, real = identity_of(directory), real_path(path)
    return any(identity_of(each) == identity for each in (real, *real.parents))


def foreign_objection(kind: str, *, is_directory: bool = False) -> str:
    """Return the objection to replacing something other than `kind`.

    `kind` names the earlier outputs that may be replaced, such as "a proof". `--force` replaces no directories.
    """
    remedy = "name another directory" if is_directory else "name another file, or use --force"
    return f"is not {kind}, which a new one may replace: {remedy}"


def file_state(path: Path) -> FileState | None:
    """Return the state of a file.

    None if there is no file. A symbolic link in the last place is not followed.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return FileState(device=found.st_dev, inode=found.st_ino, size=found.st_size, modified_ns=found.st_mtime_ns)


class Extent(Enum):
    """What a protected path stands for."""

    FILE = "the file alone"
    TREE = "a directory, and everything below it"
    DATABASE = "a SQLite database, with the files beside it that belong to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """A path that no output may touch, described for messages."""

    path: Path
    what: str
    extent: Extent = Extent.FILE

    def covers(self, path: Path) -> bool:
        """Return whether an output at this path would touch it."""
        match self.extent:
            case Extent.FILE:
                return identity_of(path) == identity_of(self.path)
            case Extent.TREE:
                return is_within(path, self.path)
            case Extent.DATABASE:
                return self._belongs_to_database(path)

    def _belongs_to_database(self, path: Path) -> bool:
        database, identity = real_path(self.path), identity_of(path)
        if any(identity == identity_of(database.with_name(database.name + end)) for end in _DATABASE_SUFFIXES):
            return True
        real = real_path(path)
        is_own = real.name.startswith(f"{database.name}.") and real.name.endswith(_OWN_DATABASE_SUFFIXES)
        return is_own and identity_of(real.parent) == identity_of(database.parent)


def protection_of(path: Path, protected: Iterable[Protected]) -> Protected | None:
    """Return what protects the path, None if nothing does."""
    return next((each for each in protected if each.covers(path)), None)


class OutputRefusedError(FileExistsError):
    """A path may not be used for an output.

    `filename` is the path; `strerror` says why and what to do.
    """

    def __init__(self, path: Place, problem: str) -> None:
        super().__init__(errno.EEXIST, problem, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class OutputLockedError(OutputRefusedError):
    """Another process writes the output at this moment."""


class Kind(Enum):
    """Kinds of outputs, which can replace different things."""

    FILE = "a file"
    DIRECTORY = "a directory"
    UNIQUE = "something that never replaces anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPolicy:
    """What an output may replace.

    `objection` returns why an existing file or directory that is not empty may not be replaced, None if it may.
    `force` skips that question. What is `protected` is never replaced.
    """

    kind: Kind
    objection: Callable[[Path], str | None]
    protected: Sequence[Protected] = ()
    force: bool = False


def problem_with(path: Path, policy: OutputPolicy) -> str | None:
    """Return why the path may not be written.

    None if it may. A symbolic link is judged by the file that it leads to; one that leads nowhere is a problem.
    Nothing is changed.
    """
    protection = protection_of(path, policy.protected)
    if protection is not None:
        return f"is {protection.what}, which no output may touch: name another path"
    real = real_path(path)
    if owned := name_problem(path, real):
        return owned
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
    objection = content_problem(real) if policy.force else policy.objection(path)
    return objection or _parent_problem(real)


def check_output(path: Path, policy: OutputPolicy) -> None:
    """Raise OutputRefusedError if the path may not be written."""
    problem = problem_with(path, policy)
    if problem is not None:
        raise OutputRefusedError(path, problem)


def _parent_problem(real: Path) -> str | None:
    """Return why nothing can be created in the path's directory."""
    can_be_created = False
    for parent in real.parents:
        mode = _mode_of(parent)
        if mode is None:
            continue
        if not stat.S_ISDIR(mode):
            return f"its directory cannot be made: {parent} is {_described(mode)}"
        if not can_be_created and not os.access(parent, os.W_OK | os.X_OK):
            return f"cannot be written: nothing can be put into {parent}"
        can_be_created = True
        if _mode_of(parent / _BAG_DECLARATION) is not None:
            return f"lies in the bag {parent}, to which nothing may be added: name another path"
    return None


def _is_empty(real: Path, found: os.stat_result) -> bool:
    """Return whether a file or directory is empty."""
    return next(real.iterdir(), None) is None if stat.S_ISDIR(found.st_mode) else found.st_size == 0


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
