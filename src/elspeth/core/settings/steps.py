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

from elspeth.contracts.python_functions import FunctionPath
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
    """A plugin and its options."""

    plugin: Name = Field(description="The name of the plugin.")
    options: dict[str, JsonValue] = Field(default={}, description="The options of the plugin.")


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


class StepSettings(PluginSettings):
    """A step whose plugin may fail rows."""

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return _error_sink(self.options.get("on_error"))


class TransformSettings(StepSettings):
    """A transform."""

    name: Name | None = Field(
        default=None, description="The name of the step. If not given, it is made of plugin and place."
    )


class GateSettings(Section):
    """A condition or function, with a route for each value."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["condition"]}, {"required": ["function"]}]})

    name: Name = Field(description="The name of the step.")
    condition: str | None = Field(default=None, description="An expression over the row. Required without `function`.")
    function: FunctionPath | None = Field(
        default=None, description="A function of the row instead, as `package.module:function`."
    )
    directory: str | None = Field(
        default=None,
        min_length=1,
        description="The directory of its module. If not given, the module must be installed, or on `PYTHONPATH`.",
    )
    routes: dict[Name, Name] = Field(
        min_length=1,
        description="Where rows go, by the value of the condition or function: a sink, `fork`, or, according to the "
        "form of the settings, a connection or `continue`.",
    )
    fork_to: list[Name] | None = Field(
        default=None, description="The branches to which the route `fork` sends a copy of the row each."
    )

    @property
    def decides_by(self) -> str:
        """Return the condition, or the path of the function."""
        return self.condition or self.function or ""


class TriggerSettings(Section):
    """When an aggregation emits, besides the end of the source."""

    count: PositiveInt | None = Field(default=None, description="The number of rows that make a batch.")
    timeout_seconds: PositiveNumber | None = Field(
        default=None, description="How long after its first row a batch is complete. Checked before each row."
    )
    condition: str | None = Field(
        default=None,
        description="An expression over the newest row, which also sees `batch_count` and `batch_age_seconds`.",
    )


class AggregationSettings(StepSettings):
    """Rows collected into batches for one plugin."""

    name: Name = Field(description="The name of the step.")
    trigger: Annotated[
        TriggerSettings,
        BeforeValidator(lambda value: {} if value is None else value, json_schema_input_type=TriggerSettings | None),
    ] = TriggerSettings()
    output_mode: Literal["single", "passthrough", "transform"] = Field(
        default="single", description="What a batch becomes: one row, a row for each member, or any number of rows."
    )
    expected_output_count: PositiveInt | None = Field(
        default=None,
        description="How many rows the plugin must make of a batch. If not given, as many as the output mode allows.",
    )


class CoalesceSettings(Section):
    """Where the branches of a fork meet again."""

    name: Name = Field(description="The name of the step.")
    branches: list[Name] | dict[Name, Name]
    policy: Literal["require_all", "quorum", "best_effort", "first"] = Field(
        default="require_all", description="When rows are merged: which branches must have arrived."
    )
    quorum_count: PositiveInt | None = Field(
        default=None, description="The number of branches that `policy: quorum` needs."
    )
    timeout_seconds: PositiveNumber | None = Field(
        default=None, description="How long to wait for further branches; then what has arrived decides."
    )
    merge: Literal["union", "nested", "select"] = Field(
        default="union",
        description="What the merged row is: the fields of all branches, a field for each branch, or the row of one.",
    )
    select_branch: Name | None = Field(default=None, description="The branch whose row `merge: select` takes.")
    union_collision_policy: Literal["last_wins", "first_wins", "fail"] | None = Field(
        default=None,
        description="Whose value a union takes for a field that several branches have. If not given, that of the last.",
    )


class _OnLine(Section):
    """A step on the main line or a branch."""

    branch: Name | None = Field(
        default=None, description="The branch of a fork that the step is on. By default it is on the main line."
    )


class PositionalTransformSettings(_OnLine, TransformSettings):
    """A transform on the main line or a branch."""


class PositionalGateSettings(_OnLine, GateSettings):
    """A gate on the main line or a branch."""


class PositionalAggregationSettings(_OnLine, AggregationSettings):
    """An aggregation on the main line or a branch."""


class PositionalCoalesceSettings(CoalesceSettings):
    """A coalesce; rows go on behind the gate that forked."""

    branches: list[Name] = Field(min_length=2, description="The branches that meet here.")


class WiredSourceSettings(PluginSettings):
    """A source, and where its rows go."""

    on_success: Name = Field(description="The connection or sink that takes its rows.")


class _BetweenConnections(StepSettings):
    """A step that names what it reads and writes."""

    input: Name = Field(description="The connection that it reads.")
    on_success: Name = Field(description="The connection or sink that takes its rows.")
    on_error: Name | None = Field(
        default=None, description="The sink for rows that fail, or `discard`. If not given, the option of the plugin."
    )

    @property
    def error_sink(self) -> str | None:
        """Return the sink that takes rows that fail, if any."""
        return super().error_sink if self.on_error is None else _error_sink(self.on_error)


class WiredTransformSettings(_BetweenConnections, TransformSettings):
    """A transform between two connections."""

    name: Name = Field(description="The name of the step.")


class WiredGateSettings(GateSettings):
    """A gate behind a connection."""

    input: Name = Field(description="The connection that it reads.")


class WiredAggregationSettings(_BetweenConnections, AggregationSettings):
    """An aggregation between two connections."""

    output_mode: Literal["single", "passthrough", "transform"] = Field(
        default="transform", description="What a batch becomes: one row, a row for each member, or any number of rows."
    )


class WiredCoalesceSettings(CoalesceSettings):
    """A coalesce, with the connection on which each branch arrives.

    A list stands for connections with the names of the branches. Without `on_success`, the merged rows go to the
    connection with the name of the coalesce.
    """

    branches: Annotated[
        Annotated[list[Name], Field(min_length=2), Tag("list[]")]
        | Annotated[dict[Name, Name], Field(min_length=2), Tag("dict[]")],
        Discriminator(lambda value: "dict[]" if isinstance(value, dict) else "list[]"),
    ] = Field(description="The branches that meet here, each with the connection on which it arrives.")
    on_success: Name | None = Field(default=None, description="The connection or sink that takes the merged rows.")

    @property
    def arrivals(self) -> Mapping[str, str]:
        """Return the connection on which each branch arrives."""
        return self.branches if isinstance(self.branches, dict) else {name: name for name in self.branches}


class QueueSettings(Section):
    """A connection that several steps write to."""

    description: str | None = Field(default=None, description="What the queue is for; only a comment.")


def _error_sink(destination: object) -> str | None:
    """Return the sink that takes rows that fail, if any."""
    return destination if isinstance(destination, str) and destination != DISCARD else None
