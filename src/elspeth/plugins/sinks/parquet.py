"""Rows into a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import JsonObject, Row, RowRejectedError, StagedOutput
from elspeth.plugins.base import Sink
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.extras import find_pyarrow, require_pyarrow
from elspeth.plugins.files import StagedFile
from elspeth.plugins.shape import ColumnType, shape_of
from elspeth.plugins.sinks.file import FileSinkOptions, json_text
from elspeth.plugins.spool import RowSpool

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["ParquetSink", "ParquetSinkOptions"]

_GROUP_ROWS = 10_000


class ParquetSinkOptions(FileSinkOptions):
    """Options of the Parquet sink."""

    @model_validator(mode="after")
    def _pyarrow_is_installed(self) -> Self:
        find_pyarrow()
        return self


class ParquetSink(Sink):
    """Rows as a Parquet file; needs the extra `parquet`.

    Rows wait on disk as JSON lines and become Parquet at the end, when the type of every column is known. Lists,
    mappings and columns with values of several kinds hold JSON text.
    """

    name = "parquet"
    plugin_version = "1.0.0"
    options_model = ParquetSinkOptions

    def __init__(self, options: ParquetSinkOptions) -> None:
        super().__init__(options)
        self._validator = RowValidator(options.schema_config)
        self._fields = options.schema_config.fields or ()
        self._file = StagedFile(Path(options.path))
        self._spool = RowSpool(Path(f"{options.path}.rows"))
        self._has_columns = bool(self._fields)

    def open(self, staging_name: str) -> None:
        """Create the staging files; PluginError also where pyarrow is not installed."""
        require_pyarrow(self.name)
        self._file.open(staging_name)
        self._spool.open(staging_name)

    def write(self, row: Row) -> None:
        """Keep one row; RowRejectedError when it does not satisfy the schema or JSON cannot express it."""
        try:
            if not row and not self._has_columns:
                raise RowRejectedError("the row has no fields, so that nothing would be written of it")
            self._validator.validate(row)
            self._spool.append(row)
        except ValueError as error:
            raise RowRejectedError(recordable_message(error)) from error
        self._has_columns = True

    def sync(self) -> None:
        """Return when every row is on the disk."""
        self._spool.sync()

    def position(self) -> JsonObject:
        """How far the rows have come."""
        return self._spool.position()

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the rows of the position; the file itself is written at the end, from all rows."""
        require_pyarrow(self.name)
        self._file.open(staging_name)
        self._spool.reopen(staging_name, position)
        self._has_columns = self._has_columns or any(self._spool.read())

    def finish(self) -> StagedOutput | None:
        """Write the Parquet file from the rows."""
        self._spool.finish()
        shape = shape_of(self._spool.read(), self._fields)
        pyarrow, parquet = require_pyarrow(self.name)
        types = {
            ColumnType.INTEGER: pyarrow.int64(),
            ColumnType.REAL: pyarrow.float64(),
            ColumnType.BOOLEAN: pyarrow.bool_(),
            ColumnType.TEXT: pyarrow.string(),
            ColumnType.JSON: pyarrow.string(),
        }
        schema = pyarrow.schema([(name, types[column]) for name, column in shape.items()])
        with parquet.ParquetWriter(_Output(self._file), schema) as writer:
            for group in _groups(self._spool.read()):
                columns: dict[str, list[object]] = {
                    name: [_cell(row.get(name), column) for row in group] for name, column in shape.items()
                }
                writer.write_table(pyarrow.table(columns, schema=schema))
        return self._file.finish(self.name)

    def publish(self) -> None:
        """Rename the file to its final name, and remove the rows."""
        self._file.publish()
        self._spool.discard()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Whether the file is in place."""
        is_in_place = self._file.confirm(staging_name, output)
        if is_in_place:
            self._spool.remove(staging_name)
        return is_in_place

    def close(self) -> str | None:
        """Close the staging files; the path of the rows."""
        self._file.discard()
        return self._spool.close()

    def discard(self) -> None:
        """Remove the staging files."""
        self._file.discard()
        self._spool.discard()


class _Output(io.RawIOBase):
    """A staged file as the kind of file that pyarrow writes to."""

    def __init__(self, file: StagedFile) -> None:
        super().__init__()
        self._target = file
        self._size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, content: ReadableBuffer, /) -> int:
        """Append the bytes of a buffer."""
        data = bytes(content)
        self._target.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How much was written."""
        return self._size


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := list(islice(rows, _GROUP_ROWS)):
        yield group


def _cell(value: object, column: ColumnType) -> object:
    if value is None:
        return None
    if column is ColumnType.JSON:
        return json_text(value)
    return float(value) if column is ColumnType.REAL and isinstance(value, int) else value
