"""Outputs that appear under their name complete and on disk, or not at all."""

from __future__ import annotations

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

from elspeth.outputs.directories import make_directory, sync_directory
from elspeth.outputs.locks import sole_writer
from elspeth.outputs.places import real_path, standing_at
from elspeth.outputs.policy import OutputPolicy, OutputRefusedError, refuse

__all__ = ["Output", "create_file", "hold", "mode_of", "publish_file", "rename_new"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_HAS_NO_SUCH_RENAME = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_APPEARED = "appeared while it was written, and is left as it is: name another path"


@contextmanager
def hold(path: Path | Output, policy: OutputPolicy) -> Iterator[Output]:
    """Have an output to oneself while the block lasts, and its directory made; one that is held already stays so.

    OutputRefusedError if the policy or another writer is against it; OSError if the directory cannot be made or written
    to. What crashed writers of the same output left unfinished is removed.
    """
    if isinstance(path, Output):
        yield path
        return
    refuse(path, policy)
    real = real_path(path)
    make_directory(real.parent)
    with sole_writer(path, real):
        _clear_away(real)
        yield Output(path=path, real=real, policy=policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output that this process alone writes. `real` is its path with links followed."""

    path: Path
    real: Path
    policy: OutputPolicy

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """A file that takes the name when the block ends well, with the mode of the file that it replaces.

        A crash leaves what was there before, and an unfinished file that the next writer removes.
        """
        made = self._unfinished()
        try:
            with create_file(made, like=self.real) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            self.publish(made)
        finally:
            made.unlink(missing_ok=True)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory of files that takes the name when the block ends well, in place of the one that has it.

        A crash leaves what was there before, and an unfinished directory that the next writer removes.
        """
        with self.workplace() as made:
            yield made
            for written in made.iterdir():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
            sync_directory(made)
            self.publish(made)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A directory beside the output that is gone after the block, unless it was published."""
        made = self._unfinished()
        made.mkdir()
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def publish(self, made: Path) -> None:
        """Give a file or directory, which is on disk, the name of the output; OutputRefusedError if that is taken now.

        A crash leaves what was there before, or the new output; between the two renames that replace a directory, the
        old one as `.NAME.*.replaced`, which the next writer puts back.
        """
        refuse(self.path, self.policy)
        if real_path(self.path) != self.real:
            raise OutputRefusedError(self.path, _APPEARED)
        try:
            if made.is_dir() and self.real.exists():
                self._exchange(made)
            else:
                publish_file(made, self.real)
        except FileExistsError as error:
            raise OutputRefusedError(self.path, _APPEARED) from error
        sync_directory(self.real.parent)

    def _exchange(self, made: Path) -> None:
        made.chmod(stat.S_IMODE(self.real.stat().st_mode))
        replaced = made.with_suffix(".replaced")
        self.real.rename(replaced)
        try:
            rename_new(made, self.real)
        except BaseException:
            replaced.rename(self.real)
            raise
        sync_directory(self.real.parent)
        shutil.rmtree(replaced)

    def _unfinished(self) -> Path:
        """A name that nothing has and nobody can guess."""
        return self.real.with_name(f".{self.real.name}.{secrets.token_hex(8)}.unfinished")


def create_file(path: Path, *, like: Path | None = None) -> BinaryIO:
    """Create a file, which must not exist, with the mode of another one if that exists, and open it for writing."""
    mode = None if like is None else mode_of(like)
    descriptor = os.open(path, _CREATE, 0o666 if mode is None else mode & 0o600)
    if mode is not None:
        os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


def mode_of(path: Path) -> int | None:
    """Return the permissions of a file, None if there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def publish_file(made: Path, real: Path) -> None:
    """Give a file the name of another, in place of what has it: FileExistsError if that was nothing and now is not."""
    if standing_at(real) is None:
        rename_new(made, real)
    else:
        made.replace(real)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or directory; FileExistsError if something has the new name.

    Where the system or the file system cannot rename so in one step (renameat2 of Linux), the check comes right before.
    """
    code = _renameat2(source, target)
    if code in _HAS_NO_SUCH_RENAME:
        if os.path.lexists(target):
            code = errno.EEXIST
        else:
            source.rename(target)
            return
    if code:
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def _renameat2(source: Path, target: Path) -> int:
    """The error number of the call, 0 if it did what it should."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return errno.ENOSYS
    done = function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return ctypes.get_errno() if done else 0


def _clear_away(real: Path) -> None:
    """Remove what crashed writers left, or put back what they took away; only who holds the output may do this."""
    left = re.compile(re.escape(f".{real.name}.") + r"[0-9a-f]{16}\.(unfinished|replaced)")
    try:
        entries = list(real.parent.iterdir())
    except PermissionError:
        return  # what may not be listed may still be written to
    for each in entries:
        found = left.fullmatch(each.name)
        if found is None:
            continue
        if found[1] == "replaced" and not real.exists():
            rename_new(each, real)
        elif each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
