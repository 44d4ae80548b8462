"""Time-stamps by a third party over an envelope (RFC 3161).

The authority learns only a hash. `openssl ts -verify` can check the stored response.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates

from elspeth.evidence.format.deadlines import within
from elspeth.evidence.format.der import Element, children, encoded
from elspeth.evidence.format.errors import EvidenceError, KeyFileError, shown
from elspeth.evidence.format.files import read_small_file

if TYPE_CHECKING:
    from rfc3161_client.tsp import SignedData

__all__ = [
    "check_signer",
    "load_authorities",
    "looks_like_timestamp",
    "may_be_timestamp",
    "request_timestamp",
    "verify_timestamp",
]

_MAX_RESPONSE = 64 * 1024
"""The largest response that is read, in bytes. One with three certificates takes about six kilobytes."""

_MAX_AUTHORITIES = 1024 * 1024
"""The largest file of root certificates that is read, in bytes. That of an operating system takes a quarter of it."""

_TIMEOUT_S = 30.0
_DEADLINE_S = 60.0
"""The limit for a whole response, in seconds."""

_SEQUENCE, _SET, _OID, _OCTETS, _FIRST = 0x30, 0x31, 0x06, 0x04, 0xA0
"""DER tags. The last is the context-specific tag [0]."""

_DIGESTS = {
    "608648016503040201": "sha256",
    "608648016503040202": "sha384",
    "608648016503040203": "sha512",
}
"""Digests by the DER content of their object identifiers (RFC 5754, section 2)."""

_SHA1 = "sha1"
_SHA1_SIGNATURES = frozenset({"2a864886f70d010105", "2a8648ce3d0401", "2a8648ce380403"})
"""RSA, ECDSA and DSA with SHA-1."""

_SIGNING_CERTIFICATE = "2a864886f70d010910020c"
"""RFC 2634, section 5.4. Its SHA-1 is acceptable: an attack would need a second preimage of an existing certificate."""
_SIGNING_CERTIFICATE_V2 = "2a864886f70d010910022f"
"""RFC 5035, section 3."""


def request_timestamp(envelope: bytes, url: str) -> bytes:
    """Return an authority's response about an envelope.

    The response is a TimeStampResp (RFC 3161, section 2.4.2).

    Raises EvidenceError unless the authority grants a time-stamp of this envelope. The verifier decides whether the
    authority can be trusted.
    """
    client = _client(url)
    if urlsplit(url).scheme not in {"http", "https"}:
        raise EvidenceError(url, "expected the address of a time-stamp authority, http or https")
    query = client.TimestampRequestBuilder().data(envelope).hash_algorithm(client.HashAlgorithm.SHA256).build()
    request = urllib.request.Request(  # noqa: S310 - http or https
        url, data=query.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
    )
    response = within(_DEADLINE_S, lambda: _exchange(request, url), url)
    info = _token_info(response, url)
    if info[1] != query.message_imprint.message or info[2] != query.nonce:
        raise EvidenceError(url, "expected a time-stamp of this envelope, got one of something else")
    return response


def _exchange(request: urllib.request.Request, url: str) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return bytes(answer.read(_MAX_RESPONSE + 1))
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise EvidenceError(url, f"expected a time-stamp, got none: {reason}") from error


def verify_timestamp(response: bytes, envelope: bytes, authorities: Sequence[Certificate], place: str) -> datetime:
    """Return when an authority time-stamped the envelope, in UTC.

    Raises EvidenceError unless one of the authorities did so.
    """
    client = _client(place)
    moment = _token_info(response, place)[0]
    verifier = client.VerifierBuilder(roots=list(authorities)).build()
    decoded = client.decode_timestamp_response(_in_order(response))
    check_signer(decoded.time_stamp_token(), _signing_certificate(decoded.signed_data, place), place)
    try:
        verifier.verify_message(decoded, envelope)
    except (client.VerificationError, ValueError) as error:
        raise EvidenceError(place, f"the time-stamp does not hold: {error}") from error
    return moment


def looks_like_timestamp(path: Path) -> bool:
    """Return whether a file may hold an authority's response.

    Nothing is verified. Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        return may_be_timestamp(file.read(_MAX_RESPONSE + 1))


def may_be_timestamp(data: bytes) -> bool:
    """Return whether bytes may be an authority's response.

    Nothing is verified.
    """
    try:
        [(tag, content)] = children(data)
        return tag == _SEQUENCE and children(content)[0][0] == _SEQUENCE
    except (ValueError, IndexError):
        return False


def load_authorities(path: Path) -> list[Certificate]:
    """Load root certificates from a PEM file.

    Raises KeyFileError if there are none.
    """
    try:
        return load_pem_x509_certificates(read_small_file(path, "certificates", _MAX_AUTHORITIES, KeyFileError))
    except ValueError as error:
        raise KeyFileError(str(path), "expected certificates in PEM") from error


def check_signer(token: bytes, certificate: bytes, place: str) -> None:
    """Check the attributes of a time-stamp token's signature.

    They must name the signer's certificate, which is given in DER, and must not use SHA-1 (RFC 3161, section 2.4.2, and
    RFC 5816). The library that checks the signature does not check this. Raises EvidenceError.
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
    if any(hashlib.new(algorithm, certificate).digest() != digest for algorithm, digest in named):
        raise EvidenceError(place, "expected it to be signed by the certificate that it names, got another")


def _client(place: str) -> ModuleType:
    try:
        import rfc3161_client  # noqa: PLC0415  an extra
    except ImportError as error:
        command = "in a checkout of elspeth, pip install '.[timestamp]'"
        raise EvidenceError(place, f"time-stamps need rfc3161-client, which is not installed: {command}") from error
    return rfc3161_client


def _signing_certificate(signed_data: SignedData, place: str) -> bytes:
    """Return the certificate in DER that the only signer claims."""
    for der in signed_data.certificates:
        with suppress(ValueError, KeyError):  # another certificate, whose name the library may be unable to read
            certificate = load_der_x509_certificate(der)
            name = (certificate.issuer, certificate.serial_number)
            if [name] == [(each.issuer, each.serial_number) for each in signed_data.signer_infos]:
                return bytes(der)
    raise EvidenceError(place, "expected a time-stamp by one authority, with its certificate")


def _token_info(response: bytes, place: str) -> tuple[datetime, bytes, int | None]:
    """Return time, hash and nonce of a granted response."""
    client = _client(place)
    if len(response) > _MAX_RESPONSE:
        raise EvidenceError(place, f"expected at most {_MAX_RESPONSE:,} bytes, got more")
    try:
        decoded = client.decode_timestamp_response(_in_order(response))
        if decoded.status != client.PKIStatus.GRANTED:
            raise EvidenceError(place, f"the authority refused: {shown(', '.join(decoded.status_string))}")
        info = decoded.tst_info
        return info.gen_time, bytes(info.message_imprint.message), info.nonce
    except ValueError as error:
        raise EvidenceError(place, f"expected a response as in RFC 3161: {error}") from error


def _in_order(response: bytes) -> bytes:
    """Return the response with its certificates in DER's order.

    The library requires this order (X.690, section 11.6), but authorities send the signer's certificate first. The
    order is not signed.
    """
    try:
        [(_, content), *_] = children(response)
        [_, (_, content_info), *_] = children(content)
        _, (_, explicit) = children(content_info)
        [(_, signed_data)] = children(explicit)
        certificates = next(content for tag, content in children(signed_data) if tag == _FIRST)
        elements = [encoded(element) for element in children(certificates)]
    except (ValueError, IndexError, StopIteration):
        return response
    is_whole = b"".join(elements) == certificates
    return response.replace(certificates, b"".join(sorted(elements)), 1) if is_whole else response


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    """A SignerInfo (RFC 5652, section 5.3), object identifiers in hexadecimal."""

    digest_algorithm: str
    attributes: dict[str, list[bytes]]
    signature_algorithm: str


def _named(signer: _Signer, attribute: str) -> Iterator[tuple[str, bytes]]:
    """Yield the digest algorithms and hashes in an attribute."""
    for value in signer.attributes.get(attribute, []):
        identifiers = children(children(value)[0][1])
        parts = children(identifiers[0][1])
        if attribute == _SIGNING_CERTIFICATE:
            yield _SHA1, _content(parts[0], _OCTETS)
        elif parts[0][0] == _OCTETS:
            yield "sha256", parts[0][1]
        else:
            yield _DIGESTS[_algorithm(parts[0])], _content(parts[1], _OCTETS)


def _signer(token: bytes) -> _Signer:
    [(_, content_info)] = children(token)
    _, (_, explicit) = children(content_info)
    [(_, signed_data)] = children(explicit)
    *_, signers = children(signed_data)
    [(_, signer)] = children(_content(signers, _SET))
    _, _, digest, attributes, signature, *_ = children(signer)
    found: dict[str, list[bytes]] = {}
    for _, attribute in children(_content(attributes, _FIRST)):
        kind, values = children(attribute)
        found.setdefault(_content(kind, _OID).hex(), []).extend(value for _, value in children(_content(values, _SET)))
    return _Signer(digest_algorithm=_algorithm(digest), attributes=found, signature_algorithm=_algorithm(signature))


def _algorithm(element: Element) -> str:
    return _content(children(_content(element, _SEQUENCE))[0], _OID).hex()


def _content(element: Element, tag: int) -> bytes:
    if element[0] != tag:
        message = f"expected the tag {tag:#x}, got {element[0]:#x}"
        raise ValueError(message)
    return element[1]
