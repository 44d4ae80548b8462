"""DSSE envelopes: a payload with its signature.

Dead Simple Signing Envelope 1.0.2, with one signature, in canonical JSON.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from elspeth.evidence.format.canonical import Json, canonical, decode_base64, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.signatures import PublicKey, Signer

__all__ = ["Envelope", "pae"]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the signed bytes: the PAE of a payload.

    DSSE 1.0.2, "Signature Definition".
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope with one signature, in canonical JSON.

    `keyid` is the fingerprint of the key. It is only a hint until `verify` has checked the signature.
    """

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes

    @classmethod
    def sign(cls, payload: bytes, payload_type: str, signer: Signer) -> Envelope:
        """Sign a payload.

        Raises KeyFileError if the signer fails.
        """
        signature = signer.sign(pae(payload_type, payload))
        return cls(payload_type=payload_type, payload=payload, keyid=signer.public_key.fingerprint, signature=signature)

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Envelope:
        """Read an envelope.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        members = parse_canonical(data, place)
        _expect_names(members, {"payload", "payloadType", "signatures"}, place)
        signatures = members["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
            raise EvidenceError(f"{place}: signatures", f"expected one signature, got {shown(signatures)}")
        signature = signatures[0]
        _expect_names(signature, {"keyid", "sig"}, f"{place}: signatures[0]")
        return cls(
            payload_type=_text(members["payloadType"], f"{place}: payloadType"),
            payload=_decoded(members["payload"], f"{place}: payload"),
            keyid=_text(signature["keyid"], f"{place}: signatures[0].keyid"),
            signature=_decoded(signature["sig"], f"{place}: signatures[0].sig"),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the members of the JSON object."""
        signature: dict[str, Json] = {"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode()}
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [signature],
        }

    def to_bytes(self) -> bytes:
        """Return the envelope in canonical JSON, without a line feed."""
        return canonical(self.to_json())

    def verify(self, key: PublicKey, place: str, *, low_s: bool = False) -> None:
        """Check the signature, and with `low_s` also its form.

        Raises EvidenceError if another key made the signature, or if the payload, its type or the form of the signature
        was altered.
        """
        if self.keyid != key.fingerprint:
            expected = f"expected a signature by the key {key.fingerprint}"
            raise EvidenceError(place, f"{expected}, got one by {shown(self.keyid)}")
        if not key.accepts(self.signature, pae(self.payload_type, self.payload)):
            raise EvidenceError(place, "the signature does not fit the payload: one of them was altered")
        if low_s and key.low_s(self.signature) != self.signature:
            raise EvidenceError(place, "expected the form of the signature with a low S: it was rewritten")


def _expect_names(members: object, names: set[str], place: str) -> None:
    found = set(members) if isinstance(members, dict) else set()
    if found != names:
        raise EvidenceError(place, f"expected the members {', '.join(sorted(names))}, got {', '.join(sorted(found))}")


def _text(value: Json, place: str) -> str:
    if not isinstance(value, str):
        raise EvidenceError(place, f"expected text, got {shown(value)}")
    return value


def _decoded(value: Json, place: str) -> bytes:
    return decode_base64(_text(value, place), place)
