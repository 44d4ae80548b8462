"""Parquet files as source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.input_paths import STANDARD_INPUT
from elspeth.contracts.plugins import Dataset, PluginError, ReadInput, Source
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, convert_row, convert_value
from elspeth.objects.address import Place
from elspeth.objects.base import ObjectReader
from elspeth.objects.stores import open_place
from elspeth.plugins._input_file import input_type
from elspeth.plugins._pyarrow import check_pyarrow, require_pyarrow
from elspeth.plugins.input_files import FileSourceOptions, find_readable_files, name_datasets, names_one_file

if TYPE_CHECKING:
    from io import BufferedReader

    from pyarrow import Array, RecordBatch, Scalar

__all__ = ["ParquetSource", "ParquetSourceOptions"]

_BATCH_ROWS = 1_000
_UNREADABLE = object()
_NANOSECONDS = "[ns"
_MICROSECONDS = len("0001-01-01T00:00:00.000000")


class ParquetSourceOptions(FileSourceOptions):
    """Options of the Parquet source."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        check_pyarrow()
        if STANDARD_INPUT in self.path:
            raise ValueError("path: Parquet is read from its end, which standard input does not allow: name a file")
        return self


class ParquetSource(Source):
    """Rows of Parquet files; needs the extra `parquet`.

    Times, dates and decimals become text, bytes base64 text. A row that does not fit the schema, or has a value that
    Python's types do not hold, is an invalid row.
    """

    name = "parquet"
    plugin_version = "1.1.0"
    options_model = ParquetSourceOptions

    def __init__(self, options: ParquetSourceOptions) -> None:
        super().__init__(options)
        self._paths = options.path
        self._added = options.file_field
        self._validator = RowValidator(options.schema_config)
        self._files = self._read_files = 0
        self._rows = self._read_rows = 0
        self._inputs: list[ReadInput] = []

    def check(self) -> None:
        """Raise PluginError for files that cannot be opened."""
        find_readable_files(self._paths)

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row of every file, in order.

        Raises PluginError, which names the file.
        """
        paths = find_readable_files(self._paths)
        self._files, self._inputs = len(paths), []
        for path in paths:
            self._rows = self._read_rows = 0
            self._inputs.append(
                ReadInput(input_type=input_type(path), path_or_uri=str(path), rows=0, is_complete=False)
            )
            yield from self._rows_of(path)
            self._rows, self._read_files = 0, self._read_files + 1

    def inputs(self) -> Sequence[ReadInput]:
        """Return the files opened so far."""
        if not self._inputs or self._inputs[-1].is_complete:
            return self._inputs
        return [*self._inputs[:-1], replace(self._inputs[-1], rows=self._read_rows)]

    def datasets(self) -> Sequence[Dataset]:
        """Return the files."""
        return name_datasets(self._paths)

    def _rows_of(self, path: Place) -> Iterator[RowData | InvalidRow]:
        pyarrow, parquet = require_pyarrow("parquet")
        message_of: Callable[[Exception], str] = str  # errors are about the file, until values are read
        try:
            with open_place(path) as raw, parquet.ParquetFile(raw) as file:
                self._rows, self._read_rows = file.metadata.num_rows, 0
                names = file.schema_arrow.names
                repeated = sorted({name for name in names if names.count(name) > 1})
                if repeated:
                    raise PluginError(f"{path}: two columns are named {repeated[0]!r}")
                if self._added in names:
                    raise PluginError(f"{path}: the column {self._added!r} is also to be added as file_field")
                message_of = recordable_message
                for batch in file.iter_batches(_BATCH_ROWS):
                    for values in _read_rows_of(batch):
                        self._read_rows += 1
                        yield self._row(values, path)
                self._inputs[-1] = self._describe(path, raw)
        except (OSError, pyarrow.ArrowException) as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise PluginError(f"{path} cannot be read: {reason}") from error

    def _describe(self, path: Place, raw: BufferedReader) -> ReadInput:
        """Return the record of what was read of a file.

        A Parquet file is not read from beginning to end, so its bytes are read once more to hash them.
        """
        raw.seek(0)
        content_hash = hashlib.file_digest(raw, "sha256").hexdigest()
        version = None
        if isinstance(raw.raw, ObjectReader):
            raw.raw.require_unchanged()
            version = raw.raw.state.label
        return ReadInput(
            input_type=input_type(path),
            path_or_uri=str(path),
            rows=self._read_rows,
            is_complete=True,
            content_hash=content_hash,
            object_version=version,
            size_bytes=raw.tell(),
        )

    def _row(self, values: Mapping[str, object], path: Place) -> RowData | InvalidRow:
        place = f"row {self._read_rows - 1}" if names_one_file(self._paths) else f"row {self._read_rows - 1} of {path}"
        if self._added is not None:
            values = {**values, self._added: str(path)}
        unreadable = next((name for name, value in values.items() if value is _UNREADABLE), None)
        if unreadable is None:
            row = convert_row(values, self._validator, place)
            return replace(row, file=str(path)) if isinstance(row, InvalidRow) else row
        data = {name: convert_value(value) for name, value in values.items() if value is not _UNREADABLE}
        return InvalidRow(data=data, error=f"{place}: column {unreadable!r}: the value cannot be read", file=str(path))

    def fraction_read(self) -> float | None:
        """Return the fraction read, counting all files equally."""
        done = self._read_files + (self._read_rows / self._rows if self._rows else 0)
        return done / self._files if self._files else None


def _read_rows_of(batch: RecordBatch) -> Iterable[Mapping[str, object]]:
    """Return the rows of a batch."""
    columns = [_values_of(column) for column in batch.columns]
    return (dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True))


def _values_of(column: Array) -> Sequence[object]:
    """Return a column's values, with marks for unreadable ones.

    Nanoseconds are converted here, because Arrow converts them differently if pandas is installed.
    """
    if _NANOSECONDS not in str(column.type):
        try:
            values: list[object] = column.to_pylist()
        except (ValueError, OverflowError):
            pass  # a single value is unreadable: convert them one by one
        else:
            return values
    return [_as_python(scalar) for scalar in column]


def _as_python(scalar: Scalar) -> object:
    """Return a Python value, or a marker without one."""
    try:
        return _value_of(scalar)
    except (ValueError, OverflowError):
        return _UNREADABLE


def _value_of(scalar: Scalar) -> object:
    """Return a Python value.

    Raises ValueError or OverflowError if Python has no such value.
    """
    pyarrow, _ = require_pyarrow("parquet")
    kind = str(scalar.type)
    if not scalar.is_valid or _NANOSECONDS not in kind:
        return scalar.as_py()
    if kind.startswith("timestamp"):
        return _render_nanoseconds(scalar)
    if isinstance(scalar, pyarrow.ListScalar):
        return [_value_of(item) for item in scalar.values]
    if isinstance(scalar, pyarrow.StructScalar):
        return {name: _value_of(item) for name, item in scalar.items()}
    return scalar.cast(kind.replace(_NANOSECONDS, "[us")).as_py()  # raises if that is not exact


def _render_nanoseconds(scalar: Scalar) -> str:
    """Return a time as text.

    Python's own times have microseconds only.
    """
    pyarrow, _ = require_pyarrow("parquet")
    microseconds, rest = divmod(scalar.value, 1_000)
    moment = pyarrow.scalar(microseconds, pyarrow.timestamp("us", tz=scalar.type.tz)).as_py()
    text: str = moment.isoformat() if rest == 0 else moment.isoformat(timespec="microseconds")
    return text if rest == 0 else f"{text[:_MICROSECONDS]}{rest:03d}{text[_MICROSECONDS:]}"
