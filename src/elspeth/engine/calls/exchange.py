"""One question to a system outside, and everything that was tried to have it answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import CallError, JsonObject
from elspeth.core.landscape.recording.base import storable_text, tolerant

__all__ = ["Attempt", "Difference", "Exchange", "described"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call: its request, and the response, or the error with the answer that was none, if any came.

    An error has the keys `exception` and `type`, as the error of a node state, beside further facts. `latency_ms` is
    None where no call was made.
    """

    request: JsonObject
    response: JsonObject | None
    error: Mapping[str, object] | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A call whose answer was not the recorded one. A hash is None where there was no answer."""

    row_index: int
    request_hash: str
    recorded_hash: str | None
    received_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The attempts, at least one, in order. `difference` says how the answer differs from a recorded run's."""

    attempts: tuple[Attempt, ...]
    difference: Difference | None = None

    @property
    def response(self) -> JsonObject | None:
        """The answer, or None if the last attempt failed."""
        return None if self.failure is not None else self.attempts[-1].response

    @property
    def failure(self) -> Mapping[str, object] | None:
        """The error of the last attempt, or None if there is an answer."""
        return self.attempts[-1].error


def described(error: Exception) -> Mapping[str, object]:
    """An error as it is recorded with a call."""
    facts: dict[str, object] = {"exception": storable_text(recordable_message(error)), "type": type(error).__name__}
    if isinstance(error, CallError):
        asked = {} if error.retry_after is None else {"retry_after": error.retry_after}
        facts = {**error.details, **asked, "is_retryable": error.is_retryable, **facts}
    return cast("Mapping[str, object]", tolerant(facts))
