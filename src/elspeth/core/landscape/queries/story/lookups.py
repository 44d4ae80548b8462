"""The columns by which records are looked up: what names a record, and what refers to one.

They come from the generated schema: the columns after the run that keys, unique rules and indexes begin with, and the
references; and the one reference that no foreign key can state. A trail answers questions about no others.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import UniqueConstraint

from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import BATCH_OUTPUT, RECORD_TYPES, RecordType

__all__ = ["LOOKUPS"]

_UNSTATED = {BATCH_OUTPUT.name: {"output_id"}}
"""References to records of several types, by record type: what comes out of a batch is a token or an artifact."""


def _lookups(record_type: RecordType[AuditRecord]) -> tuple[str, ...]:
    table = record_type.table
    rules = [
        record_type.key,
        record_type.order,
        *([*each.columns.keys()] for each in table.constraints if isinstance(each, UniqueConstraint)),
        *([*each.columns.keys()] for each in table.indexes),
    ]
    # All of them begin with the run, which has no other column in the run's own key.
    named = {names[1] if len(names) > 1 else names[0] for names in rules}
    referring = {each.columns[-1] for each in record_type.references if len(each.columns) > 1}
    wanted = named | referring | _UNSTATED.get(record_type.name, set())
    return tuple(column.name for column in record_type.columns if column.name in wanted)


LOOKUPS: Mapping[str, tuple[str, ...]] = {name: _lookups(each) for name, each in RECORD_TYPES.items()}
"""By record type, in column order."""
