"""Cosigns the checkpoints of logs as a witness.

It keeps the last cosigned checkpoint of each log in a directory of its own. The checkpoint is written before the
cosignature is returned: a crash may lose the cosignature, but never the record of it. Threads and processes that share
the directory take turns.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_NOTE
from elspeth.evidence.format.merkle import verify_consistency
from elspeth.evidence.format.notes import Note, NoteKeyType, NoteSignature, NoteSigner
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.witness.requests import AddCheckpoint
from elspeth.outputs.writing import make_directory, sync_directory

__all__ = ["CHECKPOINT", "RefusedError", "Witness"]

CHECKPOINT = ".checkpoint"
"""The suffix of files with checkpoints."""

_LOCK = ".lock"
_PARTIAL = ".partial"


class RefusedError(Exception):
    """The witness does not cosign.

    `size` is the size of the checkpoint that it cosigned last, if the answer must state it.
    """

    def __init__(self, status: HTTPStatus, problem: str, *, size: int | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.size = size


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Cosigns the checkpoints of the logs of a policy."""

    signer: NoteSigner
    logs: Policy
    directory: Path

    def add_checkpoint(self, body: bytes) -> NoteSignature:
        """Cosign the checkpoint of a request.

        Raises RefusedError, with the status of the specification, if the checkpoint does not extend the last one;
        EvidenceError or OSError if the directory cannot be read or written.
        """
        try:
            request = AddCheckpoint.parse(body, "request")
            checkpoint = Checkpoint.parse(request.note.text, "request: checkpoint")
        except EvidenceError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        self._require_signature(request.note, checkpoint)
        if request.old_size > checkpoint.size:
            problem = f"the log had {request.old_size} entries, and would have {checkpoint.size}"
            raise RefusedError(HTTPStatus.BAD_REQUEST, problem)
        with self._turn():
            last = self._last(checkpoint.origin)
            _require_extension(request, checkpoint, last)
            cosignature = self.signer.cosign(request.note.text, int(time.time()))
            self._keep(checkpoint.origin, request.note.with_signatures([cosignature]))
        return cosignature

    def _require_signature(self, note: Note, checkpoint: Checkpoint) -> None:
        keys = [key for key in self.logs.logs if key.name == checkpoint.origin]
        if not keys:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"unknown log {shown(checkpoint.origin)}")
        try:
            signed = note.verify(keys, "request: checkpoint")
        except EvidenceError as error:
            raise RefusedError(HTTPStatus.FORBIDDEN, str(error)) from error
        if not signed:
            raise RefusedError(HTTPStatus.FORBIDDEN, "no signature is by a key of the log")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        make_directory(self.directory)
        descriptor = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, origin: str) -> Path:
        return self.directory / f"{sha256(origin.encode()).hexdigest()[:32]}{CHECKPOINT}"

    def _last(self, origin: str) -> Checkpoint | None:
        """Return the checkpoint of a log cosigned last, or None.

        Raises EvidenceError for a file that this witness did not sign: it must not be treated as missing.
        """
        path = self._path(origin)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_NOTE + 1)
        except FileNotFoundError:
            return None
        note = Note.parse(data, str(path))
        found = Checkpoint.parse(note.text, str(path))
        own = self.signer.verifier_key(NoteKeyType.COSIGNATURE)
        if found.origin != origin or not note.verify([own], str(path)):
            raise EvidenceError(str(path), f"expected a checkpoint of {shown(origin)} that this witness cosigned")
        return found

    def _keep(self, origin: str, note: Note) -> None:
        path = self._path(origin)
        partial = path.with_suffix(_PARTIAL)
        with partial.open("wb") as file:
            file.write(note.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        # A crash before this line leaves the last checkpoint, and a partial file that the next checkpoint replaces.
        partial.replace(path)
        sync_directory(self.directory)


def _require_extension(request: AddCheckpoint, checkpoint: Checkpoint, last: Checkpoint | None) -> None:
    """Raise RefusedError unless the checkpoint extends the last one."""
    size = 0 if last is None else last.size
    if request.old_size != size:
        raise RefusedError(HTTPStatus.CONFLICT, f"the last checkpoint has the size {size}", size=size)
    if last is not None and checkpoint.size == size and checkpoint.root != last.root:
        problem = f"the log had another root when it had {size} entries: it was changed"
        raise RefusedError(HTTPStatus.CONFLICT, problem, size=size)
    if request.proof and not size:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "expected no hashes for the old size 0")
    try:
        if last is not None and size:
            verify_consistency(size, checkpoint.size, last.root, checkpoint.root, request.proof)
    except EvidenceError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
