"""Attacks on runs, seals and log, and their detection.

Every attack is that of an administrator, who can drop triggers and write what he likes. What he does to log and runs
alike shows only against a checkpoint that somebody else has kept.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Table, delete, insert, select, update

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import log_origin, read_log
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.log_check import (
    KeptCheckpoint,
    check_log,
    compare_with_kept,
)
from elspeth.core.landscape.sealing.log_proofs import read_log_state
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import leaf_hash, tree_root
from elspeth.evidence.format.notes import NoteKeyType, NoteSigner
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.witness.client import ask_witness
from elspeth.evidence.witness.requests import AddCheckpoint
from elspeth.evidence.witness.witness import RefusedError, Witness
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import log_places_table, metadata, run_log_table, runs_table, seal_leaves_table, seals_table
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.evidence.format.test_notes import signer_of
from tests.fixtures.effort import examples_of
from tests.fixtures.landscapes import NewLandscape

RUNS = ("a", "b", "c")

LOG = signer_of(Ed25519PrivateKey.from_private_bytes(b"\3" * 32), "log")
WITNESS = signer_of(Ed25519PrivateKey.from_private_bytes(b"\4" * 32), "witness.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A database with three runs, and checkpoints of its log.

    `old` was kept after the first run, `newest` after the last.
    """

    database: LandscapeDB
    origin: str
    old: Checkpoint
    newest: Checkpoint


def checkpoint_of(database: LandscapeDB) -> Checkpoint:
    with database.snapshot() as connection:
        leaves = [leaf_hash(entry.encode()) for _, entry in read_log(connection)]
        return Checkpoint(origin=log_origin(connection), size=len(leaves), root=tree_root(leaves))


def finish(database: LandscapeDB, run_id: str, status: RunStatus = RunStatus.COMPLETED) -> None:
    recorder = LandscapeRecorder(database)
    recorder.begin_run({"run": run_id}, "v1", run_id=run_id)
    recorder.complete_run(run_id, status)


def tell(database: LandscapeDB) -> Told:
    """Record three runs, and keep checkpoints."""
    finish(database, "a")
    old = checkpoint_of(database)
    finish(database, "b", RunStatus.FAILED)
    finish(database, "c")
    newest = checkpoint_of(database)
    return Told(database=database, origin=newest.origin, old=old, newest=newest)


@pytest.fixture(scope="module")
def told(new_landscape: NewLandscape) -> Iterator[Told]:
    """Open a database with three runs, which no test changes."""
    with new_landscape() as database:
        yield tell(database)


@contextmanager
def administrator(told: Told) -> Iterator[Connection]:
    """Open a transaction without triggers, and roll it back."""
    with told.database.engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection:
        drop_guards(connection)
        yield connection
        connection.rollback()


def faults_in(connection: Connection) -> list[str]:
    return [str(fault) for fault in check_log(connection).faults]


def faults_of(database: LandscapeDB) -> list[str]:
    with database.snapshot() as connection:
        return faults_in(connection)


def contradictions_in(connection: Connection, **kept: Checkpoint) -> list[str]:
    places = [KeptCheckpoint(place=name, checkpoint=checkpoint) for name, checkpoint in kept.items()]
    return [str(fault) for fault in compare_with_kept(connection, places)]


def contradictions(database: LandscapeDB, **kept: Checkpoint) -> list[str]:
    with database.snapshot() as connection:
        return contradictions_in(connection, **kept)


def remove_run(connection: Connection, run_id: str) -> None:
    """Remove a run from every table but the log."""
    for table in reversed(metadata.sorted_tables):
        if "run_id" in table.c:
            connection.execute(delete(table).where(table.c.run_id == run_id))


def write_log(connection: Connection, entries: list[str]) -> None:
    """Replace the log, its positions without gaps."""
    connection.execute(delete(run_log_table))
    for position, entry in enumerate(entries):
        connection.execute(insert(run_log_table).values(position=position, entry_json=entry))


def entries_of(connection: Connection) -> list[str]:
    return [entry for _, entry in read_log(connection)]


def without(entries: list[str], run_id: str) -> list[str]:
    return [entry for entry in entries if json.loads(entry).get("run_id") != run_id]


# -- attacks ---------------------------------------------------------------------------------------------------------


def remove_a_run(connection: Connection) -> None:
    remove_run(connection, "b")


def remove_a_run_and_its_entries(connection: Connection) -> None:
    remove_run(connection, "b")
    write_log(connection, without(entries_of(connection), "b"))


def alter_an_entry(connection: Connection) -> None:
    entries = entries_of(connection)
    write_log(connection, [entry.replace('"failed"', '"completed"') for entry in entries])


def alter_entry_and_run(connection: Connection) -> None:
    alter_an_entry(connection)
    connection.execute(update(runs_table).where(runs_table.c.run_id == "b").values(status="completed"))


def put_back(connection: Connection) -> None:
    """Restore the state after the run b."""
    remove_run(connection, "c")
    write_log(connection, without(entries_of(connection), "c"))


def exchange_two_runs(connection: Connection) -> None:
    entries = entries_of(connection)
    write_log(connection, [*entries[:3], *entries[5:7], *entries[3:5]])


def cut_the_log(connection: Connection) -> None:
    write_log(connection, entries_of(connection)[:5])


def exchange_a_seal(connection: Connection) -> None:
    other = connection.scalar(select(seals_table.c.root).where(seals_table.c.run_id == "a"))
    connection.execute(update(seals_table).where(seals_table.c.run_id == "b").values(root=other))


def end_a_run_again(connection: Connection) -> None:
    """Append another end of the run b."""
    entries = entries_of(connection)
    (ended,) = [entry for entry in entries if '"failed"' in entry]
    write_log(connection, [*entries, ended.replace('"failed"', '"completed"')])


def remove_a_seal(connection: Connection) -> None:
    connection.execute(delete(seals_table).where(seals_table.c.run_id == "b"))


def remove_the_log(connection: Connection) -> None:
    connection.execute(delete(run_log_table))


def remove_everything(connection: Connection) -> None:
    remove_the_log(connection)
    for run_id in RUNS:
        remove_run(connection, run_id)


CHANGED = (
    "entries are not those of then: runs were changed, exchanged or removed,"
    " or the database was restored to an older state and used since"
)
FEWER = "the database was put back to an older state, or runs were removed"
EMPTY = "log of runs: the log of runs is empty. It begins with the next run, or was removed"

ATTACKS: Mapping[Callable[[Connection], None], tuple[str | None, str | None]] = {
    remove_a_run: (
        "run b: is in the log at entry 3, with the status 'failed', but not in the database: it was removed",
        None,
    ),
    remove_a_run_and_its_entries: (None, f"newest: the log had 7 entries then, and has 5 now: {FEWER}"),
    alter_an_entry: ("run b: expected the status completed of the log, got 'failed'", f"newest: the first 7 {CHANGED}"),
    alter_entry_and_run: (None, f"newest: the first 7 {CHANGED}"),
    put_back: (None, f"newest: the log had 7 entries then, and has 5 now: {FEWER}"),
    exchange_two_runs: (None, f"newest: the first 7 {CHANGED}"),
    cut_the_log: (
        "run c: is in the database, but not in the log: it was added, or the log was cut or put back",
        f"newest: the log had 7 entries then, and has 5 now: {FEWER}",
    ),
    exchange_a_seal: ("run b: expected a seal with the root ROOT of the log, got ROOT: it was exchanged", None),
    remove_a_seal: ("run b: expected a seal with the root ROOT of the log, got None: it was exchanged", None),
    end_a_run_again: ("entry 7: run 'b' ended, but had ended before", None),
    remove_the_log: ("expected an entry, got none: it begins with the next run, or was removed", EMPTY),
    remove_everything: ("expected an entry, got none: it was removed", EMPTY),
}
"""Attack -> what the database itself shows, and what the newest kept checkpoint shows; None for nothing."""


def test_an_untouched_log_passes(told: Told) -> None:
    assert faults_of(told.database) == []
    with told.database.snapshot() as connection:
        assert check_log(connection).verdict == "3 runs in the log of runs, 7 entries"
    first = replace(told.old, size=0, root=tree_root([]))
    assert contradictions(told.database, first=first, old=told.old, newest=told.newest) == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_found(told: Told, attack: Callable[[Connection], None]) -> None:
    shown, contradicted = ATTACKS[attack]
    with administrator(told) as connection:
        attack(connection)
        faults, kept = faults_in(connection), contradictions_in(connection, newest=told.newest)
    without_roots = [re.sub(r"[0-9a-f]{64}", "ROOT", fault) for fault in faults]
    assert without_roots == ([] if shown is None else [f"log of runs: {shown}"])
    assert kept == ([] if contradicted is None else [contradicted])


NOTE = LOG.sign(Checkpoint(origin="elspeth.local/another", size=1, root=b"\1" * 32).text).to_bytes().decode()


@pytest.mark.parametrize(
    ("attack", "note", "problem"),
    [
        (None, None, None),
        (alter_entry_and_run, None, f"the first 7 {CHANGED}"),
        (put_back, None, f"the log had 7 entries then, and has 5 now: {FEWER}"),
        (alter_an_entry, None, f"the first 7 {CHANGED}"),
        (None, NOTE, "is about the log 'elspeth.local/another', and this database has the log"),
        (None, "no note", "expected a signed note"),
    ],
)
def test_checkpoints_that_the_database_left_are_compared(
    told: Told, attack: Callable[[Connection], None] | None, note: str | None, problem: str | None
) -> None:
    left = note or LOG.sign(told.newest.text).to_bytes().decode()
    with administrator(told) as connection:
        connection.execute(insert(log_places_table).values(place="log.txt", named_by="c", log_size=7, note=left))
        connection.execute(insert(log_places_table).values(place="never", named_by="c"))
        if attack is not None:
            attack(connection)
        faults = [each for each in faults_in(connection) if not each.startswith("log of runs: run b: ")]
    expected = [] if problem is None else [f"the checkpoint left at log.txt: {problem}"]
    assert [fault[: len(text)] for fault, text in zip(faults, expected, strict=True)] == expected


def ask(witness: Witness, monkeypatch: pytest.MonkeyPatch, connection: Connection) -> str | None:
    """Ask for a cosignature; return why it is refused."""

    def post(_url: str, request: AddCheckpoint) -> tuple[int, str, bytes]:
        try:
            return 200, "text/plain", witness.add_checkpoint(request.to_bytes()).to_bytes()
        except RefusedError as refusal:
            kind = "text/plain" if refusal.size is None else "text/x.tlog.size"
            return refusal.status, kind, f"{refusal.size}\n".encode()

    monkeypatch.setattr("elspeth.evidence.witness.client._post", post)
    key = witness.signer.verifier_key(NoteKeyType.COSIGNATURE)
    try:
        state = read_log_state(connection)
        note = NoteSigner(name=state.origin, signer=LOG.signer).sign(state.checkpoint().text)
        ask_witness("https://witness.example", key, note, state.consistency)
    except (EvidenceError, LandscapeError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_witness_refuses_a_log_that_does_not_continue(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Callable[[Connection], None]
) -> None:
    """Attacks that spare the log show in the database."""
    log = NoteSigner(name=told.origin, signer=LOG.signer).verifier_key(NoteKeyType.ED25519)
    policy = Policy.parse(f"log {log}\nquorum none\n".encode(), "policy")
    witness = Witness(signer=WITNESS, logs=policy, directory=tmp_path)
    _, contradicted = ATTACKS[attack]
    with administrator(told) as connection:
        assert ask(witness, monkeypatch, connection) is None
        attack(connection)
        told_then = ask(witness, monkeypatch, connection)
        entries = entries_of(connection)
        write_log(connection, [*entries, *(canonical_json({"run_id": name}) for name in "defg")])
        told_later = ask(witness, monkeypatch, connection)
    if contradicted is None:
        assert told_then is told_later is None
    elif contradicted is EMPTY:
        assert told_then is not None
        assert told_later is not None
    else:
        other = "it knows another history of the log: runs were changed, exchanged or removed"
        fewer = f"it knows 7 entries of the log, which has 5: {FEWER}"
        assert told_then == f"witness https://witness.example: {fewer if FEWER in contradicted else other}"
        assert told_later == f"witness https://witness.example: {other}"


def test_a_restored_database_is_found_even_if_used_since(landscape: LandscapeDB) -> None:
    told = tell(landscape)
    with told.database.write_transaction() as connection:
        drop_guards(connection)
        put_back(connection)
    for name in "defg":
        finish(told.database, name)
    assert faults_of(told.database) == []
    (fault,) = contradictions(told.database, old=told.old, newest=told.newest)
    assert fault == (
        "newest: the first 7 entries are not those of then: runs were changed, exchanged or removed, or the database"
        " was restored to an older state and used since"
    )


def test_one_of_two_copies_that_both_continued_is_found(landscape: LandscapeDB, new_landscape: NewLandscape) -> None:
    told = tell(landscape)
    with ExitStack() as stack:
        copy = stack.enter_context(new_landscape())
        with told.database.snapshot() as source, copy.write_transaction() as target:
            copy_database(source, target)
        assert checkpoint_of(copy) == told.newest
        finish(told.database, "d")
        finish(copy, "e")
        first, second = checkpoint_of(told.database), checkpoint_of(copy)
        assert first.origin == second.origin
        assert contradictions(told.database, first=first, newest=told.newest) == []
        assert [CHANGED in fault for fault in contradictions(told.database, second=second)] == [True]


def copy_database(source: Connection, target: Connection) -> None:
    drop_guards(target)
    remove_the_log(target)
    for table in (runs_table, seals_table, seal_leaves_table, run_log_table, metadata.tables["run_secrets"]):
        copy_table(source, target, table)


def copy_table(source: Connection, target: Connection, table: Table) -> None:
    for row in source.execute(select(table)).mappings().all():
        target.execute(insert(table), dict(row))


def test_a_log_that_was_restarted_is_another_log(landscape: LandscapeDB) -> None:
    told = tell(landscape)
    with told.database.write_transaction() as connection:
        drop_guards(connection)
        remove_the_log(connection)
    finish(told.database, "d")
    assert faults_of(told.database) == [
        "log of runs: entry 0: the log was removed when runs had been recorded: it was begun anew here"
    ]
    (fault,) = contradictions(told.database, newest=told.newest)
    assert fault.startswith(f"newest: is about the log '{told.origin}', and this database has the log elspeth.local/")


def test_an_unfinished_run_is_found_by_its_first_entry(landscape: LandscapeDB) -> None:
    LandscapeRecorder(landscape).begin_run({}, "v1", run_id="a")
    assert faults_of(landscape) == []
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        remove_run(connection, "a")
    assert faults_of(landscape) == [
        "log of runs: run a: is in the log at entry 1, but not in the database: it was removed"
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "running"}, "has the status 'running', but ended as failed by the log: its end was taken back"),
        ({"config_hash": "0" * 64}, "began otherwise than entry 3 says: its settings or the time of its start"),
        ({"run_id": "x"}, "is in the database, but not in the log: it was added"),
    ],
)
def test_a_changed_run_is_named(told: Told, change: dict[str, str], problem: str) -> None:
    with administrator(told) as connection:
        connection.execute(update(runs_table).where(runs_table.c.run_id == "b").values(**change))
        faults = faults_in(connection)
    assert faults[0].startswith(f"log of runs: run {change.get('run_id', 'b')}: {problem}")


@pytest.mark.parametrize(
    ("position", "entry", "problem"),
    [
        (1, "[]", "expected an entry in canonical JSON, got '[]': it was altered"),
        (1, "{", "expected an entry in canonical JSON"),
        (1, '{"entry": "begun"}', "expected an entry in canonical JSON"),
        (1, '{"entry":"begun","run_id":"a","time":"x"}', "expected an entry in canonical JSON"),
        (1, '{"entry":"unheard","time":"x"}', "expected an entry in canonical JSON"),
        (0, '{"entry":"created","epoch":1,"time":"x"}', "expected an entry in canonical JSON"),
        (2, '{"entry":"created","epoch":1,"log":"x","time":"x"}', "expected an entry in canonical JSON"),
    ],
)
def test_an_invalid_entry_is_named(told: Told, position: int, entry: str, problem: str) -> None:
    with administrator(told) as connection:
        connection.execute(update(run_log_table).where(run_log_table.c.position == position).values(entry_json=entry))
        faults = faults_in(connection)
    assert faults[0].startswith(f"log of runs: entry {position}: {problem}")


PRUNED = {"entry": "pruned", "bag": "b.zip", "bag_hash": "0" * 64, "bag_root": "1" * 64}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"entry": "ended", "run_id": "x", "status": "failed", "root": None}, "run 'x' ended, but had not begun"),
        ({"entry": "begun", "run_id": "b", "config_hash": "0", "started_at": "x"}, "run 'b' is in the log already, at"),
        ({"entry": "imported", "run_id": "b", "status": "failed", "root": None}, "run 'b' is in the log already, at"),
        (PRUNED | {"run_id": "x", "status": "failed"}, "run 'x' was pruned, but had not begun"),
        (
            {"entry": "not_sent", "run_id": "x", "what": "x", "problem": "x"},
            "something of run 'x' was not sent, but it had not begun",
        ),
        ({"entry": "sent", "run_id": "x", "what": "x"}, "something of run 'x' was sent, but it had not begun"),
        (PRUNED | {"run_id": "b", "status": "completed"}, "run 'b' was pruned, but its status was failed by the log"),
    ],
)
def test_an_entry_that_cannot_follow_the_others_is_named(told: Told, entry: dict[str, object], problem: str) -> None:
    with administrator(told) as connection:
        write_log(connection, [*entries_of(connection), canonical_json(entry | {"time": "x"})])
        (fault,) = faults_in(connection)
    assert fault.startswith(f"log of runs: entry 7: {problem}")


def test_the_name_of_a_run_that_is_gone_cannot_pose_as_another_line(told: Told) -> None:
    begun = {"entry": "begun", "run_id": "x\ny\x1b[2J", "config_hash": "0", "started_at": "x", "time": "x"}
    with administrator(told) as connection:
        write_log(connection, [*entries_of(connection), canonical_json(begun)])
        (fault,) = faults_in(connection)
        assert check_log(connection).verdict == "4 runs in the log of runs, 8 entries, 1 fault"
    gone = "is in the log at entry 7, but not in the database: it was removed"
    assert fault == f"log of runs: run x\\ny\\x1b[2J: {gone}"


def test_a_run_that_was_pruned_twice_is_named(told: Told) -> None:
    pruned = canonical_json(PRUNED | {"run_id": "b", "status": "failed", "time": "x"})
    with administrator(told) as connection:
        write_log(connection, [*entries_of(connection), pruned, pruned])
        faults = faults_in(connection)
        assert check_log(connection).verdict == f"3 runs in the log of runs, 9 entries, {len(faults)} faults"
    assert faults[0] == "log of runs: entry 8: run 'b' was pruned, but was pruned before, at entry 7"


def test_a_gap_is_named(told: Told) -> None:
    with administrator(told) as connection:
        connection.execute(delete(run_log_table).where(run_log_table.c.position == 4))
        faults = faults_in(connection)
    assert faults == [
        "log of runs: entry 4: expected it before entry 5, got none: it was removed",
        (
            "log of runs: run b: has the status 'failed', but did not end by the log: its end was added,"
            " or the log was cut"
        ),
    ]


def test_a_proved_entry_names_the_missing_run(told: Told) -> None:
    with told.database.snapshot() as connection:
        proved = KeptCheckpoint(place="b", checkpoint=told.newest, entry=(4, entries_of(connection)[4].encode()))
    with administrator(told) as connection:
        exchange_two_runs(connection)
        (fault,) = compare_with_kept(connection, [proved])
    assert fault.problem.startswith("""expected the entry '{"entry":"ended","root":""")
    assert "at position 4, got " in fault.problem


def mutations(rng: random.Random, entries: list[str]) -> Iterator[list[str]]:
    """Yield altered logs, without end."""
    while True:
        changed = list(entries)
        place, other = rng.randrange(len(entries)), rng.randrange(len(entries))
        kind = rng.randrange(4)
        if kind == 0:
            del changed[place]
        elif kind == 1:
            changed[place], changed[other] = changed[other], changed[place]
        elif kind == 2:
            changed.insert(place, changed[other])
        else:
            at = rng.randrange(len(changed[place]))
            changed[place] = changed[place][:at] + chr(97 + rng.randrange(26)) + changed[place][at + 1 :]
        if changed[: len(entries)] != entries:
            yield changed


def test_no_mutated_log_passes_against_a_kept_checkpoint(told: Told) -> None:
    rng = random.Random(19)  # noqa: S311  must be the same each time
    with administrator(told) as connection:
        entries = entries_of(connection)
        passed = []
        for _, changed in zip(range(examples_of(300)), mutations(rng, entries), strict=False):
            write_log(connection, changed)
            if not list(compare_with_kept(connection, [KeptCheckpoint(place="kept", checkpoint=told.newest)])):
                passed.append(changed)
    assert passed == []


def test_entries_are_canonical(told: Told) -> None:
    with told.database.snapshot() as connection:
        assert [canonical_json(json.loads(entry)) for entry in entries_of(connection)] == entries_of(connection)
