"""Exports compressed with gzip (RFC 1952) or Zstandard (RFC 8878).

Everything that opens an export for reading or writing does it here. An enemy may have made a compressed file. It must
be a single gzip member or Zstandard frame and nothing else, because programs differ in what they read of several. It
is read in constant memory, and refused when it turns out to be much larger than the file.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.limits import MAX_FACTOR, MAX_UNPACKED, MAX_WINDOW_LOG

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "SUFFIXES",
    "Allowance",
    "Compression",
    "compressing",
    "find_compression",
    "missing_library",
    "open_decompressed",
]

_ZSTD_MODULE = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"

_LEVEL = 1
"""The level of both compressions.

Records are mostly ids and hashes, of which higher levels save a tenth at most, for several times the time.
"""

_GZIP_CONTAINER = 31
"""What makes zlib read and write gzip: the largest window, plus 16."""

_BLOCK = 1 << 17
"""Compressed bytes that are read at once."""

_BUFFER = 1 << 20
"""Decompressed bytes that are held at once."""


class Compression(StrEnum):
    """How an export is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"


SUFFIXES = {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
"""How the names of compressed files end, by habit: readers go by content."""

_MARKS = {Compression.GZIP: b"\x1f\x8b", Compression.ZSTD: b"\x28\xb5\x2f\xfd"}
_UNITS = {Compression.GZIP: "gzip member", Compression.ZSTD: "zstd frame"}


def missing_library(compression: Compression) -> str | None:
    """Return how to install what a compression needs.

    None if it is installed. Python has gzip, and from 3.14 on zstd.
    """
    if compression is not Compression.ZSTD:
        return None
    try:
        _zstd()
    except ModuleNotFoundError:
        command = "in a checkout of elspeth, pip install '.[zstd]'"
        return f"needs {_ZSTD_MODULE}, which is not installed: {command}"
    return None


def find_compression(path: Path) -> Compression | None:
    """Return how a file is compressed, by its first bytes.

    Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(max(map(len, _MARKS.values())))
    return next((each for each, mark in _MARKS.items() if start.startswith(mark)), None)


class Allowance:
    """How much may be decompressed from files of some size.

    Sizes are in bytes.
    """

    def __init__(self, compressed_size: int) -> None:
        self.most = max(MAX_UNPACKED, MAX_FACTOR * compressed_size)
        self._left = self.most

    def take(self, size: int, place: str) -> None:
        """Take a part of it, or raise EvidenceError."""
        self._left -= size
        if self._left < 0:
            raise EvidenceError(place, f"expected at most {self.most:,} bytes when decompressed, got more")


def open_decompressed(path: Path, allowance: Allowance | None = None) -> BinaryIO:
    """Open a file for reading, compressed or not.

    Files of one export share an `allowance`. Raises OSError, and EvidenceError if the library for its compression is
    missing. Reading raises EvidenceError for a compressed file that is damaged, truncated, followed by more bytes, or
    too large when decompressed.
    """
    compression = find_compression(path)
    if compression is None:
        return path.open("rb")
    if missing := missing_library(compression):
        raise EvidenceError(str(path), f"is compressed with {compression}, which {missing}")
    shared = allowance or Allowance(path.stat().st_size)
    return BufferedReader(_DecompressedFile(path, compression, shared), _BUFFER)


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


class _Decompressor(Protocol):
    """The interface of bz2, lzma and zstd in Python."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


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


class _DecompressedFile(RawIOBase):
    """Decompresses a file, within the bounds."""

    def __init__(self, path: Path, compression: Compression, allowance: Allowance) -> None:
        self._path = path
        self._unit = _UNITS[compression]
        self._decompressor, self._error = _decompressor(compression)
        self._file = path.open("rb")
        self._allowance = allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        found = self._read(len(view))
        view[: len(found)] = found
        self._allowance.take(len(found), str(self._path))
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        decompressor, unit = self._decompressor, self._unit
        while not decompressor.eof:
            is_waiting = decompressor.needs_input
            block = self._file.read(_BLOCK) if is_waiting else b""
            try:
                found = decompressor.decompress(block, size)
            except self._error as error:
                raise EvidenceError(str(self._path), f"expected a sound {unit}, got a damaged one: {error}") from error
            if found:
                return found
            if is_waiting and not block and not decompressor.eof:
                problem = f"expected the end of its {unit}, got the end of the file: the file is truncated"
                raise EvidenceError(str(self._path), problem)
        if decompressor.unused_data or self._file.read(1):
            raise EvidenceError(str(self._path), f"expected the end of the file after its {unit}, got more bytes")
        return b""


class _GzipDecompressor:
    """Gives zlib the interface of the other decompressors."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_CONTAINER)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _zstd() -> ModuleType:
    return import_module(_ZSTD_MODULE)


def _compressor(compression: Compression) -> _Compressor:
    if compression is Compression.GZIP:
        return zlib.compressobj(_LEVEL, wbits=_GZIP_CONTAINER)
    zstd = _zstd()
    option = zstd.CompressionParameter
    made: _Compressor = zstd.ZstdCompressor(options={option.compression_level: _LEVEL, option.checksum_flag: 1})
    return made


def _decompressor(compression: Compression) -> tuple[_Decompressor, type[Exception]]:
    """Return a decompressor, and what it raises."""
    if compression is Compression.GZIP:
        return _GzipDecompressor(), zlib.error
    zstd = _zstd()
    made: _Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
    error: type[Exception] = zstd.ZstdError
    return made, error
