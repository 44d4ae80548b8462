"""The base classes of plugins.

The engine makes a plugin from its validated options and calls it in a fixed order. A source is read once, from its
first row to its last. A transform gets one row at a time, an aggregation one batch at a time. A sink is opened before
the first row, gets rows, and is synced before each commit that records these rows as written. After the last row it is
finished; it is published only after the hash of its output was committed. When a run is resumed, its sinks are reopened
at the positions of the last commit.
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

        Subclasses may do more here, but must not open files or call other systems.
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
        """Check before a run that the input exists.

        No row is read. Raises PluginError if the input is missing.
        """

    @abstractmethod
    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row in order.

        Raises PluginError if the source as a whole cannot be read any further.
        """

    def fraction_read(self) -> float | None:
        """Return the fraction read, or None if it is unknown."""
        return None

    def inputs(self) -> Sequence[ReadInput]:
        """Return the inputs that `read` opened so far, in order.

        The engine records them, and compares them when a run is resumed. A source whose inputs have no names returns
        none.
        """
        return ()

    def datasets(self) -> Sequence[Dataset]:
        """Return the datasets that are read, named as in catalogues.

        This is called once, before `read`, and the result is recorded. `file_dataset` and `table_dataset` make the
        names. Several files are in the order of reading. By default there are none, and lineage events do not say where
        the rows come from.
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
    """Whether the result for a row depends on this row alone."""

    options: TransformOptions

    def check(self) -> None:
        """Check before a run that the input of `prepare` exists.

        Raises PluginError if it is missing.
        """

    def prepare(self) -> JsonObject:
        """Read what the transform needs besides rows, and describe it.

        This is called once before the first row of a run, and again when the run is resumed. The result is recorded
        with the node, and must be the same both times. Raises PluginError if something cannot be read.
        """
        return {}

    def field_origins(self) -> FieldOrigins | None:
        """Return where the fields of its results come from.

        This is called once, before the first row, and the result is recorded. The default is None: then lineage events
        say nothing about the fields behind the transform.
        """
        return None

    @abstractmethod
    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return the result for a row, which may be changed.

        An exception is also recorded as an error of the row.
        """


class DistinctTransform(Transform):
    """The base class of transforms that drop repeated rows.

    The plugin returns the key of a row. The engine keeps the keys, even when the run is resumed, and drops each row
    whose key belongs to an earlier row in the order of the source.
    """

    is_row_local = False

    @abstractmethod
    def key(self, row: RowData) -> object | RowError:
        """Return the key of a row.

        Rows are the same if the canonical JSON of their keys is the same. An exception is recorded as an error of the
        row.
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

        It is called and recorded as that of a transform.
        """
        return {}

    @abstractmethod
    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """Return the result for a batch.

        A batch has at least one row. An exception is recorded as an error of all its rows.
        """


class Sink(Plugin):
    """The base class of plugins that write rows."""

    kind = PluginKind.SINK
    determinism = Determinism.IO_WRITE

    def expect_failed_rows(self) -> None:
        """Prepare for rows that failed elsewhere.

        This is called before `open`. Such rows may differ in their fields.
        """

    def dataset(self) -> Dataset | None:
        """Return the dataset that is written, named as in catalogues.

        This is called once, before `open`, and the result is recorded. `file_dataset` and `table_dataset` make the
        names. The default is None: then lineage events do not say where the rows go.
        """
        return None

    @abstractmethod
    def open(self, staging_name: str) -> None:
        """Prepare to take rows, without making anything visible.

        `staging_name` is unique to the run. Raises PluginError if the sink cannot take rows.
        """

    @abstractmethod
    def write(self, row: RowData) -> None:
        """Take one row.

        Raises RowRejectedError if this row cannot be represented.
        """

    @abstractmethod
    def sync(self) -> None:
        """Make all rows so far survive a power cut."""

    @abstractmethod
    def position(self) -> JsonObject:
        """Return the position behind the rows so far.

        This is called after `sync`; `reopen` continues at the position.
        """

    @abstractmethod
    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Continue at a position, in another process.

        Staged rows behind the position are dropped. Raises PluginError if staged rows before it are missing or were
        changed.
        """

    @abstractmethod
    def finish(self) -> StagedOutput | None:
        """End the rows, and describe the output to be published.

        Returns None if there is no output to name.
        """

    @abstractmethod
    def publish(self) -> None:
        """Make the output visible, completely or not at all.

        Publishing again changes nothing.
        """

    @abstractmethod
    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether a finished output is in place.

        This is called if a run stopped while the output was being published. If the output is in place, the staged
        files are removed.
        """

    def published_version(self) -> str | None:
        """Return the version of the published output, or None.

        This is called after `publish` or a successful `confirm`, and the result is recorded.
        """
        return None

    @abstractmethod
    def close(self) -> str | None:
        """Stop early, and return the place of the staged rows.

        Rows that were synced stay staged.
        """

    @abstractmethod
    def discard(self) -> None:
        """Stop early, and remove the staged rows."""


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
        """Return whether a transform may expand a row into several.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        ...

    def calls(self, kind: PluginKind, name: str) -> bool:
        """Return whether a plugin makes calls that are recorded.

        Raises KeyError for an unknown name.
        """
        ...
