"""Commands on the log of runs."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from elspeth.cli import main
from elspeth.cli.commands import run_log
from elspeth.cli.commands._log_files import kept_paths
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof
from elspeth.evidence.format.limits import MAX_PROOF
from elspeth.evidence.format.merkle import leaf_hash
from elspeth.evidence.format.notes import Note, NoteKeyType, NoteSigner
from elspeth.evidence.format.policy import load_policy
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, KeyType, generate_keys, load_signer
from elspeth.evidence.witness.server import WitnessServer
from elspeth.evidence.witness.witness import Witness
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_log_table
from tests.core.landscape.sealing.test_log_check import remove_run
from tests.core.landscape.sealing.test_seal import drop_guards

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make Ed25519 keys of a log and of a witness."""
    directory = tmp_path_factory.mktemp("keys")
    for owner in ("log", "witness"):
        generate_keys(directory / owner, KeyType.ED25519)
    return directory


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record two runs in a database, which no test changes."""
    path = tmp_path_factory.mktemp("recorded") / "audit.db"
    finish(path, "first", "second")
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work beside a copy of the database."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(recorded, "audit.db")


def finish(path: Path, *run_ids: str) -> None:
    with LandscapeDB(f"sqlite:///{path}") as database:
        recorder = LandscapeRecorder(database)
        for run_id in run_ids:
            recorder.begin_run({}, "v1", run_id=run_id)
            recorder.complete_run(run_id, RunStatus.COMPLETED)


def log(capsys: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["landscape", "log", *map(str, arguments)])
    return (code, *capsys.readouterr())


def key_of(keys: Path, owner: str) -> tuple[str, Path]:
    return "--key", keys / owner / PRIVATE_KEY


def keep(capsys: Captured, keys: Path, name: str, *more: str | Path) -> str:
    """Write a checkpoint, and return the log's line for policies."""
    code, _, errors = log(capsys, "checkpoint", "-d", "audit.db", *key_of(keys, "log"), "-o", name, *more)
    assert code == 0, errors
    return errors.rpartition("for policies  ")[2]


def write_policy(capsys: Captured, keys: Path, url: str = "") -> None:
    """Write the policies of all parties."""
    line = keep(capsys, keys, "policy.checkpoint")
    Path("logs").write_text(f"{line}quorum none\n")
    signer = NoteSigner(name="witness.example", signer=load_signer(str(keys / "witness" / PRIVATE_KEY)))
    witness = signer.verifier_key(NoteKeyType.COSIGNATURE)
    Path("policy").write_text(f"{line}witness W {witness} {url}\nquorum W\n")


def cosign(capsys: Captured, keys: Path, request: str, output: str) -> tuple[int, str, str]:
    return log(
        capsys,
        *("cosign", request, *key_of(keys, "witness"), "--name", "witness.example"),
        *("--policy", "logs", "--state", "state", "-o", output),
    )


def test_a_checkpoint_is_printed(capsys: Captured, keys: Path) -> None:
    code, output, errors = log(capsys, "checkpoint", "-d", "audit.db", *key_of(keys, "log"))
    found = Checkpoint.parse(Note.parse(output.encode(), "note").text, "note")
    assert (code, found.size) == (0, 5)
    assert errors.splitlines()[0].split() == ["log", found.origin]
    assert errors.splitlines()[1].split() == ["entries", "5"]
    policies = errors.splitlines()[2]
    assert policies.startswith(f"for policies  log {found.origin}+")
    facts = {"log": found.origin, "entries": 5, "for_policies": policies.removeprefix("for policies  ")}
    for place in ("-", "1.checkpoint"):
        told = log(capsys, "checkpoint", "-d", "audit.db", *key_of(keys, "log"), "-o", place, "--json")
        said = (output, told[2]) if place == "-" else (told[2], told[1])
        assert (said[0], json.loads(said[1])) == (output if place == "-" else "", {"path": place, **facts})
    assert Path("1.checkpoint").read_text() == output


def test_a_key_is_not_replaced_by_a_checkpoint_and_other_files_only_by_force(capsys: Captured, keys: Path) -> None:
    shutil.copy(keys / "log" / PRIVATE_KEY, "own.pem")
    Path("taken").write_text("mine")
    command = ("checkpoint", "-d", "audit.db", "--key", "own.pem", "--force", "-o")
    problem = "is a key, which no output may touch: name another path"
    assert log(capsys, *command, "own.pem") == (1, "", f"error: own.pem: {problem}\n")
    assert log(capsys, *command, "taken")[0] == 0
    assert Note.parse(Path("taken").read_bytes(), "taken").signatures


def test_a_checkpoint_by_another_key_is_refused(capsys: Captured, keys: Path) -> None:
    keep(capsys, keys, "1.checkpoint")
    other = ("--key", keys / "witness" / PUBLIC_KEY)
    code, _, errors = log(capsys, "check", "-d", "audit.db", "--against", "1.checkpoint", *other)
    assert (code, errors[:54]) == (1, "error: 1.checkpoint: expected a signature by the key e")


def test_faults_of_kept_checkpoints_and_of_the_log_are_in_the_json(
    capsys: Captured, keys: Path, tmp_path: Path
) -> None:
    def told(*kept: str) -> tuple[int, dict[str, Any]]:
        against = [part for each in kept for part in ("--against", each)]
        code, output, _ = log(capsys, "check", "-d", "audit.db", *against, "--json")
        found: dict[str, Any] = json.loads(output)
        return code, found

    keep(capsys, keys, "1.checkpoint")
    shutil.copy("audit.db", "backup.db")
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "2.checkpoint")
    shutil.copy("backup.db", "audit.db")
    problem = "the database was put back to an older state, or runs were removed"
    fault = f"2.checkpoint: the log had 7 entries then, and has 5 now: {problem}"
    facts = {"entries": 5, "runs": 2}
    assert told("1.checkpoint", "2.checkpoint") == (1, {"kept": 2, "holding": 1, "faults": [fault], **facts})
    code, _, errors = log(
        capsys, "prove", "second", "-d", "audit.db", "--checkpoint", "2.checkpoint", "-o", "second.tlog-proof"
    )
    assert (code, errors.startswith("error: 2.checkpoint is no checkpoint of this log: see ")) == (1, True)
    with LandscapeDB("sqlite:///audit.db") as database, database.write_transaction() as connection:
        connection.execute(insert(run_log_table).values(position=5, entry_json="{}"))
    code, found = told("1.checkpoint")
    assert (code, found["holding"], found["entries"]) == (1, 1, 6)
    (fault,) = found["faults"]
    assert fault == "log of runs: entry 5: expected an entry in canonical JSON, got '{}': it was altered"


def test_a_checkpoint_of_another_log_is_refused(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    finish(tmp_path / "other.db", "x")
    assert log(capsys, "checkpoint", "-d", "other.db", *key_of(keys, "log"), "-o", "other.checkpoint")[0] == 0
    for command in (("checkpoint", *key_of(keys, "log"), "--since"), ("prove", "second", "--checkpoint")):
        code, _, errors = log(capsys, *command, "other.checkpoint", "-d", "audit.db", "-o", "x")
        assert (code, errors) == (
            1,
            (
                "error: other.checkpoint is no checkpoint of this log: see elspeth landscape log check --against"
                " other.checkpoint\n"
            ),
        )
        assert not Path("x").exists()


@pytest.mark.parametrize("command", [["prove", "second", "--checkpoint"], ["check", "--against"]])
def test_a_kept_file_that_is_no_checkpoint_is_named_by_its_path(capsys: Captured, command: list[str]) -> None:
    Path("kept").mkdir()
    Path("kept/1.checkpoint").write_text("nothing")
    output = [] if "check" in command else ["-o", "x"]
    code, _, errors = log(capsys, *command, "kept/1.checkpoint", "-d", "audit.db", *output)
    assert (code, errors.startswith("error: kept/1.checkpoint: ")) == (1, True)
    assert not Path("x").exists()


def test_a_directory_of_kept_files_is_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.checkpoint", "c.tlog-proof", "a.checkpoint", "d.txt"):
        (tmp_path / name).touch()
    found = list(kept_paths([tmp_path / "d.txt", tmp_path]))
    assert [path.name for path in found] == ["d.txt", "a.checkpoint", "b.checkpoint", "c.tlog-proof"]


def test_a_kept_file_that_is_too_long_is_not_read(capsys: Captured) -> None:
    Path("1.checkpoint").write_bytes(bytes(MAX_PROOF + 1))
    code, _, errors = log(capsys, "check", "-d", "audit.db", "--against", "1.checkpoint")
    assert (code, errors) == (
        1,
        f"error: 1.checkpoint: expected a checkpoint or proof of at most {MAX_PROOF:,} bytes, got a larger file\n",
    )


def test_a_kept_proof_that_does_not_hold_is_refused(capsys: Captured, keys: Path) -> None:
    assert log(capsys, "prove", "second", "-d", "audit.db", *key_of(keys, "log"), "-o", "a.tlog-proof")[0] == 0
    proof = Path("a.tlog-proof")
    assert log(capsys, "check", "-d", "audit.db", "--against", proof)[0] == 0
    held = LogProof.parse(proof.read_bytes(), "x")
    proof.write_bytes(replace(held, hashes=held.hashes[::-1], index=held.index - 1).to_bytes())
    code, output, errors = log(capsys, "check", "-d", "audit.db", "--against", proof)
    assert (code, output, errors.startswith("error: a.tlog-proof: ")) == (1, "", True)


def test_kept_checkpoints_stay_valid_while_the_log_grows(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    Path("kept").mkdir()
    keep(capsys, keys, "kept/1.checkpoint")
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "kept/2.checkpoint")
    public = keys / "log" / PUBLIC_KEY
    assert log(capsys, "check", "-d", "audit.db", "--against", "kept", "--key", public) == (
        0,
        "",
        "2 of 2 kept checkpoints hold\n3 runs in the log of runs, 7 entries\n",
    )
    code, _, errors = log(capsys, "check", "-d", "audit.db", "--against", "kept/1.checkpoint")
    assert (code, errors.splitlines()[-1]) == (0, "nobody checked who signed what was kept: give --key for that")


def test_a_database_that_was_restored_is_detected(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    shutil.copy("audit.db", "backup.db")
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "1.checkpoint")
    shutil.copy("backup.db", "audit.db")
    code, output, errors = log(capsys, "check", "-d", "audit.db", "--against", "1.checkpoint")
    assert (code, output) == (1, "")
    problem = "the database was put back to an older state, or runs were removed"
    assert errors.splitlines()[:2] == [
        f"1.checkpoint: the log had 7 entries then, and has 5 now: {problem}",
        "0 of 1 kept checkpoints hold",
    ]


def test_a_run_that_was_removed_is_detected_by_its_proof(capsys: Captured, keys: Path) -> None:
    assert log(capsys, "prove", "second", "-d", "audit.db", *key_of(keys, "log"), "-o", "second.tlog-proof")[0] == 0
    with LandscapeDB("sqlite:///audit.db") as database, database.write_transaction() as connection:
        drop_guards(connection)
        remove_run(connection, "second")
        connection.execute(delete(run_log_table).where(run_log_table.c.position > 2))
    code, _, errors = log(capsys, "check", "-d", "audit.db", "--against", ".")
    assert code == 1
    assert errors.startswith("second.tlog-proof: the log had 5 entries then, and has 3 now")


def test_a_proof_is_verified_without_the_database(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    write_policy(capsys, keys)
    keep(capsys, keys, "1.checkpoint")
    assert cosign(capsys, keys, "1.checkpoint", "cosigned.checkpoint")[0] == 0
    finish(tmp_path / "audit.db", "third")
    code, _, errors = log(
        capsys, "prove", "second", "-d", "audit.db", "--checkpoint", "cosigned.checkpoint", "-o", "second.tlog-proof"
    )
    assert (code, errors.splitlines()[:2]) == (0, ["run    second", "entry  4 of 5"])
    proved = ("--checkpoint", "cosigned.checkpoint", "-o", "again.tlog-proof", "--json")
    found = json.loads(log(capsys, "prove", "second", "-d", "audit.db", *proved)[1])
    assert (found["path"], found["run_id"], found["entry"], found["entries"]) == ("again.tlog-proof", "second", 4, 5)
    assert Path("again.tlog-proof").read_bytes() == Path("second.tlog-proof").read_bytes()
    Path("audit.db").unlink()
    assert main(["verify", "second.tlog-proof", "--policy", "policy", "--json"]) == 0
    output, errors = capsys.readouterr()
    found = json.loads(output)
    assert (found["verdict"], found["index"], found["size"], list(found["cosignatures"])) == ("VERIFIED", 4, 5, ["W"])
    assert json.loads(found["entry"])["run_id"] == "second"
    assert errors.splitlines()[-1].split() == ["verdict", "VERIFIED"]
    note = Note.parse(Path("cosigned.checkpoint").read_bytes(), "note")
    moment = datetime.fromtimestamp(load_policy(Path("policy")).accept(note, "note").cosignatures["W"], UTC)
    assert found["cosignatures"]["W"] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert f"\ncosigned by W  {moment:%Y-%m-%dT%H:%M:%SZ}\n" in errors
    assert run_log._utc(1 << 62) == str(1 << 62), "which is no year"


def test_a_run_is_proved_by_what_a_kept_checkpoint_holds(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    keep(capsys, keys, "1.checkpoint")
    finish(tmp_path / "audit.db", "third")
    kept = ("-d", "audit.db", "--checkpoint", "1.checkpoint", "-o", "third.tlog-proof")
    problem = "run third is not in the first 5 entries of the log of runs"
    assert log(capsys, "prove", "third", *kept) == (1, "", f"error: {problem}\n")
    assert not Path("third.tlog-proof").exists()


def test_the_entry_of_another_log_is_shown_without_control_characters(capsys: Captured, keys: Path) -> None:
    signer = NoteSigner(name="log.example", signer=load_signer(str(keys / "log" / PRIVATE_KEY)))
    Path("logs").write_text(f"log {signer.verifier_key(NoteKeyType.ED25519)}\nquorum none\n")
    entry = b"\x1b[2J\xff\nverdict  REFUSED"
    checkpoint = Checkpoint(origin="log.example", size=1, root=leaf_hash(entry))
    proof = LogProof(entry=entry, index=0, hashes=(), note=signer.sign(checkpoint.text))
    Path("x.tlog-proof").write_bytes(proof.to_bytes())
    assert main(["verify", "x.tlog-proof", "--policy", "logs", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert [line.split(maxsplit=1) for line in errors.splitlines()] == [
        ["log", "log.example"],
        ["entry", "0 of 1"],
        ["says", "\\x1b[2J\ufffd\\nverdict  REFUSED"],
        ["verdict", "VERIFIED"],
    ]
    assert json.loads(output)["entry"] == "\x1b[2J\ufffd\nverdict  REFUSED"


def test_a_proof_that_does_not_hold_is_not_verified(capsys: Captured, keys: Path) -> None:
    write_policy(capsys, keys)
    log(capsys, "prove", "second", "-d", "audit.db", *key_of(keys, "log"), "-o", "x.tlog-proof")
    assert main(["verify", "x.tlog-proof", "--policy", "policy"]) == 1
    assert capsys.readouterr().err.endswith("expected cosignatures of the quorum 'W', got none\n")
    for option in (("--key", "k"), ("--hmac",), ("--tsa-ca", "c"), ("--ca", "c"), ("--subject", "CN=A")):
        assert main(["verify", "x.tlog-proof", "--policy", "logs", *option]) == 2
        contradict = f"--policy and {option[0]} contradict each other: give one of them"
        assert capsys.readouterr().err == f"error: {contradict}\n"
    proof = LogProof.parse(Path("x.tlog-proof").read_bytes(), "proof")
    altered = LogProof(
        entry=proof.entry.replace(b"second", b"secunt"), index=proof.index, hashes=proof.hashes, note=proof.note
    )
    Path("x.tlog-proof").write_bytes(altered.to_bytes())
    assert main(["verify", "x.tlog-proof", "--policy", "logs"]) == 1
    assert "x.tlog-proof: inclusion proof: expected the root" in capsys.readouterr().err


def test_a_witness_without_a_network_cosigns_extensions_of_the_log(
    capsys: Captured, keys: Path, tmp_path: Path
) -> None:
    write_policy(capsys, keys)
    keep(capsys, keys, "1.checkpoint")
    assert cosign(capsys, keys, "1.checkpoint", "1c.checkpoint")[0] == 0
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "2.checkpoint")
    code, _, errors = cosign(capsys, keys, "2.checkpoint", "2c.checkpoint")
    hint = "ask with --since and the checkpoint of 5 entries"
    assert (code, errors) == (
        1,
        f"error: 2.checkpoint: was not cosigned: the last checkpoint has the size 5; {hint}\n",
    )
    assert not Path("2c.checkpoint").exists()
    keep(capsys, keys, "request", "--since", "1c.checkpoint")
    assert cosign(capsys, keys, "request", "2c.checkpoint")[0] == 0
    accepted = load_policy(Path("policy")).accept(Note.parse(Path("2c.checkpoint").read_bytes(), "note"), "note")
    assert (accepted.checkpoint.size, list(accepted.cosignatures)) == (7, ["W"])


@pytest.fixture
def witness_url(keys: Path, tmp_path: Path, capsys: Captured) -> Iterator[str]:
    """Serve a witness, and write the policies."""
    write_policy(capsys, keys)
    signer = NoteSigner(name="witness.example", signer=load_signer(str(keys / "witness" / PRIVATE_KEY)))
    found = Witness(signer=signer, logs=load_policy(Path("logs")), directory=tmp_path / "state")
    with WitnessServer(("127.0.0.1", 0), found, lambda _: None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        Path("policy").write_text(Path("policy").read_text().replace(" \n", f" {url}\n"))
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("witness_url")
def test_a_checkpoint_is_cosigned_by_a_witness(capsys: Captured, keys: Path, tmp_path: Path) -> None:
    keep(capsys, keys, "1.checkpoint", "--policy", "policy")
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "2.checkpoint", "--policy", "policy")
    assert len(Note.parse(Path("2.checkpoint").read_bytes(), "note").signatures) == 2


def test_a_witness_refuses_a_database_that_was_restored(
    capsys: Captured, keys: Path, tmp_path: Path, witness_url: str
) -> None:
    shutil.copy("audit.db", "backup.db")
    finish(tmp_path / "audit.db", "third")
    keep(capsys, keys, "1.checkpoint", "--policy", "policy")
    shutil.copy("backup.db", "audit.db")
    arguments = ("checkpoint", "-d", "audit.db", *key_of(keys, "log"), "--policy", "policy", "-o", "2.checkpoint")
    assert log(capsys, *arguments) == (
        1,
        "",
        (
            f"witness {witness_url}: it knows 7 entries of the log, which has 5: the database was put back to an older"
            " state, or runs were removed\n"
            "error: checkpoint: expected cosignatures of the quorum 'W', got none\n"
        ),
    )
    finish(tmp_path / "audit.db", "fourth", "fifth")
    code, _, errors = log(capsys, *arguments)
    assert code == 1
    assert "it knows another history of the log: runs were changed, exchanged or removed" in errors
    assert not Path("2.checkpoint").exists()


def witness_at(capsys: Captured, keys: Path, address: str, *more: str) -> tuple[int, str, str]:
    names = ("--name", "witness.example", "--policy", "logs", "--state", "state")
    return log(capsys, "witness", "--listen", address, *key_of(keys, "witness"), *names, *more)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_a_witness_says_where_it_listens(
    capsys: Captured, keys: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    if ":" in address:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    write_policy(capsys, keys)
    monkeypatch.setattr(WitnessServer, "serve_forever", lambda _: None)
    code, output, errors = witness_at(capsys, keys, f"{address}:0")
    assert (code, output) == (0, "")
    where, policies = errors.splitlines()
    assert re.fullmatch(rf"listening     http://{re.escape(address)}:[1-9]\d*", where), where
    assert policies.startswith("for policies  witness NAME witness.example+")
    code, output, errors = witness_at(capsys, keys, f"{address}:0", "--json")
    assert (code, errors, list(json.loads(output))) == (0, "", ["listening", "for_policies"])


def test_an_address_that_cannot_be_used_is_named(capsys: Captured, keys: Path) -> None:
    write_policy(capsys, keys)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, errors = witness_at(capsys, keys, address)
    assert (code, errors) == (2, f"error: --listen {address}: cannot be used: [Errno 98] Address already in use\n")
    code, _, errors = witness_at(capsys, keys, "127.0.0.1:99999")
    assert (code, errors[:44]) == (2, "error: --listen 127.0.0.1:99999: cannot be u")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("check", "-d", "audit.db", "--against", "missing"), 1, "error: missing: cannot be read: No such file or"),
        (("check", "-d", "audit.db", "--against", "audit.db"), 1, "error: audit.db: expected a signed note"),
        (("check", "-d", "audit.db", "--against", "empty"), 2, "error: --against empty: holds no file that ends with"),
        (("checkpoint", "-d", "none.db", "--key", "KEY"), 1, "error: audit database sqlite:///none.db"),
        (("checkpoint", "-d", "audit.db", "--key", "ECDSA"), 2, "error: key of elspeth.local/"),
        (("checkpoint", "-d", "audit.db", "--key", "KEY", "-o", "audit.db"), 1, "error: audit.db: "),
        (("checkpoint", "-d", "audit.db", "--key", "KEY", "-o", "taken"), 1, "error: taken: exists already"),
        (("prove", "first", "-d", "audit.db", "-o", "x"), 2, "error: give --key, to sign a new checkpoint, or"),
        (
            ("prove", "first", "-d", "audit.db", "-o", "x", "--key", "KEY", "--checkpoint", "c"),
            2,
            "error: --key and --checkpoint contradict each other",
        ),
        (
            ("checkpoint", "-d", "audit.db", "--key", "KEY", "--policy", "p", "--since", "s"),
            2,
            "error: --policy and --since contradict each other",
        ),
        (("prove", "nobody", "-d", "audit.db", "--key", "KEY", "-o", "x"), 1, "error: audit database sqlite:///audit"),
        (
            ("witness", "--listen", "8099", "--key", "KEY", "--name", "w", "--policy", "p", "--state", "s"),
            2,
            "error: --listen 8099: expected an address and a port, such as 127.0.0.1:8099",
        ),
    ],
)
def test_wrong_usage_is_refused_with_one_message(  # noqa: PLR0917  fixtures
    capsys: Captured, keys: Path, key_directory: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    Path("empty").mkdir()
    Path("taken").write_text("kept")
    names = {"KEY": str(keys / "log" / PRIVATE_KEY), "ECDSA": str(key_directory / PRIVATE_KEY)}
    found, output, errors = log(capsys, *(names.get(each, each) for each in arguments))
    assert (found, output, errors[: len(error)]) == (code, "", error)
    assert "Traceback" not in errors
    assert Path("taken").read_text() == "kept"


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_766_000_000, "2025-12-17T19:33:20Z"),
        (10**18, "1000000000000000000"),
        (10**30, "1000000000000000000000000000000"),
    ],
)
def test_the_time_of_a_cosignature_is_in_utc_or_else_as_it_is(moment: int, text: str) -> None:
    assert run_log._utc(moment) == text
