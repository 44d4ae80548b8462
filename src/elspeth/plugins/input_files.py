"""Options and base class of sources that read files.

A source may read several files, compressed or not, or standard input.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, TextIO

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from elspeth.contracts.errors import short_repr
from elspeth.contracts.input_paths import STANDARD_INPUT, find_all_files, is_pattern
from elspeth.contracts.plugins import (
    Dataset,
    FilePath,
    PluginError,
    ReadInput,
    Source,
    SourceOptions,
    file_dataset,
)
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, SchemaViolationError
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.stores import store_of
from elspeth.plugins._input_file import InputFile, check_standard_input
from elspeth.plugins._undecoded import KEEP_UNDECODED

if TYPE_CHECKING:
    pass

__all__ = [
    "Encoding",
    "FileSourceOptions",
    "InputFile",
    "InputPaths",
    "TextSource",
    "TextSourceOptions",
    "find_readable_files",
    "name_datasets",
    "names_one_file",
]


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
"""The name of a text encoding of Python."""


class FileSourceOptions(SourceOptions):
    """Options of the sources that read files."""

    path: InputPaths = Field(
        description="The file, or the address of an object such as `s3://bucket/key`, or a list of them. A path with "
        "`*`, `?` or `[` is a pattern, of which the files are read in the order of their names; `-` is standard input. "
        "Files compressed with gzip or Zstandard are decompressed."
    )
    file_field: str | None = Field(default=None, min_length=1, description="A field to add, with the path of the file.")


class TextSourceOptions(FileSourceOptions):
    """Options of the sources that read text."""

    encoding: Encoding = Field(default="utf-8", description="The encoding of the text.")
    line_field: str | None = Field(
        default=None, min_length=1, description="A field to add, with the number of the row's first line."
    )


def names_one_file(paths: Sequence[str]) -> bool:
    """Return whether the paths can only name a single file."""
    return len(paths) == 1 and not is_pattern(paths[0])


def name_datasets(paths: Sequence[str]) -> list[Dataset]:
    """Return the names of the files of paths and patterns."""
    if tuple(paths) == (STANDARD_INPUT,):
        return []
    return [file_dataset(str(path)) for path in find_all_files(paths)[0]]


def find_readable_files(paths: Sequence[str]) -> list[Place]:
    """Return the files and objects of paths, in order.

    Raises PluginError with all their problems. A pipe is not opened, because that would wait for its writer.
    """
    files, problems = find_all_files(paths)
    for path in files:
        try:
            if isinstance(path, ObjectPath):
                store_of(path).require(path)
            elif not path.is_fifo():
                path.open("rb").close()
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
    if problems:
        raise PluginError("; ".join(problems))
    return files


class TextSource(Source):
    """A source whose rows come from text files.

    Subclasses implement `rows`, which reads the rows of a file.
    """

    options_model = TextSourceOptions
    options: TextSourceOptions
    newline: ClassVar[str] = ""
    """The argument `newline` of `open`, which determines the translation of line ends."""

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

        Raises PluginError, which names the file, and the place in it if that is known.
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

        Returns None if that is unknown, as for standard input.
        """
        done = self._size_before + (self._file.bytes_read if self._file is not None else 0)
        return done / self._size if self._size else None

    def inputs(self) -> Sequence[ReadInput]:
        """Return the files opened so far."""
        return self._read if self._file is None else [*self._read, self._file.describe()]

    def datasets(self) -> Sequence[Dataset]:
        """Return the files, without standard input."""
        return name_datasets(self._paths)

    def accept(self, row: RowData, file: InputFile, line: int, element: int | None = None) -> RowData | InvalidRow:
        """Return the row, with its place if requested.

        The row is coerced by the schema. Returns an invalid row if it does not fit.
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

        Raises PluginError if one of them cannot be read like the others.
        """

    @abstractmethod
    def rows(self, text: TextIO, file: InputFile) -> Iterator[RowData | InvalidRow]:
        """Yield the rows of one file."""

    def _find_files(self) -> list[InputFile]:
        """Return the files to read.

        Raises PluginError with all their problems.
        """
        if self._paths == (STANDARD_INPUT,):
            check_standard_input()
            return [InputFile(None, self._encoding, is_only=True)]
        is_only = names_one_file(self._paths)
        return [InputFile(path, self._encoding, is_only=is_only) for path in find_readable_files(self._paths)]

    def _add_place(self, row: RowData, file: InputFile, line: int) -> None:
        """Add the fields that name the file and line."""
        if self._file_field is not None:
            row[self._file_field] = file.name
        if self._line_field is not None:
            row[self._line_field] = line
