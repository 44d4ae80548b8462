"""Checks the log against runs, seals and kept checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, String, cast, select

from elspeth.contracts.errors import format_count
from elspeth.core.canonical import canonical_json, stored_time_text
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.pruned_runs import PrunedRun, read_pruned_runs
from elspeth.core.landscape.database.run_log import Happening, log_origin, log_size, read_log, read_one_state
from elspeth.core.landscape.sealing.check import with_undecodable_text
from elspeth.core.landscape.sealing.log_places import left_notes
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.merkle import TreeHasher, leaf_hash
from elspeth.evidence.format.notes import Note
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import runs_table, seals_table

__all__ = ["KeptCheckpoint", "LogFault", "LogReport", "check_log", "compare_with_kept"]

_PLACE = "log of runs"

_ENTRIES: Mapping[Happening, frozenset[str]] = {
    Happening.CREATED: frozenset({"epoch", "log"}),
    Happening.LOST: frozenset({"epoch", "from_epoch", "log", "runs"}),
    Happening.FOUND: frozenset({"run_id", "status", "root"}),
    Happening.BEGUN: frozenset({"run_id", "config_hash", "started_at"}),
    Happening.ENDED: frozenset({"run_id", "status", "root"}),
    Happening.IMPORTED: frozenset({"run_id", "status", "root"}),
    Happening.ADOPTED: frozenset({"run_id", "status", "root"}),
    Happening.PURGED: frozenset({"cutoff", "payloads", "size_bytes"}),
    Happening.PRUNED: frozenset({"run_id", "status", "bag", "bag_hash", "bag_root"}),
    Happening.NOT_SENT: frozenset({"run_id", "what", "problem"}),
    Happening.SENT: frozenset({"run_id", "what"}),
}
"""The members of entries by kind, in addition to `entry` and `time`.

An entry about a migration has the members of LOST if it begins the log.
"""

_LATER_MIGRATION = frozenset({"epoch", "from_epoch"})
_TERMINAL = frozenset(status.value for status in RunStatus if status.is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFault:
    """A contradiction in the log, and its place."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """The result of checking the log: its size and faults.

    `runs` counts the runs in it.
    """

    size: int
    runs: int
    faults: tuple[LogFault, ...]

    @property
    def verdict(self) -> str:
        """Return sizes and number of faults in one line."""
        wrong = f", {format_count(len(self.faults), 'fault')}" if self.faults else ""
        entries = format_count(self.size, "entry", "entries")
        return f"{format_count(self.runs, 'run')} in the log of runs, {entries}{wrong}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoint:
    """A checkpoint that somebody kept, with its place.

    `entry` is an entry, with its position, that was proved to be in the checkpoint.
    """

    place: str
    checkpoint: Checkpoint
    entry: tuple[int, bytes] | None = None


@dataclass(slots=True)
class _LoggedRun:
    """The statements of the log about a run."""

    position: int
    begun: tuple[str, str] | None = None
    """The hash of the run's settings, and the time of its start."""
    status: str | None = None
    root: str | None = None
    pruned: tuple[int, str, str] | None = None
    """The position of the entry, with the SHA-256 and the root of the bag."""


def check_log(connection: Connection) -> LogReport:
    """Check log, runs and seals against each other.

    Every run must be in the log, as it is recorded, with the root of its seal, and every run in the log must be in the
    database. The checkpoints that were delivered to others must hold.
    """
    return with_undecodable_text(connection, _check_log)


def _check_log(connection: Connection) -> LogReport:
    read_one_state(connection)
    history = _History()
    for position, entry in read_log(connection):
        history.take(position, entry)
    faults = [*history.faults, *_differences(connection, history)]
    if history.size:
        faults += _differences_from_left(connection)
    return LogReport(size=history.size, runs=len(history.runs), faults=tuple(faults))


@dataclass(slots=True)
class _History:
    """The entries read so far."""

    size: int = 0
    runs: dict[str, _LoggedRun] = field(default_factory=dict)
    faults: list[LogFault] = field(default_factory=list)

    def take(self, position: int, text: str) -> None:
        """Read the next entry."""
        if position != self.size:
            self._fault(f"entry {self.size}", f"expected it before entry {position}, got none: it was removed")
        self.size = position + 1
        try:
            problem = self._take(position, _parse(text, position))
        except (ValueError, TypeError, AttributeError, KeyError):
            problem = f"expected an entry in canonical JSON, got {shown(text)}: it was altered"
        if problem is not None:
            self._fault(f"entry {position}", problem)

    def _take(self, position: int, entry: dict[str, object]) -> str | None:
        """Read an entry, and return its problem or None."""
        happening = Happening(str(entry["entry"]))
        if happening is Happening.LOST:
            return "the log was removed when runs had been recorded: it was begun anew here"
        if "run_id" not in entry:
            return None
        run_id = str(entry["run_id"])
        known = self.runs.get(run_id)
        if happening is Happening.ENDED:
            if known is None or known.status in _TERMINAL:
                return f"run {shown(run_id)} ended, but {'had not begun' if known is None else 'had ended before'}"
            known.status, known.root = _optional(entry["status"]), _optional(entry["root"])
            return None
        if happening in {Happening.NOT_SENT, Happening.SENT}:
            was = "was" if happening is Happening.SENT else "was not"
            return None if known is not None else f"something of run {shown(run_id)} {was} sent, but it had not begun"
        if happening is Happening.PRUNED:
            if known is None or known.pruned is not None or known.status != entry["status"]:
                return f"run {shown(run_id)} was pruned, but {_state_of(known)}"
            known.pruned = (position, str(entry["bag_hash"]), str(entry["bag_root"]))
            return None
        if known is not None:
            return f"run {shown(run_id)} is in the log already, at entry {known.position}"
        if happening is Happening.BEGUN:
            begun = (str(entry["config_hash"]), str(entry["started_at"]))
            self.runs[run_id] = _LoggedRun(position=position, begun=begun)
        else:
            status, root = _optional(entry["status"]), _optional(entry["root"])
            self.runs[run_id] = _LoggedRun(position=position, status=status, root=root)
        return None

    def _fault(self, place: str, problem: str) -> None:
        self.faults.append(LogFault(place=f"{_PLACE}: {place}", problem=problem))


def _parse(text: str, position: int) -> dict[str, object]:
    """Return the members of an entry.

    Raises ValueError, TypeError, AttributeError or KeyError for anything but a valid entry at this position.
    """
    entry: dict[str, object] = json.loads(text)
    happening = Happening(str(entry["entry"]))
    members = frozenset(entry) - {"entry", "time"}
    if happening is Happening.MIGRATED:
        expected = _ENTRIES[Happening.LOST] if position == 0 else _LATER_MIGRATION
    else:
        expected = _ENTRIES[happening]
    if canonical_json(entry) != text or members != expected or ("log" in members) != (position == 0):
        raise ValueError(text)
    return entry


def _state_of(run: _LoggedRun | None) -> str:
    """Return why a run could not be pruned."""
    if run is None:
        return "had not begun"
    if run.pruned is not None:
        return f"was pruned before, at entry {run.pruned[0]}"
    return f"its status was {run.status} by the log"


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _differences(connection: Connection, history: _History) -> Iterator[LogFault]:
    """Yield the differences between the log and the runs."""
    if not history.size:
        yield LogFault(place=_PLACE, problem=_empty_log(connection))
        return
    rest = dict(history.runs)
    runs, seals = runs_table.c, seals_table.c
    columns = (runs.run_id, runs.status, runs.config_hash, cast(runs.started_at, String), seals.root)
    joined = runs_table.outerjoin(seals_table, runs.run_id == seals.run_id)
    for run_id, status, config_hash, started_at, root in connection.execute(
        select(*columns).select_from(joined).order_by(runs.run_id)
    ):
        logged = rest.pop(run_id, None)
        problem = _difference(logged, str(status), (str(config_hash), _time_text(started_at)), root)
        if problem is not None:
            yield LogFault(place=f"{_PLACE}: run {run_id}", problem=problem)
    yield from _pruned_differences(connection, history.runs)
    for run_id, logged in rest.items():
        if logged.pruned is not None:
            continue
        ended = "" if logged.status is None else f", with the status {shown(logged.status)}"
        problem = f"is in the log at entry {logged.position}{ended}, but not in the database: it was removed"
        yield LogFault(place=f"{_PLACE}: run {shown(run_id)[1:-1]}", problem=problem)


def _pruned_differences(connection: Connection, logged: Mapping[str, _LoggedRun]) -> Iterator[LogFault]:
    """Yield the differences between the log and pruned runs."""
    rest = {run_id: run.pruned for run_id, run in logged.items() if run.pruned is not None}
    roots = dict(connection.execute(select(seals_table.c.run_id, seals_table.c.root)).all())
    for run in read_pruned_runs(connection):
        rest.pop(run.run_id, None)
        problem = _pruned_difference(logged.get(run.run_id), run, roots.get(run.run_id))
        if problem is not None:
            yield LogFault(place=f"{_PLACE}: run {run.run_id}", problem=problem)
    for run_id, (position, bag_hash, _) in rest.items():
        problem = f"was pruned by entry {position}, into the bag {bag_hash}, but is not in pruned_runs: it was removed"
        yield LogFault(place=f"{_PLACE}: run {shown(run_id)[1:-1]}", problem=problem)


def _pruned_difference(logged: _LoggedRun | None, run: PrunedRun, root: str | None) -> str | None:
    """Return how a pruned run differs from the log."""
    if logged is None or logged.pruned is None:
        return "is in pruned_runs, but was not pruned by the log: it was added, or the log was cut or put back"
    position, *bag = logged.pruned
    if bag != [run.bag_hash, run.bag_root]:
        return f"expected the bag {bag[0]} of entry {position} in pruned_runs, got {run.bag_hash}: it was exchanged"
    begun = (logged.begun[0] if logged.begun is not None else "", run.started_at)
    return _difference(replace(logged, pruned=None), run.status, begun, root)


def _empty_log(connection: Connection) -> str:
    has_run = connection.execute(select(runs_table.c.run_id).limit(1)).first() is not None
    reason = "it begins with the next run, or was removed" if has_run else "it was removed"
    return f"expected an entry, got none: {reason}"


def _difference(logged: _LoggedRun | None, status: str, begun: tuple[str, str | None], root: str | None) -> str | None:
    """Return how a run differs from the log."""
    if logged is None:
        return "is in the database, but not in the log: it was added, or the log was cut or put back"
    if logged.pruned is not None:
        return f"was pruned by the log, at entry {logged.pruned[0]}, but is in the database: it was put back"
    if logged.begun is not None and logged.begun != begun:
        return f"began otherwise than entry {logged.position} says: its settings or the time of its start were changed"
    is_ended, was_ended = status in _TERMINAL, logged.status in _TERMINAL
    if was_ended and not is_ended:
        return f"has the status {shown(status)}, but ended as {logged.status} by the log: its end was taken back"
    if is_ended and not was_ended:
        return f"has the status {shown(status)}, but did not end by the log: its end was added, or the log was cut"
    if is_ended and status != logged.status:
        return f"expected the status {logged.status} of the log, got {shown(status)}"
    if root != logged.root:
        return f"expected a seal with the root {logged.root} of the log, got {root}: it was exchanged"
    return None


def _time_text(value: object) -> str | None:
    try:
        return stored_time_text(value)
    except (ValueError, TypeError):
        return None


# -- kept checkpoints --------------------------------------------------------------------------------------------------


def compare_with_kept(connection: Connection, kept: Sequence[KeptCheckpoint]) -> Iterator[LogFault]:
    """Yield the kept checkpoints that the log contradicts."""
    read_one_state(connection)
    try:
        origin, size = log_origin(connection), log_size(connection)
    except LandscapeError as error:
        yield LogFault(place=_PLACE, problem=str(error))
        return
    roots, entries = _derive(connection, kept)
    for each in kept:
        checkpoint = each.checkpoint
        problem = None
        if checkpoint.origin != origin:
            problem = (
                f"is about the log {shown(checkpoint.origin)}, and this database has the log {origin}: it is another"
                " database, or its log was removed and begun anew"
            )
        elif checkpoint.size > size:
            then = format_count(checkpoint.size, "entry", "entries")
            problem = (
                f"the log had {then} then, and has {size:,} now: the database was put back to an older state, or runs"
                " were removed"
            )
        elif each.entry is not None and entries[each.entry[0]] != each.entry[1]:
            expected, got = shown(each.entry[1].decode(errors="replace")), shown(entries[each.entry[0]].decode())
            problem = f"expected the entry {expected} at position {each.entry[0]}, got {got}"
        elif roots[checkpoint.size] != checkpoint.root:
            problem = (
                f"the first {checkpoint.size:,} entries are not those of then: runs were changed, exchanged or removed,"
                " or the database was restored to an older state and used since"
            )
        if problem is not None:
            yield LogFault(place=each.place, problem=problem)


def _differences_from_left(connection: Connection) -> Iterator[LogFault]:
    """Yield the delivered checkpoints that the log contradicts.

    The database has copies of them. A person who changes the database can change these, too, but may forget to.
    """
    kept = []
    for name, text in left_notes(connection).items():
        place = f"the checkpoint left at {name}"
        try:
            checkpoint = Checkpoint.parse(Note.parse(text.encode(), place).text, place)
        except EvidenceError as error:
            yield LogFault(place=error.place, problem=error.problem)
        else:
            kept.append(KeptCheckpoint(place=place, checkpoint=checkpoint))
    if kept:
        yield from compare_with_kept(connection, kept)


def _derive(connection: Connection, kept: Sequence[KeptCheckpoint]) -> tuple[Mapping[int, bytes], Mapping[int, bytes]]:
    """Return roots by size, and entries by position."""
    sizes = {each.checkpoint.size for each in kept}
    positions = {each.entry[0] for each in kept if each.entry is not None}
    tree, entries = TreeHasher(), dict[int, bytes]()
    roots = {0: tree.root()} if 0 in sizes else {}
    for number, (_, text) in enumerate(read_log(connection)):
        entry = text.encode()
        tree.add(leaf_hash(entry))
        if number + 1 in sizes:
            roots[number + 1] = tree.root()
        if number in positions:
            entries[number] = entry
    return roots, entries
