"""What the settings, the engine and the plugins agree on: rows, and how a plugin is looked up by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "InvalidRow",
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


class PluginKind(StrEnum):
    """Where in a pipeline a plugin can stand."""

    SOURCE = "source"
    TRANSFORM = "transform"
    AGGREGATION = "aggregation"
    SINK = "sink"


class PluginError(Exception):
    """A source or sink cannot go on. The message names the file or address, and the place in it."""


class RowRejectedError(ValueError):
    """A sink cannot represent one row. It has written nothing of it, and can take the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidRow:
    """A source row that does not satisfy the schema: what could be read of it, and what is wrong."""

    data: Row
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """A transform's or aggregation's answer that it cannot process its input. `details` are recorded with the error."""

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
