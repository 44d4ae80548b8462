"""Files that sources read as text.

There may be several, compressed or not, or standard input in place of files.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import sys
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TextIO, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from elspeth.contracts.errors import short_repr
from elspeth.contracts.input_paths import STANDARD_INPUT, file_problems, find_files, is_pattern
from elspeth.contracts.plugins import FilePath, PluginError, ReadInput, Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, SchemaViolationError
from elspeth.outputs.compression import Compression, compression_of, load_zstd, missing_library
from elspeth.plugins._undecoded import KEEP_UNDECODED

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "Encoding",
    "FileSourceOptions",
    "InputFile",
    "InputPaths",
    "TextSource",
    "TextSourceOptions",
    "find_readable_files",
    "names_one_file",
]

_BEGINNINGS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive, as spreadsheets are",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1\x15": "Parquet",
}
"""How files that are not text begin. After decompression, too: a file may have been compressed twice."""

_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_MARKED = ("UTF-16", "UTF-32")
"""Encodings whose order of bytes is known from a mark at the beginning."""

_STANDARD_INPUT = "standard input"
_PEEKED = 16  # bytes: more than any of these marks has
_BUFFER = 65_536  # bytes


def _read_paths(value: object) -> tuple[object, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"expected a path, or a list of paths, got {short_repr(value)}")
    if STANDARD_INPUT in value and len(value) > 1:
        raise ValueError(f"{STANDARD_INPUT!r} is standard input: expected no other path beside it")
    return tuple(value)


InputPaths = Annotated[
    tuple[FilePath, ...],
    BeforeValidator(_read_paths),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""Paths of files, or patterns of them."""


def _check_encoding(name: str) -> str:
    try:
        content = "a,1".encode(name)
        is_text = io.TextIOWrapper(io.BytesIO(content), name).read() == "a,1"  # refuses codecs of bytes
        io.TextIOWrapper(io.BytesIO(content + bytes(range(256))), name, KEEP_UNDECODED).read()  # `idna` always raises
    except (LookupError, UnicodeError):
        is_text = False
    if not is_text:
        raise ValueError(f"unknown encoding {name!r}: expected one of Python's, such as utf-8, cp1252 or utf-16")
    return name


Encoding = Annotated[str, AfterValidator(_check_encoding)]
"""The name of an encoding of text, as Python knows it."""


class FileSourceOptions(SourceOptions):
    """Options of the sources that read files."""

    path: InputPaths = Field(
        description="The file, or a list of files. A path with `*`, `?` or `[` is a pattern, of which the files are "
        "read in the order of their names; `-` is standard input. Files compressed with gzip or Zstandard are "
        "decompressed."
    )
    file_field: str | None = Field(default=None, min_length=1, description="A field to add, with the path of the file.")


class TextSourceOptions(FileSourceOptions):
    """Options of the sources that read text."""

    encoding: Encoding = Field(default="utf-8", description="The encoding of the text.")
    line_field: str | None = Field(
        default=None, min_length=1, description="A field to add, with the number of the row's first line."
    )


class InputFile:
    """A file that is read once.

    Without a path it is standard input. `name` is its path in messages and records. `is_only` says that the source
    names one file, so that messages about rows need not. `size` is that of a regular file in bytes, else 0. `rows`
    counts the rows read from it.
    """

    def __init__(self, path: Path | None, encoding: str, *, is_only: bool) -> None:
        self._path = path
        self._encoding = encoding
        self._raw: io.BufferedReader | None = None
        self._hashed: _HashedBytes | None = None
        self._is_complete = False
        self._damage: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
        self.is_only = is_only
        self.rows = 0
        self.name = _STANDARD_INPUT if path is None else str(path)
        self.encoding = codecs.lookup(encoding).name.removesuffix("-sig").upper()
        self.is_regular = path is not None and path.is_file()
        self.size = path.stat().st_size if path is not None and self.is_regular else 0

    @property
    def bytes_read(self) -> int:
        """Return the bytes read of a regular file, else 0."""
        if self._raw is None or not self.is_regular:
            return 0
        return self.size if self._raw.closed else self._raw.tell()

    @contextmanager
    def opened(self, *, newline: str) -> Iterator[TextIO]:
        """Open the file as text while the block lasts.

        Bytes that do not fit the encoding are read as lone surrogates. Raises PluginError, also for errors of reading
        inside the block.
        """
        try:
            with self._open_raw() as self._raw:
                content = self._decompressed(self._raw)
                text = io.TextIOWrapper(content, self._decoder(content.peek(_PEEKED)), KEEP_UNDECODED, newline)
                try:
                    yield text
                finally:
                    text.detach()  # which leaves standard input open
        except EOFError as error:
            raise PluginError(f"{self.name} is truncated: its compressed data have no end") from error
        except self._damage as error:
            raise PluginError(f"{self.name} is damaged: it cannot be decompressed any further") from error
        except OSError as error:
            raise PluginError(f"{self.name} cannot be read: {error.strerror}") from error

    def finish(self) -> None:
        """Read what follows the last row.

        Call it while the file is open. Then its hash is that of the whole file.
        """
        while self._raw is not None and self._raw.read(_BUFFER):
            pass
        self._is_complete = True

    def describe(self) -> ReadInput:
        """Return what has been read of the file."""
        hashed = self._hashed if self._is_complete else None
        return ReadInput(
            input_type="standard_input" if self._path is None else "file",
            path_or_uri=None if self._path is None else self.name,
            rows=self.rows,
            is_complete=self._is_complete,
            content_hash=None if hashed is None else hashed.digest(),
            size_bytes=None if hashed is None else hashed.tell(),
        )

    def _open_raw(self) -> io.BufferedReader:
        if self._path is None:
            _check_standard_input()
        self._hashed = _HashedBytes(
            cast("io.BufferedIOBase", sys.stdin.buffer) if self._path is None else self._path.open("rb", buffering=0)
        )
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
        """Return the decoder of a file that begins like this.

        Raises PluginError if the file is no text, or begins with the mark of another encoding.
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
        """Return the place of a row in its messages."""
        where = f"line {line}" if self.is_only else f"line {line} of {self.name}"
        return where if element is None else f"element {element}, {where}"

    def invalid(self, data: RowData, problem: str, line: int, element: int | None = None) -> InvalidRow:
        """Return an invalid row that begins at a line."""
        return InvalidRow(data=data, error=f"{self.place(line, element)}: {problem}", file=self.name, line=line)


class _HashedBytes(io.RawIOBase):
    """Bytes that are hashed as they are read.

    They are those of a file or of standard input. Closing it closes a file, and leaves standard input open.
    """

    def __init__(self, source: io.FileIO | io.BufferedIOBase) -> None:
        self._source = source
        # A pipe is read as it fills: `readinto` of a buffered stream would wait until there is enough.
        self._read_some: Callable[[memoryview], int | None] = (
            source.readinto if isinstance(source, io.FileIO) else source.readinto1
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
        if isinstance(self._source, io.FileIO):
            self._source.close()


def _check_standard_input() -> None:
    """Raise PluginError if nothing can come from it."""
    is_closed = sys.stdin is None or sys.stdin.closed
    if is_closed or sys.stdin.isatty():
        what = "closed" if is_closed else "a terminal"
        raise PluginError(f"{_STANDARD_INPUT} is {what}: expected rows from a pipe or a file")


def names_one_file(paths: Sequence[str]) -> bool:
    """Return whether the paths cannot stand for several files."""
    return len(paths) == 1 and not is_pattern(paths[0])


def find_readable_files(paths: Sequence[str]) -> list[Path]:
    """Return the files of paths and patterns, in order.

    Raises PluginError with everything that is wrong with them. A pipe is not opened: that would wait for its writer.
    """
    problems = file_problems(paths)
    files = [path for text in paths for path in find_files(text)]
    for path in files:
        try:
            if not path.is_fifo():
                path.open("rb").close()
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
    if problems:
        raise PluginError("; ".join(problems))
    return files


class TextSource(Source):
    """A source whose rows come from files of text.

    Subclasses say how the text of a file becomes rows.
    """

    options_model = TextSourceOptions
    newline: ClassVar[str] = ""
    """Which line ends are translated: see `open`."""

    def __init__(self, options: TextSourceOptions) -> None:
        super().__init__(options)
        self._paths = options.path
        self._encoding = options.encoding
        self._file_field, self._line_field = options.file_field, options.line_field
        self._added = [name for name in (options.file_field, options.line_field) if name is not None]
        self._validator = RowValidator(options.schema_config)
        self._file: InputFile | None = None
        self._read: list[ReadInput] = []
        self._size = self._size_before = 0

    def check(self) -> None:
        """Raise PluginError for files that cannot be read."""
        self.check_files(self._find_files())

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row of every file, in order.

        Raises PluginError with the file, and the place in it if it is known.
        """
        files = self._find_files()
        self.check_files(files)
        self._size, self._size_before = sum(file.size for file in files), 0
        self._read = []
        for file in files:
            self._file = file
            with file.opened(newline=self.newline) as text:
                for row in self.rows(text, file):
                    file.rows += 1
                    yield row
                file.finish()
            self._read.append(file.describe())
            self._file, self._size_before = None, self._size_before + file.size

    def fraction_read(self) -> float | None:
        """Return the fraction of the files that has been read.

        None if it is not known, as of standard input.
        """
        done = self._size_before + (self._file.bytes_read if self._file is not None else 0)
        return done / self._size if self._size else None

    def inputs(self) -> Sequence[ReadInput]:
        """Return the files opened so far."""
        return self._read if self._file is None else [*self._read, self._file.describe()]

    def accept(self, row: RowData, file: InputFile, line: int, element: int | None = None) -> RowData | InvalidRow:
        """Return the row, with its place if that is wanted.

        It is coerced by the schema; an invalid row if it does not fit.
        """
        taken = [name for name in self._added if name in row]
        if taken:
            return file.invalid(row, f"the field {taken[0]!r} is also to be added", line, element)
        if self._added:
            self._add_place(row, file, line)
        try:
            return self._validator.validate(row)
        except SchemaViolationError as error:
            return file.invalid(row, str(error), line, element)

    def check_files(self, files: Sequence[InputFile]) -> None:
        """Check the files before the first row.

        Raises PluginError if one of them cannot be read as the others.
        """

    @abstractmethod
    def rows(self, text: TextIO, file: InputFile) -> Iterator[RowData | InvalidRow]:
        """Yield the rows of one file."""

    def _find_files(self) -> list[InputFile]:
        """Return the files to read.

        Raises PluginError with everything that is wrong with them.
        """
        if self._paths == (STANDARD_INPUT,):
            _check_standard_input()
            return [InputFile(None, self._encoding, is_only=True)]
        is_only = names_one_file(self._paths)
        return [InputFile(path, self._encoding, is_only=is_only) for path in find_readable_files(self._paths)]

    def _add_place(self, row: RowData, file: InputFile, line: int) -> None:
        """Add the fields that name the file and line."""
        if self._file_field is not None:
            row[self._file_field] = file.name
        if self._line_field is not None:
            row[self._line_field] = line
