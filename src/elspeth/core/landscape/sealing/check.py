"""Checks sealed runs for later changes."""

from __future__ import annotations

import shlex
import sqlite3
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Select, exists, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.pruned_runs import read_pruned_runs
from elspeth.core.landscape.database.run_log import read_one_state
from elspeth.core.landscape.lines.ranges import Readers, read_lines_in_parallel
from elspeth.core.landscape.lines.reading import TypedChunk
from elspeth.core.landscape.sealing.comparison import UNREADABLE, SealComparison, SealFault, seal_fault
from elspeth.core.landscape.sealing.scope import SealedLines, SealedRange, seal_lines, sealed_chunks
from elspeth.core.landscape.sealing.seal import SEAL_TYPE, Seal, read_seals
from elspeth.core.landscape.sealing.unfinished import UnfinishedRun, read_unfinished_runs
from elspeth.evidence.format.errors import EvidenceError
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_secrets_table, runs_table, seals_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import PublicKey

__all__ = [
    "AlteredRunError",
    "SealFault",
    "SealReport",
    "check_seal",
    "check_seals",
    "sealed_lines_of_run",
    "with_undecodable_text",
]

T = TypeVar("T")

_UNDECODABLE = "Could not decode to UTF-8"
"""The message of Python's SQLite driver for a text that is not UTF-8."""


_UNREADABLE_SEAL = "was altered: it cannot be read"


class AlteredRunError(LandscapeError):
    """A run differs from its seal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """The result of checking all seals of a database.

    `sealed` counts the sealed runs, and `unchanged` those that agree with their seals; `faults` holds the first fault
    of each of the others. `signers` counts the seals by the fingerprint that they claim, None for unsigned seals.
    `unsealed` are finished runs that never had a seal, because they were imported or recorded before seals existed.
    `unfinished` maps runs that have not ended to their status: nothing shows whether their records were changed.
    `pruned` counts the seals whose records are in bags; only their signatures are checked.
    """

    sealed: int
    unchanged: int
    faults: tuple[SealFault, ...]
    signers: dict[str | None, int]
    unsealed: tuple[str, ...]
    unfinished: dict[str, str]
    pruned: int

    @property
    def verdict(self) -> str:
        """Return in one line how many sealed runs are unchanged."""
        elsewhere = f"; the records of {self.pruned} more are in bags" if self.pruned else ""
        return f"{self.unchanged} of {self.sealed} sealed runs unchanged{elsewhere}"


def check_seals(
    connection: Connection,
    *,
    key: PublicKey | None = None,
    progress: Callable[[int], None] | None = None,
    readers: Readers | None = None,
) -> SealReport:
    """Check the seals of all runs.

    With a key, each finished run must have a seal that was signed by it. `progress` is called with the number of
    records checked so far. `readers` share the work; the result is the same.
    """
    return with_undecodable_text(connection, lambda connection: _check_seals(connection, key, progress, readers))


def with_undecodable_text(connection: Connection, check: Callable[[Connection], T]) -> T:
    """Run a check that may meet undecodable text.

    If it meets such text, it is run again with that text as hex.
    """
    try:
        return check(connection)
    except (OperationalError, sqlite3.OperationalError) as error:
        if _UNDECODABLE not in str(error):
            raise
    with _undecodable_text_as_hex(connection):
        return check(connection)


def _check_seals(
    connection: Connection, key: PublicKey | None, progress: Callable[[int], None] | None, readers: Readers | None
) -> SealReport:
    read_one_state(connection)
    seals = read_seals(connection)
    signers: Counter[str | None] = Counter()
    unfinished = read_unfinished_runs(connection)
    faults, unchanged, checked = [*_removed_seals(connection), *_concealed_ends(unfinished)], 0, 0
    pruned = {run.run_id for run in read_pruned_runs(connection)} & {seal.run_id for seal in seals}
    sealed = len(seals) - len(pruned) + len(faults)
    for seal in seals:
        signer, problem = _check_signature(seal, key)
        signers[signer] += 1
        if seal.run_id in pruned:
            faults += [seal_fault(seal.run_id, problem)] if problem else []
            continue
        advance = None if progress is None else partial(_advance, progress, checked)
        fault = check_seal(connection, seal, advance, readers)
        if fault is None and problem:
            fault = seal_fault(seal.run_id, problem)
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
        faults += [seal_fault(run_id, problem) for run_id in unsealed]
    return SealReport(
        sealed=sealed,
        unchanged=unchanged,
        faults=tuple(faults),
        signers=dict(signers),
        unsealed=unsealed,
        unfinished={run.run_id: run.status for run in unfinished},
        pruned=len(pruned),
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


def check_seal(
    connection: Connection,
    seal: Seal,
    progress: Callable[[int], None] | None = None,
    readers: Readers | None = None,
) -> SealFault | None:
    """Check a seal, and return the first fault.

    Returns None if the run agrees with its seal. `progress` is called with the number of records read so far. `readers`
    share the work. Unless they find the run unchanged, this process checks it alone, so that the fault is the same.
    """
    if readers is not None and _is_unchanged(connection, seal, progress, readers):
        return None
    try:
        found = SealComparison(connection, seal, progress)
    except UNREADABLE:
        return seal_fault(seal.run_id, _UNREADABLE_SEAL)
    try:
        for located in found.scope:
            for lines in sealed_chunks(connection, located, seal.run_id):
                found.take(located, SealedRange.of(found.size, lines), lines)
        return found.result()
    except AuditIntegrityError as error:
        return found.fault_of(error)


def _is_unchanged(connection: Connection, seal: Seal, progress: Callable[[int], None] | None, readers: Readers) -> bool:
    """Return whether several processes find a run unchanged.

    They read the committed records, not the snapshot of the connection. That is sound, because a run that has ended
    does not change any more. They only know today's lines.
    """
    try:
        found = SealComparison(connection, seal, progress)
        if not found.is_over_lines_of_today:
            return False
        hashed = partial(seal_lines, transform=_no_content)
        with closing(read_lines_in_parallel(connection, seal.run_id, readers, hashed)) as lines:
            if any(found.has_fault for _ in found.follow(lines)):
                return False
        return found.result() is None
    except (*UNREADABLE, AuditIntegrityError, SQLAlchemyError, sqlite3.Error):
        return False


def _no_content(record_type: str, first: int, lines: bytes) -> None:
    """Keep nothing of the lines but their hashes."""


def sealed_lines_of_run(
    connection: Connection, run_id: str, url: str, lines: Generator[TypedChunk[SealedLines[T]], None, None]
) -> Generator[T, None, None]:
    """Yield a run's transformed lines, and check its seal.

    `lines` are those of all records in export order; none is read before this generator begins. Only after the last
    line is it known whether they agree with the seal: the caller must not use them before. `url` names the database in
    messages.

    Raises AlteredRunError if the run differs from its seal, or if the seal was removed. Runs that were imported, or
    recorded before seals existed, pass. So do runs that have not ended; evidence of them says so.
    """
    with closing(lines):
        seals = read_seals(connection, run_id)
        if not seals:
            _refuse(next((fault for fault in _removed_seals(connection) if fault.run_id == run_id), None), url)
            for _, _, some in lines:
                yield some.content
            return
        try:
            found = SealComparison(connection, seals[0])
        except UNREADABLE:
            _refuse(seal_fault(run_id, _UNREADABLE_SEAL), url)
            return
        if not found.is_over_lines_of_today:
            _refuse(check_seal(connection, seals[0]), url)
            for _, _, some in lines:
                yield some.content
            return
        try:
            yield from found.follow(lines)
            fault = found.result()
        except AuditIntegrityError as error:
            fault = found.fault_of(error)
    # The comparison of ranges does not name the altered record, so the run is checked record by record.
    _refuse(fault and (check_seal(connection, seals[0]) or fault), url)


def _refuse(fault: SealFault | None, url: str) -> None:
    if fault is not None:
        raise AlteredRunError(
            f"{fault}. Signed evidence of it would hide that, so nothing was written. For all that was altered, run:"
            f" elspeth landscape check -d {shlex.quote(url)}"
        )


def _check_signature(seal: Seal, key: PublicKey | None) -> tuple[str | None, str]:
    """Return a seal's claimed fingerprint, and a problem or ''."""
    if seal.envelope_json is None:
        expected = "" if key is None else f"expected a seal signed by the key {key.fingerprint}"
        return None, expected and f"{expected}, got an unsigned one: it was made without a key, or replaced"
    from elspeth.evidence.format.envelopes import Envelope  # noqa: PLC0415  loads cryptography, which unsigned seals do not need

    try:
        envelope = Envelope.from_bytes(seal.envelope_json.encode(), "envelope")
        if key is not None:
            envelope.verify(key, "envelope")
    except EvidenceError as error:
        return None, str(error)
    except UNREADABLE:
        return None, "was altered: its signature cannot be read"
    fits = (envelope.payload_type, envelope.payload) == (SEAL_TYPE, _payload(seal))
    return envelope.keyid, "" if fits else "expected the seal that was signed, got another: it was altered"


def _payload(seal: Seal) -> bytes | None:
    try:
        return seal.payload
    except UNREADABLE:
        return None


def _removed_seals(connection: Connection) -> Iterator[SealFault]:
    """Yield a fault for each seal that was removed.

    Every run that was recorded with a secret was sealed at its end.
    """
    has_secret = exists().where(run_secrets_table.c.run_id == runs_table.c.run_id)
    for run_id in connection.scalars(_finished_without_seal().where(has_secret)):
        yield seal_fault(run_id, "expected a seal, as the run was recorded with one, got none: it was removed")


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
