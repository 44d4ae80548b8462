"""What a time-stamp's signature says of itself (CMS, RFC 5652): its digests, and the certificate that it is bound to.

Whether the signature holds is not asked here. The library that checks it does not look at either of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import new
from typing import TypeAlias

from elspeth.evidence.format.errors import EvidenceError

__all__ = ["check_signer"]

_SEQUENCE, _SET, _OID, _OCTETS, _FIRST = 0x30, 0x31, 0x06, 0x04, 0xA0
"""Tags. The last is [0], IMPLICIT or EXPLICIT."""

_LONG = 0x80

_DIGESTS = {
    "608648016503040201": "sha256",
    "608648016503040202": "sha384",
    "608648016503040203": "sha512",
}
"""Object identifiers by their DER content. RFC 5754, section 2."""

_SHA1 = "sha1"
_SHA1_SIGNATURES = frozenset({"2a864886f70d010105", "2a8648ce3d0401", "2a8648ce380403"})
"""RSA, ECDSA and DSA with SHA-1."""

_SIGNING_CERTIFICATE = "2a864886f70d010910020c"
"""RFC 2634, section 5.4. It holds a SHA-1, of a certificate that was there before whoever wanted another like it."""
_SIGNING_CERTIFICATE_V2 = "2a864886f70d010910022f"
"""RFC 5035, section 3."""

_Element: TypeAlias = tuple[int, bytes]
"""A tag and the content under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    """One SignerInfo. RFC 5652, section 5.3: names are those of its fields, object identifiers in hexadecimal."""

    digest_algorithm: str
    attributes: dict[str, list[bytes]]
    signature_algorithm: str


def check_signer(token: bytes, certificate: bytes, place: str) -> None:
    """Check that a time-stamp token names the certificate of its signer, and that there is no SHA-1 in its signature.

    `certificate` is that of the signer, in DER. RFC 3161, section 2.4.2, and RFC 5816. Raises EvidenceError.
    """
    try:
        signer = _signer(token)
        named = [*_named(signer, _SIGNING_CERTIFICATE), *_named(signer, _SIGNING_CERTIFICATE_V2)]
    except (ValueError, IndexError, KeyError) as error:
        raise EvidenceError(place, "expected a time-stamp signed by one authority, as in RFC 5652") from error
    if signer.digest_algorithm not in _DIGESTS or signer.signature_algorithm in _SHA1_SIGNATURES:
        expected = "expected a signature over a SHA-256, SHA-384 or SHA-512"
        raise EvidenceError(place, f"{expected}, got one over another digest")
    if not named:
        expected = "expected the attribute that names the certificate of the authority (RFC 3161, section 2.4.2)"
        raise EvidenceError(place, f"{expected}, got none")
    if any(new(algorithm, certificate).digest() != digest for algorithm, digest in named):
        raise EvidenceError(place, "expected it to be signed by the certificate that it names, got another")


def _named(signer: _Signer, attribute: str) -> Iterator[tuple[str, bytes]]:
    """Yield the hash of the signer's certificate, the first of those that the attribute names."""
    for value in signer.attributes.get(attribute, []):
        identifiers = _children(_children(value)[0][1])
        parts = _children(identifiers[0][1])
        if attribute == _SIGNING_CERTIFICATE:
            yield _SHA1, _content(parts[0], _OCTETS)
        elif parts[0][0] == _OCTETS:
            yield "sha256", parts[0][1]
        else:
            yield _DIGESTS[_algorithm(parts[0])], _content(parts[1], _OCTETS)


def _signer(token: bytes) -> _Signer:
    [(_, content_info)] = _children(token)
    _, (_, explicit) = _children(content_info)
    [(_, signed_data)] = _children(explicit)
    *_, signers = _children(signed_data)
    [(_, signer)] = _children(_content(signers, _SET))
    _, _, digest, attributes, signature, *_ = _children(signer)
    found: dict[str, list[bytes]] = {}
    for _, attribute in _children(_content(attributes, _FIRST)):
        kind, values = _children(attribute)
        found.setdefault(_content(kind, _OID).hex(), []).extend(value for _, value in _children(_content(values, _SET)))
    return _Signer(digest_algorithm=_algorithm(digest), attributes=found, signature_algorithm=_algorithm(signature))


def _algorithm(element: _Element) -> str:
    return _content(_children(_content(element, _SEQUENCE))[0], _OID).hex()


def _content(element: _Element, tag: int) -> bytes:
    if element[0] != tag:
        message = f"expected the tag {tag:#x}, got {element[0]:#x}"
        raise ValueError(message)
    return element[1]


def _children(data: bytes) -> list[_Element]:
    """Return the elements that follow each other in DER (X.690); ValueError or IndexError for what is none."""
    found: list[_Element] = []
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length >= _LONG:
            size = length - _LONG
            length = int.from_bytes(data[position : position + size])
            position += size
        if len(data) - position < length:
            message = "an element is longer than what is around it"
            raise ValueError(message)
        found.append((tag, data[position : position + length]))
        position += length
    return found
