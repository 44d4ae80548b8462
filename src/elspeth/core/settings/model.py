"""The settings of a pipeline as typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    ValidationError,
)

from elspeth.contracts.database_urls import database_url_problem
from elspeth.contracts.errors import short_repr
from elspeth.core.settings._yaml_file import PlainValue

__all__ = [
    "AggregationSettings",
    "CheckpointSettings",
    "CoalesceSettings",
    "ConcurrencySettings",
    "ExportSettings",
    "FailIfSettings",
    "GateSettings",
    "LandscapeSettings",
    "Limit",
    "Parts",
    "PayloadStoreSettings",
    "PluginSettings",
    "RateLimitSettings",
    "RetrySettings",
    "SealSettings",
    "ServiceRateSettings",
    "Settings",
    "SinkSettings",
    "TransformSettings",
    "TriggerSettings",
]

_MAX_DAYS = 365_000  # Python has no dates further back
_PERCENTAGE = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,6})?)%")

# Names become labels of edges and parts of node ids, which the audit tables hold in 64 characters.
_PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


def _database_url(text: str) -> str:
    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PluginSettings(_Section):
    """A plugin with options for its own model."""

    plugin: _Name
    options: dict[str, JsonValue] = {}


class TransformSettings(PluginSettings):
    """A transform.

    With `branch` it stands on that branch of a fork instead of the main line.
    """

    branch: _Name | None = None


class SinkSettings(PluginSettings):
    """A sink."""

    error_fields: bool | None = Field(
        default=None,
        description="Whether each row gets fields that say why it failed elsewhere. If not given: in a file that only"
        " failed rows go to, whose schema allows further fields.",
    )


class GateSettings(_Section):
    """A condition, with a route for each of its values."""

    name: _Name
    condition: str
    routes: dict[_Name, _Name] = Field(min_length=1)
    fork_to: list[_Name] | None = None
    branch: _Name | None = None


class TriggerSettings(_Section):
    """When an aggregation emits, besides the end of the source."""

    count: PositiveInt | None = None
    timeout_seconds: _PositiveFloat | None = None
    condition: str | None = None


class AggregationSettings(_Section):
    """Rows collected into batches for one plugin."""

    name: _Name
    plugin: _Name
    trigger: TriggerSettings = TriggerSettings()
    output_mode: Literal["single", "passthrough", "transform"] = "single"
    options: dict[str, JsonValue] = {}
    branch: _Name | None = None


class CoalesceSettings(_Section):
    """Where the branches of a fork meet again."""

    name: _Name
    branches: list[_Name] = Field(min_length=2)
    policy: Literal["require_all", "quorum", "best_effort", "first"] = "require_all"
    quorum_count: PositiveInt | None = None
    timeout_seconds: _PositiveFloat | None = None
    merge: Literal["union", "nested", "select"] = "union"
    select_branch: _Name | None = None


class ExportSettings(_Section):
    """The export of the audit trail after a run.

    It goes to `path`, or to the path of the sink that `sink` names.
    """

    enabled: bool = False
    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    sink: _Name | None = None
    format: Literal["csv", "json", "jsonl", "parquet", "bag"] = "csv"
    compress: Literal["gzip", "zstd"] | None = None
    """How `jsonl`, `json` and `csv` are compressed; without it, what the name of the file says."""
    sign: bool = False
    key: str | None = None
    """The private key that seals a bag: a PEM file, or a signer URI of a KMS or HSM."""
    public: str | None = None
    """The PEM file of its public half, which a signer URI needs."""


class SealSettings(_Section):
    """What signs the seals of finished runs, if anything."""

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
    initial_delay_seconds: _PositiveFloat = 1.0
    max_delay_seconds: _PositiveFloat = 60.0
    exponential_base: Annotated[FiniteFloat, Field(gt=1.0)] = 2.0


def _limit(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_count or (isinstance(value, str) and _PERCENTAGE.fullmatch(value)):
        return value
    raise ValueError(f"expected a number of rows, such as 10, or a part of them, such as '1%', got {short_repr(value)}")


Limit = Annotated[int | str, BeforeValidator(_limit)]
"""A number of rows, or a percentage of them."""


class FailIfSettings(_Section):
    """How many failures a run may have at most.

    The run fails if there are more. A limit is a number such as 10, or a percentage such as '1%'.
    """

    quarantined: Limit | None = Field(default=None, description="Rows that the source refused, of all its rows.")
    failed: Limit | None = Field(default=None, description="Tokens that failed, of all rows of the source.")
    steps: dict[_Name, Limit] = Field(
        default={}, description="Rows that failed at a step, by its name, of the rows that reached it."
    )


class CheckpointSettings(_Section):
    """How often a run commits what happened to rows.

    A run resumes from its last commit. Without a frequency the engine commits some hundred rows together, or what it
    has after some seconds.
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
    services: dict[_Name, ServiceRateSettings] = {}


class PayloadStoreSettings(_Section):
    """Where payloads are kept, and for how many days."""

    backend: Literal["filesystem"] = "filesystem"
    base_path: str = ".elspeth/payloads"
    retention_days: Annotated[int, Field(gt=0, le=_MAX_DAYS)] = 90


class Settings(_Section):
    """One pipeline and its audit trail."""

    datasource: PluginSettings
    sinks: dict[_Name, SinkSettings] = Field(min_length=1)
    output_sink: _Name
    row_plugins: list[TransformSettings] = []
    gates: list[GateSettings] = []
    aggregations: list[AggregationSettings] = []
    coalesce: list[CoalesceSettings] = []
    landscape: LandscapeSettings = LandscapeSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    retry: RetrySettings = RetrySettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    fail_if: FailIfSettings | None = None
    rate_limit: RateLimitSettings = RateLimitSettings()
    payload_store: PayloadStoreSettings = PayloadStoreSettings()
    run_mode: Literal["live", "replay", "verify"] = "live"
    replay_source_run_id: str | None = None
    _variables: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def variables(self) -> frozenset[str]:
        """Return the names of environment variables in these settings."""
        return self._variables

    def model_post_init(self, context: object) -> None:
        """Store the variables, which are the context of the validation."""
        if isinstance(context, frozenset):
            self._variables = context


_ModelT = TypeVar("_ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The sections of a settings file that are valid.

    Checks across sections run on these, so that one report has every problem of a file. A section that is not valid is
    None or absent. Lists are by index.
    """

    datasource: PluginSettings | None
    sinks: Mapping[str, SinkSettings | None]
    row_plugins: Mapping[int, TransformSettings]
    gates: Mapping[int, GateSettings]
    aggregations: Mapping[int, AggregationSettings]
    coalesce: Mapping[int, CoalesceSettings]
    output_sink: str | None
    landscape: LandscapeSettings | None
    rate_limit: RateLimitSettings | None
    payload_store: PayloadStoreSettings | None
    keeps_rows: bool
    """Whether there is a section `payload_store`, by which the store keeps the content of rows, too."""

    @classmethod
    def from_tree(cls, tree: Mapping[str, PlainValue]) -> Parts:
        """Validate each section of a settings tree by itself."""
        sinks, output_sink = tree.get("sinks"), tree.get("output_sink")
        return cls(
            datasource=_valid(PluginSettings, tree.get("datasource")),
            sinks={name: _valid(SinkSettings, item) for name, item in sinks.items()} if isinstance(sinks, dict) else {},
            row_plugins=_valid_items(TransformSettings, tree.get("row_plugins")),
            gates=_valid_items(GateSettings, tree.get("gates")),
            aggregations=_valid_items(AggregationSettings, tree.get("aggregations")),
            coalesce=_valid_items(CoalesceSettings, tree.get("coalesce")),
            output_sink=output_sink if isinstance(output_sink, str) else None,
            landscape=_valid(LandscapeSettings, tree.get("landscape") or {}),
            rate_limit=_valid(RateLimitSettings, tree.get("rate_limit") or {}),
            payload_store=_valid(PayloadStoreSettings, tree.get("payload_store") or {}),
            keeps_rows="payload_store" in tree,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Parts:
        """Return all sections of valid settings."""
        return cls(
            datasource=settings.datasource,
            sinks=settings.sinks,
            row_plugins=dict(enumerate(settings.row_plugins)),
            gates=dict(enumerate(settings.gates)),
            aggregations=dict(enumerate(settings.aggregations)),
            coalesce=dict(enumerate(settings.coalesce)),
            output_sink=settings.output_sink,
            landscape=settings.landscape,
            rate_limit=settings.rate_limit,
            payload_store=settings.payload_store,
            keeps_rows="payload_store" in settings.model_fields_set,
        )

    @property
    def export_sink(self) -> str | None:
        """Return the sink that takes the export instead of rows."""
        export = self.landscape.export if self.landscape else None
        return export.sink if export and export.enabled else None


def _valid_items(model: type[_ModelT], items: PlainValue) -> dict[int, _ModelT]:
    """Return the valid items of a list by index."""
    found = enumerate(_valid(model, item) for item in (items if isinstance(items, list) else []))
    return {index: item for index, item in found if item is not None}


def _valid(model: type[_ModelT], value: PlainValue) -> _ModelT | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None  # reported when the whole file is validated
