"""The values that plugins and the engine exchange, besides rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from elspeth.contracts.errors import RecordableError

__all__ = [
    "CallError",
    "JsonObject",
    "PluginError",
    "ReadInput",
    "RowDrop",
    "RowError",
    "RowRejectedError",
    "StagedOutput",
]

JsonObject = Mapping[str, object]
"""An object that JSON can represent, without secrets: a request, an answer, a position."""


class PluginError(RecordableError):
    """A source or sink cannot continue.

    The message names the file or address, and the place in it.
    """


class RowRejectedError(RecordableError, ValueError):
    """A sink cannot represent one row.

    No part of the row was written, and the sink can take the next row.
    """


class CallError(RecordableError):
    """A call to an external system gave no usable answer.

    `details` are recorded with the message. Because an answer may repeat the request, message and details must only
    describe its kind; `answer` holds its content, which is kept with the contents of calls. `is_retryable` says whether
    another attempt may help, and `retry_after` is the number of seconds that the other side asks to wait before it.
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
class RowError:
    """The answer of a plugin that cannot process its input.

    `details` are recorded with the message. Both are exported, so they name fields and say what was expected, but must
    not repeat values.
    """

    message: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDrop:
    """The answer that ends a row on purpose.

    The row is not a failure, and is sent nowhere. `reason` and `details` are recorded with its last visit. Both are
    exported, so they name fields and conditions, but must not repeat values.
    """

    reason: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedOutput:
    """The finished output of a sink, not published yet.

    `content_hash` is SHA-256 in hex, `size_bytes` is in bytes.
    """

    artifact_type: str
    path: str
    content_hash: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadInput:
    """A file or a query that a source has read.

    `input_type` is a word such as file, standard_input or query; `path_or_uri` says where it was, without secrets.
    `rows` counts the rows read so far, valid or not. `content_hash` (SHA-256 in hex) and `size_bytes` describe the
    bytes read, which for a compressed file are the stored ones. They are None for inputs without bytes, and until the
    input `is_complete`, which means that it was read to its end. `object_version` is the version or tag of an object.
    """

    input_type: str
    rows: int
    is_complete: bool
    path_or_uri: str | None = None
    query_text: str | None = None
    content_hash: str | None = None
    size_bytes: int | None = None
    object_version: str | None = None
