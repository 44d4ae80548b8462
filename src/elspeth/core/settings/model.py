"""The settings of a pipeline as typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    PositiveInt,
    PrivateAttr,
)

from elspeth.contracts.errors import short_repr
from elspeth.core.settings.landscape import LandscapeSettings, PlaceText
from elspeth.core.settings.openlineage import OpenLineageSettings
from elspeth.core.settings.problems import Location
from elspeth.core.settings.steps import (
    AggregationSettings,
    CoalesceSettings,
    GateSettings,
    Name,
    PluginSettings,
    PositionalAggregationSettings,
    PositionalCoalesceSettings,
    PositionalGateSettings,
    PositionalTransformSettings,
    PositiveNumber,
    QueueSettings,
    Section,
    SinkSettings,
    TransformSettings,
    WiredAggregationSettings,
    WiredCoalesceSettings,
    WiredGateSettings,
    WiredSourceSettings,
    WiredTransformSettings,
)

__all__ = [
    "CheckpointSettings",
    "ConcurrencySettings",
    "FailIfSettings",
    "Limit",
    "PayloadStoreSettings",
    "PositionalSettings",
    "RateLimitSettings",
    "RetrySettings",
    "ServiceRateSettings",
    "Settings",
    "WiredSettings",
]

_MAX_DAYS = 365_000  # Python has no dates further back
_PERCENTAGE = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,6})?)%")


def _label(value: object) -> object:
    if isinstance(value, str):
        return value
    hint = "" if value is None or isinstance(value, list | dict) else ": put it in quotes"
    raise ValueError(f"expected a text, got {short_repr(value)}{hint}")


class ConcurrencySettings(Section):
    """How many external calls and processes work at once."""

    max_workers: PositiveInt = Field(default=4, description="The calls that may be under way at once, in each process.")
    workers: PositiveInt = Field(
        default=1, description="The processes that share the work on rows. With one, the process of the run does it."
    )


class RetrySettings(Section):
    """How external calls are repeated."""

    max_attempts: PositiveInt = Field(default=3, description="How often a call is made before its row fails.")
    initial_delay_seconds: PositiveNumber = Field(default=1.0, description="The delay before the second attempt.")
    max_delay_seconds: PositiveNumber = Field(
        default=60.0, description="The longest delay, also if the server asks for a longer one."
    )
    exponential_base: Annotated[FiniteFloat, Field(gt=1.0)] = Field(
        default=2.0, description="How many times as long as the one before each further delay is."
    )


def _limit(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_count or (isinstance(value, str) and _PERCENTAGE.fullmatch(value)):
        return value
    raise ValueError(f"expected a number of rows, such as 10, or a part of them, such as '1%', got {short_repr(value)}")


Limit = Annotated[int | str, BeforeValidator(_limit)]
"""A number of rows, or a percentage of them."""


class FailIfSettings(Section):
    """How many failures a run may have at most.

    The run fails if there are more. A limit is a number such as 10, or a percentage such as '1%'.
    """

    quarantined: Limit | None = Field(default=None, description="Rows that the sources refused, of all their rows.")
    failed: Limit | None = Field(default=None, description="Tokens that failed, of all rows of the sources.")
    steps: dict[Name, Limit] = Field(
        default={}, description="Rows that failed at a step, by its name, of the rows that reached it."
    )


class CheckpointSettings(Section):
    """How often a run commits what happened to rows.

    A run resumes from its last commit. Without a frequency the engine commits some hundred rows together, or what it
    has after some seconds.
    """

    enabled: bool = Field(
        default=True, description="Whether a run can be resumed. Without checkpoints a run that stops has failed."
    )
    frequency: Literal["every_row", "every_n", "aggregation_only"] | None = Field(
        default=None,
        description="When a group of rows is committed. If not given, and with `aggregation_only`: after 500 rows or "
        "two seconds.",
    )
    checkpoint_interval: PositiveInt | None = Field(
        default=None, description="The number of rows in a group, with `frequency: every_n`."
    )
    aggregation_boundaries: bool = Field(
        default=True, description="Whether a group also ends after each batch, where a `frequency` is given."
    )


class ServiceRateSettings(Section):
    """The rate limit of one external service."""

    requests_per_second: PositiveInt | None = Field(default=None, description="Calls in any second.")
    requests_per_minute: PositiveInt | None = Field(default=None, description="Calls in any minute.")


class RateLimitSettings(Section):
    """Rate limits of external calls."""

    enabled: bool = Field(default=True, description="Whether calls are limited.")
    default_requests_per_second: PositiveInt | None = Field(
        default=None, description="Calls of each service in any second, unless `services` has its own rates."
    )
    default_requests_per_minute: PositiveInt | None = Field(
        default=None, description="Calls of each service in any minute, unless `services` has its own rates."
    )
    persistence_path: str | None = Field(
        default=None, description="An SQLite file, through which processes share the limits."
    )
    services: dict[Name, ServiceRateSettings] = Field(default={}, description="Rates of services by their names.")


class PayloadStoreSettings(Section):
    """Where contents are kept, and for how many days.

    With this section the contents of all source rows are kept, without it only those that a run needs.
    """

    backend: Literal["filesystem"] = Field(
        default="filesystem", description="Settings of earlier versions have it. `base_path` says what the store is."
    )
    base_path: PlaceText = Field(
        default=".elspeth/payloads",
        description="The directory of the store, or an address of objects such as `s3://bucket/prefix`.",
    )
    retention_days: Annotated[int, Field(gt=0, le=_MAX_DAYS)] = Field(
        default=90, description="After how many days without use `elspeth purge` deletes a content."
    )


class Settings(Section):
    """One pipeline and its audit trail, in either form."""

    sinks: dict[Name, SinkSettings] = Field(min_length=1, description="The sinks by their names.")
    gates: Sequence[GateSettings] = []
    aggregations: Sequence[AggregationSettings] = []
    coalesce: Sequence[CoalesceSettings] = []
    landscape: LandscapeSettings = LandscapeSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    retry: RetrySettings = RetrySettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    fail_if: FailIfSettings | None = None
    rate_limit: RateLimitSettings = RateLimitSettings()
    payload_store: PayloadStoreSettings = PayloadStoreSettings()
    run_mode: Literal["live", "replay", "verify"] = Field(
        default="live",
        description="Who answers external calls: the external system, a recorded run, or the system, whose answers are "
        "then compared with the recorded ones.",
    )
    replay_source_run_id: str | None = Field(
        default=None, description="The recorded run: its id, the beginning of its id, or `latest`."
    )
    openlineage: OpenLineageSettings | None = None
    labels: dict[Name, Annotated[str, BeforeValidator(_label)]] = Field(
        default={}, description="Texts by name that are recorded with each run, such as a ticket or a customer."
    )
    limit: PositiveInt | None = Field(
        default=None,
        description="The number of rows after which a source is not read any further. The others are in no record.",
    )
    _variables: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def variables(self) -> frozenset[str]:
        """Return the names of environment variables in these settings."""
        return self._variables

    @property
    def source_parts(self) -> Mapping[Location, PluginSettings]:
        """Return the sources by place, in their order."""
        raise NotImplementedError

    @property
    def transform_parts(self) -> Mapping[Location, TransformSettings]:
        """Return the transforms by their places."""
        raise NotImplementedError

    @property
    def node_names(self) -> Mapping[Location, str]:
        """Return the names of sources, steps and sinks by place."""
        names: dict[Location, str] = {
            place: each.plugin if place == ("datasource",) else str(place[-1])
            for place, each in self.source_parts.items()
        }
        for index, (place, transform) in enumerate(self.transform_parts.items()):
            names[place] = transform.name or f"{transform.plugin}_{index}"
        names |= {("aggregations", index): each.name for index, each in enumerate(self.aggregations)}
        names |= {("gates", index): each.name for index, each in enumerate(self.gates)}
        names |= {("coalesce", index): each.name for index, each in enumerate(self.coalesce)}
        return names | {("sinks", name): name for name in self.sinks}

    def model_post_init(self, context: object) -> None:
        """Store the variables, which are the context of the validation."""
        if isinstance(context, frozenset):
            self._variables = context


class PositionalSettings(Settings):
    """A pipeline whose steps follow by kind and position."""

    datasource: PluginSettings = Field(description="The source, at the beginning of the main line.")
    output_sink: Name = Field(description="The sink at the end of the main line.")
    row_plugins: list[PositionalTransformSettings] = Field(default=[], description="The transforms.")
    gates: list[PositionalGateSettings] = Field(default=[], description="The gates, after the aggregations.")
    aggregations: list[PositionalAggregationSettings] = Field(
        default=[], description="The aggregations, after the transforms."
    )
    coalesce: list[PositionalCoalesceSettings] = Field(
        default=[], description="The steps where branches meet. A merged row goes on after the gate that forked it."
    )

    @property
    def source_parts(self) -> Mapping[Location, PluginSettings]:
        """Return the source by its place."""
        return {("datasource",): self.datasource}

    @property
    def transform_parts(self) -> Mapping[Location, TransformSettings]:
        """Return the transforms by their places."""
        return {("row_plugins", index): each for index, each in enumerate(self.row_plugins)}


class WiredSettings(Settings):
    """A pipeline whose steps are wired by names.

    The order of steps means nothing; that of `sources` is the order in which they are read.
    """

    source: WiredSourceSettings | None = Field(default=None, description="The only source.")
    sources: dict[Name, WiredSourceSettings] = Field(
        default={}, description="The sources by their names, in the order in which they are read."
    )
    queues: dict[Name, QueueSettings] = Field(
        default={}, description="The connections that several steps write to, by their names."
    )
    transforms: list[WiredTransformSettings] = Field(default=[], description="The transforms, in any order.")
    gates: list[WiredGateSettings] = Field(default=[], description="The gates, in any order.")
    aggregations: list[WiredAggregationSettings] = Field(default=[], description="The aggregations, in any order.")
    coalesce: list[WiredCoalesceSettings] = Field(default=[], description="Where branches of a fork meet.")

    @property
    def source_parts(self) -> Mapping[Location, WiredSourceSettings]:
        """Return the sources by place, in their order."""
        single: dict[Location, WiredSourceSettings] = {} if self.source is None else {("source",): self.source}
        return {**single, **{("sources", name): each for name, each in self.sources.items()}}

    @property
    def transform_parts(self) -> Mapping[Location, WiredTransformSettings]:
        """Return the transforms by their places."""
        return {("transforms", index): each for index, each in enumerate(self.transforms)}
