"""Delivers checkpoints of the log to files and witnesses.

This happens after the end of a run, outside of its transaction: a failure is recorded, and nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.urls import database_files
from elspeth.core.landscape.sealing.log_places import record_attempt
from elspeth.core.landscape.sealing.log_proofs import LogState, read_log_state
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_NOTE
from elspeth.evidence.format.notes import Note, NoteSigner, VerifierKey
from elspeth.evidence.format.signatures import Signer
from elspeth.evidence.format.timestamp import looks_like_timestamp, may_be_timestamp, request_timestamp
from elspeth.evidence.witness.client import ask_witness
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.base import ObjectState, ObjectStore
from elspeth.objects.errors import ObjectChangedError, ObjectExistsError
from elspeth.objects.stores import store_of
from elspeth.outputs.policy import Kind, OutputLockedError, OutputPolicy, Protected
from elspeth.outputs.writing import Output, hold

__all__ = ["TIMESTAMP_SUFFIX", "CheckpointPlan", "FilePlace", "MissedCheckpoint", "WitnessPlace", "leave_checkpoint"]

TIMESTAMP_SUFFIX = ".tsr"
"""The suffix of a checkpoint's time-stamp, which follows the name of the checkpoint."""

_FAILURES = (EvidenceError, LandscapeError, SQLAlchemyError, OSError, KeyboardInterrupt)
_LOCK_WAIT_S = 10.0
"""How long to wait while another run writes the same file, in seconds."""
_LOCK_POLL_S = 0.05
_ATTEMPTS = 20
"""How often to try again when another run wrote the same object first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """A file or object that receives a checkpoint.

    `name` is the path as settings give it, with its placeholders.
    """

    name: str
    path: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPlace:
    """A witness that cosigns checkpoints."""

    name: str
    key: VerifierKey


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPlan:
    """The signer of checkpoints, and the places for them.

    `authority` is the URL of a time-stamp authority, or None for no time-stamps. `protected` lists what no file may
    replace.
    """

    signer: Signer
    files: Sequence[FilePlace]
    witnesses: Sequence[WitnessPlace]
    authority: str | None
    protected: Sequence[Protected] = ()

    @property
    def names(self) -> list[str]:
        """The names of all places."""
        return [*(each.name for each in self.witnesses), *(each.name for each in self.files)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedCheckpoint:
    """A place where no checkpoint could be left, and why."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"the checkpoint for {self.place} is overdue: {self.problem}"


def leave_checkpoint(db: LandscapeDB, plan: CheckpointPlan) -> list[MissedCheckpoint]:
    """Leave a checkpoint everywhere, and return what failed.

    Witnesses come first, so that files have their cosignatures. The result for each place is recorded.
    """
    attempts: list[tuple[str, Note | None, str | None]] = []
    try:
        state = _read_state(db)
        note = NoteSigner(name=state.origin, signer=plan.signer).sign(state.checkpoint().text)
    except _FAILURES as error:
        attempts = [(name, None, _problem_of(error)) for name in plan.names]
    else:
        for witness in plan.witnesses:
            problem = None
            try:
                note = ask_witness(witness.name, witness.key, note, state.consistency)
            except _FAILURES as error:
                problem = _problem_of(error)
            attempts.append((witness.name, note if problem is None else None, problem))
        attempts += [(place.name, *_leave_at(db, plan, place.path, state, note)) for place in plan.files]
    return list(_record(db, attempts))


def _read_state(db: LandscapeDB) -> LogState:
    with db.snapshot() as connection:
        return read_log_state(connection)


def _record(db: LandscapeDB, attempts: Sequence[tuple[str, Note | None, str | None]]) -> Iterator[MissedCheckpoint]:
    for place, note, problem in attempts:
        missed = problem
        try:
            record_attempt(db, place, note, problem)
        except _FAILURES as error:
            # The place stays overdue in the database, so that it is tried again.
            missed = f"{f'{problem}; ' if problem else ''}this could not be recorded: {_problem_of(error)}"
        if missed is not None:
            yield MissedCheckpoint(place=place, problem=missed)


def _problem_of(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__


def _leave_at(
    db: LandscapeDB, plan: CheckpointPlan, place: Place, state: LogState, note: Note
) -> tuple[Note | None, str | None]:
    """Write to a place, returning its content and any problem."""
    if isinstance(place, ObjectPath):
        return _leave_object(db, plan, place, state, note)
    return _leave_file(db, plan, place, state, note)


# -- objects -----------------------------------------------------------------------------------------------------------


def _leave_object(
    db: LandscapeDB, plan: CheckpointPlan, path: ObjectPath, state: LogState, note: Note
) -> tuple[Note | None, str | None]:
    """Write an object, and return its content and any problem."""
    left: Note | None = None
    try:
        store = store_of(path)
        left = _replace_object(db, store, path, state, note)
        if left is note:
            # A crash here leaves a checkpoint with the time-stamp of the previous one, which does not belong to it.
            _stamp_object(store, plan.authority, path, note)
    except _FAILURES as error:
        return left, _problem_of(error)
    return left, None


def _replace_object(db: LandscapeDB, store: ObjectStore, path: ObjectPath, state: LogState, note: Note) -> Note:
    """Write an object, and return the checkpoint that it holds.

    There are no locks: only the version that was read is replaced. If another run has written a new version since, that
    is read instead.
    """
    for _ in range(_ATTEMPTS):
        found = store.state(path)
        kept = None if found is None else _parse_kept(_read_object(store, path, found), path)
        if kept is not None and _is_ahead(db, path, state, kept):
            return kept
        try:
            _write_object(store, path, note.to_bytes(), found)
        except ObjectExistsError:
            continue
        return note
    raise ObjectChangedError(path, "other programs write it all the time: name another object")


def _read_object(store: ObjectStore, path: ObjectPath, found: ObjectState) -> bytes:
    if found.size > MAX_NOTE:
        raise EvidenceError(str(path), "is too large for a checkpoint or its time-stamp: name another object")
    return store.read(path)


def _write_object(store: ObjectStore, path: ObjectPath, content: bytes, replacing: ObjectState | None) -> None:
    store.write(path, content, sha256=sha256(content).hexdigest(), replacing=replacing)


def _stamp_object(store: ObjectStore, authority: str | None, path: ObjectPath, note: Note) -> None:
    """Write the time-stamp of a checkpoint beside it.

    One of an earlier checkpoint is replaced, or else removed. Raises EvidenceError or OSError.
    """
    stamp = ObjectPath(f"{path}{TIMESTAMP_SUFFIX}")
    found = store.state(stamp)
    if found is not None and not may_be_timestamp(_read_object(store, stamp, found)):
        raise EvidenceError(str(stamp), "is no time-stamp: move it away")
    if authority is not None:
        _write_object(store, stamp, request_timestamp(note.to_bytes(), authority), found)
    elif found is not None:
        store.delete(stamp)


# -- files -------------------------------------------------------------------------------------------------------------


def _leave_file(
    db: LandscapeDB, plan: CheckpointPlan, path: Path, state: LogState, note: Note
) -> tuple[Note | None, str | None]:
    """Write a file, and return its content and any problem."""
    protected = (*plan.protected, *database_files(db.engine.url))
    left: Note | None = None
    try:
        with ExitStack() as stack:
            output = _hold(stack, path, OutputPolicy(kind=Kind.FILE, objection=lambda _: None, protected=protected))
            kept = _read_kept(path)
            if kept is not None and _is_ahead(db, path, state, kept):
                return kept, None  # another run, which ended a moment later, wrote first
            with output.file() as file:
                file.write(note.to_bytes())
            left = note
            # A crash here leaves a checkpoint with the time-stamp of the previous one, which does not belong to it.
            _leave_timestamp(plan.authority, path, protected, note)
    except _FAILURES as error:
        return left, _problem_of(error)
    return left, None


def _hold(stack: ExitStack, path: Path, policy: OutputPolicy) -> Output:
    """Hold a file, waiting while another run writes it."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return stack.enter_context(hold(path, policy))
        except OutputLockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOCK_POLL_S)


def _read_kept(path: Path) -> Note | None:
    """Read the checkpoint in a file, if there is one.

    Raises EvidenceError for a file that holds something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_NOTE + 1)
    except FileNotFoundError:
        return None
    return _parse_kept(data, path)


def _parse_kept(data: bytes, place: Place) -> Note | None:
    return Note.parse(data, str(place)) if data else None


def _is_ahead(db: LandscapeDB, path: Place, state: LogState, kept: Note) -> bool:
    """Return whether the kept checkpoint covers more entries.

    Raises EvidenceError if the kept checkpoint contradicts the log: it must not be overwritten.
    """
    found = Checkpoint.parse(kept.text, str(path))
    if found.origin != state.origin:
        problem = f"holds a checkpoint of the log {shown(found.origin)}, and this database has the log {state.origin}"
        raise EvidenceError(str(path), f"{problem}: name another file")
    is_ahead = found.size > len(state.entries)
    now = _read_state(db) if is_ahead else state
    if found.size > len(now.entries) or now.at(found.size).checkpoint().root != found.root:
        problem = (
            f"the log does not begin with the {found.size:,} entries of this checkpoint, which is kept: the database"
            " was put back to an older state, or runs were changed or removed"
        )
        raise EvidenceError(str(path), problem)
    return is_ahead


def _leave_timestamp(authority: str | None, path: Path, protected: Sequence[Protected], note: Note) -> None:
    """Write the time-stamp of a checkpoint beside it.

    One of an earlier checkpoint is removed. Raises EvidenceError or OSError.
    """
    stamp = path.with_name(path.name + TIMESTAMP_SUFFIX)
    if authority is None and not stamp.exists():
        return
    policy = OutputPolicy(kind=Kind.FILE, objection=_objection_to_timestamp, protected=protected)
    with hold(stamp, policy) as output:
        if output.real.exists():
            output.real.unlink()
        if authority is not None:
            response = request_timestamp(note.to_bytes(), authority)
            with output.file() as file:
                file.write(response)


def _objection_to_timestamp(path: Path) -> str | None:
    return None if looks_like_timestamp(path) else "is no time-stamp: move it away"
