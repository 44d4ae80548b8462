"""The base classes of plugins, and what plugins and the engine exchange."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from elspeth.contracts.enums import CallType, Determinism
from elspeth.contracts.errors import RecordableError
from elspeth.contracts.routing import DISCARD
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.contracts.schema import SchemaConfig

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "Aggregation",
    "CallError",
    "CallingTransform",
    "FilePath",
    "JsonObject",
    "Plugin",
    "PluginCatalogue",
    "PluginError",
    "PluginKind",
    "PluginOptions",
    "RowError",
    "RowRejectedError",
    "Sink",
    "Source",
    "SourceOptions",
    "StagedOutput",
    "Transform",
    "TransformOptions",
]

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


def _read_schema(value: object) -> SchemaConfig:
    if isinstance(value, SchemaConfig):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping such as {{fields: dynamic}}, got {value!r}")  # noqa: TRY004  pydantic's
    return SchemaConfig.from_dict(value)


Schema = Annotated[
    SchemaConfig, BeforeValidator(_read_schema), PlainSerializer(lambda schema: schema.to_dict(), return_type=dict)
]
_DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)


MAX_PATH_LENGTH = 512  # what the audit trail holds of an artifact's path
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATH_LENGTH)]


class PluginOptions(BaseModel):
    """Options that every plugin has. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_config: Schema = Field(default=_DYNAMIC, alias="schema")


class SourceOptions(PluginOptions):
    """Options that every source has: rows that fail validation go to a sink, or are recorded only."""

    on_validation_failure: str = DISCARD


class TransformOptions(PluginOptions):
    """Options of every transform and aggregation: rows that fail go to a sink, or are recorded only.

    A row that does not satisfy the schema fails; the fields that the schema names are coerced.
    """

    on_error: str = DISCARD


class Plugin(ABC):
    """A part of a pipeline that users name in their settings."""

    kind: ClassVar[PluginKind]
    name: ClassVar[str]
    plugin_version: ClassVar[str]
    determinism: ClassVar[Determinism]
    options_model: ClassVar[type[PluginOptions]]

    options: PluginOptions

    def __init__(self, options: PluginOptions) -> None:
        """Keep the options. A subclass that does more still touches nothing outside."""
        self.options = options

    @classmethod
    def description(cls) -> str:
        """The first line of the class docstring, for lists of plugins."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


class Source(Plugin):
    """Where rows come from."""

    kind = PluginKind.SOURCE
    determinism = Determinism.IO_READ

    options: SourceOptions

    def check(self) -> None:
        """Look, before a run, whether what will be read is there; PluginError if it is not. Reads no row."""

    @abstractmethod
    def read(self) -> Iterator[RowData | InvalidRow]:
        """Every row in order; PluginError when the source as a whole cannot be read on."""

    def fraction_read(self) -> float | None:
        """How much has been read, from 0 to 1, or None when that is not known."""
        return None


class Transform(Plugin):
    """What makes another row of each row, or several rows."""

    kind = PluginKind.TRANSFORM
    determinism = Determinism.DETERMINISTIC
    options_model: ClassVar[type[PluginOptions]] = TransformOptions
    expands: ClassVar[bool] = False
    """Whether it may make several rows of one. Only where it says so may `process` return a list."""

    options: TransformOptions

    @abstractmethod
    def process(self, row: RowData) -> RowData | list[RowData] | RowError:
        """What becomes of one row; an exception is recorded as an error of the row, too. The row may be changed."""


class CallingTransform(Transform):
    """What makes another row of each row by asking a system outside, once for each row.

    The plugin says what is asked, asks, and says what the answer makes of the row. The engine comes between: it keeps
    to the rate limit, asks several rows' questions at a time, repeats a call that failed, and records each attempt
    with its request and its answer. In a replay `send` is never called.
    """

    determinism = Determinism.EXTERNAL_CALL
    call_type: ClassVar[CallType] = CallType.HTTP

    @property
    @abstractmethod
    def service(self) -> str:
        """The name under which settings limit the rate of calls."""

    @abstractmethod
    def request(self, row: RowData) -> JsonObject | RowError:
        """What will be asked for a row: the same for the same row and options, and without secrets, for it is kept."""

    @abstractmethod
    def send(self, request: JsonObject) -> JsonObject:
        """Ask once; CallError when there is no usable answer. Called from several threads at a time."""

    @abstractmethod
    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """What the answer makes of the row, which may be changed; an exception is recorded as an error of the row."""

    def comparable(self, response: JsonObject) -> JsonObject:
        """What of an answer must be the same when the same is asked again: all of it, unless the plugin says less."""
        return response

    def close(self) -> None:
        """Let go of connections: no more calls will be made."""

    @final
    def process(self, row: RowData) -> RowData | RowError:
        """Ask and answer in one go, without an engine: nothing is repeated or recorded."""
        request = self.request(row)
        return request if isinstance(request, RowError) else self.result(row, self.send(request))


class Aggregation(Plugin):
    """What makes rows of a batch of rows."""

    kind = PluginKind.AGGREGATION
    determinism = Determinism.DETERMINISTIC
    options_model: ClassVar[type[PluginOptions]] = TransformOptions

    options: TransformOptions

    @abstractmethod
    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """What becomes of a batch, which has at least one row; an exception is recorded as an error of all of them."""


class Sink(Plugin):
    """Where rows go."""

    kind = PluginKind.SINK
    determinism = Determinism.IO_WRITE

    def expect_failed_rows(self) -> None:
        """Learn, before it is opened, that rows will come that failed elsewhere: they may differ in their fields."""

    @abstractmethod
    def open(self, staging_name: str) -> None:
        """Prepare to take rows, out of sight. `staging_name` is unique to the run; PluginError when it cannot."""

    @abstractmethod
    def write(self, row: RowData) -> None:
        """Take one row; RowRejectedError when this row cannot be represented."""

    @abstractmethod
    def sync(self) -> None:
        """Return when every row taken so far survives a power cut."""

    @abstractmethod
    def position(self) -> JsonObject:
        """How far the output has come, asked for after `sync`: what `reopen` needs to go on from here."""

    @abstractmethod
    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on from a position, in another process: what was staged after it is dropped.

        PluginError when what was staged before it is gone or was altered.
        """

    @abstractmethod
    def finish(self) -> StagedOutput | None:
        """Take no more rows; what will be published, or None when the sink makes nothing that can be named."""

    @abstractmethod
    def publish(self) -> None:
        """Make the finished output visible, completely or not at all. Doing it again changes nothing."""

    @abstractmethod
    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Whether a finished output is in place, asked when a run stopped while it was published.

        If it is, what is left of the staging is removed.
        """

    @abstractmethod
    def close(self) -> str | None:
        """Stop before the end. What was synced stays staged, and the answer says where."""

    @abstractmethod
    def discard(self) -> None:
        """Stop before the end and remove what was staged."""
