"""Files that plugins read as text or write as output."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import (
    FilePath,
    JsonObject,
    PluginError,
    PluginOptions,
    RowRejectedError,
    Sink,
    StagedOutput,
)
from elspeth.contracts.rows import RowData, RowValidator
from elspeth.plugins.staging import StagedFile

__all__ = ["FileSink", "FileSinkOptions", "TextFile", "check_file"]

_BEGINNINGS: Mapping[bytes, str] = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive, as spreadsheets are",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1\x15": "Parquet",
}


class FileSinkOptions(PluginOptions):
    """Options of sinks that write one file.

    Rows that do not satisfy the schema are refused.
    """

    path: FilePath


class FileSink(Sink):
    """A sink whose output is one file, published complete.

    Subclasses say how rows become bytes.
    """

    options_model = FileSinkOptions

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._validator = RowValidator(options.schema_config)
        self._file = StagedFile(Path(options.path))

    @abstractmethod
    def render(self, row: RowData) -> bytes:
        """Return one row in UTF-8, and what comes before it.

        Raises RowRejectedError if the row cannot be represented. Any other ValueError counts as one, too, but only its
        place in the code is recorded.
        """

    @abstractmethod
    def ending(self) -> bytes:
        """Return what follows the last row."""

    def state(self) -> JsonObject:
        """Return what `render` remembers of earlier rows."""
        return {}

    def restore(self, state: JsonObject) -> None:
        """Remember what `state` returned in another process."""

    def open(self, staging_name: str) -> None:
        """Create the staging file."""
        self._file.open(staging_name)

    def write(self, row: RowData) -> None:
        """Append one row.

        Raises RowRejectedError if it does not satisfy the schema or cannot be represented.
        """
        try:
            self._validator.validate(row)
            content = self.render(row)
        except ValueError as error:
            raise RowRejectedError(recordable_message(error)) from error
        self._file.write(content)

    def sync(self) -> None:
        """Return when every row is on disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """Return size, hash and what the next row depends on."""
        return {**self._file.position(), **self.state()}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the rows of the position."""
        self._file.reopen(staging_name, position)
        self.restore(position)

    def finish(self) -> StagedOutput | None:
        """Complete the file."""
        self._file.write(self.ending())
        return self._file.finish(self.name)

    def publish(self) -> None:
        """Rename the file to its final name."""
        self._file.publish()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file is in place."""
        return self._file.confirm(staging_name, output)

    def close(self) -> str | None:
        """Close the staging file and return its path."""
        return self._file.close()

    def discard(self) -> None:
        """Remove the staging file."""
        self._file.discard()


class TextFile:
    """A UTF-8 file that is read once.

    PluginError names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._size = 0

    def check(self) -> None:
        """Raise PluginError if the file cannot be opened."""
        check_file(self.path)

    @contextmanager
    def opened(self, *, newline: str) -> Iterator[TextIO]:
        """Open the file for the time of the block.

        A byte that is not UTF-8 is read as a lone surrogate.
        """
        try:
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as self._file:
                self._size = os.fstat(self._file.fileno()).st_size
                self._refuse_other_forms(self._file)
                yield self._file
        except OSError as error:
            raise PluginError(f"{self.path} cannot be read: {error.strerror}") from error

    def fraction_read(self) -> float | None:
        """Return the fraction of the file that has been read.

        None before it is opened, and for an empty file.
        """
        if self._file is None:
            return None
        if self._file.closed:
            return 1.0
        return self._file.buffer.tell() / self._size if self._size else None

    def _refuse_other_forms(self, file: TextIO) -> None:
        """Raise PluginError for a file that is not text."""
        begins = cast("io.BufferedReader", file.buffer).peek(max(map(len, _BEGINNINGS)))
        for beginning, form in _BEGINNINGS.items():
            if begins.startswith(beginning):
                raise PluginError(f"{self.path} begins like {form}: expected text in UTF-8")


def check_file(path: Path) -> None:
    """Raise PluginError for a file that cannot be opened.

    A pipe is not opened: that would wait for its writer.
    """
    try:
        if not path.is_fifo():
            path.open("rb").close()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}") from error
