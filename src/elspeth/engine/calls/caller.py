"""What the engine asks of whoever makes its calls."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from elspeth.contracts.plugins import JsonObject
from elspeth.core.payload_store import PayloadStore
from elspeth.engine.calls.exchange import Exchange
from elspeth.plugins.base import CallingTransform

__all__ = ["Caller", "Outside"]


class Caller(Protocol):
    """Has the requests of plugins answered."""

    def start(self, plugin: CallingTransform, request: JsonObject, *, row_index: int) -> Future[Exchange]:
        """Begin to have a request answered for a token of the `row_index`-th source row; returns at once.

        Whatever goes wrong with the call, and whatever the plugin raises, is the exchange's failure. The future is
        cancelled, or raises CancelledError, if the caller is closed before there is an answer. It raises what no row is
        to blame for. CanonicalError, at once, for a request that cannot be recorded.
        """
        ...

    def close(self) -> None:
        """Stop: what waits gives up, what has not begun is cancelled. Calls under way are left to themselves."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The systems outside, as steps see them: who asks them, and where questions and answers are kept."""

    caller: Caller
    payloads: PayloadStore
