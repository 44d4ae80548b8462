"""A witness never cosigns two histories of a log."""

from __future__ import annotations

import fcntl
import http.client
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import chain, repeat
from pathlib import Path
from urllib.request import Request

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import consistency_proof, leaf_hash, tree_root
from elspeth.evidence.format.notes import Note, NoteKeyType, NoteSignature, VerifierKey
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.witness import client, server
from elspeth.evidence.witness.client import ask_witness
from elspeth.evidence.witness.requests import MAX_REQUEST, AddCheckpoint
from elspeth.evidence.witness.server import WitnessServer
from elspeth.evidence.witness.witness import RefusedError, Witness
from tests.evidence.format.test_notes import signer_of
from tests.fixtures.effort import examples_of
from tests.fixtures.servers import answering

LOG = signer_of(Ed25519PrivateKey.from_private_bytes(b"\1" * 32), "log.example")
OTHER = signer_of(Ed25519PrivateKey.from_private_bytes(b"\2" * 32), "other.example")
IMPOSTOR = signer_of(Ed25519PrivateKey.from_private_bytes(b"\3" * 32), "log.example")
SIGNER = signer_of(Ed25519PrivateKey.from_private_bytes(b"\4" * 32), "witness.example")
KEY = SIGNER.verifier_key(NoteKeyType.COSIGNATURE)
LOGS = Policy.parse(f"log {LOG.verifier_key(NoteKeyType.ED25519)}\nquorum none\n".encode(), "policy")

LEAVES = [leaf_hash(bytes([number])) for number in range(20)]
FORK = [*LEAVES[:4], *(leaf_hash(b"fork%d" % number) for number in range(16))]


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(origin=LOG.name, size=size, root=tree_root(leaves[:size]))


def request(old: int, size: int, leaves: list[bytes] = LEAVES) -> AddCheckpoint:
    proof = consistency_proof(leaves, old, size) if 0 < old < size else []
    return AddCheckpoint(old_size=old, proof=tuple(proof), note=LOG.sign(checkpoint(size, leaves).text))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """Return a witness that has cosigned nothing."""
    return Witness(signer=SIGNER, logs=LOGS, directory=tmp_path / "state")


@pytest.fixture
def knowing(witness: Witness) -> Witness:
    """Return a witness that has cosigned eight entries."""
    witness.add_checkpoint(request(0, 8).to_bytes())
    return witness


def refusal(witness: Witness, body: bytes) -> RefusedError:
    before = state(witness)
    with pytest.raises(RefusedError) as found:
        witness.add_checkpoint(body)
    assert state(witness) == before
    return found.value


def state(witness: Witness) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in witness.directory.glob("*.checkpoint")}


def test_a_log_that_grows_is_cosigned(witness: Witness) -> None:
    for old, size in ((0, 0), (0, 0), (0, 3), (3, 8), (8, 8), (8, 20)):
        asked = request(old, size)
        cosignature = witness.add_checkpoint(asked.to_bytes())
        assert list(asked.note.with_signatures([cosignature]).verify([KEY], "note")) == [KEY]
    (kept,) = state(witness).values()
    assert Checkpoint.parse(Note.parse(kept, "kept").text, "kept") == checkpoint(20)


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"", 400, "request: expected 'old SIZE', hashes, an empty line and a checkpoint"),
        (request(8, 20).to_bytes().replace(b"old 8", b"old 08"), 400, "request: old size: expected a number"),
        (request(8, 20).to_bytes().replace(b"old 8", b"old  8"), 400, "request: old size: expected a number"),
        (b"old 0\n\xff\n\n", 400, "request: expected a request in UTF-8"),
        (b"old 0\nAAAA\n\n", 400, "request: hash 1: expected a hash of 32 bytes, got 3"),
        (b"old 0\n\ntext\n", 400, "request: checkpoint: expected a signed note"),
        (b"old 0\n\n" + LOG.sign(b"hello\n").to_bytes(), 400, "request: checkpoint: expected a checkpoint"),
        (replace(request(8, 20), proof=(bytes(32),) * 64).to_bytes(), 400, "request: expected at most 63 hashes"),
        (b"x" * (MAX_REQUEST + 1), 400, f"request: expected a request of at most {MAX_REQUEST:,} bytes"),
        (request(20, 8).to_bytes(), 400, "the log had 20 entries, and would have 8"),
        (
            AddCheckpoint(old_size=0, proof=(), note=OTHER.sign(replace(checkpoint(8), origin=OTHER.name).text)),
            404,
            "unknown log 'other.example'",
        ),
        (replace(request(8, 20), note=IMPOSTOR.sign(checkpoint(20).text)), 403, "no signature is by a key of the log"),
        (
            request(8, 20).to_bytes().replace(b"\n20\n", b"\n19\n"),
            403,
            "request: checkpoint: the signature by 'log.example' does not fit the text",
        ),
        (request(0, 20), 409, "the last checkpoint has the size 8"),
        (request(3, 20), 409, "the last checkpoint has the size 8"),
        (request(8, 8, FORK), 409, "the log had another root when it had 8 entries: it was changed"),
        (request(8, 20, FORK), 422, "consistency proof: expected the root"),
        (replace(request(8, 20), proof=()), 422, "consistency proof: expected"),
        (replace(request(8, 20), proof=(*request(8, 20).proof, bytes(32))), 422, "consistency proof: expected fewer"),
        (replace(request(8, 8), proof=(bytes(32),)), 422, "consistency proof: expected fewer hashes"),
    ],
)
def test_a_checkpoint_that_does_not_extend_the_log_is_refused(
    knowing: Witness, body: bytes | AddCheckpoint, status: int, problem: str
) -> None:
    found = refusal(knowing, body if isinstance(body, bytes) else body.to_bytes())
    assert (found.status, str(found)[: len(problem)]) == (status, problem)
    assert found.size == (8 if status == HTTPStatus.CONFLICT else None)


def test_the_first_checkpoint_needs_no_proof(witness: Witness) -> None:
    assert refusal(witness, request(3, 8).to_bytes()).size == 0
    found = refusal(witness, replace(request(0, 8), proof=(bytes(32),)).to_bytes())
    assert found.status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_damaged_memory_is_not_taken_for_an_empty_one(knowing: Witness) -> None:
    (path,) = knowing.directory.glob("*.checkpoint")
    kept, other = path.read_bytes(), OTHER.sign(replace(checkpoint(0), origin=OTHER.name).text)
    of_another_log = other.with_signatures([SIGNER.cosign(other.text, 1)]).to_bytes()
    unsigned = LOG.sign(checkpoint(8).text).to_bytes()
    for damaged in (b"", kept[:-10], unsigned, kept.replace(b"\n8\n", b"\n2\n"), of_another_log):
        path.write_bytes(damaged)
        with pytest.raises(EvidenceError):
            knowing.add_checkpoint(request(0, 20).to_bytes())
        assert path.read_bytes() == damaged
    path.unlink()
    path.symlink_to(path)  # which cannot be read
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        knowing.add_checkpoint(request(0, 20).to_bytes())


def test_a_checkpoint_is_on_disk_before_its_cosignature_is_given_out(
    knowing: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, states = state(knowing), list[bool]()
    monkeypatch.setattr(os, "fsync", lambda _: states.append(state(knowing) == before))
    knowing.add_checkpoint(request(8, 20).to_bytes())
    # The directory above, the new file, and then the directory in which that has its name.
    assert states == [True, True, False]


def test_only_one_of_two_simultaneous_histories_is_cosigned(knowing: Witness) -> None:
    """Threads ask for different extensions of one checkpoint."""
    answers: list[NoteSignature | RefusedError] = []

    def ask(size: int) -> None:
        try:
            answers.append(knowing.add_checkpoint(request(8, size).to_bytes()))
        except RefusedError as error:
            answers.append(error)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(9, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads)
    assert sum(isinstance(answer, NoteSignature) for answer in answers) == 1
    assert {answer.status for answer in answers if isinstance(answer, RefusedError)} == {HTTPStatus.CONFLICT}


def test_no_other_process_reads_the_memory_while_it_changes(knowing: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Witness._keep
    tries = 0

    def keep_and_try(witness: Witness, origin: str, note: Note) -> None:
        nonlocal tries
        tries += 1
        with (knowing.directory / ".lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        keep(witness, origin, note)

    monkeypatch.setattr(Witness, "_keep", keep_and_try)
    knowing.add_checkpoint(request(8, 20).to_bytes())
    assert tries == 1


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A witness that listens."""

    witness: Witness
    port: int
    lines: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str | None, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()


@contextmanager
def serving(witness: Witness) -> Iterator[Served]:
    lines: list[str] = []
    with WitnessServer(("127.0.0.1", 0), witness, lines.append) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Served(witness=witness, port=listening.server_address[1], lines=lines)
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture
def served(knowing: Witness) -> Iterator[Served]:
    """Serve a witness that has cosigned eight entries."""
    with serving(knowing) as found:
        yield found


def test_answers_follow_the_specification(served: Served) -> None:
    assert served.post(b"old 0\n")[0] == 400
    assert served.post(replace(request(8, 20), note=IMPOSTOR.sign(checkpoint(20).text)).to_bytes())[0] == 403
    assert served.post(b"", "/other")[0] == 404
    assert served.post(request(0, 20).to_bytes()) == (409, "text/x.tlog.size", b"8\n")
    assert served.post(request(8, 20, FORK).to_bytes())[0] == 422
    status, _, body = served.post(request(8, 20).to_bytes())
    assert status == 200
    assert body.startswith("— witness.example ".encode())
    assert body.endswith(b"\n")
    assert list(Note.parse(request(8, 20).note.to_bytes() + body, "note").verify([KEY], "note")) == [KEY]
    assert served.lines[-1] == "200 cosigned"


@pytest.mark.parametrize("fault", [OSError("no space"), EvidenceError("key", "failed")])
def test_a_witness_that_cannot_remember_says_so_and_cosigns_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(Witness, "_keep", fail)
    assert served.post(request(8, 20).to_bytes()) == (
        500,
        "text/plain; charset=utf-8",
        b"the witness cannot cosign now\n",
    )
    assert served.lines == [f"500 {fault}"]


def test_a_request_may_reach_its_size_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    body = request(8, 20).to_bytes()
    monkeypatch.setattr(server, "MAX_REQUEST", len(body))
    assert served.post(body)[0] == 200
    longest = replace(request(8, 20), proof=(bytes(32),) * 63)
    assert AddCheckpoint.parse(longest.to_bytes(), "request") == longest


def test_one_connection_can_send_several_requests(served: Served) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        for size, expected in ((20, 409), (8, 200)):
            connection.request("POST", "/add-checkpoint", request(8 if size == 8 else 0, size).to_bytes())
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (expected, True)


def test_closed_connections_make_room_for_others(knowing: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 1)
    answered = refused = 0
    with serving(knowing) as served:
        while answered < 3 and refused < 1000:
            try:
                answered += served.post(request(8, 8).to_bytes())[0] == 200
            except (http.client.HTTPException, OSError):  # the connection before has not quite ended
                refused += 1
                time.sleep(0.005)
    assert answered == 3


def test_a_log_asks_which_checkpoint_the_witness_knows(served: Served) -> None:
    def prove(first: int, second: int) -> list[bytes]:
        return consistency_proof(LEAVES, first, second)

    note = LOG.sign(checkpoint(20).text)
    cosigned = ask_witness(f"{served.url}/", KEY, note, prove)
    assert list(cosigned.verify([KEY], "note")) == [KEY]
    with pytest.raises(EvidenceError, match=r"it knows 20 entries of the log, which has 8: the database was put back"):
        ask_witness(served.url, KEY, LOG.sign(checkpoint(8).text), prove)
    with pytest.raises(EvidenceError, match=r"expected a cosignature by 'other.example', got others"):
        ask_witness(served.url, OTHER.verifier_key(NoteKeyType.COSIGNATURE), note, lambda *_: [])


def test_only_the_cosignature_of_the_witness_is_kept(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    def post(_url: str, asked: AddCheckpoint) -> tuple[int, str, bytes]:
        own, other = witness.add_checkpoint(asked.to_bytes()), OTHER.cosign(asked.note.text, 1)
        return 200, "text/plain", own.to_bytes() + other.to_bytes()

    monkeypatch.setattr(client, "_post", post)
    note = LOG.sign(checkpoint(8).text)
    cosigned = ask_witness("https://witness.example", KEY, note, lambda *_: [])
    assert [signature.name for signature in cosigned.signatures] == [LOG.name, SIGNER.name]


def test_a_log_with_another_history_is_refused_with_the_reason(served: Served) -> None:
    note = LOG.sign(checkpoint(20, FORK).text)
    with pytest.raises(EvidenceError, match=r"it knows another history of the log: runs were changed, exchanged or"):
        ask_witness(served.url, KEY, note, lambda first, second: consistency_proof(FORK, first, second))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1", "does not answer: "),
        ("file:///etc/passwd", "expected a URL that begins with http:// or https://"),
    ],
)
def test_a_witness_that_does_not_answer_is_named(url: str, problem: str) -> None:
    with pytest.raises(EvidenceError) as found:
        ask_witness(url, KEY, LOG.sign(checkpoint(8).text), lambda *_: [])
    assert str(found.value).startswith(f"witness {url}: {problem}")


def test_a_refusal_of_a_witness_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_post", lambda *_: (503, "text/plain", b"busy\n"))
    assert refused_by("https://w.example") == "refuses with the status 503: 'busy'"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_witness_is_asked_below_its_url(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    asked: list[tuple[str, object, float]] = []

    def urlopen(request: Request, timeout: float) -> None:
        asked.append((request.full_url, request.data, timeout))
        raise OSError("gone")

    monkeypatch.setattr(client, "urlopen", urlopen)
    assert refused_by(f"https://w.example/log{end}") == "does not answer: gone"
    note = LOG.sign(checkpoint(8).text)
    body = AddCheckpoint(old_size=0, proof=(), note=note).to_bytes()
    assert asked == [("https://w.example/log/add-checkpoint", body, 20.0)]


def refused_by(url: str) -> str:
    with pytest.raises(EvidenceError) as found:
        ask_witness(url, KEY, LOG.sign(checkpoint(8).text), lambda *_: [])
    return str(found.value).removeprefix(f"witness {url}: ")


def test_a_witness_that_answers_with_something_else_is_named() -> None:
    with answering([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]) as url:
        assert refused_by(url).startswith("does not answer: ")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_an_endless_answer_of_a_witness_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_DEADLINE_S", 0.2)
    with answering(chain([head], repeat(b"X"))) as url:
        assert refused_by(url) == "does not answer within 0.2 seconds"


HOSTILE = [
    b"GET /add-checkpoint HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /add-checkpoint HTTP/1.1\r\n\r\n",
    b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 5\r\n\r\nold",
    b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nold 0\r\n0\r\n\r\n",
    b"POST /add-checkpoint HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
]


def test_hostile_connections_are_refused_and_the_witness_goes_on(served: Served) -> None:
    before = state(served.witness)
    for sent in HOSTILE:
        with closing(socket.create_connection(("127.0.0.1", served.port), timeout=20)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionResetError:
                answer = b""
        assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert state(served.witness) == before
    assert served.post(request(8, 20).to_bytes())[0] == 200


ANSWERS = {
    b"POST /other HTTP/1.1\r\nContent-Length: 5\r\n\r\n": ("404 Not Found", "expected /add-checkpoint\n", True),
    b"POST /add-checkpoint HTTP/1.1\r\n\r\n": ("400 Bad Request", "expected a Content-Length\n", True),
    b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: +5\r\n\r\n": (
        "400 Bad Request",
        "expected a Content-Length\n",
        True,
    ),
    b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n": (
        "400 Bad Request",
        "expected a Content-Length\n",
        True,
    ),
    b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST + 1): (
        "413 Request Entity Too Large",
        f"expected at most {MAX_REQUEST} bytes\n",
        True,
    ),
    b"GET /add-checkpoint HTTP/1.1\r\n\r\n": ("405 Method Not Allowed", "expected POST /add-checkpoint\n", False),
}
"""Answers to requests, and whether they end the connection, because the body was not read."""


@pytest.mark.parametrize("sent", ANSWERS, ids=range(len(ANSWERS)))
def test_a_request_that_is_not_read_ends_its_connection(served: Served, sent: bytes) -> None:
    """Else its body would be taken for the next request."""
    status, text, is_end = ANSWERS[sent]
    with closing(socket.create_connection(("127.0.0.1", served.port), timeout=20)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert (first, body) == (f"HTTP/1.1 {status}", text)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Length"] == str(len(text))
    assert headers.get("Connection") == ("close" if is_end else None)


def test_no_random_request_is_cosigned(knowing: Witness) -> None:
    """None of these requests extends the log."""
    rng = random.Random(19)  # noqa: S311  must be the same each time
    bodies = [request(8, 20, FORK).to_bytes(), request(0, 20).to_bytes(), request(8, 20).to_bytes()[:-1]]
    before, statuses = state(knowing), set()
    for _ in range(examples_of(1000)):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.randrange(3)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        statuses.add(refusal(knowing, bytes(body)).status.value)
    assert state(knowing) == before
    assert statuses <= {400, 403, 404, 409, 422}


SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
SIGSUM_KEY = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
SIGSUM_REQUESTS = [
    (
        "old 0\n\n"
        f"{SIGSUM}\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
        f"— {SIGSUM} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=\n"
    ),
    (
        "old 1\n"
        "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
        f"{SIGSUM}\n3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\n\n"
        f"— {SIGSUM} UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=\n"
    ),
]
"""What a log asks of the witness in the tests of filippo.io/torchwood."""


def test_requests_of_another_implementation_are_cosigned(tmp_path: Path) -> None:
    log = VerifierKey(name=SIGSUM, type=NoteKeyType.ED25519, public=SIGSUM_KEY)
    witness = Witness(
        signer=SIGNER, logs=Policy.parse(f"log {log}\nquorum none\n".encode(), "policy"), directory=tmp_path / "state"
    )
    for body in SIGSUM_REQUESTS:
        assert AddCheckpoint.parse(body.encode(), "request").to_bytes() == body.encode()
        witness.add_checkpoint(body.encode())
    assert refusal(witness, SIGSUM_REQUESTS[1].encode()).size == 3
