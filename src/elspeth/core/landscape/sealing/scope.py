"""What a seal covers: record types, their order and columns, by the names that they had when the run was sealed.

A later epoch may add columns and rename them. A seal keeps its own list, so that its bytes can be made again then.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from functools import cache

from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.lines.chunks import chunks_of, records_of
from elspeth.core.landscape.records.digest import table_maps
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["Located", "SealedType", "located", "scope_from_json", "scope_of_today", "scope_to_json", "sealed_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedType:
    """A record type in a seal: its table, the columns that its records are sorted by, and those that are sealed."""

    record_type: str
    table: str
    order: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the records of a sealed type are today; `names` maps the sealed columns to those of today."""

    sealed: SealedType
    record_type: RecordType[AuditRecord]
    names: Mapping[str, str]


@cache
def scope_of_today() -> tuple[SealedType, ...]:
    """What a seal covers now: every column that is exported, but for those that may change in a finished record."""
    return tuple(
        SealedType(
            record_type=name,
            table=record_type.table.name,
            order=record_type.order,
            columns=tuple(
                column.name
                for column in record_type.columns
                if column.withheld is None and column.name not in record_type.lifecycle.afterwards
            ),
        )
        for name, record_type in RECORD_TYPES.items()
    )


def scope_to_json(scope: tuple[SealedType, ...]) -> str:
    """The scope as a seal keeps it."""
    return json.dumps([asdict(sealed) for sealed in scope], separators=(",", ":"))


def scope_from_json(text: str) -> tuple[SealedType, ...]:
    """The scope that a seal keeps; ValueError, TypeError or KeyError if that is none."""
    return tuple(
        SealedType(
            record_type=each["record_type"],
            table=each["table"],
            order=tuple(each["order"]),
            columns=tuple(each["columns"]),
        )
        for each in json.loads(text)
    )


def located(sealed: SealedType, epoch: int) -> Located:
    """The sealed type in today's tables; KeyError if its table or one of its columns is not in them any more."""
    by_table = {record_type.table.name: record_type for record_type in RECORD_TYPES.values()}
    if epoch == EPOCH:
        record_type = by_table[sealed.table]
        today = {name: name for name in record_type.table.columns.keys()}  # noqa: SIM118  not a mapping
    else:
        moved = {table.before: table for table in table_maps(epoch, EPOCH)}[sealed.table]
        record_type, today = by_table[moved.after], dict(moved.columns)
    names = {name: today[name] for name in (*sealed.columns, *sealed.order)}
    return Located(sealed=sealed, record_type=record_type, names=names)


def sealed_lines(connection: Connection, where: Located, run_id: str) -> Generator[bytes, None, None]:
    """The bytes of each record that a seal is over, in the order of the seal.

    AuditIntegrityError, CanonicalError for a record that breaks the schema, which no sealed record did.
    """
    sealed, record_type = where.sealed, where.record_type
    if _is_whole(where):
        # Today's lines are what was sealed: the database writes them itself.
        for _, lines in chunks_of(connection, record_type, run_id):
            yield from lines[:-1].split(b"\n")
        return
    order = [where.names[name] for name in sealed.order]
    for record in records_of(connection, record_type, run_id, withheld=True, order=order):
        values = {name: record[where.names[name]] for name in sealed.columns}
        yield canonical_bytes({"record_type": sealed.record_type, **values})


def _is_whole(where: Located) -> bool:
    """Whether the sealed bytes of a record are its line in an export of today."""
    sealed, record_type = where.sealed, where.record_type
    exported = {column.name for column in record_type.columns if column.withheld is None}
    return (
        sealed.record_type == record_type.name
        and sealed.order == record_type.order
        and set(sealed.columns) == exported
        and all(name == today for name, today in where.names.items())
    )
