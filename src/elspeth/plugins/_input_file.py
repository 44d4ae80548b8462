"""Reads a text file, or standard input, once.

The content is decompressed if necessary, and hashed while it is read.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from elspeth.contracts.plugins import PluginError, ReadInput
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.base import ObjectReader
from elspeth.objects.errors import ObjectStoreError
from elspeth.objects.stores import store_of
from elspeth.outputs.compression import Compression, compression_of, load_zstd, missing_library
from elspeth.plugins._undecoded import KEEP_UNDECODED

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["HashedBytes", "InputFile", "check_standard_input", "input_type"]

_BEGINNINGS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive, as spreadsheets are",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1\x15": "Parquet",
}
"""The beginnings of files that are not text. They are also looked for after decompression."""

_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # listed before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_MARKED = ("UTF-16", "UTF-32")
"""Encodings whose byte order is only known from a mark at the beginning."""

_STANDARD_INPUT = "standard input"
_PEEKED = 16  # bytes: more than any of these marks has
_BUFFER = 65_536  # bytes


class InputFile:
    """A file that is read once.

    Without a path it is standard input. `name` is its path in messages and records. `is_only` says that the source has
    a single file, so that messages about rows need not name it. `size` is the number of bytes of a regular file or an
    object, and 0 for anything else. `rows` counts the rows read from it.
    """

    def __init__(self, path: Place | None, encoding: str, *, is_only: bool) -> None:
        self._path = path
        self._type, self._uri = input_type(path), None if path is None else str(path)
        self._version: str | None = None
        self._encoding = encoding
        self._raw: io.BufferedReader | None = None
        self._hashed: HashedBytes | None = None
        self._object: ObjectReader | None = None
        self._is_complete = False
        self._damage: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
        self.is_only = is_only
        self.rows = 0
        self.name = self._uri or _STANDARD_INPUT
        self.encoding = codecs.lookup(encoding).name.removesuffix("-sig").upper()
        self.is_regular = isinstance(path, ObjectPath) or (path is not None and path.is_file())
        self.size = _size_of(path) if path is not None and self.is_regular else 0

    @property
    def bytes_read(self) -> int:
        """Return the number of bytes read, 0 without a size."""
        if self._raw is None or not self.is_regular:
            return 0
        return self.size if self._raw.closed else self._raw.tell()

    @contextmanager
    def opened(self, *, newline: str) -> Iterator[TextIO]:
        """Open the file as text while the block lasts.

        Bytes that do not fit the encoding are read as lone surrogates. Raises PluginError if the file cannot be opened,
        or cannot be read inside the block.
        """
        try:
            with self._open_raw() as self._raw:
                content = self._decompressed(self._raw)
                text = io.TextIOWrapper(content, self._decoder(content.peek(_PEEKED)), KEEP_UNDECODED, newline)
                try:
                    yield text
                finally:
                    text.detach()  # leaves standard input open
        except EOFError as error:
            raise PluginError(f"{self.name} is truncated: its compressed data have no end") from error
        except self._damage as error:
            raise PluginError(f"{self.name} is damaged: it cannot be decompressed any further") from error
        except OSError as error:
            raise PluginError(f"{self.name} cannot be read: {error.strerror}") from error

    def finish(self) -> None:
        """Read the rest of the file after the last row.

        Call it while the file is open, so that the hash covers the whole file. Raises OSError if an object was replaced
        in the meantime.
        """
        while self._raw is not None and self._raw.read(_BUFFER):
            pass
        if self._object is not None:
            self._object.require_unchanged()
        self._is_complete = True

    def describe(self) -> ReadInput:
        """Return the input to record for this file."""
        hashed = self._hashed if self._is_complete else None
        return ReadInput(
            input_type=self._type,
            path_or_uri=self._uri,
            rows=self.rows,
            is_complete=self._is_complete,
            content_hash=None if hashed is None else hashed.digest(),
            size_bytes=None if hashed is None else hashed.tell(),
            object_version=self._version,
        )

    def _open_raw(self) -> io.BufferedReader:
        if self._path is None:
            check_standard_input()
            self._hashed = HashedBytes(cast("io.BufferedIOBase", sys.stdin.buffer))
        elif isinstance(self._path, ObjectPath):
            self._object = store_of(self._path).open(self._path)
            self._version = self._object.state.label
            self._hashed = HashedBytes(self._object)
        else:
            self._hashed = HashedBytes(self._path.open("rb", buffering=0))
        return io.BufferedReader(self._hashed, _BUFFER)

    def _decompressed(self, raw: io.BufferedReader) -> io.BufferedReader:
        """Return the content of the file, which must be text."""
        compression = compression_of(raw.peek(_PEEKED))
        if compression is not None and (missing := missing_library(compression)):
            raise PluginError(f"{self.name} is compressed with {compression}, which {missing}")
        if compression is Compression.GZIP:
            return cast("io.BufferedReader", gzip.GzipFile(fileobj=raw))
        if compression is Compression.ZSTD:
            zstd = load_zstd()
            self._damage = (zstd.ZstdError,)
            return cast("io.BufferedReader", zstd.ZstdFile(raw))
        return raw

    def _decoder(self, begins: bytes) -> str:
        """Return the name of the decoder, given the first bytes.

        Raises PluginError if the file is not text, or begins with the mark of another encoding.
        """
        form = next((form for beginning, form in _BEGINNINGS.items() if begins.startswith(beginning)), None)
        if form is not None:
            raise PluginError(f"{self.name} begins like {form}: expected text in {self.encoding}")
        marked = next((name for mark, name in _ORDER_MARKS.items() if begins.startswith(mark)), None)
        if marked is None and begins and self.encoding in _MARKED:
            hint = f"expected encoding {self.encoding.lower()}-le or {self.encoding.lower()}-be"
            raise PluginError(f"{self.name} has no byte order mark, as {self.encoding} has: {hint}")
        if marked is None:
            return self._encoding
        if not self.encoding.startswith(marked.upper()):
            hint = f"if that is what it is, set encoding: {marked}"
            raise PluginError(f"{self.name} begins like {marked.upper()}: expected text in {self.encoding}; {hint}")
        return "utf-8-sig" if marked == "utf-8" else marked

    def place(self, line: int, element: int | None = None) -> str:
        """Return the place of a row for messages about it."""
        where = f"line {line}" if self.is_only else f"line {line} of {self.name}"
        return where if element is None else f"element {element}, {where}"

    def invalid(self, data: RowData, problem: str, line: int, element: int | None = None) -> InvalidRow:
        """Return an invalid row that begins at a line."""
        return InvalidRow(data=data, error=f"{self.place(line, element)}: {problem}", file=self.name, line=line)


class HashedBytes(io.RawIOBase):
    """Bytes that are hashed while they are read.

    They come from a file, an object, memory or standard input. Closing this closes a file, and leaves the others open.
    """

    def __init__(self, source: io.FileIO | ObjectReader | io.BufferedIOBase) -> None:
        self._source = source
        # A pipe is read as it fills: `readinto` of a buffered stream would wait until the buffer is full.
        self._read_some: Callable[[memoryview], int | None] = (
            source.readinto1 if isinstance(source, io.BufferedIOBase) else source.readinto
        )
        self._digest = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        view = memoryview(buffer).cast("B")
        read = self._read_some(view)
        if read:
            self._digest.update(view[:read])
            self._size += read
        return read

    def tell(self) -> int:
        """Return the number of bytes read."""
        return self._size

    def digest(self) -> str:
        """Return the SHA-256 of the bytes read, in hex."""
        return self._digest.hexdigest()

    def close(self) -> None:
        super().close()
        if not isinstance(self._source, io.BufferedIOBase):
            self._source.close()


def _size_of(path: Place) -> int:
    """Return the size in bytes.

    It is 0 if the store does not answer. The error is reported when the object is opened.
    """
    if isinstance(path, Path):
        return path.stat().st_size
    try:
        return store_of(path).require(path).size
    except ObjectStoreError:
        return 0


def input_type(path: Place | None) -> str:
    """Return the recorded type of an input."""
    if path is None:
        return "standard_input"
    return "object" if isinstance(path, ObjectPath) else "file"


def check_standard_input() -> None:
    """Raise PluginError if no input can come from standard input."""
    is_closed = sys.stdin is None or sys.stdin.closed
    if is_closed or sys.stdin.isatty():
        what = "closed" if is_closed else "a terminal"
        raise PluginError(f"{_STANDARD_INPUT} is {what}: expected rows from a pipe or a file")
