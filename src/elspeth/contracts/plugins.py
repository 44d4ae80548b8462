"""What the settings, the engine and the plugins agree on: rows, and how a plugin is looked up by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from elspeth.contracts.failures import RecordableError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "CallError",
    "InvalidRow",
    "JsonObject",
    "PluginCatalogue",
    "PluginError",
    "PluginKind",
    "Row",
    "RowError",
    "RowRejectedError",
    "StagedOutput",
]

Row = dict[str, object]
"""One row: field name to value. Values are what JSON can hold."""


JsonObject = Mapping[str, object]
"""What was asked of a system outside, or what it answered: values that JSON can hold, and no secrets."""


class PluginKind(StrEnum):
    """Where in a pipeline a plugin can stand."""

    SOURCE = "source"
    TRANSFORM = "transform"
    AGGREGATION = "aggregation"
    SINK = "sink"


class PluginError(RecordableError):
    """A source or sink cannot go on. The message names the file or address, and the place in it."""


class RowRejectedError(RecordableError, ValueError):
    """A sink cannot represent one row. It has written nothing of it, and can take the next one."""


class CallError(RecordableError):
    """A call to a system outside that gave no usable answer. `details` are recorded with the message.

    Answers repeat what was asked: message and details say what kind of answer came, and `answer` is what came, which
    is kept where the contents of calls are kept. `is_retryable` says whether asking again may help, `retry_after` how
    many seconds the other side wants to be left alone before that, where it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        is_retryable: bool,
        retry_after: float | None = None,
        details: JsonObject = MappingProxyType({}),
        answer: JsonObject | None = None,
    ) -> None:
        super().__init__(message)
        self.answer = answer
        self.is_retryable = is_retryable
        self.retry_after = retry_after
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidRow:
    """A source row that does not satisfy the schema: what could be read of it, and what is wrong.

    `data` is withheld from exports, `error` is not: it repeats no values.
    """

    data: Row
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """A transform's or aggregation's answer that it cannot process its input. `details` are recorded with the error.

    Both are exported: they name fields and say what was expected, and repeat no values.
    """

    message: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedOutput:
    """The finished bytes of a sink that nobody can see yet. `content_hash` is SHA-256 in hex, `size_bytes` in bytes."""

    artifact_type: str
    path: str
    content_hash: str
    size_bytes: int


class PluginCatalogue(Protocol):
    """The plugins that settings may name."""

    def names(self, kind: PluginKind) -> Sequence[str]:
        """Names of the known plugins of a kind, sorted."""
        ...

    def options_model(self, kind: PluginKind, name: str) -> type[BaseModel]:
        """The model that validates a plugin's options; KeyError for an unknown name."""
        ...

    def expands(self, name: str) -> bool:
        """Whether a transform may make several rows of one; KeyError for an unknown name."""
        ...

    def calls(self, name: str) -> bool:
        """Return whether a transform calls a system outside.

        Raises KeyError for an unknown name.
        """
        ...
