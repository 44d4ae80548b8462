"""The files of a bag, from a directory or a zip archive, read so that no content can do harm.

Refused: symbolic links, anything that is no plain file, names that lead out of the bag or occur twice, encrypted
members, and archives that are much larger inside than outside.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from elspeth.evidence.errors import EvidenceError, shown
from elspeth.evidence.layout import BAGIT

__all__ = ["MAX_DOCUMENT", "BagFiles", "looks_like_bag", "open_bag"]

MAX_FILES = 1000
"""A bag has about a dozen files; a list of them must not fill the memory."""

MAX_DOCUMENT = 64 << 20
"""The largest file that is read as a whole, in bytes; the schema, the largest of them, takes 100 kB."""

MAX_FACTOR = 100
"""How much larger than its archive a bag may be: records are full of hashes and deflate by a factor of 3 to 10."""

MAX_UNPACKED = 1 << 30
"""Up to this size a bag may be larger by any factor, in bytes: reading it takes seconds."""

_BLOCK = 1 << 20
"""Bytes read at once."""

_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive may raise."""


class BagFiles(ABC):
    """The files of one bag: their sizes in bytes by name, and their content in blocks."""

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        self.path = path
        self.sizes = sizes

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a file, a block at a time; EvidenceError if it is not there or cannot be read."""
        if name not in self.sizes:
            raise EvidenceError(name, "expected this file, got none")
        try:
            with self._open(name) as file:
                while block := file.read(_BLOCK):
                    yield block
        except _UNREADABLE as error:
            raise EvidenceError(name, f"cannot be read: {_reason(error)}") from error

    def read(self, name: str) -> bytes:
        """The content of a small file; EvidenceError if it is not there, too large or cannot be read."""
        size = self.sizes.get(name, 0)
        if size > MAX_DOCUMENT:
            raise EvidenceError(name, f"expected at most {MAX_DOCUMENT:,} bytes, got {size:,}")
        return b"".join(self.blocks(name))

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file, 64 hex digits; EvidenceError if it is not there or cannot be read."""
        digest = sha256()
        for block in self.blocks(name):
            digest.update(block)
        return digest.hexdigest()

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]:
        """The file, open for reading."""


class _Directory(BagFiles):
    def _open(self, name: str) -> IO[bytes]:
        # The name was a plain file when the directory was listed; if it is a link by now, it is not followed.
        return os.fdopen(os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


class _Archive(BagFiles):
    def __init__(self, path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
        super().__init__(path, {name: member.file_size for name, member in members.items()})
        self._archive = archive
        self._members = members

    def _open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._members[name])


@contextmanager
def open_bag(path: Path) -> Iterator[BagFiles]:
    """The bag in a directory or a zip archive; EvidenceError if the path is neither, or holds what is refused."""
    if path.is_dir():
        yield _Directory(path, _listed(path))
        return
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise EvidenceError(str(path), f"expected a bag, a directory or zip archive: {_reason(error)}") from error
    with archive:
        yield _Archive(path, archive, _checked_members(archive, path))


def looks_like_bag(path: Path) -> bool:
    """Whether the path can be a bag at all: a directory, or a file that is a zip archive."""
    return path.is_dir() or zipfile.is_zipfile(path)


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


def _checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files by their names in the bag, which may stand in one directory of the archive. RFC 8493, section 4."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise EvidenceError(str(path), f"expected at most {MAX_FILES:,} files, got {len(infos):,}")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check_member(info)
        if info.is_dir():
            continue
        if info.filename in members:
            raise EvidenceError(shown(info.filename), "expected each file once in the archive, got it again")
        members[info.filename] = info
    size, limit = path.stat().st_size, max(MAX_UNPACKED, MAX_FACTOR * path.stat().st_size)
    unpacked = sum(info.file_size for info in members.values())
    if unpacked > limit or sum(info.compress_size for info in members.values()) > size:
        raise EvidenceError(str(path), f"expected at most {limit:,} bytes in this archive, got {unpacked:,}")
    top = _top_directory(members)
    return {name.removeprefix(top): info for name, info in members.items()}


def _check_member(info: zipfile.ZipInfo) -> None:
    # `filename` ends at a NUL in the name as it is stored, which another program may not do.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if "\\" in name or "\x00" in name or ":" in name or any(part in {"", ".", ".."} for part in parts):
        raise EvidenceError(shown(name), "expected a name inside the bag, got one that leads elsewhere")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise EvidenceError(shown(name), "expected plain files and directories only, got a link or device")
    if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise EvidenceError(shown(name), "expected it stored or deflated, got it encrypted or in another compression")


def _top_directory(members: Mapping[str, zipfile.ZipInfo]) -> str:
    if BAGIT in members or not members:
        return ""
    top = min(members).split("/")[0] + "/"
    return top if all(name.startswith(top) for name in members) else ""


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
