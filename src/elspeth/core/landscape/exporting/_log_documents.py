"""The documents of a bag about the log of runs."""

from __future__ import annotations

from sqlalchemy import Connection

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import log_size
from elspeth.core.landscape.sealing.log_places import newest_note
from elspeth.core.landscape.sealing.log_proofs import LogState, read_log_state
from elspeth.evidence.format import bag
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.notes import Note

__all__ = ["log_documents"]


def log_documents(connection: Connection, run_id: str) -> dict[str, bytes]:
    """Return the documents of a bag about the log.

    There are none if the log has no entry for the run, which `landscape check` reports.
    """
    if not log_size(connection):
        return {}
    state = read_log_state(connection)
    try:
        index = state.find_run(run_id, len(state.entries))
    except LandscapeError:
        return {}
    place = LogPlace.of(state.origin, state.entries, index)
    documents = {bag.LOG: place.to_bytes(), bag.LOG_LEAVES: b"".join(place.leaves)}
    proof = _signed_proof(connection, state, index)
    if proof is not None:
        documents[bag.LOG_PROOF] = proof.to_bytes()
    return {name.removeprefix(bag.PAYLOAD): content for name, content in documents.items()}


def _signed_proof(connection: Connection, state: LogState, index: int) -> LogProof | None:
    """Return the proof by the last delivered checkpoint.

    Returns None if no delivered checkpoint covers the entry, or if the log contradicts it, which `landscape check`
    reports.
    """
    text = newest_note(connection)
    if text is None:
        return None
    try:
        note = Note.parse(text.encode(), "checkpoint")
        signed = Checkpoint.parse(note.text, "checkpoint")
    except EvidenceError:
        return None
    if not index < signed.size <= len(state.entries) or state.at(signed.size).checkpoint() != signed:
        return None
    hashes = tuple(state.inclusion(index, signed.size))
    return LogProof(entry=state.entries[index], index=index, hashes=hashes, note=note)
