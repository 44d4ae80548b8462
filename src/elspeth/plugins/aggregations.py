"""The aggregations."""

from __future__ import annotations

import math

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import Aggregation, RowError, TransformOptions
from elspeth.contracts.rows import RowData

__all__ = ["BatchReplicateAggregation", "BatchReplicateOptions", "BatchStatsAggregation", "BatchStatsOptions"]


class BatchStatsOptions(TransformOptions):
    """Options of the statistics: the field with the numbers, and the field whose values make groups."""

    value_field: str
    group_by: str | None = None
    compute_mean: bool = True


class BatchStatsAggregation(Aggregation):
    """Count, sum and mean of a field over a batch, or over each group of it.

    Groups come in the order in which they first occur; several need `output_mode: transform`. The batch fails if a
    value is not a number: a schema with the field as a number makes that the error of one row instead.
    """

    name = "batch_stats"
    plugin_version = "1.0.0"
    options_model = BatchStatsOptions

    def __init__(self, options: BatchStatsOptions) -> None:
        super().__init__(options)
        self._value_field = options.value_field
        self._group_by = options.group_by
        self._compute_mean = options.compute_mean

    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """One row with the numbers, or one for each group."""
        groups: dict[str, tuple[object, list[int | float]]] = {}
        for number, row in enumerate(rows):
            value = row.get(self._value_field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                message = f"row {number} of the batch: field {self._value_field!r}: expected a number"
                return RowError(message=f"{message}, got {describe_kind(value)}", details={"field": self._value_field})
            group = None if self._group_by is None else row.get(self._group_by)
            groups.setdefault(repr(group), (group, []))[1].append(value)
        return [self._stats(group, values) for group, values in groups.values()]

    def _stats(self, group: object, values: list[int | float]) -> RowData:
        # fsum rounds once at the end, so that the result does not depend on the order of the rows.
        exact = all(isinstance(value, int) for value in values)
        total = sum(values) if exact else math.fsum(values)
        stats: RowData = {} if self._group_by is None else {self._group_by: group}
        stats |= {"count": len(values), "sum": total}
        return stats | {"mean": total / len(values)} if self._compute_mean else stats


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

    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """The copies of the first row, of the second, and so on."""
        copies: list[RowData] = []
        for number, row in enumerate(rows):
            count = row.get(self._copies_field, self._default_copies)
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COPIES:
                got = "one beyond" if type(count) is int else describe_kind(count)
                message = f"row {number} of the batch: field {self._copies_field!r}"
                message += f": expected an integer from 0 to {MAX_COPIES}, got {got}"
                return RowError(message=message, details={"field": self._copies_field})
            copies += [row | ({"copy_index": index} if self._include_copy_index else {}) for index in range(count)]
        return copies
