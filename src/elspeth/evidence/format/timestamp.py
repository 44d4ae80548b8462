"""Time-stamps (RFC 3161): a third party states that an envelope existed at a moment.

The authority learns a hash only. `openssl ts -verify` checks what is stored here.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates

from elspeth.evidence.format.cms import check_signer
from elspeth.evidence.format.errors import EvidenceError, KeyFileError, shown

if TYPE_CHECKING:
    from rfc3161_client.tsp import SignedData

__all__ = ["load_authorities", "request_timestamp", "verify_timestamp"]

_MAX_RESPONSE = 64 * 1024
"""The largest response read, in bytes: one with three certificates takes about six kilobytes."""

_TIMEOUT_S = 30.0


def request_timestamp(envelope: bytes, url: str) -> bytes:
    """Have the envelope time-stamped by the authority at the URL; its response, as RFC 3161, section 3.4, defines it.

    EvidenceError if there is no granted response about this envelope. Whether its authority is to be trusted is asked
    by whoever verifies.
    """
    client = _client(url)
    if urlsplit(url).scheme not in {"http", "https"}:
        raise EvidenceError(url, "expected the address of a time-stamp authority, http or https")
    query = client.TimestampRequestBuilder().data(envelope).hash_algorithm(client.HashAlgorithm.SHA256).build()
    request = urllib.request.Request(  # noqa: S310 - http or https
        url, data=query.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            response = bytes(answer.read(_MAX_RESPONSE + 1))
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise EvidenceError(url, f"no time-stamp could be had: {reason}") from error
    info = _token(response, url)
    if info[1] != query.message_imprint.message or info[2] != query.nonce:
        raise EvidenceError(url, "expected a time-stamp of this envelope, got one of something else")
    return response


def verify_timestamp(response: bytes, envelope: bytes, authorities: Sequence[Certificate], place: str) -> datetime:
    """The moment, in UTC, at which one of the authorities saw the envelope. EvidenceError if none of them says so."""
    client = _client(place)
    moment = _token(response, place)[0]
    verifier = client.VerifierBuilder(roots=list(authorities)).build()
    decoded = client.decode_timestamp_response(response)
    check_signer(decoded.time_stamp_token(), _signing_certificate(decoded.signed_data, place), place)
    try:
        verifier.verify_message(decoded, envelope)
    except (client.VerificationError, ValueError) as error:
        raise EvidenceError(place, f"the time-stamp does not hold: {error}") from error
    return moment


def load_authorities(path: Path) -> list[Certificate]:
    """The certificates of a PEM file that a time-stamp may lead to; KeyFileError if there are none."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(str(path), "expected certificates in PEM") from error


def _client(place: str) -> ModuleType:
    try:
        import rfc3161_client  # noqa: PLC0415  an extra
    except ImportError as error:
        command = "in a checkout of elspeth, pip install '.[timestamp]'"
        raise EvidenceError(place, f"time-stamps need rfc3161-client, which is not installed: {command}") from error
    return rfc3161_client


def _signing_certificate(signed_data: SignedData, place: str) -> bytes:
    """Return the certificate in DER that the one signer says is its own."""
    for der in signed_data.certificates:
        with suppress(ValueError, KeyError):  # a certificate that nothing needs; a name of an unknown kind of text
            certificate = load_der_x509_certificate(der)
            name = (certificate.issuer, certificate.serial_number)
            if [name] == [(each.issuer, each.serial_number) for each in signed_data.signer_infos]:
                return bytes(der)
    raise EvidenceError(place, "expected a time-stamp by one authority, with its certificate")


def _token(response: bytes, place: str) -> tuple[datetime, bytes, int | None]:
    """Time, hash and nonce of a response that was granted."""
    client = _client(place)
    if len(response) > _MAX_RESPONSE:
        raise EvidenceError(place, f"expected at most {_MAX_RESPONSE:,} bytes, got more")
    try:
        decoded = client.decode_timestamp_response(response)
        if decoded.status != client.PKIStatus.GRANTED:
            raise EvidenceError(place, f"the authority refused: {shown(', '.join(decoded.status_string))}")
        info = decoded.tst_info
        return info.gen_time, bytes(info.message_imprint.message), info.nonce
    except ValueError as error:
        raise EvidenceError(place, f"expected a response as in RFC 3161: {error}") from error
