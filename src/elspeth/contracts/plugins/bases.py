"""The base classes of plugins.

The engine makes a plugin from its validated options and calls it in a fixed order. A source is read once, from its
first row to its last. Transforms get one row at a time, aggregations one batch at a time. A sink is opened before the
first row, takes rows, and is synced before each commit that records what it took. After the last row it is finished; it
is published only when a committed record holds the hash of its output. When a run is resumed, its sinks are reopened
where the last commit left them.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, Protocol, final

from pydantic import BaseModel

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins.datasets import Dataset
from elspeth.contracts.plugins.exchange import JsonObject, ReadInput, RowDrop, RowError, StagedOutput
from elspeth.contracts.plugins.fields import FieldOrigins
from elspeth.contracts.plugins.options import PluginOptions, SourceOptions, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData

__all__ = [
    "Aggregation",
    "DistinctTransform",
    "Plugin",
    "PluginCatalogue",
    "PluginKind",
    "Sink",
    "Source",
    "Transform",
]


class PluginKind(StrEnum):
    """The part that a plugin plays in a pipeline."""

    SOURCE = "source"
    TRANSFORM = "transform"
    AGGREGATION = "aggregation"
    SINK = "sink"


class Plugin(ABC):
    """A part of a pipeline that settings name."""

    kind: ClassVar[PluginKind]
    name: ClassVar[str]
    plugin_version: ClassVar[str]
    determinism: Determinism
    options_model: ClassVar[type[PluginOptions]]

    options: PluginOptions

    def __init__(self, options: PluginOptions) -> None:
        """Keep the options.

        Subclasses may do more here, but touch nothing outside.
        """
        self.options = options

    @classmethod
    def description(cls) -> str:
        """Return the first line of the class docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


class Source(Plugin):
    """The base class of plugins that yield rows."""

    kind = PluginKind.SOURCE
    determinism = Determinism.IO_READ

    options: SourceOptions

    def check(self) -> None:
        """Check before a run that there is something to read.

        Reads no row. Raises PluginError if there is nothing.
        """

    @abstractmethod
    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row in order.

        Raises PluginError if the source as a whole cannot be read on.
        """

    def fraction_read(self) -> float | None:
        """Return the fraction read, or None if it is unknown."""
        return None

    def inputs(self) -> Sequence[ReadInput]:
        """Return what `read` has opened so far, in order.

        The engine records it, and compares it when a run is resumed. A source without inputs that could be named has
        none.
        """
        return ()

    def datasets(self) -> Sequence[Dataset]:
        """Return what is read, by the names that catalogues know.

        Called once, before `read`, and recorded; `file_dataset` and `table_dataset` make such names. Several files are
        in the order of reading. None by default: then lineage events do not tell where the rows come from.
        """
        return ()


class Transform(Plugin):
    """The base class of plugins that change single rows."""

    kind = PluginKind.TRANSFORM
    determinism = Determinism.DETERMINISTIC
    options_model: ClassVar[type[PluginOptions]] = TransformOptions
    expands: bool = False
    """Whether `process` may return several rows."""

    is_row_local: ClassVar[bool] = True
    """Whether what becomes of a row depends on this row alone."""

    options: TransformOptions

    def check(self) -> None:
        """Check before a run that there is what `prepare` reads.

        Raises PluginError if there is not.
        """

    def prepare(self) -> JsonObject:
        """Read what the transform needs besides rows, and describe it.

        Called once before the first row of a run, and again when the run is resumed. What it returns is recorded with
        the node, and must be the same then. Raises PluginError if something cannot be read.
        """
        return {}

    def field_origins(self) -> FieldOrigins | None:
        """Return where the fields of its results come from.

        Called once, before the first row, and recorded. None by default: then lineage events are silent about all
        fields behind the transform.
        """
        return None

    @abstractmethod
    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return what becomes of one row, which may be changed.

        An exception is recorded as an error of the row, too.
        """


class DistinctTransform(Transform):
    """The base class of transforms that drop repeated rows.

    The plugin says what the key of a row is. The engine remembers the keys, also when the run is resumed, and drops the
    rows that come later in the order of the source.
    """

    is_row_local = False

    @abstractmethod
    def key(self, row: RowData) -> object | RowError:
        """Return what tells the row from others.

        Rows with the same canonical JSON of it are the same. An exception is recorded as an error of the row.
        """

    @final
    def field_origins(self) -> FieldOrigins:
        """Return that all fields are unchanged."""
        return FieldOrigins()

    @final
    def process(self, row: RowData) -> RowData:
        """Return the row, which is the first of its key."""
        return row


class Aggregation(Plugin):
    """The base class of plugins that process batches of rows."""

    kind = PluginKind.AGGREGATION
    determinism = Determinism.DETERMINISTIC
    options_model: ClassVar[type[PluginOptions]] = TransformOptions

    options: TransformOptions

    def prepare(self) -> JsonObject:
        """Read what the aggregation needs besides rows, and describe it.

        As for transforms.
        """
        return {}

    @abstractmethod
    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """Return what becomes of a batch.

        It has at least one row. An exception is recorded as an error of all its rows.
        """


class Sink(Plugin):
    """The base class of plugins that write rows."""

    kind = PluginKind.SINK
    determinism = Determinism.IO_WRITE

    def expect_failed_rows(self) -> None:
        """Prepare for rows that failed elsewhere.

        Called before `open`. Such rows may differ in their fields.
        """

    def dataset(self) -> Dataset | None:
        """Return what is written, by the name that catalogues know.

        Called once, before `open`, and recorded; `file_dataset` and `table_dataset` make such names. None by default:
        then lineage events do not tell where the rows go.
        """
        return None

    @abstractmethod
    def open(self, staging_name: str) -> None:
        """Prepare to take rows, without showing anything.

        `staging_name` is unique to the run. Raises PluginError if that is not possible.
        """

    @abstractmethod
    def write(self, row: RowData) -> None:
        """Take one row.

        Raises RowRejectedError if this row cannot be represented.
        """

    @abstractmethod
    def sync(self) -> None:
        """Return when all rows so far survive a power cut."""

    @abstractmethod
    def position(self) -> JsonObject:
        """Return how far the output has come.

        Called after `sync`; `reopen` goes on from this position.
        """

    @abstractmethod
    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on from a position, in another process.

        What was staged after it is dropped. Raises PluginError if what was staged before it is gone or was changed.
        """

    @abstractmethod
    def finish(self) -> StagedOutput | None:
        """Take no more rows, and describe what will be published.

        Returns None if there is no output that could be named.
        """

    @abstractmethod
    def publish(self) -> None:
        """Make the output visible, completely or not at all.

        Publishing again changes nothing.
        """

    @abstractmethod
    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether a finished output is in place.

        Called if a run stopped while it was published. If the output is in place, the staging is removed.
        """

    def published_version(self) -> str | None:
        """Return the version of the published output, or None.

        Called after `publish` or a successful `confirm`, and recorded.
        """
        return None

    @abstractmethod
    def close(self) -> str | None:
        """Stop early, and return where the staged rows are.

        What was synced stays staged.
        """

    @abstractmethod
    def discard(self) -> None:
        """Stop early, and remove what was staged."""


class PluginCatalogue(Protocol):
    """The plugins that settings may name."""

    def names(self, kind: PluginKind) -> Sequence[str]:
        """Return the names of the plugins of a kind, sorted."""
        ...

    def options_model(self, kind: PluginKind, name: str) -> type[BaseModel]:
        """Return the model that validates a plugin's options.

        Raises KeyError for an unknown name.
        """
        ...

    def expands(self, name: str, options: Mapping[str, object]) -> bool:
        """Return whether a transform may make several rows of one.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        ...

    def calls(self, kind: PluginKind, name: str) -> bool:
        """Return whether a plugin makes calls that are recorded.

        Raises KeyError for an unknown name.
        """
        ...
