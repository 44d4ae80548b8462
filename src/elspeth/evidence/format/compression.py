"""Exports compressed with gzip (RFC 1952) or Zstandard (RFC 8878).

Every reader of exports opens them with this module. A compressed file may come from an attacker. It must be a single
gzip member or Zstandard frame and nothing else, because programs disagree on how to read several of them. It is read in
constant memory, and refused once its content turns out to be much larger than the file.
"""

from __future__ import annotations

import zlib
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.limits import MAX_FACTOR, MAX_UNPACKED, MAX_WINDOW_LOG
from elspeth.outputs.compression import GZIP_CONTAINER, Compression, find_compression, load_zstd, missing_library

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Allowance", "open_decompressed"]

_BLOCK = 1 << 17
"""The number of compressed bytes that are read at a time."""

_BUFFER = 1 << 20
"""The number of decompressed bytes that are buffered."""


_UNITS = {Compression.GZIP: "gzip member", Compression.ZSTD: "zstd frame"}


class Allowance:
    """Limits the bytes decompressed from the files of an export."""

    def __init__(self, compressed_size: int) -> None:
        self.most = max(MAX_UNPACKED, MAX_FACTOR * compressed_size)
        self._left = self.most

    def take(self, size: int, place: str) -> None:
        """Count decompressed bytes.

        Raises EvidenceError when the limit is exceeded.
        """
        self._left -= size
        if self._left < 0:
            raise EvidenceError(place, f"expected at most {self.most:,} bytes when decompressed, got more")


def open_decompressed(path: Path, allowance: Allowance | None = None) -> BinaryIO:
    """Open a file for reading, compressed or not.

    Files of one export share an `allowance`. Raises OSError if the file cannot be opened, and EvidenceError if the
    library for its compression is missing. Reading from the result raises EvidenceError for a compressed file that is
    damaged, truncated, followed by more bytes, or too large when decompressed.
    """
    compression = find_compression(path)
    if compression is None:
        return path.open("rb")
    if missing := missing_library(compression):
        raise EvidenceError(str(path), f"is compressed with {compression}, which {missing}")
    shared = allowance or Allowance(path.stat().st_size)
    return BufferedReader(_DecompressedFile(path, compression, shared), _BUFFER)


class _Decompressor(Protocol):
    """The interface of bz2, lzma and zstd in Python."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _DecompressedFile(RawIOBase):
    """Decompresses a file within an allowance."""

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
        self._zlib = zlib.decompressobj(GZIP_CONTAINER)

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


def _decompressor(compression: Compression) -> tuple[_Decompressor, type[Exception]]:
    """Return a decompressor, and the error that it raises."""
    if compression is Compression.GZIP:
        return _GzipDecompressor(), zlib.error
    zstd = load_zstd()
    made: _Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
    error: type[Exception] = zstd.ZstdError
    return made, error
