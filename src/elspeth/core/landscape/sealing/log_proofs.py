"""Checkpoints of the log of runs, and proofs about it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import Happening, log_origin, read_log, read_one_state
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.merkle import consistency_proof, inclusion_proof, leaf_hashes, tree_root

__all__ = ["LogState", "read_log_state"]

_OF_SENDING = frozenset({Happening.NOT_SENT, Happening.SENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """The log of runs at one moment.

    `leaves` are the leaf hashes of its entries.
    """

    origin: str
    entries: tuple[bytes, ...]
    leaves: tuple[bytes, ...]

    def at(self, size: int) -> LogState:
        """Return the log as it was at an earlier size."""
        return LogState(origin=self.origin, entries=self.entries[:size], leaves=self.leaves[:size])

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the log."""
        return Checkpoint(origin=self.origin, size=len(self.entries), root=tree_root(self.leaves))

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log only grew.

        The proof is empty for an empty log, or if both sizes are equal.
        """
        if first in {0, second}:
            return []
        return consistency_proof(self.leaves[:second], first, second)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that an entry is in the log."""
        return inclusion_proof(self.leaves[:size], index, size)

    def find_run(self, run_id: str, size: int) -> int:
        """Return the position of the last entry about a run.

        Only the first `size` entries are searched. Entries about sending are skipped, because they do not concern the
        state of the run. Raises LandscapeError if no entry is about the run.
        """
        quoted = canonical_bytes(run_id)
        for index in range(size - 1, -1, -1):
            entry = self.entries[index]
            if quoted not in entry:
                continue
            members = json.loads(entry)
            if members.get("run_id") == run_id and members.get("entry") not in _OF_SENDING:
                return index
        raise LandscapeError(f"run {run_id} is not in the first {size:,} entries of the log of runs")


def read_log_state(connection: Connection) -> LogState:
    """Read the log.

    Raises LandscapeError for a log that is empty or does not name itself.
    """
    read_one_state(connection)
    origin = log_origin(connection)
    entries = tuple(entry.encode() for _, entry in read_log(connection))
    return LogState(origin=origin, entries=entries, leaves=tuple(leaf_hashes(entries)))
