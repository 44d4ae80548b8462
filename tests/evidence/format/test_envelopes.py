"""DSSE envelopes: written, accepted and refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.envelopes import Envelope, pae
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import (
    PRIVATE_KEY,
    KeyType,
    PublicKey,
    Signer,
    generate_keys,
    load_signer,
)

PAYLOAD_TYPE = "http://example.com/HelloWorld"
PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
SIGNATURE = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
POINT = (
    46950820868899156662930047687818585632848591499744589407958293238635476079160,
    5640078356564379163099075877009565129882514886557779369047442380624545832820,
)
"""The test vector of DSSE 1.0.2, protocol.md."""

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256. FIPS 186-4, D.1.2.3."""


@pytest.fixture
def envelope(signer: Signer) -> Envelope:
    return Envelope.sign(b"hello world", PAYLOAD_TYPE, signer)


def test_the_published_example_of_the_encoding_is_reproduced() -> None:
    assert pae(PAYLOAD_TYPE, b"hello world") == PAE


def test_the_published_example_of_a_signature_is_valid() -> None:
    key = PublicKey(key=ec.EllipticCurvePublicNumbers(*POINT, ec.SECP256R1()).public_key())
    # The vector has r and s side by side; openssl, and with it every key service, wraps them in DER.
    signature = encode_dss_signature(int.from_bytes(SIGNATURE[:32]), int.from_bytes(SIGNATURE[32:]))
    assert key.accepts(signature, PAE)
    assert not key.accepts(signature, PAE + b".")


def test_lengths_are_counted_in_bytes() -> None:
    assert pae("\u00e9", "\u20ac".encode()) == b"DSSEv1 2 \xc3\xa9 3 \xe2\x82\xac"


def test_an_envelope_is_read_as_it_was_written(any_signer: Signer) -> None:
    envelope = Envelope.sign(b"hello world", PAYLOAD_TYPE, any_signer)
    again = Envelope.from_bytes(envelope.to_bytes(), "envelope")
    again.verify(any_signer.public_key, "envelope")
    assert again == envelope


ORDER_P384 = int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16)
"""Of P-384. FIPS 186-4, D.1.2.4."""


def other_form(signature: bytes, order: int = ORDER) -> bytes:
    """Return an ECDSA signature with its other S."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, order - s)


@pytest.mark.parametrize(("key_type", "order"), [(KeyType.ECDSA, ORDER), (KeyType.ECDSA_P384, ORDER_P384)])
def test_of_two_forms_of_a_signature_on_either_curve_one_is_accepted(
    tmp_path: Path, key_type: KeyType, order: int
) -> None:
    generate_keys(tmp_path, key_type)
    signer = load_signer(str(tmp_path / PRIVATE_KEY))
    envelope = Envelope.sign(b"hello world", PAYLOAD_TYPE, signer)
    other = replace(envelope, signature=other_form(envelope.signature, order))
    envelope.verify(signer.public_key, "envelope", low_s=True)
    other.verify(signer.public_key, "envelope")
    assert signer.public_key.low_s(other.signature) == envelope.signature
    with pytest.raises(EvidenceError) as caught:
        other.verify(signer.public_key, "envelope", low_s=True)
    assert str(caught.value) == "envelope: expected the form of the signature with a low S: it was rewritten"


def test_the_other_form_of_a_signature_is_valid_but_refused(envelope: Envelope, key: PublicKey) -> None:
    other = replace(envelope, signature=other_form(envelope.signature))
    other.verify(key, "envelope")
    with pytest.raises(EvidenceError) as caught:
        other.verify(key, "envelope", low_s=True)
    assert str(caught.value) == "envelope: expected the form of the signature with a low S: it was rewritten"


def test_signatures_have_a_low_s(signer: Signer) -> None:
    for number in range(20):
        envelope = Envelope.sign(b"%d" % number, PAYLOAD_TYPE, signer)
        envelope.verify(signer.public_key, "envelope", low_s=True)
        assert decode_dss_signature(envelope.signature)[1] <= ORDER // 2


def test_a_high_s_of_a_key_service_is_corrected(signer: Signer) -> None:
    class Service:
        def sign(self, payload: bytes) -> object:
            signature = signer.backend.sign(payload)
            r, s = decode_dss_signature(bytes.fromhex(signature.signature))
            return replace_signature(signature, encode_dss_signature(r, max(s, ORDER - s)))

    high = replace(signer, backend=Service())  # type: ignore[arg-type]
    Envelope.sign(b"payload", PAYLOAD_TYPE, high).verify(signer.public_key, "envelope", low_s=True)


def replace_signature(signature: Signature, data: bytes) -> Signature:
    return Signature(signature.keyid, data.hex())


@pytest.mark.parametrize("change", [{"payload": b"hello, world"}, {"payload_type": "text/plain"}])
def test_signed_bytes_cannot_be_changed(envelope: Envelope, key: PublicKey, change: dict[str, str]) -> None:
    members = {name: getattr(envelope, name) for name in ("payload", "payload_type", "keyid", "signature")}
    other = Envelope(**{**members, **change})
    with pytest.raises(EvidenceError) as caught:
        other.verify(key, "envelope")
    assert str(caught.value) == "envelope: the signature does not fit the payload: one of them was altered"


MALFORMED = {
    "no signatures": ({"signatures": []}, "envelope: signatures: expected one signature, got []"),
    "further member": (
        {"more": 1},
        "envelope: expected the members payload, payloadType, signatures, got more, payload, payloadType, signatures",
    ),
    "two signatures": (
        {"signatures": [{"keyid": "", "sig": ""}] * 2},
        "envelope: signatures: expected one signature, got [{'keyid': '', 'sig': ''}, {'keyid': '', 'sig': ''}]",
    ),
    "signatures that are not an array": (
        {"signatures": {"keyid": "", "sig": ""}},
        "envelope: signatures: expected one signature, got {'keyid': '', 'sig': ''}",
    ),
    "further member of the signature": (
        {"signatures": [{"keyid": "", "sig": "", "more": 1}]},
        "envelope: signatures[0]: expected the members keyid, sig, got keyid, more, sig",
    ),
    "key that is not a text": (
        {"signatures": [{"keyid": 1, "sig": ""}]},
        "envelope: signatures[0].keyid: expected text, got 1",
    ),
    "signature that is not a text": (
        {"signatures": [{"keyid": "", "sig": 1234}]},
        "envelope: signatures[0].sig: expected text, got 1234",
    ),
    "signature that is not base64": (
        {"signatures": [{"keyid": "", "sig": "AB=="}]},
        "envelope: signatures[0].sig: expected base64 without spare bits, got 'AB=='",
    ),
    "number as payload": ({"payload": 1234}, "envelope: payload: expected text, got 1234"),
    "null as payload": ({"payload": None}, "envelope: payload: expected text, got None"),
    "type that is not a text": ({"payloadType": 1}, "envelope: payloadType: expected text, got 1"),
    "no base64": ({"payload": "?"}, "envelope: payload: expected base64, got '?'"),
    "spare bits": ({"payload": "aGk="[:2] + "l="}, "envelope: payload: expected base64 without spare bits, got 'aGl='"),
    "signature that is not an object": ({"signatures": [1]}, "envelope: signatures: expected one signature, got [1]"),
    "signature without key": (
        {"signatures": [{"sig": ""}]},
        "envelope: signatures[0]: expected the members keyid, sig, got sig",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_envelopes_are_refused(case: str, envelope: Envelope) -> None:
    change, message = MALFORMED[case]
    with pytest.raises(EvidenceError) as caught:
        Envelope.from_bytes(canonical({**envelope.to_json(), **change}), "envelope")  # type: ignore[dict-item]
    assert str(caught.value) == message


def test_bytes_of_any_value_are_in_standard_base64() -> None:
    envelope = Envelope(payload_type="x", payload=b"\xfb\xff\xfe", keyid="k", signature=b"\xff\xef\xbf")
    assert envelope.to_bytes() == b'{"payload":"+//+","payloadType":"x","signatures":[{"keyid":"k","sig":"/++/"}]}'


@pytest.mark.parametrize("keyid", ["", "\x1b[31m", "0" * 64])
def test_the_key_that_an_envelope_names_must_be_the_one_given(envelope: Envelope, key: PublicKey, keyid: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        replace(envelope, keyid=keyid).verify(key, "envelope")
    assert str(caught.value) == (f"envelope: expected a signature by the key {key.fingerprint}, got one by {keyid!r}")


def test_another_spelling_of_an_envelope_is_refused(envelope: Envelope) -> None:
    with pytest.raises(EvidenceError, match="is not canonical JSON"):
        Envelope.from_bytes(envelope.to_bytes().replace(b",", b", "), "envelope")


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_are_an_envelope_or_an_evidence_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        Envelope.from_bytes(data, "envelope")
