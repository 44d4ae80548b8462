"""Contents that the payload store keeps of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import runs_table

__all__ = ["RunContents", "find_contents", "payload_directory"]

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContents:
    """The contents that records of a run name.

    `kept` are the hashes of those in the store, `missing` counts the others: they were purged, or kept elsewhere.
    """

    kept: Sequence[str]
    missing: int
    directory: Path

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the hash and the bytes of each content.

        Raises IntegrityError for one that was altered, LandscapeError for one that is gone meanwhile.
        """
        if not self.kept:
            return
        store = FilesystemPayloadStore(self.directory)
        for content_hash in self.kept:
            try:
                yield content_hash, store.retrieve(content_hash)
            except KeyError as error:
                message = f"payload {content_hash} was purged from {self.directory} meanwhile: export again"
                raise LandscapeError(message) from error


def find_contents(db: LandscapeDB, run_id: str, directory: Path) -> RunContents:
    """Return which contents of a run a store keeps.

    Nothing is written.
    """
    with db.connection() as connection:
        named = _named(connection, run_id)
    is_there = directory.is_dir()
    store = FilesystemPayloadStore(directory) if is_there else None
    kept = [each for each in sorted(named) if store is not None and _HASH.fullmatch(each) and store.exists(each)]
    return RunContents(kept=kept, missing=len(named) - len(kept), directory=directory)


def payload_directory(db: LandscapeDB, run_id: str) -> Path:
    """Return where the run kept its payloads, by its settings.

    Raises LandscapeError if they do not say.
    """
    with db.connection() as connection:
        statement = select(runs_table.c.settings_json).where(runs_table.c.run_id == run_id)
        settings = str(connection.scalar(statement))
    try:
        return Path(json.loads(settings)["payload_store"]["base_path"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"the settings of run {run_id} do not say where its payloads are: name the directory with --payloads"
        raise LandscapeError(message) from error


def _named(connection: Connection, run_id: str) -> set[str]:
    """Return the references of all records of a run."""
    named: set[str] = set()
    for record_type in RECORD_TYPES.values():
        for column in record_type.columns:
            if column.is_reference:
                value = record_type.table.c[column.name]
                statement = select(value).where(record_type.table.c.run_id == run_id, value.is_not(None)).distinct()
                named.update(connection.scalars(statement))
    return named
