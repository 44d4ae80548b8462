"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from pydantic import model_validator

from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import FilePath, Source, SourceOptions
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.extras import find_pyarrow, require_pyarrow
from elspeth.plugins.sources.text_file import check_file
from elspeth.plugins.values import foreign_row

__all__ = ["ParquetSource", "ParquetSourceOptions"]

_BATCH_ROWS = 1_000


class ParquetSourceOptions(SourceOptions):
    """Options of the Parquet source."""

    path: FilePath

    @model_validator(mode="after")
    def _pyarrow_is_installed(self) -> Self:
        find_pyarrow()
        return self


class ParquetSource(Source):
    """Rows of a Parquet file; needs the extra `parquet`.

    Times, dates and decimals become text, bytes base64 text. A row that does not fit the schema is an invalid row.
    """

    name = "parquet"
    plugin_version = "1.0.0"
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
                message_of = recordable_message
                for batch in file.iter_batches(_BATCH_ROWS):
                    for values in batch.to_pylist():
                        self._read_rows += 1
                        yield foreign_row(values, self._validator, f"row {self._read_rows - 1}")
        except (OSError, pyarrow.ArrowException) as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise PluginError(f"{self._path} cannot be read: {reason}") from error

    def fraction_read(self) -> float | None:
        """How many of the rows have been read."""
        return self._read_rows / self._rows if self._rows else None
