"""Calls with their attempts, and the protocol of callers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, cast

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import CallError, CallingPlugin, JsonObject
from elspeth.core.landscape.recording.base import make_recordable, make_storable

__all__ = ["Attempt", "Caller", "Difference", "Exchange", "describe_error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt: its request, and the response or the error.

    An error has the keys `exception` and `type`, like the error of a visit, and perhaps further details. A response in
    addition to an error is the unusable answer. `latency_ms` is None if no call was made.
    """

    request: JsonObject
    response: JsonObject | None
    error: Mapping[str, object] | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An answer that differs from the recorded one.

    A hash is None if there was no answer. The index is None for a call of a source.
    """

    row_index: int | None
    request_hash: str
    recorded_hash: str | None
    received_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The attempts of a call, at least one, in order.

    `difference` says how the answer differs from the recorded one, if it does.
    """

    attempts: tuple[Attempt, ...]
    difference: Difference | None = None

    @property
    def response(self) -> JsonObject | None:
        """Return the answer, or None if the last attempt failed."""
        return None if self.failure is not None else self.attempts[-1].response

    @property
    def failure(self) -> Mapping[str, object] | None:
        """Return the error of the last attempt, or None."""
        return self.attempts[-1].error


class Caller(Protocol):
    """Answers the requests of plugins."""

    def start(self, plugin: CallingPlugin, request: JsonObject, *, row_index: int | None) -> Future[Exchange]:
        """Begin a call for a token, and return at once.

        `row_index` is the index of the token's row, or None for a call of a source.

        If the call fails, or the plugin raises an error, that is the failure of the exchange. The future itself only
        raises errors that do not concern a row; it is cancelled, or raises CancelledError, if the caller is closed
        first. Raises CanonicalError for a request that cannot be recorded.
        """
        ...

    def close(self) -> None:
        """Stop waiting, and cancel the calls that have not begun.

        Calls in progress continue in the background, and their answers are lost.
        """
        ...


def describe_error(error: BaseException) -> Mapping[str, object]:
    """Describe an error for the record of a call."""
    facts: dict[str, object] = {"exception": make_storable(recordable_message(error)), "type": type(error).__name__}
    if isinstance(error, CallError):
        asked = {} if error.retry_after is None else {"retry_after": error.retry_after}
        facts = {**error.details, **asked, "is_retryable": error.is_retryable, **facts}
    return cast("Mapping[str, object]", make_recordable(facts))
