"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import FilePath, Source, SourceOptions
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.extras import find_pyarrow, require_pyarrow
from elspeth.plugins.sources.text_file import check_file
from elspeth.plugins.values import as_row_value, foreign_row

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Scalar

__all__ = ["ParquetSource", "ParquetSourceOptions"]

_BATCH_ROWS = 1_000


_UNREADABLE = object()
_MICROSECONDS = len("0001-01-01T00:00:00.000000")


class ParquetSourceOptions(SourceOptions):
    """Options of the Parquet source."""

    path: FilePath

    @model_validator(mode="after")
    def _pyarrow_is_installed(self) -> Self:
        find_pyarrow()
        return self


class ParquetSource(Source):
    """Rows of a Parquet file; needs the extra `parquet`.

    Times, dates and decimals become text, bytes base64 text. A row that does not fit the schema, or has a value that
    Python's types do not hold, is an invalid row.
    """

    name = "parquet"
    plugin_version = "1.1.0"
    options_model = ParquetSourceOptions

    def __init__(self, options: ParquetSourceOptions) -> None:
        super().__init__(options)
        self._path = Path(options.path)
        self._validator = RowValidator(options.schema_config)
        self._read_rows = 0
        self._rows = 0

    def check(self) -> None:
        """Look whether the file is there."""
        check_file(self._path)

    def read(self) -> Iterator[Row | InvalidRow]:
        """Every row in order; PluginError names the file."""
        pyarrow, parquet = require_pyarrow("parquet")
        message_of: Callable[[Exception], str] = str  # about the file, until there may be values to tell
        try:
            with self._path.open("rb") as raw, parquet.ParquetFile(raw) as file:
                self._rows = file.metadata.num_rows
                names = file.schema_arrow.names
                repeated = sorted({name for name in names if names.count(name) > 1})
                if repeated:
                    raise PluginError(f"{self._path}: two columns are named {repeated[0]!r}")
                message_of = recordable_message
                for batch in file.iter_batches(_BATCH_ROWS):
                    for values in _rows_of(batch):
                        self._read_rows += 1
                        yield self._row(values, f"row {self._read_rows - 1}")
        except (OSError, pyarrow.ArrowException) as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise PluginError(f"{self._path} cannot be read: {reason}") from error

    def _row(self, values: Mapping[str, object], place: str) -> Row | InvalidRow:
        unreadable = next((name for name, value in values.items() if value is _UNREADABLE), None)
        if unreadable is None:
            return foreign_row(values, self._validator, place)
        data = {name: as_row_value(value) for name, value in values.items() if value is not _UNREADABLE}
        return InvalidRow(data=data, error=f"{place}: column {unreadable!r}: the value cannot be read")

    def fraction_read(self) -> float | None:
        """How many of the rows have been read."""
        return self._read_rows / self._rows if self._rows else None


def _rows_of(batch: RecordBatch) -> Iterable[Mapping[str, object]]:
    """The rows of a batch, which are read value by value if one of them is no value of Python."""
    try:
        rows: Iterable[Mapping[str, object]] = batch.to_pylist()
    except (ValueError, OverflowError):
        return ({name: _value(batch[name][index]) for name in batch.schema.names} for index in range(batch.num_rows))
    return rows


def _value(scalar: Scalar) -> object:
    """A value as Python's, or what stands for one that Python does not hold."""
    try:
        if getattr(scalar.type, "unit", "") == "ns" and scalar.is_valid and str(scalar.type).startswith("timestamp"):
            return _with_nanoseconds(scalar)
        return scalar.as_py()
    except (ValueError, OverflowError):
        return _UNREADABLE


def _with_nanoseconds(scalar: Scalar) -> str:
    """A time as text: Python's times have microseconds only."""
    pyarrow, _ = require_pyarrow("parquet")
    microseconds, rest = divmod(scalar.value, 1_000)
    moment = pyarrow.scalar(microseconds, pyarrow.timestamp("us", tz=scalar.type.tz)).as_py()
    text: str = moment.isoformat() if rest == 0 else moment.isoformat(timespec="microseconds")
    return text if rest == 0 else f"{text[:_MICROSECONDS]}{rest:03d}{text[_MICROSECONDS:]}"
