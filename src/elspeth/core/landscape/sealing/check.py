"""Whether runs are what they were when they were sealed, and who says so."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Select, exists, select
from sqlalchemy.exc import OperationalError

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.sealing.scope import Located, located, scope_from_json, sealed_lines
from elspeth.core.landscape.sealing.seal import SEAL_TYPE, Seal, hint, hints_of, sealed_runs
from elspeth.core.landscape.sealing.unfinished import UnfinishedRun, unfinished_runs
from elspeth.core.landscape.sealing.withheld import require_recorded_content
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import TreeHasher, leaf_hash
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import run_secrets_table, runs_table, seals_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import PublicKey

__all__ = ["SealFault", "SealReport", "check_seal", "check_seals"]

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, LandscapeError)
"""What reading a seal may raise that somebody wrote over."""

_PROGRESS_EVERY = 1000

_UNDECODABLE = "Could not decode to UTF-8"
"""How Python's SQLite driver says that a column holds bytes as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFault:
    """The first difference between a run and its seal; without a table it is about the run as a whole."""

    run_id: str
    table: str
    key: str
    problem: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.table, self.key) if part)
        return f"run {self.run_id} is not what was sealed: {f'{place}: ' if place else ''}{self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """What the seals of a database tell.

    `sealed` is how many runs were sealed, `unchanged` how many of them are what was sealed, `faults` the first fault of
    each of the others. `signers` counts the seals by the fingerprint that they claim, None for those without a
    signature. `unsealed` are finished runs that never had a seal: imported, or recorded before there were seals.
    `unfinished` are runs that have not ended, with their status: nothing shows whether their records were changed.
    """

    sealed: int
    unchanged: int
    faults: tuple[SealFault, ...]
    signers: dict[str | None, int]
    unsealed: tuple[str, ...]
    unfinished: dict[str, str]

    @property
    def verdict(self) -> str:
        """How many of the sealed runs are unchanged."""
        return f"{self.unchanged} of {self.sealed} sealed runs unchanged"


def check_seals(
    connection: Connection, *, key: PublicKey | None = None, progress: Callable[[int], None] | None = None
) -> SealReport:
    """Compute every seal anew. With a key each finished run must have a seal that it signed.

    `progress` is called with the number of records checked so far.
    """
    try:
        return _check_seals(connection, key, progress)
    except (OperationalError, sqlite3.OperationalError) as error:
        if _UNDECODABLE not in str(error):
            raise
    with _any_text(connection):
        return _check_seals(connection, key, progress)


def _check_seals(connection: Connection, key: PublicKey | None, progress: Callable[[int], None] | None) -> SealReport:
    seals = sealed_runs(connection)
    signers: Counter[str | None] = Counter()
    unfinished = unfinished_runs(connection)
    faults, unchanged, checked = [*_lost_seals(connection), *_lost_ends(unfinished)], 0, 0
    sealed = len(seals) + len(faults)
    for seal in seals:
        claimed, problem = _signature(seal, key)
        signers[claimed] += 1
        advance = None if progress is None else partial(_advance, progress, checked)
        fault = check_seal(connection, seal, advance) or (_of_seal(seal.run_id, problem) if problem else None)
        if fault is None:
            unchanged += 1
            checked += seal.record_count
        else:
            faults.append(fault)
        if progress is not None:
            progress(checked)
    unsealed = tuple(_never_sealed(connection))
    if key is not None:
        problem = "expected a seal, got none: it was imported, or is older than seals, or the seal was removed"
        faults += [_of_seal(run_id, problem) for run_id in unsealed]
    return SealReport(
        sealed=sealed,
        unchanged=unchanged,
        faults=tuple(faults),
        signers=dict(signers),
        unsealed=unsealed,
        unfinished={run.run_id: run.status for run in unfinished},
    )


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Let SQLite return text that is not UTF-8 as other text, so that the record with it can be named."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  no other database lets bytes be text
    before, driver.text_factory = driver.text_factory, _text
    try:
        yield
    finally:
        driver.text_factory = before


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"not UTF-8: {data.hex()}"


def _advance(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def check_seal(connection: Connection, seal: Seal, progress: Callable[[int], None] | None = None) -> SealFault | None:
    """Compute the root anew; None if it is the sealed one, else the first record that differs.

    `progress` is called with the number of records so far.
    """
    try:
        counts = Counter(json.loads(seal.counts_json))
        scope = [located(sealed, seal.epoch) for sealed in scope_from_json(seal.scope_json)]
    except _UNREADABLE:
        return _of_seal(seal.run_id, "was altered: it cannot be read")
    found = _Found(connection, seal.run_id, progress)
    try:
        for where in scope:
            found.read(where)
        require_recorded_content(connection, seal.run_id)
    except AuditIntegrityError as error:
        problem = f"is not the record that was sealed here: {error.field}: expected {error.expected}"
        key = " ".join(f"{name}={value!r}" for name, value in error.key.items())
        return found.fault or SealFault(run_id=seal.run_id, table=error.table, key=key, problem=problem)
    if found.tree.root().hex() != seal.root:
        problem = "the records are not those that were sealed"
        return found.fault or SealFault(run_id=seal.run_id, table="", key="", problem=problem)
    if (found.counts, found.tree.size) != (counts, seal.record_count):
        return _of_seal(seal.run_id, "was altered: it has other counts than the records that it is over")
    return _added(connection, scope, seal.run_id)


class _Found:
    """What is in the tables now: the tree of the sealed lines, how many there are, the first that is another one."""

    def __init__(self, connection: Connection, run_id: str, progress: Callable[[int], None] | None) -> None:
        self.tree = TreeHasher()
        self.counts: Counter[str] = Counter()
        self.fault: SealFault | None = None
        self._connection = connection
        self._run_id = run_id
        self._progress = progress

    def read(self, where: Located) -> None:
        """Read the records of one type; AuditIntegrityError for one that breaks the schema, as no sealed record did."""
        name = where.sealed.record_type
        hints = hints_of(self._connection, self._run_id, name)
        for line in sealed_lines(self._connection, where, self._run_id):
            leaf = leaf_hash(line)
            self.tree.add(leaf)
            self.counts[name] += 1
            sealed = next(hints, None)
            if sealed != hint(leaf):
                problem = "is not the record that was sealed here" if sealed else "was added after the seal"
                self._blame(where, _key_of(where, line), problem)
            if self._progress is not None and self.tree.size % _PROGRESS_EVERY == 0:
                self._progress(self.tree.size)
        if next(hints, None) is not None:
            self._blame(where, "", "a record is missing at the end")

    def _blame(self, where: Located, key: str, problem: str) -> None:
        table = where.record_type.table.name
        self.fault = self.fault or SealFault(run_id=self._run_id, table=table, key=key, problem=problem)


def _key_of(where: Located, line: bytes) -> str:
    record = json.loads(line)
    sealed = {today: name for name, today in where.names.items()}
    return " ".join(f"{name}={record[sealed[name]]!r}" for name in where.record_type.key)


def _added(connection: Connection, scope: list[Located], run_id: str) -> SealFault | None:
    """A record of a type that there was not when the run was sealed: a migration makes none."""
    covered = {where.record_type.name for where in scope}
    for name, record_type in RECORD_TYPES.items():
        has_run = record_type.table.c.run_id == run_id
        if name not in covered and connection.scalar(select(exists().where(has_run))):
            return SealFault(
                run_id=run_id, table=record_type.table.name, key="", problem="a record was added after the seal"
            )
    return None


def _signature(seal: Seal, key: PublicKey | None) -> tuple[str | None, str]:
    """The fingerprint of the key that a seal claims to be signed by, and what is wrong with that; nothing if empty."""
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


def _lost_seals(connection: Connection) -> Iterator[SealFault]:
    """Finished runs that were recorded with a secret, as only runs are that are sealed in the end."""
    has_secret = exists().where(run_secrets_table.c.run_id == runs_table.c.run_id)
    for run_id in connection.scalars(_finished_without_seal().where(has_secret)):
        yield _of_seal(run_id, "expected a seal, as the run was recorded with one, got none: it was removed")


def _lost_ends(unfinished: list[UnfinishedRun]) -> Iterator[SealFault]:
    """Yield the fault of each run that had ended, and does not say so any more."""
    for run in unfinished:
        if run.marks:
            key = f"run_id={run.run_id!r}"
            yield SealFault(run_id=run.run_id, table=runs_table.name, key=key, problem=run.problem)


def _never_sealed(connection: Connection) -> Iterator[str]:
    has_secret = exists().where(run_secrets_table.c.run_id == runs_table.c.run_id)
    yield from connection.scalars(_finished_without_seal().where(~has_secret))


def _finished_without_seal() -> Select[str]:
    finished = [status.value for status in RunStatus if status.is_terminal]
    sealed = exists().where(seals_table.c.run_id == runs_table.c.run_id)
    columns = runs_table.c
    return select(columns.run_id).where(columns.status.in_(finished), ~sealed).order_by(columns.run_id)


def _of_seal(run_id: str, problem: str) -> SealFault:
    return SealFault(run_id=run_id, table=seals_table.name, key=f"run_id={run_id!r}", problem=problem)
