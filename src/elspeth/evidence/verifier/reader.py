"""Reads the files of a bag, directory or archive.

An attacker may have made the bag. So symbolic links and other special files are refused, as are archives that two
programs could read differently, and archives that are much larger unpacked than packed.
"""

from __future__ import annotations

import os
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from elspeth.evidence.format.bag import BAGIT
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_DOCUMENT, MAX_FACTOR, MAX_FILES, MAX_LINE, MAX_UNPACKED
from elspeth.evidence.verifier._zip_archive import Member, member_blocks, read_members

__all__ = ["BagFiles", "batches_of_lines", "blocks_of_lines", "looks_like_bag", "open_bag"]

_BLOCK = 1 << 20
"""The number of bytes read at a time."""

_TAIL = 30
"""The largest number of bytes of a line in a message."""

_ZIP_MARK = b"PK\x03\x04"

_UNREADABLE = (OSError, ValueError, zlib.error)
"""The errors of reading a damaged file."""


class BagFiles(ABC):
    """The files of a bag.

    `sizes` are in bytes, by name.
    """

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        self.path = path
        self.sizes = sizes

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file in blocks.

        Raises EvidenceError if it is missing or cannot be read.
        """
        if name not in self.sizes:
            raise EvidenceError(name, "expected this file, got none")
        try:
            yield from self._blocks(name)
        except _UNREADABLE as error:
            raise EvidenceError(name, f"cannot be read: {_reason(error)}") from error

    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises EvidenceError if it is missing, too large, or cannot be read.
        """
        size = self.sizes.get(name, 0)
        if size > MAX_DOCUMENT:
            raise EvidenceError(name, f"expected at most {MAX_DOCUMENT:,} bytes, got {size:,}")
        return b"".join(self.blocks(name))

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file in hexadecimal.

        Raises EvidenceError if it is missing or cannot be read.
        """
        digest = sha256()
        for block in self.blocks(name):
            digest.update(block)
        return digest.hexdigest()

    @abstractmethod
    def _blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an existing file."""


class _Directory(BagFiles):
    def _blocks(self, name: str) -> Iterator[bytes]:
        # This was a plain file when the directory was listed. If it has become a link since, it is not followed.
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            while block := file.read(_BLOCK):
                yield block


class _Archive(BagFiles):
    def __init__(self, path: Path, file: BinaryIO, members: Mapping[str, Member]) -> None:
        super().__init__(path, {name: member.size for name, member in members.items()})
        self._file = file
        self._members = members

    def _blocks(self, name: str) -> Iterator[bytes]:
        yield from member_blocks(self._file, self._members[name])


@contextmanager
def open_bag(path: Path) -> Iterator[BagFiles]:
    """Open the bag in a directory or a zip archive.

    Raises EvidenceError if the path is neither, or if its content is refused.
    """
    if path.is_dir():
        yield _Directory(path, _listed(path))
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
    with file:
        if file.read(len(_ZIP_MARK)) != _ZIP_MARK:
            raise EvidenceError(str(path), "expected a bag, a directory or zip archive, got another file")
        yield _Archive(path, file, _files_of_archive(file, path))


def looks_like_bag(path: Path) -> bool:
    """Return whether a path is a directory or zip archive."""
    if path.is_dir() or path.suffix == ".zip":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP_MARK)) == _ZIP_MARK
    except OSError:
        return False


def batches_of_lines(blocks: Iterable[bytes], place: str) -> Iterator[list[bytes]]:
    """Yield lines without line feeds, one batch per block.

    Raises EvidenceError as `blocks_of_lines` does.
    """
    return (lines[:-1].split(b"\n") for _, lines in blocks_of_lines(blocks, place))


def blocks_of_lines(blocks: Iterable[bytes], place: str) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, with the number of lines.

    Raises EvidenceError for a line that is too long, or has no line feed.
    """
    number, size = 0, 0
    rest: list[bytes] = []
    """The beginning of an incomplete line, in the blocks in which it arrived."""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            lines = b"".join([*rest, block[:end]])
            rest = [block[end:]]
            count = lines.count(b"\n")
            number += count
            yield count, lines
        else:
            rest.append(block)
        size = sum(map(len, rest))
        if size > MAX_LINE:
            raise EvidenceError(f"{place}, line {number + 1}", f"expected at most {MAX_LINE:,} bytes, got more")
    if size:
        tail = b"".join(rest)[-_TAIL:]
        problem = f"expected a line feed at its end, got the end of the file after {shown(tail)}"
        raise EvidenceError(f"{place}, line {number + 1}", f"{problem}: the file is truncated")


def _listed(top: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    waiting = [top]
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
            kinds = [(Path(entry.path), entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            raise EvidenceError(str(error.filename or top), f"cannot be read: {error.strerror}") from error
        for path, found in kinds:
            name = path.relative_to(top).as_posix()
            if stat.S_ISDIR(found.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(found.st_mode):
                sizes[name] = found.st_size
            else:
                kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a device"
                raise EvidenceError(shown(name), f"expected plain files and directories only, got {kind}")
        if len(sizes) + len(waiting) > MAX_FILES:
            raise EvidenceError(str(top), f"expected at most {MAX_FILES:,} files, got more")
    return sizes


def _files_of_archive(file: BinaryIO, path: Path) -> dict[str, Member]:
    """Return the files by their names in the bag.

    The bag may be in a single directory of the archive (RFC 8493, section 4).
    """
    try:
        size = os.fstat(file.fileno()).st_size
        members = read_members(file, size, str(path), most=MAX_FILES)
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
    limit, unpacked = max(MAX_UNPACKED, MAX_FACTOR * size), sum(member.size for member in members)
    if unpacked > limit:
        raise EvidenceError(str(path), f"expected at most {limit:,} bytes in this archive, got {unpacked:,}")
    top = _top_directory([member.name for member in members])
    return {member.name.removeprefix(top): member for member in members}


def _top_directory(names: Sequence[str]) -> str:
    if BAGIT in names or not names:
        return ""
    top = min(names).split("/")[0] + "/"
    return top if all(name.startswith(top) for name in names) else ""


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
