"""Settings of the audit database, and of what leaves it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from elspeth.contracts.database_urls import database_url_problem
from elspeth.contracts.plugins import check_address
from elspeth.core.settings.steps import Name, Section

__all__ = [
    "ExportSettings",
    "LandscapeSettings",
    "LogPlaceSettings",
    "LogSettings",
    "PlaceText",
    "ReportSettings",
    "SealSettings",
]


def _database_url(text: str) -> str:
    problem = database_url_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


def _service_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "expected a URL that begins with https:// or http://"
        raise ValueError(message)
    if parts.username is not None or parts.password is not None:
        message = "expected a URL without user and password, as it is recorded"
        raise ValueError(message)
    return text


def _check_directory(text: str) -> str:
    """Return a path or address, perhaps with a trailing slash."""
    check_address(f"{text}{{run_id}}" if text.endswith("/") else text)
    return text


PlaceText = Annotated[str, AfterValidator(check_address)]
"""A local path, or the address of an object."""

_NamedPlace = Annotated[str, StringConstraints(min_length=1), AfterValidator(check_address)]

ServiceUrl = Annotated[str, AfterValidator(_service_url)]
"""The address of a service that needs no secret."""


def _has_path(export: dict[str, Any]) -> bool:
    return export.get("path") is not None


PublicHalf = Annotated[str | None, Field(description="The PEM file of its public half, which a signer URI needs.")]
PassphraseVariable = Annotated[
    str | None,
    Field(description="The variable with the pass phrase of an encrypted key. If not given: `ELSPETH_KEY_PASSPHRASE`."),
]
"""The types of the settings that describe a private key, in addition to the key itself."""


class ExportSettings(Section):
    """The export of the audit trail after a run.

    It goes to `path`, or to the path of the sink that `sink` names.
    """

    path: _NamedPlace | None = Field(
        default=None,
        description="Where the export goes: a path, or the address of an object for formats that are one file. May"
        " contain `{run_id}` and `{date}`.",
    )
    enabled: bool = Field(
        default_factory=_has_path, description="Whether every run is exported. If not given: whether there is a `path`."
    )
    sink: Name | None = Field(
        default=None, description="A sink whose path is used instead. Settings of earlier versions have it."
    )
    format: Literal["csv", "json", "jsonl", "parquet", "nt", "bag"] = Field(
        default="csv", description="The format of the export. By default, the suffix of the path decides."
    )
    compress: Literal["gzip", "zstd"] | None = Field(
        default=None,
        description="How `jsonl`, `json`, `nt` and `csv` are compressed. By default, the suffix of the name decides.",
    )
    sign: bool = Field(
        default=False, description="Whether records are signed with `ELSPETH_SIGNING_KEY`, and a bag with `key`."
    )
    contact_name: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Who makes the bag, which it names: a person or an organisation."
    )
    contact_email: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="The e-mail address of the bag's maker."
    )
    include_contents: bool = Field(
        default=False, description="Whether a bag holds the contents of rows and calls that `payload_store` keeps."
    )
    key: str | None = Field(
        default=None, description="The private key that signs a bag: a PEM file, or a signer URI of a KMS or HSM."
    )
    public: PublicHalf = None
    certificate: str | None = Field(
        default=None,
        description="The PEM file of the key's X.509 certificate and those of its authorities, put into a bag.",
    )
    passphrase_env: PassphraseVariable = None


class SealSettings(Section):
    """What signs the seals of finished runs, if anything."""

    key: str | None = Field(default=None, description="The private key: a PEM file, or a signer URI of a KMS or HSM.")
    public: PublicHalf = None
    passphrase_env: PassphraseVariable = None


class LogPlaceSettings(Section):
    """A place for checkpoints: a file or a witness."""

    file: Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_directory)] | None = Field(
        default=None,
        description="The file or object. May contain `{run_id}` and `{date}`; in a directory, named with a slash at its"
        " end, the file is `{run_id}.checkpoint`.",
    )
    witness: ServiceUrl | None = Field(default=None, description="The URL of a witness (c2sp.org/tlog-witness).")
    key: str | None = Field(
        default=None, description="The key by which the witness cosigns, `NAME+ID+BASE64`, as a policy names it."
    )


class LogSettings(Section):
    """Checkpoints of the log, left when a run ends."""

    key: str | None = Field(
        default=None, description="The private key that signs them, Ed25519: a PEM file, or a signer URI."
    )
    public: PublicHalf = None
    passphrase_env: PassphraseVariable = None
    after_run: list[LogPlaceSettings] = Field(
        default=[], description="Where a checkpoint is left. What fails is recorded, and fails no run."
    )
    timestamp: ServiceUrl | None = Field(
        default=None,
        description="A time-stamp authority (RFC 3161), whose response is left beside each file as `.tsr`.",
    )


class ReportSettings(Section):
    """The page that shows a run, written when it ends.

    If writing it fails, this is reported and logged; the run does not fail.
    """

    path: _NamedPlace | None = Field(
        default=None,
        description="The HTML file or object. May contain `{run_id}` and `{date}`. An earlier report is replaced.",
    )
    embed: Literal["all", "failures", "none"] | None = Field(
        default=None,
        description="Which records the page holds. By default all of a run of up to 200,000, otherwise those of rows"
        " with failures or calls, and of the first rows.",
    )


class LandscapeSettings(Section):
    """The audit database."""

    enabled: bool = Field(default=True, description="Whether runs are recorded.")
    backend: Literal["sqlite", "postgresql"] = Field(
        default="sqlite", description="The kind of database that `url` must name. If not given, either is accepted."
    )
    url: Annotated[str, AfterValidator(_database_url)] = Field(
        default="sqlite:///./runs/audit.db", description="The database, as an SQLAlchemy URL."
    )
    identity: bool = Field(
        default=True,
        description="Whether the account and the machine on which a run is carried out are recorded. If not, names of"
        " datasets, which hold absolute paths, are recorded only with a section `openlineage`.",
    )
    auto_migrate: bool = Field(
        default=False, description="Whether a run migrates a database of an earlier epoch, instead of refusing it."
    )
    seal: SealSettings = SealSettings()
    log: LogSettings = LogSettings()
    report: ReportSettings = ReportSettings()
    export: ExportSettings = ExportSettings()
