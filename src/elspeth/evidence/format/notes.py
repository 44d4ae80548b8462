"""Signed notes: texts followed by lines with signatures (c2sp.org/signed-note).

Keys are Ed25519. The key of a log signs the text of a note. The key of a witness cosigns a checkpoint together with the
time of signing (c2sp.org/tlog-cosignature, `cosignature/v1`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from elspeth.evidence.format.canonical import decode_base64
from elspeth.evidence.format.errors import EvidenceError, KeyFileError, shown
from elspeth.evidence.format.limits import MAX_NOTE, MAX_NOTE_SIGNATURES
from elspeth.evidence.format.signatures import KeyType, PublicKey, Signer

__all__ = [
    "Note",
    "NoteKeyType",
    "NoteSignature",
    "NoteSigner",
    "VerifierKey",
    "check_key_name",
]

_DASH = "\N{EM DASH}"
_ID_SIZE = 4
_KEY_SIZE = 32
_SIGNATURE_SIZE = 64
_TIME_SIZE = 8
_LATEST = 2**63 - 1
"""The latest time that a cosignature can state, in POSIX seconds."""

_HEX_ID = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteKeyType(IntEnum):
    """The supported signature types of the specification."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A key that checks the signatures of notes.

    `name` says whose key it is; the name of a log's key is its origin. `public` is the Ed25519 key (RFC 8032).
    """

    name: str
    type: NoteKeyType
    public: bytes

    @classmethod
    def of(cls, name: str, key: PublicKey, key_type: NoteKeyType, place: str) -> VerifierKey:
        """Return the verifier key of an Ed25519 key.

        Raises KeyFileError for another key, and EvidenceError for a name that no key may have.
        """
        check_key_name(name, place)
        if key.type is not KeyType.ED25519:
            hint = "make one with: elspeth keys generate --type ed25519 -o DIR"
            raise KeyFileError(place, f"expected an Ed25519 key, as signed notes have, got {key.type.value}: {hint}")
        return cls(name=name, type=key_type, public=key.key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def parse(cls, text: str, place: str) -> VerifierKey:
        """Read a verifier key, `NAME+ID+BASE64`.

        Raises EvidenceError for anything else, and for types that are not supported.
        """
        name, _, rest = text.partition("+")
        key_id, plus, encoded = rest.partition("+")
        if not plus or not _HEX_ID.fullmatch(key_id):
            raise EvidenceError(place, f"expected a verifier key, NAME+ID+BASE64, got {shown(text)}")
        check_key_name(name, place)
        material = decode_base64(encoded, place)
        if material[:1] not in {bytes([each]) for each in NoteKeyType}:
            kind = shown(material[0] if material else None)
            raise EvidenceError(place, f"expected a key of the signature type 1 (Ed25519) or 4, got {kind}")
        if len(material) != 1 + _KEY_SIZE:
            raise EvidenceError(place, f"expected a public key of {_KEY_SIZE} bytes, got {len(material) - 1}")
        found = cls(name=name, type=NoteKeyType(material[0]), public=material[1:])
        if found.key_id.hex() != key_id:
            raise EvidenceError(place, f"expected the key ID {found.key_id.hex()}, got {key_id}: the key was altered")
        return found

    @property
    def key_id(self) -> bytes:
        """The four bytes that, with the name, identify the key."""
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:_ID_SIZE]

    @property
    def _material(self) -> bytes:
        return bytes([self.type]) + self.public

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"

    def accepts(self, signature: NoteSignature, text: bytes) -> bool:
        """Return whether the key made this signature of the text."""
        key = PublicKey(key=Ed25519PublicKey.from_public_bytes(self.public))
        if self.type is NoteKeyType.ED25519:
            return key.accepts(signature.value, text)
        timestamp = signature.timestamp
        return timestamp is not None and key.accepts(signature.value[_TIME_SIZE:], _cosigned(timestamp, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """A signature line of a note.

    `value` holds the bytes after the key ID: for a cosignature, the time and the signature.
    """

    name: str
    key_id: bytes
    value: bytes

    @classmethod
    def parse(cls, line: str, place: str) -> NoteSignature:
        """Read a line, without its line feed.

        Raises EvidenceError for anything else.
        """
        dash, _, rest = line.partition(" ")
        name, space, encoded = rest.partition(" ")
        if dash != _DASH or not space:
            raise EvidenceError(place, f"expected a signature, '{_DASH} NAME BASE64', got {shown(line)}")
        check_key_name(name, place)
        blob = decode_base64(encoded, place)
        if len(blob) <= _ID_SIZE:
            raise EvidenceError(place, f"expected a key ID and a signature, got {len(blob)} bytes")
        return cls(name=name, key_id=blob[:_ID_SIZE], value=blob[_ID_SIZE:])

    @property
    def timestamp(self) -> int | None:
        """The POSIX time of a cosignature, or None."""
        if len(self.value) != _TIME_SIZE + _SIGNATURE_SIZE:
            return None
        timestamp = int.from_bytes(self.value[:_TIME_SIZE], "big")
        return timestamp if timestamp <= _LATEST else None

    def to_bytes(self) -> bytes:
        """Return the line, with its line feed."""
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text with its signatures, which only `verify` checks.

    The text ends with a line feed.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes, place: str) -> Note:
        """Read a signed note.

        Raises EvidenceError unless it is one of at most 256 KiB and 100 signatures.
        """
        if len(data) > MAX_NOTE:
            raise EvidenceError(place, f"expected a signed note of at most {MAX_NOTE:,} bytes, got {len(data):,}")
        try:
            found = _CONTROL.search(data.decode())
        except UnicodeDecodeError as error:
            raise EvidenceError(place, "expected a signed note in UTF-8") from error
        if found is not None:
            raise EvidenceError(place, f"expected no control character but line feeds, got {shown(found[0])}")
        text, blank, lines = data.rpartition(b"\n\n")
        if not blank or not lines.endswith(b"\n"):
            raise EvidenceError(place, "expected a signed note: a text, an empty line, and lines with signatures")
        signatures = tuple(cls._signatures(lines.decode(), place))
        return cls(text=text + b"\n", signatures=signatures)

    @staticmethod
    def _signatures(lines: str, place: str) -> Iterator[NoteSignature]:
        each = lines[:-1].split("\n")
        if len(each) > MAX_NOTE_SIGNATURES:
            raise EvidenceError(place, f"expected at most {MAX_NOTE_SIGNATURES} signatures, got {len(each)}")
        for number, line in enumerate(each, 1):
            yield NoteSignature.parse(line, f"{place}: signature {number}")

    def to_bytes(self) -> bytes:
        """Return the note in the format that `parse` reads."""
        return self.text + b"\n" + b"".join(signature.to_bytes() for signature in self.signatures)

    def with_signatures(self, more: Iterable[NoteSignature]) -> Note:
        """Return the note with further signatures, without duplicates."""
        kept = dict.fromkeys([*self.signatures, *more])
        return Note(text=self.text, signatures=tuple(kept))

    def verify(self, keys: Iterable[VerifierKey], place: str) -> dict[VerifierKey, NoteSignature]:
        """Return the keys that signed, with their newest signature.

        Signatures by other keys are ignored. Raises EvidenceError if a signature by one of the keys does not hold.
        """
        known = list(keys)
        found: dict[VerifierKey, NoteSignature] = {}
        for signature in self.signatures:
            for key in known:
                if (key.name, key.key_id) != (signature.name, signature.key_id):
                    continue
                if not key.accepts(signature, self.text):
                    problem = f"the signature by {shown(key.name)} does not fit the text: one of them was altered"
                    raise EvidenceError(place, problem)
                before = found.get(key)
                if before is None or (before.timestamp or 0) < (signature.timestamp or 0):
                    found[key] = signature
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSigner:
    """Signs notes as a log or a witness.

    The constructor raises KeyFileError unless the key is Ed25519.
    """

    name: str
    signer: Signer

    def verifier_key(self, key_type: NoteKeyType) -> VerifierKey:
        """Return the key that checks its signatures."""
        return VerifierKey.of(self.name, self.signer.public_key, key_type, f"key of {self.name}")

    def sign(self, text: bytes) -> Note:
        """Sign a text that ends with a line feed."""
        key = self.verifier_key(NoteKeyType.ED25519)
        signature = NoteSignature(name=self.name, key_id=key.key_id, value=self.signer.sign(text))
        return Note(text=text, signatures=(signature,))

    def cosign(self, text: bytes, timestamp: int) -> NoteSignature:
        """Cosign the text of a checkpoint at a POSIX time."""
        key = self.verifier_key(NoteKeyType.COSIGNATURE)
        value = timestamp.to_bytes(_TIME_SIZE, "big") + self.signer.sign(_cosigned(timestamp, text))
        return NoteSignature(name=self.name, key_id=key.key_id, value=value)


def check_key_name(name: str, place: str) -> None:
    """Raise EvidenceError for a name that no key may have."""
    if not name or "+" in name or any(each.isspace() for each in name):
        raise EvidenceError(place, f"expected the name of a key, without spaces and plus signs, got {shown(name)}")


def _cosigned(timestamp: int, text: bytes) -> bytes:
    """Return the bytes under a cosignature (c2sp.org/tlog-cosignature)."""
    return b"cosignature/v1\ntime %d\n" % timestamp + text
