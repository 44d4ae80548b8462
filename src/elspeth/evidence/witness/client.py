"""Asks a witness for a cosignature over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.client import HTTPException
from typing import TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from elspeth.evidence.format.checkpoints import Checkpoint, parse_size
from elspeth.evidence.format.deadlines import within
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.notes import Note, VerifierKey
from elspeth.evidence.witness.requests import AddCheckpoint

__all__ = ["ask_witness"]

_TIMEOUT_S = 20.0
_DEADLINE_S = 60.0
"""The limit for a whole answer, in seconds."""
_MAX_ANSWER = 64 * 1024
_SIZE_TYPE = "text/x.tlog.size"

_Answer: TypeAlias = tuple[int, str, bytes]


def ask_witness(url: str, key: VerifierKey, note: Note, prove: Callable[[int, int], Sequence[bytes]]) -> Note:
    """Return the note with the cosignature of a witness.

    `prove` returns the consistency proof between two sizes of the log. Raises EvidenceError if the witness refuses,
    does not answer, or answers with anything but its cosignature.
    """
    place = f"witness {url}"
    checkpoint = Checkpoint.parse(note.text, place)
    status, content_type, body = _post(url, AddCheckpoint(old_size=0, proof=(), note=note))
    if status == HTTPStatus.CONFLICT and content_type == _SIZE_TYPE:
        size = parse_size(body.removesuffix(b"\n").decode("ascii", "replace"), place)
        if size > checkpoint.size:
            raise EvidenceError(
                place,
                f"it knows {size:,} entries of the log, which has {checkpoint.size:,}: the database was put back to an"
                " older state, or runs were removed",
            )
        request = AddCheckpoint(old_size=size, proof=tuple(prove(size, checkpoint.size)), note=note)
        status, content_type, body = _post(url, request)
    if status in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise EvidenceError(place, "it knows another history of the log: runs were changed, exchanged or removed")
    if status != HTTPStatus.OK:
        raise EvidenceError(place, f"refuses with the status {status}: {shown(body.decode(errors='replace').strip())}")
    cosigned = Note.parse(note.to_bytes() + body, place)
    signature = cosigned.verify([key], place).get(key)
    if signature is None:
        raise EvidenceError(place, f"expected a cosignature by {shown(key.name)}, got others")
    return note.with_signatures([signature])


def _post(url: str, request: AddCheckpoint) -> _Answer:
    """Return status, content type and body of the answer."""
    return within(_DEADLINE_S, lambda: _exchange(url, request), f"witness {url}")


def _exchange(url: str, request: AddCheckpoint) -> _Answer:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise EvidenceError(f"witness {url}", "expected a URL that begins with http:// or https://")
    target = f"{url.rstrip('/')}/add-checkpoint"
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        with urlopen(Request(target, request.to_bytes(), headers), timeout=_TIMEOUT_S) as answer:  # noqa: S310  checked
            return answer.status, answer.headers.get_content_type(), answer.read(_MAX_ANSWER)
    except HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type(), error.read(_MAX_ANSWER)
    except (URLError, OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise EvidenceError(f"witness {url}", f"does not answer: {reason}") from error
