"""The aggregations that come with elspeth."""

from __future__ import annotations

import math
from decimal import Decimal

from pydantic import Field

from elspeth.contracts.coercion import to_any_decimal
from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import Aggregation, RowError, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.contracts.values import DECIMALS, MisfitError, bounded_decimal

__all__ = ["BatchReplicateAggregation", "BatchReplicateOptions", "BatchStatsAggregation", "BatchStatsOptions"]

_Number = int | float | Decimal

_MAX_COPIES = 10_000  # of one row: limits the memory that a mistyped number takes


class BatchStatsOptions(TransformOptions):
    """Options of the aggregation `batch_stats`."""

    value_field: str = Field(description="The field that holds the numbers.")
    group_by: str | None = Field(default=None, description="The field whose values make groups; without it, one group.")
    compute_mean: bool = Field(default=True, description="Whether to compute the mean beside count and sum.")


class BatchStatsAggregation(Aggregation):
    """Count, sum and mean of a field, for each group.

    Groups come in the order in which they first occur; several need `output_mode: transform`. The batch fails if a
    value is not a number: a schema that declares the field as a number makes that the error of one row instead. If one
    value is a decimal, sum and mean are: the sum is exact, and the mean has at most 18 places.
    """

    name = "batch_stats"
    plugin_version = "1.1.0"
    options_model = BatchStatsOptions

    def __init__(self, options: BatchStatsOptions) -> None:
        super().__init__(options)
        self._value_field = options.value_field
        self._group_by = options.group_by
        self._compute_mean = options.compute_mean

    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """Return one row with the numbers for each group."""
        groups: dict[str, tuple[object, list[_Number]]] = {}
        for number, row in enumerate(rows):
            value = row.get(self._value_field)
            if isinstance(value, bool) or not isinstance(value, _Number):
                message = f"row {number} of the batch: field {self._value_field!r}: expected a number"
                return RowError(message=f"{message}, got {describe_kind(value)}", details={"field": self._value_field})
            group = None if self._group_by is None else row.get(self._group_by)
            groups.setdefault(repr(group), (group, []))[1].append(value)
        try:
            return [self._stats(group, values) for group, values in groups.values()]
        except MisfitError as error:
            return RowError(message=f"field {self._value_field!r}: {error}", details={"field": self._value_field})

    def _stats(self, group: object, values: list[_Number]) -> RowData:
        total, mean = _sum_and_mean(values)
        stats: RowData = {} if self._group_by is None else {self._group_by: group}
        stats |= {"count": len(values), "sum": total}
        return stats | {"mean": mean} if self._compute_mean else stats


def _sum_and_mean(values: list[_Number]) -> tuple[_Number, _Number]:
    """Return sum and mean of numbers.

    Neither depends on the order of the numbers: decimals are added exactly, and fsum rounds only once. Raises
    MisfitError if decimals become too large.
    """
    if any(isinstance(value, Decimal) for value in values):
        exact = Decimal(0)
        for value in values:
            exact = DECIMALS.add(exact, to_any_decimal(value))
        return bounded_decimal(exact), bounded_decimal(DECIMALS.divide(exact, Decimal(len(values))))
    numbers = [value for value in values if not isinstance(value, Decimal)]
    total = sum(numbers) if all(isinstance(number, int) for number in numbers) else math.fsum(numbers)
    return total, total / len(numbers)


class BatchReplicateOptions(TransformOptions):
    """Options of the aggregation `batch_replicate`."""

    copies_field: str = Field(default="copies", description="The field that says how many copies a row gets.")
    default_copies: int = Field(default=1, description="The number of copies of a row without that field.")
    include_copy_index: bool = Field(
        default=True, description="Whether `copy_index` gets the number of the copy, from 0."
    )


class BatchReplicateAggregation(Aggregation):
    """Copies each row as many times as it says.

    The number is in a field of the row; the copies are numbered from 0 in `copy_index`. Needs `output_mode: transform`.
    The batch fails if a number of copies is not an integer from 0 to 10,000.
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
        """Return the copies of each row, in order."""
        copies: list[RowData] = []
        for number, row in enumerate(rows):
            count = row.get(self._copies_field, self._default_copies)
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MAX_COPIES:
                got = "one beyond" if type(count) is int else describe_kind(count)
                message = f"row {number} of the batch: field {self._copies_field!r}"
                message += f": expected an integer from 0 to {_MAX_COPIES}, got {got}"
                return RowError(message=message, details={"field": self._copies_field})
            copies += [row | ({"copy_index": index} if self._include_copy_index else {}) for index in range(count)]
        return copies
