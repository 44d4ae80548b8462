"""Finds the contents of a run in its payload store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.payload_places import find_payload_store
from elspeth.core.payload_store import ManagedPayloadStore
from elspeth.objects.address import Place, place_of
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import runs_table

__all__ = ["RunContents", "find_contents", "payload_place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContents:
    """The contents that the records of a run refer to.

    `kept` are the hashes of the contents in the store. `missing` counts the others, which were purged or are kept
    elsewhere.
    """

    kept: Sequence[str]
    missing: int
    place: Place
    store: ManagedPayloadStore | None

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the hash and the bytes of each content.

        Raises IntegrityError for an altered content, and LandscapeError for one that was removed in the meantime.
        """
        if self.store is None:
            return
        try:
            yield from self.store.read(self.kept)
        except KeyError as error:
            message = f"payload {error.args[0]} was purged from {self.place} meanwhile: export again"
            raise LandscapeError(message) from error


def find_contents(db: LandscapeDB, run_id: str, place: Place) -> RunContents:
    """Return which contents of a run a store keeps.

    Nothing is written.
    """
    with db.connection() as connection:
        named = _named(connection, run_id)
    store = find_payload_store(place)
    kept = [] if store is None else store.find(sorted(named))
    return RunContents(kept=kept, missing=len(named) - len(kept), place=place, store=store)


def payload_place(db: LandscapeDB, run_id: str) -> Place:
    """Return the place of a run's payloads from its settings.

    Raises LandscapeError if the settings do not name it.
    """
    with db.connection() as connection:
        statement = select(runs_table.c.settings_json).where(runs_table.c.run_id == run_id)
        settings = str(connection.scalar(statement))
    try:
        return place_of(json.loads(settings)["payload_store"]["base_path"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"the settings of run {run_id} do not say where its payloads are: name the place with --payloads"
        raise LandscapeError(message) from error


def _named(connection: Connection, run_id: str) -> set[str]:
    """Return the hashes that records of a run refer to."""
    named: set[str] = set()
    for record_type in RECORD_TYPES.values():
        for column in record_type.columns:
            if column.is_reference:
                value = record_type.table.c[column.name]
                statement = select(value).where(record_type.table.c.run_id == run_id, value.is_not(None)).distinct()
                named.update(connection.scalars(statement))
    return named
