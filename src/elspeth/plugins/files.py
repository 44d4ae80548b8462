"""What plugins that read or write one file share."""

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


class FileSinkOptions(PluginOptions):
    """Options of sinks that write one file. Rows that do not satisfy the schema are refused."""

    path: FilePath


class FileSink(Sink):
    """A sink whose output is one file, published complete. Subclasses say how rows become bytes."""

    options_model = FileSinkOptions

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._validator = RowValidator(options.schema_config)
        self._file = StagedFile(Path(options.path))

    @abstractmethod
    def render(self, row: RowData) -> bytes:
        """One row in UTF-8, with whatever must stand before it.

        RowRejectedError when it cannot be expressed; of any other ValueError, which counts as one, only the place in
        the code is recorded.
        """

    @abstractmethod
    def ending(self) -> bytes:
        """What stands after the last row."""

    def state(self) -> JsonObject:
        """What `render` remembers of the rows before; nothing, unless a subclass says so."""
        return {}

    def restore(self, state: JsonObject) -> None:
        """Remember what `state` said in another process."""

    def open(self, staging_name: str) -> None:
        """Create the staging file."""
        self._file.open(staging_name)

    def write(self, row: RowData) -> None:
        """Append one row; RowRejectedError when it does not satisfy the schema or cannot be expressed."""
        try:
            self._validator.validate(row)
            content = self.render(row)
        except ValueError as error:
            raise RowRejectedError(recordable_message(error)) from error
        self._file.write(content)

    def sync(self) -> None:
        """Return when every row is on the disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """Size and hash of the file, and what the next row depends on."""
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
        """Whether the file is in place."""
        return self._file.confirm(staging_name, output)

    def close(self) -> str | None:
        """Close the staging file; its path."""
        return self._file.close()

    def discard(self) -> None:
        """Remove the staging file."""
        self._file.discard()


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


class TextFile:
    """A UTF-8 file that is read from its first line to its last. PluginError names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._size = 0

    def check(self) -> None:
        """Look whether the file is there."""
        check_file(self.path)

    @contextmanager
    def opened(self, *, newline: str) -> Iterator[TextIO]:
        """The file, for the time of the block. A byte that is not UTF-8 is read as a lone surrogate."""
        try:
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as self._file:
                self._size = os.fstat(self._file.fileno()).st_size
                self._refuse_other_forms(self._file)
                yield self._file
        except OSError as error:
            raise PluginError(f"{self.path} cannot be read: {error.strerror}") from error

    def fraction_read(self) -> float | None:
        """How much of the file has been read, from 0 to 1; None before it is open and for an empty one."""
        if self._file is None:
            return None
        if self._file.closed:
            return 1.0
        return self._file.buffer.tell() / self._size if self._size else None

    def _refuse_other_forms(self, file: TextIO) -> None:
        begins = cast("io.BufferedReader", file.buffer).peek(max(map(len, _BEGINNINGS)))
        for beginning, form in _BEGINNINGS.items():
            if begins.startswith(beginning):
                raise PluginError(f"{self.path} begins like {form}: expected text in UTF-8")


def check_file(path: Path) -> None:
    """Raise PluginError for a file that cannot be opened to be read. A pipe is not opened: that would wait."""
    try:
        if not path.is_fifo():
            path.open("rb").close()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}") from error
