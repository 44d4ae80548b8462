"""The scope of seals, and leaf hashes of sealed records.

A later epoch may add columns and rename them. So each seal stores its scope: the record types that it covers, with
their columns and their order, by the names of its epoch. With the scope, the sealed bytes can be derived again.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from typing import Generic, TypeVar

from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database.tables import map_tables
from elspeth.core.landscape.lines.ranges import Readers, read_lines_in_parallel
from elspeth.core.landscape.lines.reading import LineTransform, read_chunks, read_records, split
from elspeth.evidence.format.merkle import Subtrees, leaf_hashes
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = [
    "PREFIX_SIZE",
    "LocatedType",
    "SealedLines",
    "SealedRange",
    "SealedType",
    "current_scope",
    "locate",
    "scope_from_json",
    "scope_to_json",
    "seal_lines",
    "sealed_chunks",
    "sealed_ranges",
    "seals_whole_lines",
]

T = TypeVar("T")

PREFIX_SIZE = 4
"""The number of bytes of each leaf hash that are kept to find an altered record. The root does not depend on them."""

_FETCH = 1000
"""The number of records in a chunk, if they are read one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedType:
    """A record type in the scope of a seal.

    `order` names the columns by which records are sorted, and `columns` the sealed columns.
    """

    record_type: str
    table: str
    order: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedType:
    """A sealed type with today's record type.

    `names` maps the sealed names of columns to today's names.
    """

    sealed: SealedType
    record_type: RecordType[AuditRecord]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRange:
    """The part of a seal for consecutive records.

    `prefixes` holds the first 4 bytes of each of their leaf hashes.
    """

    prefixes: bytes
    subtrees: Subtrees

    @classmethod
    def of(cls, first: int, lines: Sequence[bytes]) -> SealedRange:
        """Hash sealed lines, of which `first` numbers the first."""
        leaves = leaf_hashes(lines)
        return cls(prefixes=b"".join([leaf[:PREFIX_SIZE] for leaf in leaves]), subtrees=Subtrees.of(first, leaves))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedLines(Generic[T]):
    """Transformed lines, with the part of a seal for them."""

    content: T
    sealed: SealedRange


@cache
def current_scope() -> tuple[SealedType, ...]:
    """Return the scope of seals made by this version."""
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
    """Return a scope as the JSON text that is stored."""
    return json.dumps([asdict(sealed) for sealed in scope], separators=(",", ":"))


def scope_from_json(text: str) -> tuple[SealedType, ...]:
    """Return the scope in a JSON text.

    Raises ValueError, TypeError or KeyError if the text does not hold one.
    """
    return tuple(
        SealedType(
            record_type=each["record_type"],
            table=each["table"],
            order=tuple(each["order"]),
            columns=tuple(each["columns"]),
        )
        for each in json.loads(text)
    )


def locate(sealed: SealedType, epoch: int) -> LocatedType:
    """Find a type sealed in an epoch among today's.

    Raises KeyError if its table or one of its columns no longer exists.
    """
    by_table = {record_type.table.name: record_type for record_type in RECORD_TYPES.values()}
    if epoch == EPOCH:
        record_type = by_table[sealed.table]
        today = {name: name for name in record_type.table.columns.keys()}  # noqa: SIM118  not a mapping
    else:
        moved = {table.before: table for table in map_tables(epoch, EPOCH)}[sealed.table]
        record_type, today = by_table[moved.after], dict(moved.columns)
    names = {name: today[name] for name in (*sealed.columns, *sealed.order)}
    return LocatedType(sealed=sealed, record_type=record_type, names=names)


def sealed_chunks(connection: Connection, located: LocatedType, run_id: str) -> Generator[list[bytes], None, None]:
    """Yield the sealed bytes of each record, in sealed order.

    They come in lists of about a thousand. Raises AuditIntegrityError or CanonicalError for a record that breaks the
    schema and so cannot have been sealed.
    """
    if seals_whole_lines(located):
        for _, lines in read_chunks(connection, located.record_type, run_id):
            yield lines[:-1].split(b"\n")
    else:
        yield from chunks(_projected_lines(connection, located, run_id), _FETCH)


def sealed_ranges(
    connection: Connection, located: LocatedType, run_id: str, first: int, readers: Readers | None
) -> Generator[SealedRange, None, None]:
    """Yield the parts of a seal for a record type.

    `first` is the number of the first record in the seal. If the sealed lines are today's lines, `readers` read and
    hash ranges of them; they see the committed records. Raises the errors of `sealed_chunks`.
    """
    if readers is None or not seals_whole_lines(located):
        # Close the lines even after an error: PostgreSQL accepts no other statement while it sends them.
        with closing(sealed_chunks(connection, located, run_id)) as chunks_of_lines:
            yield from _ranges(first, chunks_of_lines)
        return
    names = [located.record_type.name]
    with closing(read_lines_in_parallel(connection, run_id, readers, _seal_range, names, first=first)) as shared:
        for _, _, found in shared:
            yield found


def _ranges(first: int, chunks_of_lines: Iterable[Sequence[bytes]]) -> Iterator[SealedRange]:
    for lines in chunks_of_lines:
        yield SealedRange.of(first, lines)
        first += len(lines)


def _seal_range(record_type: str, first: int, lines: bytes) -> SealedRange:
    return SealedRange.of(first, split(record_type, first, lines))


def seal_lines(record_type: str, first: int, lines: bytes, transform: LineTransform[T]) -> SealedLines[T]:
    """Transform lines, and hash them for a seal."""
    return SealedLines(content=transform(record_type, first, lines), sealed=_seal_range(record_type, first, lines))


def seals_whole_lines(located: LocatedType) -> bool:
    """Return whether the sealed bytes are today's export lines.

    Then they can be read the fast way. A test ensures that both ways yield the same bytes.
    """
    sealed, record_type = located.sealed, located.record_type
    exported = {column.name for column in record_type.columns if column.withheld is None}
    return (
        sealed.record_type == record_type.name
        and sealed.order == record_type.order
        and set(sealed.columns) == exported
        and all(name == today for name, today in located.names.items())
    )


def _projected_lines(connection: Connection, located: LocatedType, run_id: str) -> Iterator[bytes]:
    """Yield canonical JSON of the sealed columns of each record."""
    sealed, names = located.sealed, located.names
    order = [names[name] for name in sealed.order]
    for record in read_records(connection, located.record_type, run_id, withheld=True, order=order):
        values = {name: record[names[name]] for name in sealed.columns}
        yield canonical_bytes({"record_type": sealed.record_type, **values})
