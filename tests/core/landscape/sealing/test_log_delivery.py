"""Checkpoints are left, and overdue ones are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, update

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing import log_delivery
from elspeth.core.landscape.sealing.log_delivery import (
    CheckpointPlan,
    FilePlace,
    MissedCheckpoint,
    WitnessPlace,
    leave_checkpoint,
)
from elspeth.core.landscape.sealing.log_places import (
    forget_places,
    left_notes,
    name_places,
    newest_note,
    overdue_checkpoints,
    record_attempt,
)
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.notes import Note, NoteKeyType, NoteSigner, VerifierKey
from elspeth.objects.address import ObjectPath
from elspeth.outputs.locks import lock_output
from elspeth.outputs.policy import real_path
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_log_table
from tests.core.landscape.sealing.test_log_check import checkpoint_of, finish
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.evidence.format.test_notes import signer_of
from tests.fixtures.object_store import Bucket

WITNESS = signer_of(Ed25519PrivateKey.from_private_bytes(b"\4" * 32), "witness.example")
URL = "https://witness.example"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(*files: str, witness: bool = False) -> CheckpointPlan:
    return CheckpointPlan(
        signer=signer_of(Ed25519PrivateKey.from_private_bytes(b"\3" * 32), "log").signer,
        files=[FilePlace(name=each, path=Path(each)) for each in files],
        witnesses=[WitnessPlace(name=URL, key=WITNESS.verifier_key(NoteKeyType.COSIGNATURE))] if witness else [],
        authority=None,
    )


def end(database: LandscapeDB, run_id: str, where: CheckpointPlan) -> list[str]:
    """End a run that leaves checkpoints, and return what failed."""
    recorder = LandscapeRecorder(database)
    recorder.begin_run({}, "v1", run_id=run_id)
    name_places(database, where.names, run_id)
    recorder.complete_run(run_id, RunStatus.COMPLETED)
    return [str(each) for each in leave_checkpoint(database, where)]


def overdue(database: LandscapeDB) -> list[str]:
    with database.snapshot() as connection:
        return [str(each) for each in overdue_checkpoints(connection)]


def kept(path: str) -> Checkpoint:
    return Checkpoint.parse(Note.parse(Path(path).read_bytes(), path).text, path)


def witness(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Note], Note]) -> None:
    def ask(url: str, key: VerifierKey, note: Note, prove: object) -> Note:  # noqa: ARG001  as the client's
        return answer(note)

    monkeypatch.setattr(log_delivery, "ask_witness", ask)


def cosigned(note: Note) -> Note:
    return note.with_signatures([WITNESS.cosign(note.text, 1)])


def refuse(_: Note) -> Note:
    raise EvidenceError(f"witness {URL}", "does not answer: Connection refused")


def test_a_file_has_the_newest_checkpoint(landscape: LandscapeDB) -> None:
    for run_id in "ab":
        assert end(landscape, run_id, plan("kept/log.checkpoint")) == []
        assert kept("kept/log.checkpoint") == checkpoint_of(landscape)
    assert overdue(landscape) == []


def test_files_have_the_cosignatures_of_witnesses(landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch) -> None:
    witness(monkeypatch, cosigned)
    assert end(landscape, "a", plan("a.checkpoint", witness=True)) == []
    note = Note.parse(Path("a.checkpoint").read_bytes(), "note")
    assert [each.name for each in note.signatures] == [checkpoint_of(landscape).origin, "witness.example"]
    with landscape.snapshot() as connection:
        assert newest_note(connection) == note.to_bytes().decode()


def test_a_checkpoint_is_overdue_until_the_witness_cosigns_it(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = plan("a.checkpoint", witness=True)
    witness(monkeypatch, refuse)
    problem = f"witness {URL}: does not answer: Connection refused"
    assert end(landscape, "a", where) == [f"the checkpoint for {URL} is overdue: {problem}"]
    assert kept("a.checkpoint") == checkpoint_of(landscape)
    assert overdue(landscape) == [f"{URL}: no checkpoint was left there: {problem}"]
    witness(monkeypatch, cosigned)
    assert end(landscape, "b", where) == []
    assert overdue(landscape) == []
    witness(monkeypatch, refuse)
    end(landscape, "c", where)
    assert overdue(landscape) == [f"{URL}: the last one covers 5 entries: {problem}"]


def test_a_run_killed_before_its_checkpoint_is_overdue(landscape: LandscapeDB) -> None:
    where = plan("a.checkpoint")
    recorder = LandscapeRecorder(landscape)
    recorder.begin_run({}, "v1", run_id="a")
    name_places(landscape, where.names, "a")
    assert overdue(landscape) == []
    recorder.complete_run("a", RunStatus.FAILED)
    problem = "run a has ended since, and its process left none"
    assert overdue(landscape) == [f"a.checkpoint: no checkpoint was left there: {problem}"]
    assert leave_checkpoint(landscape, where) == []
    assert overdue(landscape) == []
    finish(landscape, "b")  # by settings that do not name the place
    assert overdue(landscape) == []


def test_the_next_entry_after_a_checkpoint_may_be_the_end_that_left_none(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    recorder.begin_run({}, "v1", run_id="b")
    end(landscape, "a", plan("a.checkpoint"))
    name_places(landscape, ["a.checkpoint"], "b")
    assert overdue(landscape) == []
    recorder.complete_run("b", RunStatus.FAILED)
    problem = "run b has ended since, and its process left none"
    assert overdue(landscape) == [f"a.checkpoint: the last one covers 4 entries: {problem}"]


def test_a_run_names_only_its_own_places(landscape: LandscapeDB) -> None:
    LandscapeRecorder(landscape).begin_run({}, "v1", run_id="b")
    name_places(landscape, ["a.checkpoint", "b.checkpoint"], "a")
    name_places(landscape, ["b.checkpoint"], "b")
    finish(landscape, "a")
    problem = "run a has ended since, and its process left none"
    assert overdue(landscape) == [f"a.checkpoint: no checkpoint was left there: {problem}"]


@pytest.mark.parametrize("entry", ["[]", '"x"', "7", "{", '{"time":"x"}', '{"entry":[],"run_id":"a"}'])
def test_an_altered_entry_hides_no_overdue_checkpoint(landscape: LandscapeDB, entry: str) -> None:
    where = plan("a.checkpoint")
    recorder = LandscapeRecorder(landscape)
    recorder.begin_run({}, "v1", run_id="a")
    name_places(landscape, where.names, "a")
    recorder.complete_run("a", RunStatus.FAILED)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(update(run_log_table).where(run_log_table.c.position == 1).values(entry_json=entry))
    assert [each.partition(": ")[2] for each in overdue(landscape)] == [
        "no checkpoint was left there: run a has ended since, and its process left none"
    ]


def test_a_file_that_is_still_empty_gets_a_checkpoint(landscape: LandscapeDB) -> None:
    Path("a.checkpoint").touch()
    assert end(landscape, "a", plan("a.checkpoint")) == []
    assert kept("a.checkpoint") == checkpoint_of(landscape)


def test_a_checkpoint_of_the_same_entries_gets_a_later_cosignature(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end(landscape, "a", plan("a.checkpoint")) == []
    witness(monkeypatch, cosigned)
    assert leave_checkpoint(landscape, plan("a.checkpoint", witness=True)) == []
    note = Note.parse(Path("a.checkpoint").read_bytes(), "note")
    assert [each.name for each in note.signatures] == [checkpoint_of(landscape).origin, "witness.example"]


def test_an_object_has_the_newest_checkpoint_and_its_time_stamp(
    landscape: LandscapeDB, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = b"\x30\x02\x30\x00"
    monkeypatch.setattr(log_delivery, "request_timestamp", lambda _data, _url: stamp)
    where = CheckpointPlan(
        signer=plan().signer,
        files=[FilePlace(name="object", path=ObjectPath(bucket.url("log.checkpoint")))],
        witnesses=[],
        authority="https://tsa.example",
    )
    for run_id, authority in (("a", where.authority), ("b", where.authority), ("c", None)):
        assert end(landscape, run_id, replace(where, authority=authority)) == []
        content = bucket.get("log.checkpoint") or b""
        assert Checkpoint.parse(Note.parse(content, "note").text, "note") == checkpoint_of(landscape)
        assert bucket.get("log.checkpoint.tsr") == (stamp if authority else None)
    bucket.put("log.checkpoint.tsr", "mine")
    (missed,) = end(landscape, "d", where)
    assert missed.endswith("log.checkpoint.tsr: is no time-stamp: move it away")
    assert bucket.get("log.checkpoint.tsr") == b"mine"


@pytest.mark.parametrize("authority", ["https://tsa.example", None])
def test_a_foreign_file_in_the_place_of_a_time_stamp_is_kept(
    authority: str | None, landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_delivery, "request_timestamp", lambda _data, _url: b"\x30\x02\x30\x00")
    Path("log.checkpoint.tsr").write_text("mine")
    (missed,) = end(landscape, "a", replace(plan("log.checkpoint"), authority=authority))
    assert missed.endswith("log.checkpoint.tsr: is no time-stamp: move it away")
    assert Path("log.checkpoint.tsr").read_text() == "mine"


def test_a_checkpoint_of_a_longer_log_is_never_overwritten(landscape: LandscapeDB) -> None:
    end(landscape, "a", plan("a.checkpoint"))
    before = Path("a.checkpoint").read_bytes()
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(delete(run_log_table).where(run_log_table.c.position > 0))
    name_places(landscape, ["a.checkpoint"], "a")
    (missed,) = leave_checkpoint(landscape, plan("a.checkpoint"))
    assert missed == MissedCheckpoint(
        place="a.checkpoint",
        problem="a.checkpoint: the log does not begin with the 3 entries of this checkpoint, which is kept: the"
        " database was put back to an older state, or runs were changed or removed",
    )
    assert Path("a.checkpoint").read_bytes() == before
    assert overdue(landscape) == [f"a.checkpoint: the last one covers 3 entries: {missed.problem}"]


def test_a_checkpoint_of_another_history_is_never_overwritten(landscape: LandscapeDB) -> None:
    finish(landscape, "a")
    true = checkpoint_of(landscape)
    other = NoteSigner(name=true.origin, signer=plan().signer).sign(replace(true, root=bytes(32)).text)
    Path("a.checkpoint").write_bytes(other.to_bytes())
    (missed,) = leave_checkpoint(landscape, plan("a.checkpoint"))
    assert "the log does not begin with the 3 entries of this checkpoint" in missed.problem
    assert Path("a.checkpoint").read_bytes() == other.to_bytes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x\n", "a.checkpoint: expected a signed note: a text, an empty line, and lines with signatures"),
        (None, "a.checkpoint: holds a checkpoint of the log 'elspeth.local/other', and this database has the log "),
    ],
)
def test_a_foreign_file_is_never_overwritten(landscape: LandscapeDB, content: bytes | None, problem: str) -> None:
    other = NoteSigner(name="elspeth.local/other", signer=plan().signer)
    text = Checkpoint(origin="elspeth.local/other", size=1, root=bytes(32)).text
    before = other.sign(text).to_bytes() if content is None else content
    Path("a.checkpoint").write_bytes(before)
    (missed,) = leave_checkpoint(landscape, plan("a.checkpoint"))
    assert missed.problem.startswith(problem)
    assert Path("a.checkpoint").read_bytes() == before


def test_a_slower_process_does_not_replace_a_newer_checkpoint(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(note: Note) -> Note:
        monkeypatch.setattr(log_delivery, "ask_witness", lambda _url, _key, note, _prove: note)
        end(landscape, "b", plan("a.checkpoint"))
        return cosigned(note)

    witness(monkeypatch, slow)
    assert end(landscape, "a", plan("a.checkpoint", witness=True)) == []
    assert kept("a.checkpoint") == checkpoint_of(landscape)
    with landscape.snapshot() as connection:
        assert newest_note(connection) == Path("a.checkpoint").read_text()


def test_the_checkpoint_of_a_slower_process_is_not_recorded_as_newest(landscape: LandscapeDB) -> None:
    end(landscape, "a", plan("a.checkpoint"))
    before = Note.parse(Path("a.checkpoint").read_bytes(), "note")
    end(landscape, "b", plan("a.checkpoint"))
    record_attempt(landscape, "a.checkpoint", before, None)
    newest = Note.parse(Path("a.checkpoint").read_bytes(), "note")
    with landscape.snapshot() as connection:
        assert left_notes(connection) == {"a.checkpoint": newest.to_bytes().decode()}
    name_places(landscape, ["a slower place"], "b")
    record_attempt(landscape, "a slower place", before, None)
    record_attempt(landscape, "a.checkpoint", cosigned(newest), None)
    with landscape.snapshot() as connection:
        assert newest_note(connection) == cosigned(newest).to_bytes().decode()


def test_a_checkpoint_cannot_have_the_name_of_a_database_file(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as database:
        (problem,) = end(database, "a", plan("audit.db-journal"))
    assert "audit.db-journal" in problem
    assert "the audit database" in problem
    assert not Path("audit.db-journal").exists()


def test_a_run_waits_while_another_run_writes_the_file(landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("a.checkpoint")
    with lock_output(path, real_path(path)):
        monkeypatch.setattr(log_delivery, "_LOCK_WAIT_S", 0.0)
        (missed,) = leave_checkpoint(landscape, plan("a.checkpoint"))
    assert "is being written by another process" in missed.problem
    assert leave_checkpoint(landscape, plan("a.checkpoint")) == []


def test_a_failed_time_stamp_is_overdue_and_the_checkpoint_is_left(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = replace(plan("a.checkpoint"), authority="https://tsa.example")
    monkeypatch.setattr(log_delivery, "request_timestamp", lambda data, _url: b"\x30\x02\x30\x00" + data[:0])
    assert end(landscape, "a", where) == []
    assert Path("a.checkpoint.tsr").read_bytes() == b"\x30\x02\x30\x00"

    def fail(_data: bytes, url: str) -> bytes:
        raise EvidenceError(url, "expected a time-stamp, got none: timed out")

    monkeypatch.setattr(log_delivery, "request_timestamp", fail)
    end(landscape, "b", where)
    assert kept("a.checkpoint") == checkpoint_of(landscape)
    assert not Path("a.checkpoint.tsr").exists()  # that of the checkpoint before
    problem = "https://tsa.example: expected a time-stamp, got none: timed out"
    assert overdue(landscape) == [f"a.checkpoint: the last one covers 5 entries: {problem}"]


def test_an_interruption_while_waiting_for_a_witness_loses_nothing(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Note) -> Note:
        raise KeyboardInterrupt

    witness(monkeypatch, interrupt)
    assert end(landscape, "a", plan("a.checkpoint", witness=True)) == [
        f"the checkpoint for {URL} is overdue: interrupted"
    ]
    assert kept("a.checkpoint") == checkpoint_of(landscape)


def test_places_that_are_no_longer_named_are_forgotten(landscape: LandscapeDB) -> None:
    finish(landscape, "a")
    name_places(landscape, ["old", "new"], "a")
    assert forget_places(landscape, ["new"]) == ["old"]
    record_attempt(landscape, "old", None, "problem")  # by a process that still knows the place
    assert [each.partition(":")[0] for each in overdue(landscape)] == ["new"]


def test_the_result_of_a_place_is_reported_even_if_it_cannot_be_recorded(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LandscapeError("the disk is full")

    where = plan("a.checkpoint", witness=True)
    witness(monkeypatch, refuse)
    monkeypatch.setattr(log_delivery, "record_attempt", fail)
    unrecorded = "this could not be recorded: the disk is full"
    assert end(landscape, "a", where) == [
        f"the checkpoint for {URL} is overdue: witness {URL}: does not answer: Connection refused; {unrecorded}",
        f"the checkpoint for a.checkpoint is overdue: {unrecorded}",
    ]
    assert kept("a.checkpoint") == checkpoint_of(landscape)


def test_a_log_that_cannot_be_read_leaves_every_place_overdue(
    landscape: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: LandscapeDB) -> None:
        raise OSError

    monkeypatch.setattr(log_delivery, "_read_state", fail)
    where = plan("a.checkpoint", "b.checkpoint", witness=True)
    assert end(landscape, "a", where) == [f"the checkpoint for {name} is overdue: OSError" for name in where.names]
    assert overdue(landscape) == [
        f"{name}: no checkpoint was left there: OSError" for name in ("a.checkpoint", "b.checkpoint", URL)
    ]
    assert list(Path().iterdir()) == []
