"""Checking sealed runs for later changes."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Select, exists, select
from sqlalchemy.exc import OperationalError

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.sealing.seal import (
    SEAL_TYPE,
    LocatedType,
    Seal,
    leaf_prefix,
    locate,
    read_leaf_prefixes,
    read_seals,
    scope_from_json,
    sealed_lines,
)
from elspeth.core.landscape.sealing.unfinished import UnfinishedRun, read_unfinished_runs
from elspeth.core.landscape.sealing.withheld import check_withheld_content
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import TreeHasher, leaf_hash
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import run_secrets_table, runs_table, seals_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import PublicKey

__all__ = [
    "AlteredRunError",
    "SealFault",
    "SealReport",
    "check_seal",
    "check_seals",
    "require_sealed_records",
]

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, LandscapeError)
"""What reading a seal may raise if somebody has tampered with it."""

_PROGRESS_EVERY = 1000

_UNDECODABLE = "Could not decode to UTF-8"
"""The message of Python's SQLite driver for a text that is not UTF-8."""


class AlteredRunError(LandscapeError):
    """A run is not what was sealed."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """The result of checking all seals of a database.

    `sealed` counts the sealed runs, `unchanged` those of them that are as they were sealed; `faults` holds the first
    fault of each of the others. `signers` counts the seals by the fingerprint that they claim, None for unsigned ones.
    `unsealed` are finished runs that never had a seal: imported, or recorded before there were seals. `unfinished` maps
    runs that have not ended to their status: nothing shows whether their records were changed.
    """

    sealed: int
    unchanged: int
    faults: tuple[SealFault, ...]
    signers: dict[str | None, int]
    unsealed: tuple[str, ...]
    unfinished: dict[str, str]

    @property
    def verdict(self) -> str:
        """Say how many of the sealed runs are unchanged."""
        return f"{self.unchanged} of {self.sealed} sealed runs unchanged"


def check_seals(
    connection: Connection, *, key: PublicKey | None = None, progress: Callable[[int], None] | None = None
) -> SealReport:
    """Check the seals of all runs.

    With a key, each finished run must have a seal that was signed by it. `progress` is called with the number of
    records checked so far.
    """
    try:
        return _check_seals(connection, key, progress)
    except (OperationalError, sqlite3.OperationalError) as error:
        if _UNDECODABLE not in str(error):
            raise
    with _undecodable_text_as_hex(connection):
        return _check_seals(connection, key, progress)


def _check_seals(connection: Connection, key: PublicKey | None, progress: Callable[[int], None] | None) -> SealReport:
    seals = read_seals(connection)
    signers: Counter[str | None] = Counter()
    unfinished = read_unfinished_runs(connection)
    faults, unchanged, checked = [*_removed_seals(connection), *_concealed_ends(unfinished)], 0, 0
    sealed = len(seals) + len(faults)
    for seal in seals:
        signer, problem = _check_signature(seal, key)
        signers[signer] += 1
        advance = None if progress is None else partial(_advance, progress, checked)
        fault = check_seal(connection, seal, advance) or (_seal_fault(seal.run_id, problem) if problem else None)
        if fault is None:
            unchanged += 1
            checked += seal.record_count
        else:
            faults.append(fault)
        if progress is not None:
            progress(checked)
    unsealed = tuple(_never_sealed_runs(connection))
    if key is not None:
        problem = "expected a seal, got none: it was imported, or is older than seals, or the seal was removed"
        faults += [_seal_fault(run_id, problem) for run_id in unsealed]
    return SealReport(
        sealed=sealed,
        unchanged=unchanged,
        faults=tuple(faults),
        signers=dict(signers),
        unsealed=unsealed,
        unfinished={run.run_id: run.status for run in unfinished},
    )


@contextmanager
def _undecodable_text_as_hex(connection: Connection) -> Iterator[None]:
    """Let SQLite return text that is not UTF-8 as hex.

    The record that holds it can then be named.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  only SQLite stores bytes as text
    before, driver.text_factory = driver.text_factory, _decode
    try:
        yield
    finally:
        driver.text_factory = before


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"not UTF-8: {data.hex()}"


def _advance(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def check_seal(connection: Connection, seal: Seal, progress: Callable[[int], None] | None = None) -> SealFault | None:
    """Check a seal, and return the first fault.

    None if the run is as it was sealed. `progress` is called with the number of records read so far.
    """
    try:
        counts = Counter(json.loads(seal.counts_json))
        datetime.fromisoformat(seal.sealed_at)
        scope = [locate(sealed, seal.epoch) for sealed in scope_from_json(seal.scope_json)]
    except _UNREADABLE:
        return _seal_fault(seal.run_id, "was altered: it cannot be read")
    found = _SealedRecords(connection, seal.run_id, progress)
    try:
        for located in scope:
            found.read(located)
        check_withheld_content(connection, seal.run_id)
    except AuditIntegrityError as error:
        problem = f"is not the record that was sealed here: {error.field}: expected {error.expected}"
        key = " ".join(f"{name}={value!r}" for name, value in error.key.items())
        return found.fault or SealFault(run_id=seal.run_id, table=error.table, key=key, problem=problem)
    if found.tree.root().hex() != seal.root:
        problem = "the records are not those that were sealed"
        return found.fault or SealFault(run_id=seal.run_id, table="", key="", problem=problem)
    if (found.counts, found.tree.size) != (counts, seal.record_count):
        return _seal_fault(seal.run_id, "was altered: it has other counts than the records that it is over")
    return _added_type(connection, scope, seal.run_id)


def require_sealed_records(connection: Connection, run_id: str, url: str) -> None:
    """Refuse a sealed run that no longer matches its seal.

    `url` names the database in messages. Raises AlteredRunError if the run is not as it was sealed, or if its seal was
    removed. Runs that were imported, or recorded before there were seals, pass; so do runs that have not ended, of
    which evidence says so.
    """
    seals = read_seals(connection, run_id)
    faults = (
        (check_seal(connection, seals[0]),)
        if seals
        else (fault for fault in _removed_seals(connection) if fault.run_id == run_id)
    )
    fault = next(iter(faults), None)
    if fault is not None:
        raise AlteredRunError(
            f"{fault}. Signed evidence of it would hide that, so nothing was written. For all that was altered, run:"
            f" elspeth landscape check -d {shlex.quote(url)}"
        )


class _SealedRecords:
    """The sealed records as they are now."""

    def __init__(self, connection: Connection, run_id: str, progress: Callable[[int], None] | None) -> None:
        self.tree = TreeHasher()
        self.counts: Counter[str] = Counter()
        self.fault: SealFault | None = None
        self._connection = connection
        self._run_id = run_id
        self._progress = progress

    def read(self, located: LocatedType) -> None:
        """Read the records of one type.

        Raises AuditIntegrityError for a record that breaks the schema, as no sealed record did.
        """
        name = located.sealed.record_type
        prefixes = read_leaf_prefixes(self._connection, self._run_id, name)
        for line in sealed_lines(self._connection, located, self._run_id):
            leaf = leaf_hash(line)
            self.tree.add(leaf)
            self.counts[name] += 1
            sealed = next(prefixes, None)
            if sealed != leaf_prefix(leaf):
                problem = "is not the record that was sealed here" if sealed else "was added after the seal"
                self._blame(located, _format_key(located, line), problem)
            if self._progress is not None and self.tree.size % _PROGRESS_EVERY == 0:
                self._progress(self.tree.size)
        if next(prefixes, None) is not None:
            self._blame(located, "", "a record is missing at the end")

    def _blame(self, located: LocatedType, key: str, problem: str) -> None:
        table = located.record_type.table.name
        self.fault = self.fault or SealFault(run_id=self._run_id, table=table, key=key, problem=problem)


def _format_key(located: LocatedType, line: bytes) -> str:
    record = json.loads(line)
    sealed = {today: name for name, today in located.names.items()}
    return " ".join(f"{name}={record[sealed[name]]!r}" for name in located.record_type.key)


def _added_type(connection: Connection, scope: list[LocatedType], run_id: str) -> SealFault | None:
    """Return a fault for a record outside the scope.

    Such a type is newer than the seal, and a migration adds no records.
    """
    covered = {located.record_type.name for located in scope}
    for name, record_type in RECORD_TYPES.items():
        has_run = record_type.table.c.run_id == run_id
        if name not in covered and connection.scalar(select(exists().where(has_run))):
            return SealFault(
                run_id=run_id, table=record_type.table.name, key="", problem="a record was added after the seal"
            )
    return None


def _check_signature(seal: Seal, key: PublicKey | None) -> tuple[str | None, str]:
    """Return a seal's claimed fingerprint, and a problem or ''."""
    if seal.envelope_json is None:
        expected = "" if key is None else f"expected a seal signed by the key {key.fingerprint}"
        return None, expected and f"{expected}, got an unsigned one: it was made without a key, or made anew"
    from elspeth.evidence.format.signatures import Envelope  # noqa: PLC0415  loads cryptography, which unsigned seals do not need

    try:
        envelope = Envelope.from_bytes(seal.envelope_json.encode(), "envelope")
        if key is not None:
            envelope.verify(key, "envelope")
    except EvidenceError as error:
        return None, str(error)
    except _UNREADABLE:
        return None, "was altered: its signature cannot be read"
    fits = (envelope.payload_type, envelope.payload) == (SEAL_TYPE, _payload(seal))
    return envelope.keyid, "" if fits else "expected the seal that was signed, got another: it was altered"


def _payload(seal: Seal) -> bytes | None:
    try:
        return seal.payload
    except _UNREADABLE:
        return None


def _removed_seals(connection: Connection) -> Iterator[SealFault]:
    """Yield a fault for each seal that was removed.

    Every run that is recorded with a secret is sealed at its end.
    """
    has_secret = exists().where(run_secrets_table.c.run_id == runs_table.c.run_id)
    for run_id in connection.scalars(_finished_without_seal().where(has_secret)):
        yield _seal_fault(run_id, "expected a seal, as the run was recorded with one, got none: it was removed")


def _concealed_ends(unfinished: list[UnfinishedRun]) -> Iterator[SealFault]:
    """Yield a fault for each run whose end is concealed."""
    for run in unfinished:
        if run.marks:
            key = f"run_id={run.run_id!r}"
            yield SealFault(run_id=run.run_id, table=runs_table.name, key=key, problem=run.problem)


def _never_sealed_runs(connection: Connection) -> Iterator[str]:
    has_secret = exists().where(run_secrets_table.c.run_id == runs_table.c.run_id)
    yield from connection.scalars(_finished_without_seal().where(~has_secret))


def _finished_without_seal() -> Select[str]:
    finished = [status.value for status in RunStatus if status.is_terminal]
    sealed = exists().where(seals_table.c.run_id == runs_table.c.run_id)
    columns = runs_table.c
    return select(columns.run_id).where(columns.status.in_(finished), ~sealed).order_by(columns.run_id)


def _seal_fault(run_id: str, problem: str) -> SealFault:
    return SealFault(run_id=run_id, table=seals_table.name, key=f"run_id={run_id!r}", problem=problem)
