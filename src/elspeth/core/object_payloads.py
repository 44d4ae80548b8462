"""Keeps payloads as objects, for example in Amazon S3."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from elspeth.core.payload_store import is_hash, relative_path, require_content
from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import (
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectStoreError,
    response_code,
)
from elspeth.objects.stores import store_of

__all__ = ["ObjectPayloadStore"]

T = TypeVar("T")

_REQUESTS = 10
"""The number of simultaneous requests: as many as the connections that the S3 library keeps."""

_AHEAD = 4 * _REQUESTS
"""The number of results that may wait for their turn."""

_MOST_KNOWN = 1 << 16
"""The number of hashes of stored payloads that are cached. A hash that was dropped costs three further requests."""

_ATTEMPTS = 5


class ObjectPayloadStore:
    """Payloads as objects below an address, `ab/abcd...`.

    `store` begins an upload, and `sync` waits for all uploads in progress. A payload that existed before this store was
    opened is written again, so that its age counts from its last use.
    """

    def __init__(self, base: ObjectPath) -> None:
        self._base = base
        self._objects = store_of(base)
        self._threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="payloads")
        self._since: datetime | None = None
        self._known: set[str] = set()
        self._uploads: dict[str, Future[None]] = {}

    def store(self, content: bytes) -> str:
        """Begin to store the content, and return its hash.

        It is durable after the next `sync`. A crash before that leaves an object that no record refers to.
        """
        self._since = self._since or datetime.now(UTC)
        content_hash = hashlib.sha256(content).hexdigest()
        if content_hash not in self._known and content_hash not in self._uploads:
            self._uploads[content_hash] = self._threads.submit(self._store, content_hash, content, self._since)
        return content_hash

    def sync(self) -> None:
        """Wait for the uploads in progress.

        Raises ObjectStoreError if one failed, and IntegrityError for a payload that existed already and was altered.
        """
        uploads, self._uploads = self._uploads, {}
        failures = [error for each in uploads.values() if (error := each.exception()) is not None]
        if failures:
            raise failures[0]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.update(uploads)

    def forget(self) -> None:
        """Drop the uploads begun so far, without waiting for them."""
        uploads, self._uploads = self._uploads, {}
        for each in uploads.values():
            each.cancel()

    def retrieve(self, content_hash: str) -> bytes:
        """Return the content.

        Raises KeyError if it is not kept, IntegrityError if it was altered, ObjectStoreError.
        """
        path = self._path(content_hash)
        try:
            content = self._objects.read(path)
        except ObjectMissingError as error:
            if error.__cause__ is not None and response_code(error.__cause__) == "NoSuchBucket":
                raise ObjectStoreError(path, "there is no such bucket") from error
            raise KeyError(content_hash) from error
        require_content(path, content_hash, hashlib.sha256(content).hexdigest())
        return content

    def exists(self, content_hash: str) -> bool:
        """Return whether content is kept under the hash."""
        return self._objects.state(self._path(content_hash)) is not None

    def delete(self, content_hash: str) -> bool:
        """Delete the content, and return whether it existed."""
        is_kept = self.exists(content_hash)
        if is_kept:
            self._known.discard(content_hash)
            self._objects.delete(self._path(content_hash))
        return is_kept

    def find(self, hashes: Iterable[str]) -> list[str]:
        """Return the hashes that are kept, in order."""
        return [each for each, is_kept in self._each(self.exists, filter(is_hash, hashes)) if is_kept]

    def read(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each hash with its content."""
        return self._each(self.retrieve, hashes)

    def last_used_before(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Yield hash and size of payloads stored before a moment."""
        moment = _whole_second(moment)
        for key, state in self._objects.list(self._base):
            _, _, name = key.rpartition("/")
            if is_hash(name) and key == relative_path(name) and state.modified is not None and state.modified < moment:
                yield name, state.size

    def delete_unused(self, hashes: Iterable[str], since: datetime) -> None:
        """Delete the payloads that were not stored since a moment.

        An object store has no locks: a payload that a run stores again between the check and the deletion is lost.
        """
        since = _whole_second(since)

        def delete(content_hash: str) -> None:
            state = self._objects.state(self._path(content_hash))
            if state is not None and state.modified is not None and state.modified < since:
                self._objects.delete(self._path(content_hash))

        deque(self._each(delete, hashes), maxlen=0)

    def check_writable(self) -> None:
        """Raise ObjectStoreError if nothing can be stored."""
        self._objects.check_writable(self._path(hashlib.sha256().hexdigest()))

    def _path(self, content_hash: str) -> ObjectPath:
        return ObjectPath(f"{self._base}/{relative_path(content_hash)}")

    def _store(self, content_hash: str, content: bytes, since: datetime) -> None:
        """Store the content, unless it was stored since a moment."""
        path = self._path(content_hash)
        for _ in range(_ATTEMPTS):
            try:
                self._objects.write(path, content, sha256=content_hash, replacing=None)
            except ObjectExistsError:
                found = self._objects.state(path)
                if found is None:
                    continue  # it was deleted in the meantime
                require_content(path, content_hash, self._objects.hash(path, found))
                if found.modified is not None and found.modified >= since:
                    return
                try:
                    self._objects.write(path, content, sha256=content_hash, replacing=found)
                except ObjectExistsError:
                    continue  # another process wrote or deleted it
            return
        raise ObjectChangedError(path, "other programs write and delete it all the time")

    def _each(self, work: Callable[[str], T], hashes: Iterable[str]) -> Iterator[tuple[str, T]]:
        """Yield each hash with the result of `work`, in order."""
        waiting: deque[tuple[str, Future[T]]] = deque()
        try:
            for each in hashes:
                waiting.append((each, self._threads.submit(work, each)))
                if len(waiting) >= _AHEAD:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, unread in waiting:
                unread.cancel()


def _whole_second(moment: datetime) -> datetime:
    """Return a moment in whole seconds, the precision of stores."""
    return moment.replace(microsecond=0)
