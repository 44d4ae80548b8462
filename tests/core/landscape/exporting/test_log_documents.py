"""Bags carry the place of their run in the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, delete, insert

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.run_log import read_log
from elspeth.core.landscape.exporting._log_documents import log_documents
from elspeth.core.landscape.exporting.bag_form import write_bag_of_run
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth.core.landscape.sealing.log_delivery import CheckpointPlan, FilePlace, leave_checkpoint
from elspeth.core.landscape.sealing.log_places import name_places
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.merkle import inclusion_proof, split_hashes, tree_root
from elspeth.evidence.format.notes import NoteKeyType, NoteSigner
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier.history import compare_points
from elspeth.evidence.verifier.procedure import Status, Step, StepResult, Verdict, Verification
from elspeth.evidence.verifier.verify import verify_bag
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_log_table
from tests.core.landscape.sealing import test_log_check
from tests.core.landscape.sealing.test_log_check import checkpoint_of
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.evidence.format.test_notes import signer_of
from tests.fixtures.landscapes import in_memory
from tests.fixtures.legacy import LEGACY
from tests.fixtures.rich_run import recorded, rich_run

LOG_SIGNER = signer_of(Ed25519PrivateKey.from_private_bytes(b"\3" * 32), "log").signer

Documents = dict[str, bytes]


def finish(database: LandscapeDB, run_id: str) -> None:
    """Record a failed run, which need not have a source."""
    test_log_check.finish(database, run_id, RunStatus.FAILED)


def bag(database: LandscapeDB, run_id: str, path: Path, policy: Policy | None = None) -> Verification:
    write_bag_of_run(database, run_id, path, signer=None)
    return verify_bag(path, policy=policy)


def log_step(found: Verification) -> StepResult:
    return next(each for each in found.steps if each.step is Step.LOG)


def history(*bags: Verification) -> list[str]:
    return [str(each) for each in compare_points([(f"bag {n}", each.log) for n, each in enumerate(bags)])]


def policy_of(database: LandscapeDB) -> Policy:
    key = NoteSigner(name=checkpoint_of(database).origin, signer=LOG_SIGNER).verifier_key(NoteKeyType.ED25519)
    return Policy.parse(f"log {key}\nquorum none\n".encode(), "policy")


def leave(database: LandscapeDB, path: Path) -> None:
    name_places(database, ["place"], "a")
    places = [FilePlace(name="place", path=path)]
    assert (
        leave_checkpoint(database, CheckpointPlan(signer=LOG_SIGNER, files=places, witnesses=[], authority=None)) == []
    )


@pytest.fixture
def told() -> Iterator[LandscapeDB]:
    """Open a database in memory."""
    with in_memory() as database:
        yield database


def test_a_bag_shows_its_run_in_the_log(landscape: LandscapeDB, tmp_path: Path) -> None:
    finish(landscape, "a")
    finish(landscape, "b")
    for run_id, index in (("a", 2), ("b", 4)):
        found = bag(landscape, run_id, tmp_path / run_id)
        state = checkpoint_of(landscape)
        assert found.verdict is Verdict.UNSIGNED, found.faults
        assert log_step(found).detail == (
            f"entry {index} of 5 in {state.origin}; no checkpoint that covers it had been left with others"
        )
        assert found.log is not None
        assert (found.log.checkpoint, found.log.start) == (state, 0)


def test_bags_of_a_database_show_one_history(told: LandscapeDB, tmp_path: Path) -> None:
    found = []
    for run_id in ("a", "b", "c"):
        finish(told, run_id)
        found.append(bag(told, run_id, tmp_path / run_id))
    assert history(*found) == history(*reversed(found)) == []


def test_a_changed_history_is_found_by_comparing_two_bags(told: LandscapeDB, tmp_path: Path) -> None:
    finish(told, "a")
    finish(told, "b")
    first = bag(told, "b", tmp_path / "first")
    with told.write_transaction() as connection:  # put back, and continued
        drop_guards(connection)
        kept = [{"position": position, "entry_json": text} for position, text in read_log(connection)][:3]
        connection.execute(delete(run_log_table))
        connection.execute(insert(run_log_table), kept)
    finish(told, "c")
    finish(told, "d")
    (problem,) = history(first, bag(told, "d", tmp_path / "second"))
    assert problem == (
        "bag 1: its log does not continue that of bag 0: the first 5 entries differ, so runs were changed or removed,"
        " or the database was put back"
    )


def test_bags_of_different_logs_do_not_show_one_history(told: LandscapeDB, tmp_path: Path) -> None:
    finish(told, "a")
    with LandscapeDB.in_memory() as other:  # a database that the fixture used before has a log named after its template
        finish(other, "a")
        (problem,) = history(bag(told, "a", tmp_path / "1"), bag(other, "a", tmp_path / "2"))
    assert "one of them is of another database, or the log was removed and begun anew" in problem


def test_bags_too_far_apart_need_one_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.evidence.format.log_place._KEPT", 4)
    with in_memory() as database:
        found = []
        for run_id in "abcdefgh":
            finish(database, run_id)
            found.append(bag(database, run_id, tmp_path / run_id))
    assert history(*found) == []
    (problem,) = history(found[0], found[-1])
    assert problem == (
        "bag 1: keeps the hashes from entry 12 on, and bag 0 has 3 entries: give a bag of the time between them, too"
    )


def test_a_bag_may_end_where_the_hashes_of_the_next_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.evidence.format.log_place._KEPT", 4)
    entries = [b"%d" % number for number in range(17)]
    older, newer = (LogPlace.of("log", entries[:size], 0) for size in (12, 17))
    assert newer.start == 12
    assert list(compare_points([("older", older), ("newer", newer)])) == []


def test_a_bag_contains_the_newest_checkpoint(landscape: LandscapeDB, tmp_path: Path) -> None:
    finish(landscape, "a")
    leave(landscape, tmp_path / "kept")
    finish(landscape, "b")
    found = bag(landscape, "a", tmp_path / "a", policy_of(landscape))
    assert log_step(found).status is Status.PASSED
    assert log_step(found).detail.endswith("; in a signed checkpoint of 3 entries")
    proof = LogProof.parse((tmp_path / "a/data/run-log.tlog-proof").read_bytes(), "proof")
    assert proof.note.to_bytes() == (tmp_path / "kept").read_bytes()
    assert log_step(verify_bag(tmp_path / "a")).detail.endswith("whose signatures were not checked: give --policy")
    later = log_step(bag(landscape, "b", tmp_path / "b", policy_of(landscape)))
    assert (later.status, later.detail) == (
        Status.FAILED,
        "data/run-log.tlog-proof: expected a checkpoint that the policy accepts, got none",
    )


def test_a_checkpoint_that_the_log_contradicts_is_not_in_a_bag(told: LandscapeDB, tmp_path: Path) -> None:
    finish(told, "a")
    leave(told, tmp_path / "kept")
    with told.connection() as connection:
        assert set(log_documents(connection, "a")) == {"run-log.json", "run-log-leaves.bin", "run-log.tlog-proof"}
    with told.write_transaction() as connection:
        drop_guards(connection)
        entries = [text for _, text in read_log(connection)]
        test_log_check.write_log(connection, [each.replace('"time":"2', '"time":"3') for each in entries])
    with told.connection() as connection:
        assert set(log_documents(connection, "a")) == {"run-log.json", "run-log-leaves.bin"}


def test_a_run_that_is_not_in_the_log_has_no_place_in_it(landscape: LandscapeDB, tmp_path: Path) -> None:
    found = bag(landscape, recorded(landscape, rich_run()), tmp_path / "a")
    assert (log_step(found).status, found.log) == (Status.NOT_PART, None)
    asked = log_step(verify_bag(tmp_path / "a", policy=policy_of(landscape)))
    assert asked.status is Status.FAILED
    assert asked.detail.startswith(
        "data/run-log.tlog-proof: expected a checkpoint that the policy accepts, got none: n"
    )
    assert history(found, found)[0] == (
        "bag 0: expected the place of its run in the log of runs, got none: it cannot be compared"
    )


def test_a_bag_from_a_database_of_an_earlier_epoch_says_that_it_has_no_log(
    tmp_path: Path, signer: Signer, key: PublicKey
) -> None:
    with open_for_reading(f"sqlite:///{LEGACY / 'epoch5-rich.db'}") as database:
        with database.connection() as connection:
            run_id = connection.exec_driver_sql("SELECT run_id FROM runs WHERE status = 'completed'").scalar_one()
        write_bag_of_run(database, run_id, tmp_path / "bag", signer=signer)
    found = verify_bag(tmp_path / "bag", key=key)
    assert (log_step(found).status, found.log) == (Status.NOT_PART, None)
    assert log_step(found).detail == (
        "not in the bag: it was made by an earlier release, or from a database of an earlier epoch"
    )


def test_a_bag_from_a_copy_has_no_place_in_the_log_of_the_original(sqlite_url: str, tmp_path: Path) -> None:
    with LandscapeDB(sqlite_url) as original:
        finish(original, "a")
        assert bag(original, "a", tmp_path / "original").log is not None
    with LandscapeDB(sqlite_url, create_tables=False, known_as="sqlite:///original.db") as copy:
        assert bag(copy, "a", tmp_path / "copy").log is None


def replaced(change: Callable[[LogPlace], LogPlace]) -> Callable[[Documents], Documents]:
    def apply(documents: Documents) -> Documents:
        before = LogPlace.parse(documents["run-log.json"], documents["run-log-leaves.bin"], "place")
        return {**documents, "run-log.json": change(before).to_bytes()}

    return apply


def of_another_run(documents: Documents, runs: str = "xyz", status: str = "failed") -> Documents:
    entries = [json.dumps({"entry": "ended", "run_id": each, "status": status}).encode() for each in runs]
    place = LogPlace.of("elspeth.local/x", [each.replace(b" ", b"") for each in entries], 1)
    return {**documents, "run-log.json": place.to_bytes(), "run-log-leaves.bin": b"".join(place.leaves)}


def signed_again(documents: Documents, leaves: list[bytes], origin: str | None = None) -> Documents:
    """Prove the entry of a log of these leaf hashes."""
    before = LogProof.parse(documents["run-log.tlog-proof"], "proof")
    name = origin or Checkpoint.parse(before.note.text, "proof").origin
    state = Checkpoint(origin=name, size=len(leaves), root=tree_root(leaves))
    hashes = tuple(inclusion_proof(leaves, before.index, len(leaves)))
    proof = replace(before, hashes=hashes, note=NoteSigner(name=name, signer=LOG_SIGNER).sign(state.text))
    return {**documents, "run-log.tlog-proof": proof.to_bytes()}


def of_another_log(documents: Documents) -> Documents:
    return signed_again(documents, split_hashes(documents["run-log-leaves.bin"]), "another.example")


def of_a_larger_log(documents: Documents) -> Documents:
    return signed_again(documents, [*split_hashes(documents["run-log-leaves.bin"]), bytes(32)])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (of_another_run, "data/run-log.json: entry: run_id: expected 'a', got 'y'"),
        (
            lambda documents: of_another_run(documents, "xaz", "completed"),
            "data/run-log.json: entry: status: expected 'failed', got 'completed'",
        ),
        (of_another_log, "data/run-log.tlog-proof: expected the entry and log of data/run-log.json, got others"),
        (of_a_larger_log, "data/run-log.tlog-proof: expected the entry and log of data/run-log.json, got others"),
        (replaced(lambda place: replace(place, index=1)), "data/run-log.json: inclusion proof: "),
        (
            replaced(lambda place: replace(place, checkpoint=replace(place.checkpoint, root=bytes(32)))),
            "data/run-log.json: inclusion proof: expected the root",
        ),
        (lambda documents: {**documents, "run-log-leaves.bin": bytes(96)}, "data/run-log.json: root: expected "),
        (
            lambda documents: {**documents, "run-log.json": b"{}"},
            "data/run-log.json: expected a member 'origin', got none",
        ),
        (
            lambda documents: {name: each for name, each in documents.items() if name != "run-log-leaves.bin"},
            "data/run-log-leaves.bin: ",
        ),
        (
            lambda documents: {**documents, "run-log.json": documents["run-log.json"].replace(b"failed", b"completed")},
            "data/run-log.json: inclusion proof: ",
        ),
        (
            lambda documents: {
                **documents,
                "run-log.tlog-proof": documents["run-log.tlog-proof"].replace(b"\n3\n", b"\n2\n"),
            },
            "data/run-log.tlog-proof: ",
        ),
    ],
)
def test_a_log_that_does_not_fit_the_bag_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Documents], Documents], problem: str
) -> None:
    """Whoever makes the bag alters what he then signs."""

    def altered(connection: Connection, run_id: str) -> Documents:
        return change(log_documents(connection, run_id))

    monkeypatch.setattr("elspeth.core.landscape.exporting._log_documents.log_documents", altered)
    with in_memory() as database:
        finish(database, "a")
        leave(database, tmp_path / "kept")
        found = bag(database, "a", tmp_path / "bag")
    assert found.verdict is Verdict.NOT_VERIFIED
    assert [each.step for each in found.faults] == [Step.LOG]
    assert found.faults[0].detail.startswith(problem)
