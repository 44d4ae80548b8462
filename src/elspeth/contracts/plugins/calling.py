"""The base classes of plugins that call an external system."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, final

from elspeth.contracts.enums import CallType, Determinism
from elspeth.contracts.plugins.bases import Plugin, Source, Transform
from elspeth.contracts.plugins.exchange import JsonObject, RowError
from elspeth.contracts.rows import RowData

__all__ = ["CallingPlugin", "CallingSource", "CallingTransform"]


class CallingPlugin(Plugin):
    """The base class of plugins that call an external system.

    The engine observes the rate limit, repeats failed calls, and records each attempt with request and answer. In a
    replay `send` is never called.
    """

    determinism = Determinism.EXTERNAL_CALL
    call_type: ClassVar[CallType] = CallType.HTTP

    @property
    @abstractmethod
    def service(self) -> str:
        """Return the name of the service in the rate limits."""

    @abstractmethod
    def send(self, request: JsonObject) -> JsonObject:
        """Send the request once and return the answer.

        Several threads may call this at the same time. Raises CallError if there is no usable answer.
        """

    def comparable(self, response: JsonObject) -> JsonObject:
        """Return the part of an answer that must not vary.

        The run mode `verify` compares it with that part of the recorded answer. The default is the whole answer.
        """
        return response

    def usage(self, response: JsonObject) -> Mapping[str, int]:  # noqa: ARG002  for plugins that know
        """Return the cost of an answer, such as tokens.

        The summary of a run shows the sums over all answers.
        """
        return {}

    def close(self) -> None:
        """Close the connections, after the last call."""


class CallingTransform(CallingPlugin, Transform):
    """The base class of transforms that call an external system.

    The plugin makes a request from each row, sends it, and makes a row from the answer. The engine sends the requests
    for several rows at the same time.
    """

    @abstractmethod
    def request(self, row: RowData) -> JsonObject | RowError:
        """Return the request for a row.

        It is the same for the same row and options. It is recorded, so it must not contain secrets.
        """

    @abstractmethod
    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Return the result for a row and its answer.

        The row may be changed in place. An exception is recorded as an error of the row.
        """

    @final
    def process(self, row: RowData) -> RowData | RowError:
        """Send the request and use the answer, without an engine.

        Failed calls are not repeated, and nothing is recorded.
        """
        request = self.request(row)
        return request if isinstance(request, RowError) else self.result(row, self.send(request))


class CallingSource(CallingPlugin, Source):
    """The base class of sources that call an external system.

    `read` makes a request, calls `ask` with it, and makes rows from the answer. When a run is resumed, the same
    requests must lead to the same rows; requests that the run has recorded get the recorded answers.
    """

    caller: Callable[[JsonObject, float | None], JsonObject] | None = None
    """The function with which the engine answers requests; the engine sets it before `read`."""

    @final
    def ask(self, request: JsonObject, *, within: float | None = None) -> JsonObject:
        """Return the answer to a request, repeating failed attempts.

        The request is recorded, so it must not contain secrets. `within` limits the time for all attempts, in seconds.
        Raises CallError if there is no usable answer. Without an engine nothing is repeated or recorded.
        """
        return self.send(request) if self.caller is None else self.caller(request, within)
