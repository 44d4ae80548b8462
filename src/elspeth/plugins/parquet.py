"""Parquet files as sink; the source is in `parquet_source`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import JsonObject, RowRejectedError
from elspeth.contracts.rows import RowData, RowValidator
from elspeth.contracts.schema import FieldDefinition
from elspeth.objects.address import place_of
from elspeth.plugins._pyarrow import check_pyarrow, require_pyarrow
from elspeth.plugins.column_types import Column, ColumnType, column_types
from elspeth.plugins.files import OutputOptions, StagedSink
from elspeth.plugins.json_text import encode_json
from elspeth.plugins.row_spool import in_groups, read_rows, row_line
from elspeth.plugins.staging import ConvertedFile, StagedFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from pyarrow import DataType

__all__ = ["ParquetSink", "ParquetSinkOptions"]

_GROUP_ROWS = 10_000
_DECIMAL_DIGITS = 38  # the most digits of decimals that readers of Parquet support


class ParquetSinkOptions(OutputOptions):
    """Options of the Parquet sink."""

    @model_validator(mode="after")
    def _pyarrow_is_installed(self) -> Self:
        check_pyarrow()
        return self


class ParquetSink(StagedSink):
    """Rows as a Parquet file; needs the extra `parquet`.

    Rows wait on disk as JSON lines and become Parquet at the end, when the type of every column is known. Values
    are those that the schema makes of them. Lists, mappings and columns with values of several types hold JSON text.
    """

    name = "parquet"
    plugin_version = "1.1.0"
    options_model = ParquetSinkOptions

    _file: ConvertedFile

    def __init__(self, options: ParquetSinkOptions) -> None:
        super().__init__(options)
        self._validator = RowValidator(options.schema_config)
        fields = options.schema_config.fields or ()
        self._file = ConvertedFile(place_of(options.path), partial(_write_table, fields))
        self._has_columns = bool(fields)

    def open(self, staging_name: str) -> None:
        """Create the staging files.

        Raises PluginError, also if pyarrow is not installed.
        """
        require_pyarrow(self.name)
        super().open(staging_name)

    def write(self, row: RowData) -> None:
        """Keep one row.

        Raises RowRejectedError if it does not satisfy the schema or JSON cannot represent it.
        """
        try:
            if not row and not self._has_columns:
                raise RowRejectedError("the row has no fields, so that nothing would be written of it")
            line = row_line(self._validator.validate(row))
        except ValueError as error:
            raise RowRejectedError(recordable_message(error)) from error
        self._file.write(line)
        self._has_columns = True

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the rows of the position.

        The Parquet file itself is written at the end, from all rows.
        """
        require_pyarrow(self.name)
        super().reopen(staging_name, position)
        self._has_columns = self._has_columns or any(read_rows(self._file.content))


def _write_table(fields: Sequence[FieldDefinition], content: Path, file: StagedFile) -> None:
    """Write the rows of a spool as a Parquet file."""
    shape = column_types(read_rows(content), fields)
    pyarrow, parquet = require_pyarrow("parquet")
    schema = pyarrow.schema([(name, _arrow_type(pyarrow, column)) for name, column in shape.items()])
    with parquet.ParquetWriter(_Output(file), schema) as writer:
        for group in in_groups(read_rows(content), _GROUP_ROWS):
            columns: dict[str, list[object]] = {
                name: [_convert_cell(row.get(name), column) for row in group] for name, column in shape.items()
            }
            writer.write_table(pyarrow.table(columns, schema=schema))


class _Output(io.RawIOBase):
    """A staged file as a stream for pyarrow."""

    def __init__(self, file: StagedFile) -> None:
        super().__init__()
        self._target = file
        self._size = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: ReadableBuffer, /) -> int:
        """Append the bytes of a buffer."""
        data = bytes(content)
        self._target.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size


def _arrow_type(pyarrow: ModuleType, column: Column) -> DataType:
    """Return Arrow's type for a column."""
    found: DataType
    match column.type:
        case ColumnType.INTEGER:
            found = pyarrow.int64()
        case ColumnType.REAL:
            found = pyarrow.float64()
        case ColumnType.BOOLEAN:
            found = pyarrow.bool_()
        case ColumnType.DECIMAL:
            found = pyarrow.decimal128(_DECIMAL_DIGITS, column.places)
        case ColumnType.DATE:
            found = pyarrow.date32()
        case ColumnType.DATETIME:
            found = pyarrow.timestamp("us", tz="UTC")
        case ColumnType.DURATION:
            found = pyarrow.duration("us")
        case ColumnType.TEXT | ColumnType.JSON:
            found = pyarrow.string()
    return found


def _convert_cell(value: object, column: Column) -> object:
    if value is None:
        return None
    if column.type is ColumnType.JSON:
        return encode_json(value)
    if isinstance(value, int) and column.type in {ColumnType.REAL, ColumnType.DECIMAL}:
        return float(value) if column.type is ColumnType.REAL else Decimal(value)
    return value
