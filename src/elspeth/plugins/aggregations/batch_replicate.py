"""Copies of the rows of a batch."""

from __future__ import annotations

from elspeth.contracts.display import kind_of
from elspeth.contracts.plugins import Row, RowError
from elspeth.plugins.base import Aggregation, TransformOptions

__all__ = ["BatchReplicateAggregation", "BatchReplicateOptions"]

MAX_COPIES = 10_000  # of one row: what a mistyped number may cost in memory


class BatchReplicateOptions(TransformOptions):
    """Options of the replicator: the field that says how many copies, and how many rows without that field get."""

    copies_field: str = "copies"
    default_copies: int = 1
    include_copy_index: bool = True


class BatchReplicateAggregation(Aggregation):
    """Makes as many copies of each row as a field of it says, numbered from 0 in `copy_index`.

    Needs `output_mode: transform`. The batch fails if a number of copies is not one from 0 to 10,000.
    """

    name = "batch_replicate"
    plugin_version = "1.0.0"
    options_model = BatchReplicateOptions

    def __init__(self, options: BatchReplicateOptions) -> None:
        super().__init__(options)
        self._copies_field = options.copies_field
        self._default_copies = options.default_copies
        self._include_copy_index = options.include_copy_index

    def process(self, rows: list[Row]) -> list[Row] | RowError:
        """The copies of the first row, of the second, and so on."""
        copies: list[Row] = []
        for number, row in enumerate(rows):
            count = row.get(self._copies_field, self._default_copies)
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COPIES:
                got = "one beyond" if type(count) is int else kind_of(count)
                message = f"row {number} of the batch: field {self._copies_field!r}"
                message += f": expected an integer from 0 to {MAX_COPIES}, got {got}"
                return RowError(message=message, details={"field": self._copies_field})
            copies += [row | ({"copy_index": index} if self._include_copy_index else {}) for index in range(count)]
        return copies
