"""What may still change in a record, as the schema declares it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from elspeth.core.canonical import timestamp_text
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType

__all__ = ["check_change", "is_open"]


def is_open(record_type: RecordType[AuditRecord], row: Mapping[str, object]) -> bool:
    """Whether the record (database values by column) can still move to another status."""
    status = record_type.lifecycle.status
    if status is None:
        return False
    column = next(column for column in record_type.columns if column.name == status)
    if column.enum is None:
        return False
    value = column.enum(str(row[status]))
    return not getattr(value, "is_terminal", False)


def check_change(record_type: RecordType[AuditRecord], old: Mapping[str, object], new: Mapping[str, object]) -> None:
    """Raise AuditIntegrityError unless the lifecycle lets `old` become `new` (database values by column)."""
    lifecycle = record_type.lifecycle
    opened = is_open(record_type, old)
    allowed = lifecycle.while_open | lifecycle.afterwards if opened else lifecycle.afterwards
    for name, value in new.items():
        if value == old[name] or name in allowed:
            continue
        key = {part: old[part] for part in record_type.key}
        when = f"while {lifecycle.status} is {old[lifecycle.status]}" if lifecycle.status else "after it was recorded"
        raise AuditIntegrityError(
            table=record_type.table.name,
            key=key,
            field=name,
            expected=f"{_shown(old[name])!r}, unchanged {when}",
            got=_shown(value),
        )


def _shown(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value
