"""Outputs written completely and durably, or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from elspeth.outputs.locks import hidden_sibling, lock_output
from elspeth.outputs.policy import OutputPolicy, OutputRefusedError, check_output, file_state, real_path

__all__ = [
    "Output",
    "create_file",
    "hold",
    "make_directory",
    "mode_of",
    "publish_file",
    "rename_noreplace",
    "sync_directory",
]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_APPEARED = "appeared while the output was written, and is not replaced: name another path"


@contextmanager
def hold(path: Path | Output, policy: OutputPolicy) -> Iterator[Output]:
    """Hold an output exclusively while the block lasts.

    Makes its directory, and removes what crashed writers of the same output left. An output that is held already is
    yielded as it is.

    Raises OutputRefusedError if the policy or another writer forbids it; OSError if the directory cannot be made or
    written to.
    """
    if isinstance(path, Output):
        yield path
        return
    check_output(path, policy)
    real = real_path(path)
    make_directory(real.parent)
    with lock_output(path, real):
        _clean_up(real)
        yield Output(path=path, real=real, policy=policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output that only this process writes.

    `real` is its path with links followed.
    """

    path: Path
    real: Path
    policy: OutputPolicy

    @contextmanager
    def file(self, *, mode: int = 0o666) -> Iterator[BinaryIO]:
        """Write a file that is published when the block succeeds.

        It gets the mode of the file that it replaces, or else `mode` less the umask. A crash leaves what was there
        before, and an unfinished file that the next writer removes.
        """
        unfinished = self._unfinished()
        try:
            with self._named(unfinished), create_file(unfinished, like=self.real, mode=mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            self.publish(unfinished)
        finally:
            unfinished.unlink(missing_ok=True)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """Write a directory that is published when the block succeeds.

        A crash leaves what was there before, and an unfinished directory that the next writer removes.
        """
        with self.temporary_directory() as unfinished:
            yield unfinished
            for written in unfinished.iterdir():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
            sync_directory(unfinished)
            self.publish(unfinished)

    @contextmanager
    def temporary_directory(self) -> Iterator[Path]:
        """Make a directory beside the output; remove it unless published."""
        unfinished = self._unfinished()
        try:
            with self._named(unfinished):
                unfinished.mkdir()
                yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def publish(self, written: Path) -> None:
        """Give a synced file or directory the output's name.

        A crash leaves the previous output or the new one. Between the two renames that replace a directory it leaves
        the previous one as `.NAME.*.replaced`, which the next writer puts back.

        Raises OutputRefusedError if the name is taken by now.
        """
        check_output(self.path, self.policy)
        if real_path(self.path) != self.real:
            raise OutputRefusedError(self.path, _APPEARED)
        try:
            if written.is_dir() and self.real.exists():
                self._exchange(written)
            else:
                publish_file(written, self.real)
        except FileExistsError as error:
            raise OutputRefusedError(self.path, _APPEARED) from error
        sync_directory(self.real.parent)

    def _exchange(self, written: Path) -> None:
        written.chmod(stat.S_IMODE(self.real.stat().st_mode))
        replaced = written.with_suffix(".replaced")
        self.real.rename(replaced)
        try:
            rename_noreplace(written, self.real)
        except BaseException:
            replaced.rename(self.real)
            raise
        sync_directory(self.real.parent)
        shutil.rmtree(replaced)

    @contextmanager
    def _named(self, unfinished: Path) -> Iterator[None]:
        """Name the output in errors about its unfinished file."""
        try:
            yield
        except OSError as error:
            if error.filename is None or Path(str(error.filename)).is_relative_to(unfinished):
                error.filename, error.filename2 = str(self.path), None
            raise

    def _unfinished(self) -> Path:
        """Return an unused name that nobody can guess."""
        return hidden_sibling(self.real, f"{secrets.token_hex(8)}.unfinished")


def create_file(path: Path, *, like: Path | None = None, mode: int = 0o666) -> BinaryIO:
    """Create a new file and open it for writing.

    It gets the mode of `like` if that exists, or else `mode` less the umask. Raises FileExistsError if the path is
    taken.
    """
    wanted = None if like is None else mode_of(like)
    descriptor = os.open(path, _CREATE, mode if wanted is None else wanted & 0o600)
    if wanted is not None:
        os.fchmod(descriptor, wanted)
    return os.fdopen(descriptor, "wb")


def mode_of(path: Path) -> int | None:
    """Return a file's permissions, None without a file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def publish_file(written: Path, real: Path) -> None:
    """Rename a file and replace the one of that name.

    Raises FileExistsError if nothing had the name when this was called and something has it when the file is renamed.
    """
    if file_state(real) is None:
        rename_noreplace(written, real)
    else:
        written.replace(real)


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename a file or directory without replacing anything.

    One step where the system has renameat2 (Linux); elsewhere the check comes right before the renaming.

    Raises FileExistsError if the new name is taken.
    """
    code = _renameat2(source, target)
    if code in _NOT_SUPPORTED:
        if os.path.lexists(target):
            code = errno.EEXIST
        else:
            source.rename(target)
            return
    if code:
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def _renameat2(source: Path, target: Path) -> int:
    """Return the system call's error number, 0 for success."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return errno.ENOSYS
    result = function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return ctypes.get_errno() if result else 0


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, durably.

    A crash leaves at most one directory that may be lost, the last one made: the next call syncs it first.

    Raises OSError if it cannot be made.
    """
    path = path.absolute()
    missing = [each for each in (path, *path.parents) if not each.exists()]
    if not missing:
        path.mkdir(exist_ok=True)  # raises for a file of that name
    found = missing[-1].parent if missing else path
    with contextlib.suppress(PermissionError):  # an unreadable directory was not made by us
        sync_directory(found.parent)
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean_up(real: Path) -> None:
    """Remove or put back what crashed writers left.

    Only the process that holds the output may do this.
    """
    left = re.compile(re.escape(hidden_sibling(real, "").name) + r"[0-9a-f]{16}\.(unfinished|replaced)")
    try:
        entries = list(real.parent.iterdir())
    except PermissionError:
        return  # a directory that cannot be listed may still be writable
    for each in entries:
        found = left.fullmatch(each.name)
        if found is None:
            continue
        if found[1] == "replaced" and not real.exists():
            rename_noreplace(each, real)
        elif each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
