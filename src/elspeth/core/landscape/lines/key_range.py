"""Ranges of the records of one type, by their position in export order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, literal, tuple_

from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType

__all__ = ["KeyRange"]

S = TypeVar("S", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """Records of a run from the key `first` up to, not including, the key `end`; None stands for the first and last.

    A key here is the values of the columns that records of the type are ordered by, without the run.
    """

    run_id: str
    first: tuple[str | int, ...] | None = None
    end: tuple[str | int, ...] | None = None

    def of(self, record_type: RecordType[AuditRecord], statement: Select[S]) -> Select[S]:
        """The statement for these records only, in export order."""
        columns = [record_type.table.c[name] for name in record_type.order]
        chosen = statement.where(columns[0] == self.run_id).order_by(*columns)
        for bound, above in ((self.first, True), (self.end, False)):
            if bound is not None:
                key = tuple_(*columns[1:])
                values = tuple_(*map(literal, bound))
                chosen = chosen.where(key >= values if above else key < values)
        return chosen
