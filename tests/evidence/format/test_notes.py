"""Signed notes, against notes that others made."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from elspeth.evidence.format import notes
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.notes import Note, NoteKeyType, NoteSignature, NoteSigner, VerifierKey
from elspeth.evidence.format.signatures import PublicKey, Signer

FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()
"""The example of the specification of signed notes, with its key."""

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETERS_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
""".encode()
"""The example of Go's package `sumdb/note`, with its keys. Ed25519 signs in one way only."""

LOG = "arche2025h1.staging.ct.transparency.dev"
WITNESSED = f"""{LOG}
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— {LOG} zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— {LOG} ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()  # noqa: E501
"""A checkpoint of a public log, cosigned by public witnesses: made by other programs than this one."""

LOG_KEY = f"{LOG}+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
WITNESS_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
WITNESSED_AT = 1779573024


def key(text: str) -> VerifierKey:
    return VerifierKey.parse(text, "key")


def signer_of(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, name: str) -> NoteSigner:
    public = PublicKey(key=private.public_key())
    library_key = SSlibKey.from_crypto(public.key, keyid=public.fingerprint)
    return NoteSigner(name=name, signer=Signer(public_key=public, backend=CryptoSigner(private, library_key)))


PETER_SIGNS = signer_of(Ed25519PrivateKey.from_private_bytes(PETERS_SEED), "PeterNeumann")


@pytest.mark.parametrize(("note", "signer"), [(EXAMPLE, FOO), (PETERS_NOTE, PETER), (WITNESSED, LOG_KEY)])
def test_notes_of_other_implementations_are_verified_and_reproduced(note: bytes, signer: str) -> None:
    found = Note.parse(note, "note")
    assert list(found.verify([key(signer)], "note")) == [key(signer)]
    assert found.to_bytes() == note
    assert str(key(signer)) == signer


def test_a_note_is_signed_as_by_the_reference_implementation() -> None:
    text, _, _ = PETERS_NOTE.rpartition(b"\n\n")
    assert PETER_SIGNS.sign(text + b"\n").to_bytes() == PETERS_NOTE
    assert str(PETER_SIGNS.verifier_key(NoteKeyType.ED25519)) == PETER


def test_a_cosignature_of_a_public_witness_is_verified_with_its_time() -> None:
    note = Note.parse(WITNESSED, "note")
    found = note.verify([key(WITNESS_KEY), key(LOG_KEY)], "note")
    assert found[key(WITNESS_KEY)].timestamp == WITNESSED_AT
    assert found[key(LOG_KEY)].timestamp is None


def test_a_cosignature_says_when_it_was_made() -> None:
    text = Note.parse(WITNESSED, "note").text
    line = PETER_SIGNS.cosign(text, WITNESSED_AT)
    cosigned = Note.parse(WITNESSED, "note").with_signatures([line])
    witness = PETER_SIGNS.verifier_key(NoteKeyType.COSIGNATURE)
    assert cosigned.verify([witness], "note")[witness].timestamp == WITNESSED_AT
    assert line.value[:8] == Note.parse(WITNESSED, "note").signatures[-1].value[:8]
    later = line.value[:7] + bytes([line.value[7] ^ 1]) + line.value[8:]
    altered = Note.parse(cosigned.to_bytes().replace(line.to_bytes(), replace(line, value=later).to_bytes()), "note")
    with pytest.raises(EvidenceError, match="the signature by 'PeterNeumann' does not fit the text"):
        altered.verify([witness], "note")


def test_keys_of_logs_and_witnesses_are_not_interchangeable() -> None:
    text = Note.parse(WITNESSED, "note").text
    signed = PETER_SIGNS.sign(text)
    cosigned = Note(text=text, signatures=(PETER_SIGNS.cosign(text, WITNESSED_AT),))
    assert signed.verify([PETER_SIGNS.verifier_key(NoteKeyType.COSIGNATURE)], "note") == {}
    assert cosigned.verify([PETER_SIGNS.verifier_key(NoteKeyType.ED25519)], "note") == {}


def test_signatures_by_unknown_keys_are_ignored() -> None:
    other = signer_of(Ed25519PrivateKey.from_private_bytes(bytes(32)), "PeterNeumann")
    assert Note.parse(PETERS_NOTE, "note").verify([other.verifier_key(NoteKeyType.ED25519)], "note") == {}


def test_an_invalid_signature_by_a_known_key_refuses_the_note() -> None:
    altered = PETERS_NOTE.replace(b"your problem is", b"my problem is")
    with pytest.raises(EvidenceError, match=r"^note: the signature by 'PeterNeumann' does not fit the text"):
        Note.parse(altered, "note").verify([key(PETER)], "note")


@given(st.integers(0, len(WITNESSED) - 1), st.integers(1, 255))
def test_no_altered_byte_of_a_note_passes(place: int, change: int) -> None:
    altered = WITNESSED[:place] + bytes([WITNESSED[place] ^ change]) + WITNESSED[place + 1 :]
    keys = [key(LOG_KEY), key(WITNESS_KEY)]
    try:
        found = Note.parse(altered, "note")
        signed = found.verify(keys, "note")
    except EvidenceError:
        return
    # The change is then in a line of an unknown key, or in one that no longer names a known key.
    assert not signed or found.text == Note.parse(WITNESSED, "note").text


SIGNATURE = PETERS_NOTE.splitlines()[-1].decode()


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        (b"", "expected a signed note: a text, an empty line, and lines with signatures"),
        (b"text\n\n", "expected a signed note: a text, an empty line, and lines with signatures"),
        (b"text\n" + SIGNATURE.encode() + b"\n", "expected a signed note"),
        (f"text\n\n{SIGNATURE}".encode(), "expected a signed note"),
        (f"te\txt\n\n{SIGNATURE}\n".encode(), r"expected no control character but line feeds, got '\\t'"),
        (f"text\r\n\n{SIGNATURE}\n".encode(), r"expected no control character but line feeds, got '\\r'"),
        (b"t\xe4xt\n\n\n", "expected a signed note in UTF-8"),
        (f"text\n\n{SIGNATURE[:-3]}\n".encode(), "signature 1: expected base64"),
        (f"text\n\n{SIGNATURE} \n".encode(), "signature 1: expected base64"),
        ("text\n\n— name AAAAAA==\n".encode(), "signature 1: expected a key ID and a signature, got 4 bytes"),
        ("text\n\n— name AAAAAAB=\n".encode(), "signature 1: expected base64 without spare bits"),
        ("text\n\n— na+me AAAAAAA=\n".encode(), "signature 1: expected the name of a key, without spaces and plus"),
        ("text\n\n—  AAAAAAA=\n".encode(), "signature 1: expected the name of a key"),
        ("text\n\n— na\u2003me AAAAAAA=\n".encode(), "signature 1: expected the name of a key"),
        (b"text\n\n- name AAAAAAA=\n", "signature 1: expected a signature, '— NAME BASE64'"),
        (f"text\n\n{SIGNATURE}\nmore\n".encode(), "signature 2: expected a signature"),
        (b"text\n\n" + f"{SIGNATURE}\n".encode() * 101, "expected at most 100 signatures, got 101"),
        (b"x" * (256 * 1024) + b"\n", "expected a signed note of at most 262,144 bytes, got 262,145"),
    ],
)
def test_text_that_is_not_a_note_is_refused(note: bytes, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"^note: {problem}"):
        Note.parse(note, "note")


def test_a_note_may_reach_its_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MAX_NOTE", len(PETERS_NOTE))
    assert Note.parse(PETERS_NOTE, "note").to_bytes() == PETERS_NOTE
    monkeypatch.undo()
    assert len(Note.parse(b"text\n\n" + f"{SIGNATURE}\n".encode() * 100, "note").signatures) == 100


@pytest.mark.parametrize(("timestamp", "found"), [(0, 0), (2**63 - 1, 2**63 - 1), (2**63, None)])
def test_the_time_of_a_cosignature_has_63_bits(timestamp: int, found: int | None) -> None:
    value = timestamp.to_bytes(8, "big") + bytes(64)
    assert NoteSignature(name="name", key_id=bytes(4), value=value).timestamp == found


def test_of_several_cosignatures_of_a_witness_the_newest_counts_and_each_is_kept_once() -> None:
    note = PETER_SIGNS.sign(b"text\n")
    older, newer = (PETER_SIGNS.cosign(b"text\n", moment) for moment in (1, 2))
    witness = PETER_SIGNS.verifier_key(NoteKeyType.COSIGNATURE)
    for both in ((older, newer), (newer, older)):
        cosigned = note.with_signatures(both).with_signatures([older])
        assert cosigned.signatures == (*note.signatures, *both)
        assert cosigned.verify([witness], "note") == {witness: newer}


def test_a_text_may_have_empty_lines() -> None:
    note = Note.parse(f"one\n\ntwo\n\n{SIGNATURE}\n".encode(), "note")
    assert note.text == b"one\n\ntwo\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PeterNeumann+c74f20a3", r"expected a verifier key, NAME\+ID\+BASE64, got 'PeterNeumann\+c74f20a3'"),
        (PETER.replace("c74f", "C74F"), "expected a verifier key"),
        (PETER.replace("c74f20a3", "c74f20a4"), "expected the key ID c74f20a3, got c74f20a4: the key was altered"),
        (PETER.replace("Peter", ""), "expected the key ID"),
        ("+c74f20a3+AA==", "expected the name of a key"),
        (PETER[:-1], "expected base64"),
        ("name+00000000+BgAA", r"expected a key of the signature type 1 \(Ed25519\) or 4, got 6"),
        ("name+00000000+", r"expected a key of the signature type 1 \(Ed25519\) or 4, got None"),
        ("name+00000000+AQAA", "expected a public key of 32 bytes, got 2"),
    ],
)
def test_text_that_is_not_a_verifier_key_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"^key: {problem}"):
        VerifierKey.parse(text, "key")


def test_only_ed25519_keys_sign_notes() -> None:
    ecdsa = signer_of(ec.generate_private_key(ec.SECP256R1()), "log")
    with pytest.raises(KeyFileError, match=r"^key of log: expected an Ed25519 key, as signed notes have, got ecdsa: "):
        ecdsa.sign(b"text\n")
