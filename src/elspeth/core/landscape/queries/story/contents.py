"""Reads the contents that a story's records refer to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.contents import payload_place
from elspeth.core.landscape.queries.story.model import RowStory, records_in
from elspeth.core.landscape.records.mapping import record_type_of
from elspeth.core.payload_places import find_payload_store
from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.reader import looks_like_bag, open_bag
from elspeth.objects.address import Place

__all__ = ["Contents", "contents_in_bag", "contents_in_store"]

Contents = dict[str, object]
"""Contents by reference: values of JSON, other texts as they are, and None for missing contents."""


def contents_in_bag(story: RowStory, path: Path) -> Contents:
    """Return the contents of a story from its bag.

    Other forms of exports hold no contents. Raises LandscapeError for a content that was altered.
    """
    if not looks_like_bag(path) or (path.is_dir() and not (path / bag.BAGIT).is_file()):
        return dict.fromkeys(_references(story))
    try:
        with open_bag(path) as files:

            def find(reference: str) -> bytes | None:
                name = bag.CONTENTS + reference
                return b"".join(files.blocks(name)) if name in files.sizes else None

            return _read(story, find)
    except EvidenceError as error:
        raise LandscapeError(f"bag {path}: {error}") from error


def contents_in_store(story: RowStory, db: LandscapeDB, place: Place | None) -> Contents:
    """Return the contents of a story from the payload store.

    Without a place, the store is the one that the run used. Raises IntegrityError for a content that was altered.
    """
    store = find_payload_store(place or payload_place(db, story.run_id))
    if store is None:
        return dict.fromkeys(_references(story))

    def find(reference: str) -> bytes | None:
        try:
            return store.retrieve(reference)
        except (KeyError, ValueError):
            return None

    return _read(story, find)


def _read(story: RowStory, find: Callable[[str], bytes | None]) -> Contents:
    contents: Contents = {}
    for reference in _references(story):
        found = find(reference)
        if found is not None and sha256(found).hexdigest() != reference:
            raise LandscapeError(f"the content {reference} was altered: its SHA-256 is another")
        contents[reference] = None if found is None else _value(found)
    return contents


def _references(story: RowStory) -> Iterator[str]:
    """Yield each reference once, in the order of the story."""
    seen: set[str] = set()
    for record in records_in(story):
        for column in record_type_of(record).columns:
            reference = getattr(record, column.name, None) if column.is_reference else None
            if reference is not None and reference not in seen:
                seen.add(reference)
                yield reference


def _value(content: bytes) -> object:
    try:
        value: object = json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
    return "null" if value is None else value
