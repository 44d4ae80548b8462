"""What every part of the recorder shares."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from uuid_utils import uuid7

from elspeth.core.canonical import CanonicalError, canonical_bytes, canonical_json, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.claim import Claim
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.records.store import RecordStore
from elspeth.core.payload_store import PayloadStore
from elspeth.schema.checks import AuditIntegrityError

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = ["RecorderPart", "json_or_none", "member_of", "new_id", "now", "storable_text", "tolerant"]

E = TypeVar("E", bound=StrEnum)


class RecorderPart:
    """A part of the recorder. Outside `unit_of_work` each call commits by itself."""

    def __init__(
        self, db: LandscapeDB, *, payload_store: PayloadStore | None = None, seal_signer: Signer | None = None
    ) -> None:
        self._store = RecordStore(db)
        self._payloads = payload_store
        self._seal_signer = seal_signer

    def unit_of_work(self) -> AbstractContextManager[None]:
        """Commit everything recorded in the block together, or nothing of it if the block raises. Units nest."""
        return self._store.unit()

    def claimed(self, run_id: str) -> AbstractContextManager[Claim]:
        """Have a run to oneself while the block lasts.

        Raises RunClaimedError if another process has the run. What is recorded in the block is committed only while the
        claim holds: a call or unit of work raises ClaimLostError otherwise.
        """
        return self._store.claimed(run_id)

    def _keep(self, content: object, reference: str | None) -> str | None:
        """Where the content can be found: as the caller says, or in the payload store if there is one.

        The content is on disk before the record that names it; a crash between the two leaves an unused payload.
        """
        if reference is not None or self._payloads is None or content is None:
            return reference
        return self._payloads.store(canonical_bytes(content))


def new_id() -> str:
    """Return a new id: UUIDv7 as 32 hex digits.

    Ids made later sort later, which keeps inserts at the end of an index. Raises LandscapeError before 1970, of which
    such ids know nothing.
    """
    if time.time() < 0:
        raise LandscapeError(f"the clock says {datetime.now(UTC):%Y-%m-%d}, a time before 1970: set it")
    return uuid7().hex


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def json_or_none(value: object) -> str | None:
    """Canonical JSON of the value; None stays None."""
    return None if value is None else canonical_json(value)


def member_of(enum: type[E], value: E | str, *, call: str) -> E:
    """The enum member for a member or its value; AuditIntegrityError for anything else."""
    try:
        return enum(value)
    except ValueError as error:
        expected = f"one of {', '.join(enum)}"
        raise AuditIntegrityError(table=call, key={}, field=enum.__name__, expected=expected, got=value) from error


def storable_text(text: str) -> str:
    """The text with what no database can hold (NUL, lone surrogates) replaced by U+FFFD."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tolerant(data: Mapping[str, object] | Sequence[object] | object) -> object:
    """The data, or, where it has no canonical JSON, a description of it that has."""
    try:
        stable_hash(data)
    except CanonicalError as error:
        return {
            "__repr__": storable_text(repr(data)),
            "__type__": type(data).__name__,
            "__canonical_error__": storable_text(str(error)),
        }
    return data
