"""The settings file as typed values. Checks that need more than one section are in `checks`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
)

from elspeth.contracts.database_urls import database_url_problem

__all__ = [
    "AggregationSettings",
    "CheckpointSettings",
    "CoalesceSettings",
    "ConcurrencySettings",
    "ExportSettings",
    "GateSettings",
    "LandscapeSettings",
    "PayloadStoreSettings",
    "PluginSettings",
    "RateLimitSettings",
    "RetrySettings",
    "SealSettings",
    "ServiceRateSettings",
    "Settings",
    "TransformSettings",
    "TriggerSettings",
]

_MOST_DAYS = 365_000  # before that there is no date to count from

# Names become labels of edges and parts of node ids, which the audit tables hold in 64 characters.
PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


def _database_url(text: str) -> str:
    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PluginSettings(_Section):
    """A plugin and its options, which the plugin's own model validates."""

    plugin: Name
    options: dict[str, JsonValue] = {}


class TransformSettings(PluginSettings):
    """A transform. With `branch` it stands on that branch of a fork instead of the main line."""

    branch: Name | None = None


class GateSettings(_Section):
    """A condition, and where each of its values sends a row."""

    name: Name
    condition: str
    routes: dict[Name, Name] = Field(min_length=1)
    fork_to: list[Name] | None = None
    branch: Name | None = None


class TriggerSettings(_Section):
    """When an aggregation emits; the end of the source always does."""

    count: PositiveInt | None = None
    timeout_seconds: PositiveFloat | None = None
    condition: str | None = None


class AggregationSettings(_Section):
    """Rows collected into batches for one plugin."""

    name: Name
    plugin: Name
    trigger: TriggerSettings = TriggerSettings()
    output_mode: Literal["single", "passthrough", "transform"] = "single"
    options: dict[str, JsonValue] = {}
    branch: Name | None = None


class CoalesceSettings(_Section):
    """Where the branches of a fork meet again."""

    name: Name
    branches: list[Name] = Field(min_length=2)
    policy: Literal["require_all", "quorum", "best_effort", "first"] = "require_all"
    quorum_count: PositiveInt | None = None
    timeout_seconds: PositiveFloat | None = None
    merge: Literal["union", "nested", "select"] = "union"
    select_branch: Name | None = None


class ExportSettings(_Section):
    """The export of the audit trail after a run, to `path`, or to the path of the sink that `sink` names."""

    enabled: bool = False
    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    sink: Name | None = None
    format: Literal["csv", "json", "jsonl", "parquet", "bag"] = "csv"
    sign: bool = False
    key: str | None = None
    """The private key that seals a bag: a PEM file, or a signer URI of a KMS or HSM."""
    public: str | None = None
    """The PEM file of its public half, which a signer URI needs."""


class SealSettings(_Section):
    """What signs the seal of a finished run in the audit database; unsigned without a key."""

    key: str | None = None
    """The private key: a PEM file, or a signer URI of a KMS or HSM."""
    public: str | None = None
    """The PEM file of its public half, which a signer URI needs."""


class LandscapeSettings(_Section):
    """The audit database. `url` is a SQLAlchemy URL."""

    enabled: bool = True
    backend: Literal["sqlite", "postgresql"] = "sqlite"
    url: Annotated[str, AfterValidator(_database_url)] = "sqlite:///./runs/audit.db"
    auto_migrate: bool = False
    seal: SealSettings = SealSettings()
    export: ExportSettings = ExportSettings()


class ConcurrencySettings(_Section):
    """How many external calls may be under way at once."""

    max_workers: PositiveInt = 4


class RetrySettings(_Section):
    """How external calls are repeated."""

    max_attempts: PositiveInt = 3
    initial_delay_seconds: PositiveFloat = 1.0
    max_delay_seconds: PositiveFloat = 60.0
    exponential_base: Annotated[FiniteFloat, Field(gt=1.0)] = 2.0


class CheckpointSettings(_Section):
    """How often what happened to rows is committed, so that a run can be resumed from there.

    Without a frequency the engine commits some hundred rows together, or what it has after some seconds.
    """

    enabled: bool = True
    frequency: Literal["every_row", "every_n", "aggregation_only"] | None = None
    checkpoint_interval: PositiveInt | None = None
    aggregation_boundaries: bool = True


class ServiceRateSettings(_Section):
    """The rate limit of one external service."""

    requests_per_second: PositiveInt | None = None
    requests_per_minute: PositiveInt | None = None


class RateLimitSettings(_Section):
    """Rate limits of external calls."""

    enabled: bool = True
    default_requests_per_second: PositiveInt | None = None
    default_requests_per_minute: PositiveInt | None = None
    persistence_path: str | None = None
    services: dict[Name, ServiceRateSettings] = {}


class PayloadStoreSettings(_Section):
    """Where large payloads are kept, and for how many days."""

    backend: Literal["filesystem"] = "filesystem"
    base_path: str = ".elspeth/payloads"
    retention_days: Annotated[int, Field(gt=0, le=_MOST_DAYS)] = 90


class Settings(_Section):
    """One pipeline: where rows come from, what happens to them, where they go, and where that is recorded."""

    datasource: PluginSettings
    sinks: dict[Name, PluginSettings] = Field(min_length=1)
    output_sink: Name
    row_plugins: list[TransformSettings] = []
    gates: list[GateSettings] = []
    aggregations: list[AggregationSettings] = []
    coalesce: list[CoalesceSettings] = []
    landscape: LandscapeSettings = LandscapeSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    retry: RetrySettings = RetrySettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    payload_store: PayloadStoreSettings = PayloadStoreSettings()
    run_mode: Literal["live", "replay", "verify"] = "live"
    replay_source_run_id: str | None = None
    _variables: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def variables(self) -> frozenset[str]:
        """The names of the environment variables from which some of the settings come."""
        return self._variables

    def model_post_init(self, context: object) -> None:
        """Take the variables, which are the context of the validation."""
        if isinstance(context, frozenset):
            self._variables = context
