"""Time-stamps by `openssl ts` behind a web server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import chain, repeat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.evidence.format import timestamp
from elspeth.evidence.format.bag import ENVELOPE as ENVELOPE_FILE
from elspeth.evidence.format.bag import TIMESTAMP
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, Signer
from elspeth.evidence.format.timestamp import (
    check_signer,
    load_authorities,
    looks_like_timestamp,
    may_be_timestamp,
    request_timestamp,
    verify_timestamp,
)
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.evidence.writer.bag import write_bag
from elspeth_schema.contracts import RunStatus
from tests.evidence.bags import DOCUMENTS, SECRET, faults, records, run_facts, to_lines
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.servers import answering

ENVELOPE = b'{"payload":""}'

KIND = bytes.fromhex("060b2a864886f70d0109100104")
"""The object identifier of what a time-stamp token states, in DER."""

CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamper]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = tsa1
[tsa1]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
accuracy = secs:1
ess_cert_id_alg = sha256

"""


class Authority:
    """Keys and certificates of a time-stamp authority."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "config").write_text(CONFIG)
        (directory / "serial").write_text("01\n")
        for name, subject in (("ca", "/CN=Test root"), ("tsa", "/CN=Test stamper")):
            self.openssl(f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")
            self.openssl(f"req -new -config config -key {name}.key -subj", subject, f"-out {name}.csr")
        extensions = "-days 3650 -extfile config -extensions"
        self.openssl(f"x509 -req -in ca.csr -signkey ca.key -out ca.pem {extensions} ca")
        self.openssl(
            f"x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem {extensions} stamper"
        )

    @property
    def certificate(self) -> Path:
        return self._directory / "ca.pem"

    def openssl(self, *arguments: str) -> bytes:
        words = [word for argument in arguments for word in ([argument] if "/CN" in argument else argument.split())]
        command = ["openssl", *words]
        return subprocess.run(command, cwd=self._directory, check=True, capture_output=True).stdout

    def stamp(self, query: bytes, **changes: str) -> bytes:
        """Return a reply.

        `changes` replace lines of the configuration.
        """
        lines = CONFIG.splitlines()
        for name, value in changes.items():
            lines = [f"{name} = {value}" if line.startswith(f"{name} ") else line for line in lines]
        (self._directory / "config").write_text("\n".join(lines) + "\n")
        (self._directory / "query").write_bytes(query)
        self.openssl("ts -reply -config config -queryfile query -signer tsa.pem -inkey tsa.key -out reply")
        return (self._directory / "reply").read_bytes()

    def signed_again(self, reply: bytes, options: str) -> bytes:
        """Sign the content of a reply with `openssl cms`."""
        (self._directory / "info").write_bytes(info_of(reply))
        kind = "-econtent_type 1.2.840.113549.1.9.16.1.4"
        sign = f"cms -sign -binary -nodetach -in info -signer tsa.pem -inkey tsa.key -outform DER {kind} {options}"
        token = self.openssl(sign)
        status = bytes.fromhex("3003020100")
        return b"\x30\x82" + (len(status) + len(token)).to_bytes(2) + status + token

    def accepts(self, reply: bytes, envelope: bytes) -> bool:
        """Return whether `openssl ts` verifies a reply."""
        (self._directory / "envelope").write_bytes(envelope)
        (self._directory / "reply").write_bytes(reply)
        try:
            self.openssl("ts -verify -data envelope -in reply -CAfile ca.pem")
        except subprocess.CalledProcessError:
            return False
        return True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[str]:
    """Return the authority's address. Other paths behave badly."""
    replies: dict[str, Callable[[bytes], bytes]] = {
        "/": authority.stamp,
        "/empty": lambda _: b"",
        "/other": lambda _: authority.stamp(other_query()),
        "/replayed": lambda _: authority.stamp(other_query(ENVELOPE)),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path not in replies:
                self.send_error(404)
                return
            reply = replies[self.path](query)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_address[1]}/"
        http_server.shutdown()
        thread.join()


def other_query(envelope: bytes = b"something else") -> bytes:
    """Return a query with a nonce of its own."""
    return TimestampRequestBuilder().data(envelope).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


@pytest.fixture(scope="module")
def response(server: str) -> bytes:
    return request_timestamp(ENVELOPE, server)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_an_endless_answer_of_an_authority_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamp, "_DEADLINE_S", 0.2)
    with answering(chain([head], repeat(b"X"))) as url, pytest.raises(EvidenceError) as found:
        request_timestamp(ENVELOPE, url)
    assert str(found.value) == f"{url}: does not answer within 0.2 seconds"


def test_a_time_stamp_is_verified(authority: Authority, response: bytes) -> None:
    moment = verify_timestamp(response, ENVELOPE, load_authorities(authority.certificate), "stamp")
    assert moment.tzinfo == UTC
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 600


def test_openssl_accepts_the_stored_time_stamp(authority: Authority, response: bytes, tmp_path: Path) -> None:
    (tmp_path / "envelope").write_bytes(ENVELOPE)
    (tmp_path / "stamp").write_bytes(response)
    command = f"ts -verify -data {tmp_path}/envelope -in {tmp_path}/stamp -CAfile {authority.certificate}"
    assert b"Verification: OK" in authority.openssl(command)


def info_of(reply: bytes) -> bytes:
    """Return the TSTInfo of a reply (RFC 3161, section 2.4.2)."""
    explicit = content_at(reply, reply.index(KIND) + len(KIND))
    return content_at(explicit, 0)


def content_at(data: bytes, position: int) -> bytes:
    """Return the content of a DER element."""
    length = data[position + 1]
    start = position + 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(data[position + 2 : start])
    return data[start : start + length]


@pytest.fixture(scope="module")
def reply(authority: Authority) -> bytes:
    return authority.stamp(query())


def query() -> bytes:
    return TimestampRequestBuilder().data(ENVELOPE).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


NO_NAME = "expected the attribute that names the certificate of the authority (RFC 3161, section 2.4.2), got none"
SHA1 = "expected a signature over a SHA-256, SHA-384 or SHA-512, got one over another digest"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_stamp_may_name_its_certificate_in_either_way(authority: Authority, algorithm: str) -> None:
    """RFC 3161 has an attribute with SHA-1, RFC 5816 another."""
    stamp = authority.stamp(query(), ess_cert_id_alg=algorithm)
    assert authority.accepts(stamp, ENVELOPE)
    verify_timestamp(stamp, ENVELOPE, load_authorities(authority.certificate), "stamp")


def test_a_stamp_signed_by_other_means_is_accepted_if_it_names_its_certificate(
    authority: Authority, reply: bytes
) -> None:
    stamp = authority.signed_again(reply, "-md sha384 -cades")
    assert authority.accepts(stamp, ENVELOPE)
    verify_timestamp(stamp, ENVELOPE, load_authorities(authority.certificate), "stamp")


@pytest.mark.parametrize("is_reversed", [False, True])
def test_certificates_of_a_stamp_may_be_in_any_order(authority: Authority, reply: bytes, *, is_reversed: bool) -> None:
    """DER wants sets in order; `openssl ts` does not ask."""
    stamp = authority.signed_again(reply, "-md sha256 -cades -certfile ca.pem")
    roots = load_authorities(authority.certificate)
    both = sorted(map(bytes, decode_timestamp_response(stamp).signed_data.certificates), reverse=is_reversed)
    assert len(both) == 2
    stamp = stamp.replace(b"".join(sorted(both)), b"".join(both))
    assert authority.accepts(stamp, ENVELOPE)
    verify_timestamp(stamp, ENVELOPE, roots, "stamp")


def test_a_stamp_that_does_not_name_its_certificate_is_refused(authority: Authority, reply: bytes) -> None:
    stamp = authority.signed_again(reply, "-md sha256")
    assert not authority.accepts(stamp, ENVELOPE)
    with pytest.raises(EvidenceError) as caught:
        verify_timestamp(stamp, ENVELOPE, load_authorities(authority.certificate), "stamp")
    assert str(caught.value) == f"stamp: {NO_NAME}"


def test_a_stamp_over_a_sha1_hash_is_refused(authority: Authority, reply: bytes) -> None:
    authorities = load_authorities(authority.certificate)
    for stamp in (authority.stamp(query(), signer_digest="sha1"), authority.signed_again(reply, "-md sha1 -cades")):
        with pytest.raises(EvidenceError) as caught:
            verify_timestamp(stamp, ENVELOPE, authorities, "stamp")
        assert str(caught.value) == f"stamp: {SHA1}"


def test_a_stamp_that_names_another_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    token = decode_timestamp_response(authority.stamp(query())).time_stamp_token()
    other = load_authorities(Authority(tmp_path).certificate)[0].public_bytes(Encoding.DER)
    with pytest.raises(EvidenceError) as caught:
        check_signer(token, other, "stamp")
    assert str(caught.value) == "stamp: expected it to be signed by the certificate that it names, got another"


@given(st.binary())
def test_arbitrary_bytes_have_no_signer(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        check_signer(data, b"", "stamp")


def test_a_time_stamp_of_another_envelope_is_refused(authority: Authority, response: bytes) -> None:
    with pytest.raises(EvidenceError) as caught:
        verify_timestamp(response, ENVELOPE + b" ", load_authorities(authority.certificate), "stamp")
    assert str(caught.value) == "stamp: the time-stamp does not hold: Mismatch between messages"


def test_a_time_stamp_by_another_authority_is_refused(response: bytes, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="stamp: the time-stamp does not hold: "):
        verify_timestamp(response, ENVELOPE, load_authorities(Authority(tmp_path).certificate), "stamp")


def test_no_byte_of_the_signed_part_can_change(authority: Authority, response: bytes) -> None:
    authorities = load_authorities(authority.certificate)
    moment = verify_timestamp(response, ENVELOPE, authorities, "stamp")
    for at in range(0, len(response), 3):
        changed = bytearray(response)
        changed[at] ^= 1
        try:
            found = verify_timestamp(bytes(changed), ENVELOPE, authorities, "stamp")
        except EvidenceError:
            continue
        assert found == moment  # an unused certificate, or the status text


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("gone", "expected a time-stamp, got none: Not Found"),
        ("other", "expected a time-stamp of this envelope, got one of something else"),
        ("replayed", "expected a time-stamp of this envelope, got one of something else"),
    ],
)
def test_a_failing_authority_is_named_with_the_problem(server: str, path: str, problem: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        request_timestamp(ENVELOPE, server + path)
    assert str(caught.value) == f"{server}{path}: {problem}"


def test_an_empty_answer_of_an_authority_is_refused(server: str) -> None:
    with pytest.raises(EvidenceError, match="expected a response as in RFC 3161"):
        request_timestamp(ENVELOPE, f"{server}empty")


def test_an_authority_that_refuses_is_quoted() -> None:
    texts = der(0x30, der(0x0C, b"no \x1b[31m") + der(0x0C, b"policy"))
    refusal = der(0x30, der(0x30, der(0x02, b"\x02") + texts))
    with pytest.raises(EvidenceError, match=r"^stamp: the authority refused: 'no \\x1b\[31m, policy'$"):
        verify_timestamp(refusal, ENVELOPE, [], "stamp")


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5])
def test_only_a_stamp_that_was_granted_as_asked_counts(authority: Authority, reply: bytes, status: int) -> None:
    """RFC 3161, section 2.4.2: 1 is granted with changes."""
    granted = bytes.fromhex("3003020100")
    assert reply.count(granted) == 1
    other = reply.replace(granted, granted[:-1] + bytes([status]))
    with pytest.raises(EvidenceError) as caught:
        verify_timestamp(other, ENVELOPE, load_authorities(authority.certificate), "stamp")
    assert str(caught.value) == "stamp: the authority refused: ''"


def test_a_stamp_without_the_certificate_of_its_authority_is_refused(authority: Authority) -> None:
    builder = TimestampRequestBuilder().data(ENVELOPE).hash_algorithm(HashAlgorithm.SHA256)
    stamp = authority.stamp(builder.cert_request(cert_request=False).build().as_bytes())
    with pytest.raises(EvidenceError) as caught:
        verify_timestamp(stamp, ENVELOPE, load_authorities(authority.certificate), "stamp")
    assert str(caught.value) == "stamp: expected a time-stamp by one authority, with its certificate"


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
def test_an_answer_that_is_not_http_is_refused(answer: bytes) -> None:
    with answering([answer]) as url, pytest.raises(EvidenceError) as found:
        request_timestamp(ENVELOPE, url)
    assert str(found.value).startswith(f"{url}: expected a")


def test_a_large_response_may_be_a_time_stamp(tmp_path: Path) -> None:
    """One with several certificates takes many kilobytes."""
    inner = bytes.fromhex("3003020100") + b"\x04\x82\xf0\x00" + bytes(0xF000)
    response = b"\x30\x82" + len(inner).to_bytes(2) + inner
    (tmp_path / "stamp").write_bytes(response)
    assert may_be_timestamp(response)
    assert looks_like_timestamp(tmp_path / "stamp")
    (tmp_path / "stamp").write_bytes(response + b"x")
    assert not looks_like_timestamp(tmp_path / "stamp")


@given(st.binary(max_size=8) | st.binary(max_size=8).map(lambda data: b"\x30" + data))
def test_no_bytes_are_too_strange_to_be_asked_about(data: bytes) -> None:
    assert may_be_timestamp(data) in {True, False}


def der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def test_an_address_of_another_scheme_is_refused() -> None:
    with pytest.raises(EvidenceError) as caught:
        request_timestamp(ENVELOPE, "file:///etc/passwd")
    assert str(caught.value) == "file:///etc/passwd: expected the address of a time-stamp authority, http or https"


def test_an_unreachable_authority_is_named() -> None:
    with pytest.raises(EvidenceError, match=r"^http://127\.0\.0\.1:1: expected a time-stamp, got none: .*refused"):
        request_timestamp(ENVELOPE, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("size", "problem"), [(65_536, "expected a response as in RFC 3161"), (65_537, "expected at most 65,536 bytes")]
)
def test_a_response_may_be_as_large_as_the_bound(size: int, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"stamp: {problem}"):
        verify_timestamp(bytes(size), ENVELOPE, [], "stamp")


def test_a_refusal_of_an_authority_is_quoted() -> None:
    said = b"no time"
    text = b"\x30" + bytes([2 + len(said)]) + b"\x0c" + bytes([len(said)]) + said
    status = b"\x02\x01\x02" + text
    refused = b"\x30" + bytes([2 + len(status)]) + b"\x30" + bytes([len(status)]) + status
    with pytest.raises(EvidenceError, match="stamp: the authority refused: 'no time'"):
        verify_timestamp(refused, ENVELOPE, [], "stamp")


@given(st.binary())
def test_arbitrary_bytes_are_not_a_time_stamp(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_timestamp(data, ENVELOPE, [], "stamp")


def test_unreadable_certificates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(KeyFileError, match=r"ca\.pem: expected certificates in PEM"):
        load_authorities(tmp_path / "ca.pem")
    with pytest.raises(KeyFileError, match=r"gone: cannot be read: No such file or directory"):
        load_authorities(tmp_path / "gone")


def stamped(tmp_path: Path, signer: Signer, server: str, *, archive: bool = False) -> Path:
    target = tmp_path / ("bag.zip" if archive else "bag")
    write_bag(
        target,
        [to_lines(records())],
        facts=run_facts(),
        documents=DOCUMENTS,
        signer=signer,
        secret=SECRET,
        archive=archive,
        stamp=lambda envelope: request_timestamp(envelope, server),
    )
    return target


@pytest.mark.parametrize("archive", [False, True])
def test_a_stamped_bag_says_when_it_was_sealed(
    authority: Authority, server: str, signer: Signer, tmp_path: Path, *, archive: bool
) -> None:
    bag = stamped(tmp_path, signer, server, archive=archive)
    result = verify_bag(bag, key=signer.public_key, authorities=load_authorities(authority.certificate))
    assert result.verdict is Verdict.VERIFIED
    assert "; time-stamped 20" in result.steps[1].detail
    unchecked = verify_bag(bag, key=signer.public_key)
    assert unchecked.verdict is Verdict.VERIFIED
    assert unchecked.steps[1].detail.endswith("; the time-stamp was not checked, as no authority was given")


def test_a_stamp_for_another_envelope_fails_step_2(
    authority: Authority, server: str, signer: Signer, response: bytes, tmp_path: Path
) -> None:
    bag, authorities = stamped(tmp_path, signer, server), load_authorities(authority.certificate)
    (bag / TIMESTAMP).write_bytes(response)
    problem = "the time-stamp does not hold: Mismatch between messages"
    assert faults(verify_bag(bag, authorities=authorities)) == [(2, f"{TIMESTAMP}: {problem}")]
    (bag / TIMESTAMP).unlink()
    assert faults(verify_bag(bag, authorities=authorities)) == [(2, f"{TIMESTAMP}: expected this file, got none")]


def test_an_unsigned_bag_cannot_be_stamped(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="a time-stamp is over the envelope, which an unsigned bag does not have"):
        write_bag(tmp_path / "bag", [], facts=run_facts(), documents={}, signer=None, secret=None, stamp=lambda _: b"")
    assert list(tmp_path.iterdir()) == []


def test_the_command_accepts_the_certificates(
    authority: Authority, server: str, signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = stamped(tmp_path, signer, server)
    (tmp_path / "key").write_bytes(signer.public_key.pem)
    options = ["--key", str(tmp_path / "key"), "--tsa-ca", str(authority.certificate)]
    assert main(["verify", str(bag), *options]) == 0
    assert "; time-stamped 20" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "proof.json"), *options]) == 2
    assert (
        capsys.readouterr().err == "error: --tsa-ca is only for bags, as nothing else has a time-stamp: leave it out\n"
    )


def test_the_export_command_has_its_bag_stamped(
    authority: Authority, server: str, key_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, bag = tmp_path / "audit.db", tmp_path / "bag"
    with LandscapeDB(f"sqlite:///{database}") as landscape:
        recorded(landscape, rich_run(status=RunStatus.FAILED))
    source = ["export", "run-1", "-d", str(database), "-o", str(bag), "--format", "bag"]
    signed = ["--key", str(key_directory / PRIVATE_KEY), "--tsa", server]
    assert main([*source, *signed]) == 0
    command = f"ts -verify -data {bag}/{ENVELOPE_FILE} -in {bag}/{TIMESTAMP} -CAfile {authority.certificate}"
    assert b"Verification: OK" in authority.openssl(command)
    capsys.readouterr()
    options = ["--key", str(key_directory / PUBLIC_KEY), "--tsa-ca", str(authority.certificate)]
    assert main(["verify", str(bag), *options]) == 0
    assert "; time-stamped 20" in capsys.readouterr().err


def test_an_export_that_gets_no_stamp_leaves_nothing(
    server: str, key_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, bag = tmp_path / "audit.db", tmp_path / "bag"
    with LandscapeDB(f"sqlite:///{database}") as landscape:
        recorded(landscape, rich_run(status=RunStatus.FAILED))
    source = ["export", "run-1", "-d", str(database), "-o", str(bag), "--format", "bag"]
    signed = ["--key", str(key_directory / PRIVATE_KEY), "--tsa", f"{server}gone"]
    assert main([*source, *signed]) == 1
    assert capsys.readouterr().err == f"error: {server}gone: expected a time-stamp, got none: Not Found\n"
    assert [path.name for path in tmp_path.iterdir()] == ["audit.db"]
