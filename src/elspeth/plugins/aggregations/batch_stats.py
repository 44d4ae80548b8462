"""Numbers about a batch."""

from __future__ import annotations

import math

from elspeth.contracts.display import kind_of
from elspeth.contracts.plugins import Row, RowError
from elspeth.plugins.base import Aggregation, TransformOptions

__all__ = ["BatchStatsAggregation", "BatchStatsOptions"]


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

    def process(self, rows: list[Row]) -> list[Row] | RowError:
        """One row with the numbers, or one for each group."""
        groups: dict[str, tuple[object, list[int | float]]] = {}
        for number, row in enumerate(rows):
            value = row.get(self._value_field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                message = f"row {number} of the batch: field {self._value_field!r}: expected a number"
                return RowError(message=f"{message}, got {kind_of(value)}", details={"field": self._value_field})
            group = None if self._group_by is None else row.get(self._group_by)
            groups.setdefault(repr(group), (group, []))[1].append(value)
        return [self._stats(group, values) for group, values in groups.values()]

    def _stats(self, group: object, values: list[int | float]) -> Row:
        # fsum rounds once at the end, so that the result does not depend on the order of the rows.
        exact = all(isinstance(value, int) for value in values)
        total = sum(values) if exact else math.fsum(values)
        stats: Row = {} if self._group_by is None else {self._group_by: group}
        stats |= {"count": len(values), "sum": total}
        return stats | {"mean": total / len(values)} if self._compute_mean else stats
