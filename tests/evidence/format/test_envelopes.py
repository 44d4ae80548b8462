"""DSSE envelopes: written, accepted and refused."""

from __future__ import annotations

import base64
from dataclasses import replace

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
    PublicKey,
    Signer,
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


def other_form(signature: bytes) -> bytes:
    """Return an ECDSA signature with its other S."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, ORDER - s)


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


def test_another_spelling_of_an_envelope_is_refused(envelope: Envelope) -> None:
    with pytest.raises(EvidenceError, match="is not canonical JSON"):
        Envelope.from_bytes(envelope.to_bytes().replace(b",", b", "), "envelope")


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_are_an_envelope_or_an_evidence_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        Envelope.from_bytes(data, "envelope")
