"""What sinks that write one file have in common."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path

from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import JsonObject, Row, RowRejectedError, StagedOutput
from elspeth.plugins.base import FilePath, PluginOptions, Sink
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.files import StagedFile

__all__ = ["FileSink", "FileSinkOptions", "json_text"]


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
    def render(self, row: Row) -> bytes:
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

    def write(self, row: Row) -> None:
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


def json_text(value: object) -> str:
    """JSON of a value in the order it has; RowRejectedError when it has none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise RowRejectedError(str(error)) from error  # which names a type
    except ValueError as error:
        raise RowRejectedError("a number is not finite, which JSON does not have") from error
