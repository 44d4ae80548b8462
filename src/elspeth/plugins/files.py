"""The base classes of sinks that write files."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, Literal, Self, cast

from pydantic import Field, model_validator

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import (
    Dataset,
    FilePath,
    JsonObject,
    PluginOptions,
    RowRejectedError,
    Sink,
    StagedOutput,
    file_dataset,
)
from elspeth.contracts.rows import RowData, RowValidator
from elspeth.objects.address import place_of
from elspeth.outputs.compression import Compression, compressing, guess_compression, missing_library
from elspeth.plugins.staging import ConvertedFile, StagedFile

__all__ = ["FileSink", "FileSinkOptions", "OutputOptions", "StagedSink"]


class OutputOptions(PluginOptions):
    """Options of sinks that write one file.

    Rows that do not satisfy the schema are refused.
    """

    path: FilePath = Field(
        description="The file, or the address of an object such as `s3://bucket/key`, which appears when the run is "
        "complete. `{run_id}` and `{date}` stand for the run's."
    )


class FileSinkOptions(OutputOptions):
    """Options of sinks whose file may be compressed."""

    compression: Literal["none", "gzip", "zstd"] | None = Field(
        default=None,
        description="How the file is compressed. By default its name decides: `.gz` is gzip, `.zst` is Zstandard.",
    )

    @model_validator(mode="after")
    def _library_is_installed(self) -> Self:
        compression = self.chosen_compression()
        if compression is not None and (missing := missing_library(compression)):
            raise ValueError(f"the compression {compression} {missing}")
        return self

    def chosen_compression(self) -> Compression | None:
        """Return the compression of the file, or None."""
        if self.compression is None:
            return guess_compression(Path(self.path))
        return None if self.compression == "none" else Compression(self.compression)


class StagedSink(Sink):
    """A sink whose output is one file, published complete."""

    options: OutputOptions

    _file: StagedFile | ConvertedFile

    def dataset(self) -> Dataset | None:
        """Return the file."""
        return file_dataset(self.options.path)

    def open(self, staging_name: str) -> None:
        """Create the staging files."""
        self._file.open(staging_name)

    def sync(self) -> None:
        """Sync all rows to disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """Return the position behind the rows so far."""
        return self._file.position()

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the rows of the position."""
        self._file.reopen(staging_name, position)

    def finish(self) -> StagedOutput | None:
        """Complete the file."""
        return self._file.finish(self.name)

    def publish(self) -> None:
        """Give the file its final name, or upload it."""
        self._file.publish()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file is in place."""
        return self._file.confirm(staging_name, output)

    def published_version(self) -> str | None:
        """Return the version of the object, None for a file."""
        return self._file.version()

    def close(self) -> str | None:
        """Close the staging files, returning the path of the rows."""
        return self._file.close()

    def discard(self) -> None:
        """Remove the staging files."""
        self._file.discard()


class FileSink(StagedSink):
    """A sink that writes each row as bytes.

    Subclasses implement `render`.
    """

    options_model = FileSinkOptions

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._validator = RowValidator(options.schema_config)
        path, compression = place_of(options.path), options.chosen_compression()
        if compression is None:
            self._file = StagedFile(path)
        else:
            self._file = ConvertedFile(path, partial(_compress, compression))

    @abstractmethod
    def render(self, row: RowData) -> bytes:
        """Return the bytes of a row, after any header.

        Raises RowRejectedError if the row cannot be represented. Any other ValueError also rejects the row, but only
        its place in the code is recorded.
        """

    @abstractmethod
    def ending(self) -> bytes:
        """Return the bytes that follow the last row."""

    def state(self) -> JsonObject:
        """Return the state that `render` keeps between rows."""
        return {}

    def restore(self, state: JsonObject) -> None:
        """Restore the state that another process returned."""

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

    def position(self) -> JsonObject:
        """Return size, hash and state behind the rows so far."""
        return {**super().position(), **self.state()}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the rows of the position."""
        super().reopen(staging_name, position)
        self.restore(position)

    def finish(self) -> StagedOutput | None:
        """Complete the file."""
        self._file.write(self.ending())
        return super().finish()


def _compress(compression: Compression, content: Path, file: StagedFile) -> None:
    with content.open("rb") as plain, compressing(cast("BinaryIO", file), compression) as compressed:
        copyfileobj(plain, compressed)
