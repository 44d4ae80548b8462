"""The settings of a pipeline as typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
)

from elspeth.contracts.database_urls import database_url_problem
from elspeth.contracts.errors import short_repr
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
    "ExportSettings",
    "FailIfSettings",
    "LandscapeSettings",
    "Limit",
    "PayloadStoreSettings",
    "PositionalSettings",
    "RateLimitSettings",
    "RetrySettings",
    "SealSettings",
    "ServiceRateSettings",
    "Settings",
    "WiredSettings",
]

_MAX_DAYS = 365_000  # Python has no dates further back
_PERCENTAGE = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,6})?)%")


def _database_url(text: str) -> str:
    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


class ExportSettings(Section):
    """The export of the audit trail after a run.

    It goes to `path`, or to the path of the sink that `sink` names.
    """

    enabled: bool = False
    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    sink: Name | None = None
    format: Literal["csv", "json", "jsonl", "parquet", "bag"] = "csv"
    compress: Literal["gzip", "zstd"] | None = None
    """How `jsonl`, `json` and `csv` are compressed; without it, what the name of the file says."""
    sign: bool = False
    key: str | None = None
    """The private key that seals a bag: a PEM file, or a signer URI of a KMS or HSM."""
    public: str | None = None
    """The PEM file of its public half, which a signer URI needs."""


class SealSettings(Section):
    """What signs the seals of finished runs, if anything."""

    key: str | None = None
    """The private key: a PEM file, or a signer URI of a KMS or HSM."""
    public: str | None = None
    """The PEM file of its public half, which a signer URI needs."""


class LandscapeSettings(Section):
    """The audit database. `url` is a SQLAlchemy URL."""

    enabled: bool = True
    backend: Literal["sqlite", "postgresql"] = "sqlite"
    url: Annotated[str, AfterValidator(_database_url)] = "sqlite:///./runs/audit.db"
    auto_migrate: bool = False
    seal: SealSettings = SealSettings()
    export: ExportSettings = ExportSettings()


class ConcurrencySettings(Section):
    """How many external calls may be under way at once."""

    max_workers: PositiveInt = 4


class RetrySettings(Section):
    """How external calls are repeated."""

    max_attempts: PositiveInt = 3
    initial_delay_seconds: PositiveNumber = 1.0
    max_delay_seconds: PositiveNumber = 60.0
    exponential_base: Annotated[FiniteFloat, Field(gt=1.0)] = 2.0


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

    enabled: bool = True
    frequency: Literal["every_row", "every_n", "aggregation_only"] | None = None
    checkpoint_interval: PositiveInt | None = None
    aggregation_boundaries: bool = True


class ServiceRateSettings(Section):
    """The rate limit of one external service."""

    requests_per_second: PositiveInt | None = None
    requests_per_minute: PositiveInt | None = None


class RateLimitSettings(Section):
    """Rate limits of external calls."""

    enabled: bool = True
    default_requests_per_second: PositiveInt | None = None
    default_requests_per_minute: PositiveInt | None = None
    persistence_path: str | None = None
    services: dict[Name, ServiceRateSettings] = {}


class PayloadStoreSettings(Section):
    """Where payloads are kept, and for how many days."""

    backend: Literal["filesystem"] = "filesystem"
    base_path: str = ".elspeth/payloads"
    retention_days: Annotated[int, Field(gt=0, le=_MAX_DAYS)] = 90


class Settings(Section):
    """One pipeline and its audit trail, in either form."""

    sinks: dict[Name, SinkSettings] = Field(min_length=1)
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
    run_mode: Literal["live", "replay", "verify"] = "live"
    replay_source_run_id: str | None = None
    limit: PositiveInt | None = None
    """The number of rows after which a source is not read any further. The others are in no record."""
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

    def model_post_init(self, context: object) -> None:
        """Store the variables, which are the context of the validation."""
        if isinstance(context, frozenset):
            self._variables = context


class PositionalSettings(Settings):
    """A pipeline whose steps follow by kind and position."""

    datasource: PluginSettings
    output_sink: Name
    row_plugins: list[PositionalTransformSettings] = []
    gates: list[PositionalGateSettings] = []
    aggregations: list[PositionalAggregationSettings] = []
    coalesce: list[PositionalCoalesceSettings] = []

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

    source: WiredSourceSettings | None = None
    sources: dict[Name, WiredSourceSettings] = {}
    queues: dict[Name, QueueSettings] = {}
    transforms: list[WiredTransformSettings] = []
    gates: list[WiredGateSettings] = []
    aggregations: list[WiredAggregationSettings] = []
    coalesce: list[WiredCoalesceSettings] = []

    @property
    def source_parts(self) -> Mapping[Location, WiredSourceSettings]:
        """Return the sources by place, in their order."""
        single: dict[Location, WiredSourceSettings] = {} if self.source is None else {("source",): self.source}
        return {**single, **{("sources", name): each for name, each in self.sources.items()}}

    @property
    def transform_parts(self) -> Mapping[Location, WiredTransformSettings]:
        """Return the transforms by their places."""
        return {("transforms", index): each for index, each in enumerate(self.transforms)}
