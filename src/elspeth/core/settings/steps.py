"""The parts of a pipeline in settings, in either form.

In the positional form, steps follow each other by kind and position. In the wired form, each names the connection that
it reads and the one that it writes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    JsonValue,
    PositiveInt,
    StringConstraints,
    Tag,
)

from elspeth.contracts.routing import DISCARD

__all__ = [
    "AggregationSettings",
    "CoalesceSettings",
    "GateSettings",
    "Name",
    "PluginSettings",
    "PositionalAggregationSettings",
    "PositionalCoalesceSettings",
    "PositionalGateSettings",
    "PositionalTransformSettings",
    "PositiveNumber",
    "QueueSettings",
    "Section",
    "SinkSettings",
    "TransformSettings",
    "TriggerSettings",
    "WiredAggregationSettings",
    "WiredCoalesceSettings",
    "WiredGateSettings",
    "WiredSourceSettings",
    "WiredTransformSettings",
]

# Names become labels of edges and parts of node ids, which the audit tables hold in 64 characters.
PositiveNumber = Annotated[FiniteFloat, Field(gt=0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class Section(BaseModel):
    """A section of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PluginSettings(Section):
    """A plugin with options for its own model."""

    plugin: Name
    options: dict[str, JsonValue] = {}


class SinkSettings(PluginSettings):
    """A sink."""

    error_fields: bool | None = Field(
        default=None,
        description="Whether each row gets fields that say why it failed elsewhere. If not given: in a file that only"
        " failed rows go to, whose schema allows further fields.",
    )
    on_write_failure: Name | None = Field(
        default=None, description="The sink for rows that this one refuses. If not given, they are only recorded."
    )


class TransformSettings(PluginSettings):
    """A transform."""

    name: Name | None = None

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return _error_sink(self.options)


class GateSettings(Section):
    """A condition, with a route for each of its values."""

    name: Name
    condition: str
    routes: dict[Name, Name] = Field(min_length=1)
    fork_to: list[Name] | None = None


class TriggerSettings(Section):
    """When an aggregation emits, besides the end of the source."""

    count: PositiveInt | None = None
    timeout_seconds: PositiveNumber | None = None
    condition: str | None = None


class AggregationSettings(Section):
    """Rows collected into batches for one plugin."""

    name: Name
    plugin: Name
    trigger: Annotated[TriggerSettings, BeforeValidator(lambda value: {} if value is None else value)] = (
        TriggerSettings()
    )
    output_mode: Literal["single", "passthrough", "transform"] = "single"
    expected_output_count: PositiveInt | None = None
    """How many rows the plugin must make of a batch; without it, as many as the output mode allows."""
    options: dict[str, JsonValue] = {}

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return _error_sink(self.options)


class CoalesceSettings(Section):
    """Where the branches of a fork meet again."""

    name: Name
    branches: list[Name] | dict[Name, Name]
    policy: Literal["require_all", "quorum", "best_effort", "first"] = "require_all"
    quorum_count: PositiveInt | None = None
    timeout_seconds: PositiveNumber | None = None
    merge: Literal["union", "nested", "select"] = "union"
    select_branch: Name | None = None
    union_collision_policy: Literal["last_wins", "first_wins", "fail"] | None = None
    """Whose value a union takes for a field that several branches have; without it, that of the last."""


class PositionalTransformSettings(TransformSettings):
    """A transform on the main line or a branch."""

    branch: Name | None = None


class PositionalGateSettings(GateSettings):
    """A gate on the main line or a branch."""

    branch: Name | None = None


class PositionalAggregationSettings(AggregationSettings):
    """An aggregation on the main line or a branch."""

    branch: Name | None = None


class PositionalCoalesceSettings(CoalesceSettings):
    """A coalesce; rows go on behind the gate that forked."""

    branches: list[Name] = Field(min_length=2)


class WiredSourceSettings(PluginSettings):
    """A source, and where its rows go."""

    on_success: Name


class WiredTransformSettings(TransformSettings):
    """A transform between two connections."""

    name: Name
    input: Name
    on_success: Name
    on_error: Name | None = None

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return _error_sink({"on_error": self.on_error} if self.on_error is not None else self.options)


class WiredGateSettings(GateSettings):
    """A gate behind a connection."""

    input: Name


class WiredAggregationSettings(AggregationSettings):
    """An aggregation between two connections."""

    input: Name
    on_success: Name
    on_error: Name | None = None
    output_mode: Literal["single", "passthrough", "transform"] = "transform"

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return _error_sink({"on_error": self.on_error} if self.on_error is not None else self.options)


class WiredCoalesceSettings(CoalesceSettings):
    """A coalesce, with the connection on which each branch arrives.

    A list stands for connections with the names of the branches. Without `on_success`, the merged rows go to the
    connection with the name of the coalesce.
    """

    branches: Annotated[
        Annotated[list[Name], Field(min_length=2), Tag("list[]")]
        | Annotated[dict[Name, Name], Field(min_length=2), Tag("dict[]")],
        Discriminator(lambda value: "dict[]" if isinstance(value, dict) else "list[]"),
    ]
    on_success: Name | None = None

    @property
    def arrivals(self) -> Mapping[str, str]:
        """Return the connection on which each branch arrives."""
        return self.branches if isinstance(self.branches, dict) else {name: name for name in self.branches}


class QueueSettings(Section):
    """A connection that several steps write to."""

    description: str | None = None


def _error_sink(options: Mapping[str, object]) -> str | None:
    """Return the sink in the option `on_error`, if any."""
    destination = options.get("on_error")
    return destination if isinstance(destination, str) and destination != DISCARD else None
