"""Compression with gzip (RFC 1952) or Zstandard (RFC 8878).

How compressed files are recognised, and how exports and outputs of sinks are compressed. Exports are read by
`elspeth.evidence.format.compression`, because an enemy may have made them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "GZIP_CONTAINER",
    "MARKS",
    "SUFFIXES",
    "Compression",
    "compressing",
    "compression_of",
    "find_compression",
    "guess_compression",
    "load_zstd",
    "missing_library",
]

_ZSTD_MODULE = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"

_LEVEL = 1
"""The level of both compressions.

Records are mostly ids and hashes, of which higher levels save a tenth at most, for several times the time.
"""

GZIP_CONTAINER = 31
"""What makes zlib read and write gzip: the largest window, plus 16."""


class Compression(StrEnum):
    """How a file is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"


SUFFIXES = {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
"""How the names of compressed files end, by habit: readers go by content."""

MARKS = {Compression.GZIP: b"\x1f\x8b", Compression.ZSTD: b"\x28\xb5\x2f\xfd"}


def guess_compression(path: Path) -> Compression | None:
    """Return the compression that a name stands for, or None."""
    return next((each for each, suffix in SUFFIXES.items() if path.suffix.lower() == suffix), None)


def missing_library(compression: Compression) -> str | None:
    """Return how to install what a compression needs.

    None if it is installed. Python has gzip, and from 3.14 on zstd.
    """
    if compression is not Compression.ZSTD:
        return None
    try:
        load_zstd()
    except ModuleNotFoundError:
        command = "in a checkout of elspeth, pip install '.[zstd]'"
        return f"needs {_ZSTD_MODULE}, which is not installed: {command}"
    return None


def load_zstd() -> ModuleType:
    """Return the module for Zstandard.

    Raises ModuleNotFoundError if it is not installed.
    """
    return import_module(_ZSTD_MODULE)


def compression_of(start: bytes) -> Compression | None:
    """Return how a file is compressed that begins like this."""
    return next((each for each, mark in MARKS.items() if start.startswith(mark)), None)


def find_compression(path: Path) -> Compression | None:
    """Return how a file is compressed, by its first bytes.

    Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        return compression_of(file.read(max(map(len, MARKS.values()))))


@contextmanager
def compressing(file: BinaryIO, compression: Compression | None) -> Iterator[BinaryIO]:
    """Yield a file whose content is compressed into another one.

    The same content gives the same bytes. Without a compression it is the other file itself. If the block fails, the
    compressed content lacks its end, which every reader reports.
    """
    if compression is None:
        yield file
        return
    compressor = _compressor(compression)
    yield cast("BinaryIO", _CompressedFile(file, compressor))
    file.write(compressor.flush())


class _Compressor(Protocol):
    def compress(self, data: ReadableBuffer, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _CompressedFile(BufferedIOBase):
    """Compresses what is written. Closing it closes nothing else."""

    def __init__(self, file: BinaryIO, compressor: _Compressor) -> None:
        self._file = file
        self._compressor = compressor

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        self._file.write(self._compressor.compress(data))
        return memoryview(data).nbytes


def _compressor(compression: Compression) -> _Compressor:
    if compression is Compression.GZIP:
        return zlib.compressobj(_LEVEL, wbits=GZIP_CONTAINER)
    zstd = load_zstd()
    option = zstd.CompressionParameter
    made: _Compressor = zstd.ZstdCompressor(options={option.compression_level: _LEVEL, option.checksum_flag: 1})
    return made
