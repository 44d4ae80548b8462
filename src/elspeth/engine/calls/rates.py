"""Limits how often a service may be called.

A limit applies to all threads and, if it has a file, to all processes that use the file.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pyrate_limiter import Duration, InMemoryBucket, Rate, RateItem, SQLiteBucket

from elspeth.contracts.plugins import PluginError
from elspeth.core.settings.model import RateLimitSettings, ServiceRateSettings

__all__ = ["RateLimit", "RateLimits"]

Clock = Callable[[], float]
Pause = Callable[[float], None]

_CALLS_BETWEEN_CLEANING = 1000
_KEPT_MS = int(Duration.MINUTE)  # the longest interval that settings can name


class RateLimit:
    """The limit of one service, with a sliding window."""

    def __init__(self, bucket: InMemoryBucket | SQLiteBucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock
        self._lock = threading.Lock()
        self._admitted = 0

    def acquire(self, pause: Pause) -> None:
        """Wait until a call may be made.

        `pause` waits for seconds, and raises to give up.
        """
        while (delay := self._delay()) is not None:
            pause(delay)

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._bucket, SQLiteBucket):
            self._bucket.conn.close()

    def _delay(self) -> float | None:
        """Count a call, or return the seconds to wait."""
        with self._lock:
            if isinstance(self._bucket, InMemoryBucket):
                return self._put()
            try:
                return self._put_alone(self._bucket.conn)
            except sqlite3.Error as error:
                raise PluginError(f"the file of the rate limits cannot be used: {error}") from error

    def _put_alone(self, connection: sqlite3.Connection) -> float | None:
        """Count a call in one transaction of the shared file."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            return self._put()
        finally:
            if connection.in_transaction:
                connection.rollback()

    def _put(self) -> float | None:
        item = RateItem("call", int(self._clock() * 1000))
        if not self._bucket.put(item):
            wait = self._bucket.waiting(item)
            assert isinstance(wait, int)  # noqa: S101  awaitable for asynchronous buckets only
            return max(wait, 1) / 1000
        self._admitted += 1
        if self._admitted % _CALLS_BETWEEN_CLEANING == 0:
            self._bucket.leak(item.timestamp - _KEPT_MS)
        return None


class RateLimits:
    """The limits of all services.

    `clock` returns seconds. The default depends on where calls are counted.
    """

    def __init__(self, settings: RateLimitSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._path = settings.persistence_path
        # The time of day is the only clock that processes share.
        self._clock = clock or (time.monotonic if self._path is None else time.time)
        self._limits: dict[str, RateLimit | None] = {}

    def get(self, service: str) -> RateLimit | None:
        """Return the limit of a service, or None.

        Raises PluginError if the file of the limits cannot be used.
        """
        if service not in self._limits:
            self._limits[service] = self._make(service)
        return self._limits[service]

    def close(self) -> None:
        """Close the file."""
        for limit in self._limits.values():
            if limit is not None:
                limit.close()

    def _make(self, service: str) -> RateLimit | None:
        settings = self._settings
        default = ServiceRateSettings(
            requests_per_second=settings.default_requests_per_second,
            requests_per_minute=settings.default_requests_per_minute,
        )
        rates = _rates(settings.services.get(service, default)) if settings.enabled else []
        if not rates:
            return None
        return RateLimit(
            InMemoryBucket(rates) if self._path is None else _stored_bucket(self._path, service, rates), self._clock
        )


def _rates(limit: ServiceRateSettings) -> list[Rate]:
    """Return the rates that have an effect.

    The library refuses a rate that another rate makes redundant.
    """
    second, minute = limit.requests_per_second, limit.requests_per_minute
    rates = []
    if second is not None and (minute is None or second < minute):
        rates.append(Rate(second, Duration.SECOND))
    if minute is not None and (second is None or minute < 60 * second):
        rates.append(Rate(minute, Duration.MINUTE))
    return rates


def _stored_bucket(path: str, service: str, rates: list[Rate]) -> SQLiteBucket:
    table = f"calls_{hashlib.sha256(service.encode()).hexdigest()[:16]}"  # not every name of a service can name a table
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        bucket = SQLiteBucket.init_from_file(rates, table=table, db_path=path)
        # A power cut loses at most the count of the newest calls.
        bucket.conn.execute("PRAGMA journal_mode = WAL")
        bucket.conn.execute("PRAGMA synchronous = NORMAL")
    except (OSError, sqlite3.Error) as error:
        raise PluginError(f"the file of the rate limits, {path}, cannot be used: {error}") from error
    return bucket
