"""The base class of the recorder's parts, and shared functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from elspeth.core.canonical import CanonicalError, CanonicalText, canonical_bytes, canonical_json
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.claim import Claim
from elspeth.core.landscape.recording.ids import new_id
from elspeth.core.landscape.records.detached import DetachedStore
from elspeth.core.landscape.records.store import RecordStore, WaitingRows
from elspeth.core.payload_store import DeferredPayloads, PayloadStore
from elspeth.schema.checks import AuditIntegrityError

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = [
    "RecorderPart",
    "describe",
    "json_or_none",
    "make_recordable",
    "make_storable",
    "member_of",
    "new_id",
    "now",
]

E = TypeVar("E", bound=StrEnum)


class RecorderPart:
    """A part of the recorder; outside `unit_of_work` each call commits.

    With a detached store in place of a database, no record is written: another process takes the records.
    """

    def __init__(
        self,
        db: LandscapeDB | DetachedStore,
        *,
        payload_store: PayloadStore | None = None,
        seal_signer: Signer | None = None,
    ) -> None:
        self._store = db if isinstance(db, DetachedStore) else RecordStore(db)
        self._payloads = payload_store
        if payload_store is not None:
            self.commit_after(payload_store)
        self._seal_signer = seal_signer

    def unit_of_work(self) -> AbstractContextManager[None]:
        """Commit everything recorded in the block together.

        If the block raises, none of it is committed. Units nest.
        """
        return self._store.unit()

    def commit_after(self, payloads: PayloadStore) -> None:
        """Make payloads of a store durable before each commit."""
        if isinstance(payloads, DeferredPayloads):
            self._store.commit_after(payloads)

    def add_rows(self, rows: WaitingRows) -> None:
        """Record the rows that were taken from a detached store."""
        self._store.add_rows(rows)

    def claimed(self, run_id: str) -> AbstractContextManager[Claim]:
        """Claim a run for this process while the block lasts.

        Records are committed only while the claim is held; after that, a call or unit of work raises ClaimLostError.
        Raises RunClaimedError if another process has claimed the run.
        """
        return self._store.claim_run(run_id)

    def _keep(self, content: object, reference: str | None) -> str | None:
        """Return the reference of a content, storing it if needed.

        The content is durable before the record that refers to it is committed: a crash in between leaves an unused
        payload.
        """
        if reference is not None or self._payloads is None or content is None:
            return reference
        return self._payloads.store(_json(content).encode())


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def json_or_none(value: object) -> str | None:
    """Return the canonical JSON of the value; None for None."""
    return None if value is None else _json(value)


def _json(value: object) -> str:
    return value.text if isinstance(value, CanonicalText) else canonical_json(value)


def member_of(enum: type[E], value: E | str, *, call: str) -> E:
    """Return the enum member for a member or its value.

    Raises AuditIntegrityError for anything else; `call` names the recorder's call.
    """
    if isinstance(value, enum):
        return value
    try:
        return enum(value)
    except ValueError as error:
        expected = f"one of {', '.join(enum)}"
        raise AuditIntegrityError(table=call, key={}, field=enum.__name__, expected=expected, got=value) from error


def make_storable(text: str) -> str:
    """Replace what databases cannot store (NUL, lone surrogates) by U+FFFD."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def describe(data: object) -> CanonicalText:
    """Return the canonical JSON of data, or of a description.

    The description stands for data that canonical JSON cannot express.
    """
    try:
        return CanonicalText.of(data)
    except CanonicalError as error:
        return CanonicalText.of(_description(data, error))


def make_recordable(data: Mapping[str, object] | Sequence[object] | object) -> object:
    """Return the data, or a description that JSON can express."""
    try:
        canonical_bytes(data)
    except CanonicalError as error:
        return _description(data, error)
    return data


def _description(data: object, error: CanonicalError) -> dict[str, object]:
    return {
        "__repr__": make_storable(repr(data)),
        "__type__": type(data).__name__,
        "__canonical_error__": make_storable(str(error)),
    }
