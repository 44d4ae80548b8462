"""The base classes of plugins that call a system outside."""

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
    """The base class of plugins that call a system outside.

    The engine keeps to the rate limit, repeats calls that failed, and records each attempt with request and answer. In
    a replay `send` is never called.
    """

    determinism = Determinism.EXTERNAL_CALL
    call_type: ClassVar[CallType] = CallType.HTTP

    @property
    @abstractmethod
    def service(self) -> str:
        """Return the name by which settings limit calls."""

    @abstractmethod
    def send(self, request: JsonObject) -> JsonObject:
        """Send the request once and return the answer.

        Called from several threads at a time. Raises CallError if there is no usable answer.
        """

    def comparable(self, response: JsonObject) -> JsonObject:
        """Return the part of an answer that must not vary.

        `verify` compares it with the part of the recorded answer. It is the whole answer, unless a plugin says less.
        """
        return response

    def usage(self, response: JsonObject) -> Mapping[str, int]:  # noqa: ARG002  for plugins that know
        """Return what an answer cost, such as tokens.

        The numbers of all answers are added up in the summary of a run.
        """
        return {}

    def close(self) -> None:
        """Close connections: no more calls will be made."""


class CallingTransform(CallingPlugin, Transform):
    """The base class of transforms that call a system outside.

    The plugin makes a request of each row, sends it, and makes a row of the answer. The engine sends the requests of
    several rows at a time.
    """

    @abstractmethod
    def request(self, row: RowData) -> JsonObject | RowError:
        """Return the request for a row.

        It is the same for the same row and options. It is recorded, so it must not contain secrets.
        """

    @abstractmethod
    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Return what the answer makes of the row.

        The row may be changed. An exception is recorded as an error of the row.
        """

    @final
    def process(self, row: RowData) -> RowData | RowError:
        """Send the request and use the answer, without an engine.

        Nothing is repeated or recorded.
        """
        request = self.request(row)
        return request if isinstance(request, RowError) else self.result(row, self.send(request))


class CallingSource(CallingPlugin, Source):
    """The base class of sources that call a system outside.

    `read` makes a request, asks it with `ask`, and makes rows of the answer. When a run is resumed, the same requests
    must lead to the same rows; those that the run has recorded get the recorded answers.
    """

    caller: Callable[[JsonObject, float | None], JsonObject] | None = None
    """What the engine answers requests with; set before `read`."""

    @final
    def ask(self, request: JsonObject, *, within: float | None = None) -> JsonObject:
        """Return the answer to a request, with all attempts.

        The request is recorded, so it must not contain secrets. `within` limits the seconds. Raises CallError if there
        is no usable answer. Without an engine nothing is repeated or recorded.
        """
        return self.send(request) if self.caller is None else self.caller(request, within)
