"""Compares the records of a run with its seal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, exists, select

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.lines.reading import TypedChunk
from elspeth.core.landscape.sealing.scope import (
    PREFIX_SIZE,
    LocatedType,
    SealedLines,
    SealedRange,
    locate,
    scope_from_json,
    sealed_chunks,
    seals_whole_lines,
)
from elspeth.core.landscape.sealing.seal import Seal
from elspeth.core.landscape.sealing.withheld import check_withheld_content
from elspeth.evidence.format.merkle import CompactRange
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import seal_leaves_table, seals_table

__all__ = ["UNREADABLE", "SealComparison", "SealFault", "seal_fault"]

T = TypeVar("T")

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, LandscapeError)
"""The errors that reading a seal may raise if somebody has tampered with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFault:
    """The first difference between a run and its seal.

    `table` and `key` are empty if the fault is about the run as a whole.
    """

    run_id: str
    table: str
    key: str
    problem: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.table, self.key) if part)
        return f"run {self.run_id} is not what was sealed: {f'{place}: ' if place else ''}{self.problem}"


class SealComparison:
    """Compares the sealed lines of a run with its seal.

    `scope` holds the sealed types in sealed order. The constructor raises one of UNREADABLE for a seal that cannot be
    read.
    """

    def __init__(self, connection: Connection, seal: Seal, progress: Callable[[int], None] | None = None) -> None:
        self._expected = Counter(json.loads(seal.counts_json))
        datetime.fromisoformat(seal.sealed_at)
        self.scope = [locate(sealed, seal.epoch) for sealed in scope_from_json(seal.scope_json)]
        names = [located.sealed.record_type for located in self.scope]
        self._prefixes = {name: _read_leaf_prefixes(connection, seal.run_id, name) for name in names}
        self._connection = connection
        self._seal = seal
        self._progress = progress
        self._tree = CompactRange()
        self._counts: Counter[str] = Counter()
        self._faults: dict[str, SealFault] = {}
        """The first altered record of each type."""

    @property
    def is_over_lines_of_today(self) -> bool:
        """Whether the sealed lines are the lines of an export.

        They differ from these only for the few types whose records may change after the run: their sealed lines leave
        out the columns that may change.
        """
        return [located.sealed.record_type for located in self.scope] == list(RECORD_TYPES) and all(
            seals_whole_lines(located) or located.record_type.lifecycle.afterwards for located in self.scope
        )

    def follow(self, lines: Iterator[TypedChunk[SealedLines[T]]]) -> Iterator[T]:
        """Compare sealed lines, and yield their transformed lines."""
        # Read now, because PostgreSQL accepts no other statement while it sends records.
        others = {
            located.sealed.record_type: list(sealed_chunks(self._connection, located, self._seal.run_id))
            for located in self.scope
            if not seals_whole_lines(located)
        }
        rest = iter(self.scope)
        located = next(rest)
        for name, _, some in lines:
            while located.sealed.record_type != name:
                self._take_all(located, others)
                located = next(rest)
            if name not in others:
                self.take(located, some.sealed)
            yield some.content
        for each in (located, *rest):
            self._take_all(each, others)

    def _take_all(self, located: LocatedType, others: dict[str, list[list[bytes]]]) -> None:
        for lines in others.get(located.sealed.record_type, ()):
            self.take(located, SealedRange.of(self.size, lines), lines)

    @property
    def has_fault(self) -> bool:
        """Return whether a record differs from its seal."""
        return bool(self._faults)

    @property
    def size(self) -> int:
        """Return the number of records compared so far."""
        return self._tree.size

    def take(self, located: LocatedType, found: SealedRange, lines: Sequence[bytes] | None = None) -> None:
        """Compare the next records of a type.

        If `lines` holds the sealed lines, a fault names the record.
        """
        name = located.sealed.record_type
        self._tree.extend(found.subtrees)
        start = self._counts[name] * PREFIX_SIZE
        self._counts[name] += found.subtrees.size
        prefixes = found.prefixes
        sealed = self._prefixes[name][start : start + len(prefixes)]
        if prefixes != sealed and name not in self._faults:
            ats = range(0, len(prefixes), PREFIX_SIZE)
            at = next(at for at in ats if prefixes[at : at + PREFIX_SIZE] != sealed[at : at + PREFIX_SIZE])
            problem = "is not the record that was sealed here" if sealed[at:] else "was added after the seal"
            key = "" if lines is None else _format_key(located, lines[at // PREFIX_SIZE])
            self._faults[name] = self._fault(located, key, problem)
        if self._progress is not None:
            self._progress(self._tree.size)

    def result(self) -> SealFault | None:
        """Return the first fault, after all lines were compared."""
        seal = self._seal
        try:
            check_withheld_content(self._connection, seal.run_id)
        except AuditIntegrityError as error:
            return self._first_fault(self.scope) or self._broken(error)
        if self._tree.root().hex() != seal.root:
            problem = "the records are not those that were sealed"
            return self._first_fault(self.scope) or SealFault(run_id=seal.run_id, table="", key="", problem=problem)
        if (self._counts, self._tree.size) != (self._expected, seal.record_count):
            return seal_fault(seal.run_id, "was altered: it has other counts than the records that it is over")
        return self._added_type()

    def fault_of(self, error: AuditIntegrityError) -> SealFault:
        """Return the first fault if a record breaks the schema.

        Such a record cannot have been sealed. The lines of its type and of later types are not compared any more.
        """
        tables = [located.record_type.table.name for located in self.scope]
        read = self.scope[: tables.index(error.table)] if error.table in tables else self.scope
        return self._first_fault(read) or next(iter(self._faults.values()), None) or self._broken(error)

    def _broken(self, error: AuditIntegrityError) -> SealFault:
        problem = f"is not the record that was sealed here: {error.field}: expected {error.expected}"
        key = " ".join(f"{name}={value!r}" for name, value in error.key.items())
        return SealFault(run_id=self._seal.run_id, table=error.table, key=key, problem=problem)

    def _first_fault(self, read: Sequence[LocatedType]) -> SealFault | None:
        """Return the first fault of the types that were read."""
        for located in read:
            name = located.sealed.record_type
            if name in self._faults:
                return self._faults[name]
            if self._counts[name] * PREFIX_SIZE < len(self._prefixes[name]):
                return self._fault(located, "", "a record is missing at the end")
        return None

    def _added_type(self) -> SealFault | None:
        """Return a fault for a record outside the scope.

        Such a type is newer than the seal, and a migration adds no records.
        """
        covered = {located.record_type.name for located in self.scope}
        for name, record_type in RECORD_TYPES.items():
            has_run = record_type.table.c.run_id == self._seal.run_id
            if name not in covered and self._connection.scalar(select(exists().where(has_run))):
                problem = "a record was added after the seal"
                return SealFault(run_id=self._seal.run_id, table=record_type.table.name, key="", problem=problem)
        return None

    def _fault(self, located: LocatedType, key: str, problem: str) -> SealFault:
        return SealFault(run_id=self._seal.run_id, table=located.record_type.table.name, key=key, problem=problem)


def seal_fault(run_id: str, problem: str) -> SealFault:
    """Return a fault of the seal itself."""
    return SealFault(run_id=run_id, table=seals_table.name, key=f"run_id={run_id!r}", problem=problem)


def _format_key(located: LocatedType, line: bytes) -> str:
    record = json.loads(line)
    sealed = {today: name for name, today in located.names.items()}
    return " ".join(f"{name}={record[sealed[name]]!r}" for name in located.record_type.key)


def _read_leaf_prefixes(connection: Connection, run_id: str, record_type: str) -> bytes:
    """Return the leaf prefixes of a type, in sealed order.

    All are fetched at once, because PostgreSQL accepts no other statement while it sends the records. A text that does
    not hold prefixes matches no record.
    """
    columns = seal_leaves_table.c
    statement = (
        select(columns.leaves)
        .where(columns.run_id == run_id, columns.record_type == record_type)
        .order_by(columns.part)
    )
    return b"".join(_bytes_of(part) for part in connection.execute(statement).scalars())


def _bytes_of(prefixes: str) -> bytes:
    try:
        return bytes.fromhex(prefixes)
    except ValueError:
        return bytes(len(prefixes) // 2)
