"""The files that settings name: what a run reads, writes and must not touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from elspeth.contracts.database_urls import sqlite_file
from elspeth.core.landscape.exporting.format import ExportFormat, guess_form
from elspeth.core.settings.model import ExportSettings, LandscapeSettings, Parts, PluginSettings
from elspeth.core.settings.problems import Location, did_you_mean
from elspeth.outputs.policy import Extent, Kind, OutputPolicy, Protected

__all__ = [
    "EXPORT",
    "Named",
    "Objection",
    "PlannedOutput",
    "export_form",
    "export_location",
    "fill_placeholders",
    "has_placeholders",
    "named_files",
    "placeholder_problem",
    "placeholder_values",
    "planned_outputs",
    "protected_files",
]

_NAMES = ("run_id", "date")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def placeholder_values(run_id: str, started_at: datetime) -> dict[str, str]:
    """Return what stands for each placeholder in a run: its id, and the day in UTC on which it began."""
    return {"run_id": run_id, "date": started_at.astimezone(UTC).date().isoformat()}


def has_placeholders(path: str) -> bool:
    """Return whether filling in changes the path."""
    return _PIECE.search(path) is not None


def fill_placeholders(path: str, values: Mapping[str, str]) -> str:
    """Return the path with values for its placeholders; KeyError for one that is unknown."""
    return _PIECE.sub(lambda piece: piece[0][0] if piece[1] is None else values[piece[1]], path)


def placeholder_problem(path: str) -> str | None:
    """Return what is wrong with the braces of a path, None if nothing is."""
    for piece in _PIECE.finditer(path):
        if piece[0] in ("{", "}"):
            return f"has a single {piece[0]!r}: write {piece[0] * 2!r} for the character itself"
        if piece[1] is not None and piece[1] not in _NAMES:
            known = ", ".join(f"{{{name}}}" for name in _NAMES)
            hint = did_you_mean(piece[1], _NAMES)
            return f"unknown placeholder {piece[0]}: expected one of {known}; write '{{{{' for a brace{hint}"
    return None


EXPORT = "landscape.export"
"""Who owns the export of the audit trail, as messages say it."""

Objection = Callable[[LandscapeSettings, Path], str | None]
"""Why a file that is there is no earlier output of a sink, as far as the audit database knows; None if it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file that settings name, as `text` at a location. `is_database` says that others may share it as one."""

    owner: str
    location: Location
    text: str
    path: Path
    is_database: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOutput:
    """A file or directory that a run publishes, or writes to; `sink` is the name of the sink whose rows it has."""

    owner: str
    location: Location
    path: Path
    policy: OutputPolicy
    sink: str | None = None


def export_location(export: ExportSettings) -> Location:
    """Return where settings say where the export goes."""
    if export.path is not None or export.sink is None:
        return ("landscape", "export", "path")
    return ("sinks", export.sink, "options", "path")


def export_form(export: ExportSettings, path: str) -> ExportFormat:
    """Return the form that the settings ask for; that of the path's name if they do not; else CSV."""
    if "format" in export.model_fields_set:
        return ExportFormat(export.format)
    return guess_form(Path(path)) or ExportFormat(export.format)


def protected_files(parts: Parts, settings_file: Path | None) -> list[Protected]:
    """Return what no output of a run may touch, whatever is there: settings, secrets, keys, the audit database."""
    protected = [Protected(path=Path(".env"), what="the file .env of secrets")]
    if settings_file is not None:
        protected.append(Protected(path=settings_file, what="the settings file"))
    landscape = parts.landscape
    if landscape is None:
        return protected
    database = sqlite_file(landscape.url) if landscape.enabled else None
    if database is not None:
        protected.append(Protected(path=database, what="the audit database", extent=Extent.DATABASE))
    keys = (landscape.seal.key, landscape.seal.public, landscape.export.key, landscape.export.public)
    return protected + [Protected(path=Path(key), what="a key") for key in keys if key is not None]


def named_files(parts: Parts, values: Mapping[str, str]) -> Iterator[Named]:
    """Yield each file that a source reads, or that a sink, the export or a rate limit writes to.

    `values` are those of the placeholders. Texts that cannot be paths are left out: that is reported elsewhere.
    """
    if parts.datasource is not None:
        yield from _named_by("datasource", ("datasource",), parts.datasource, None)
    for name, sink in parts.sinks.items():
        if sink is not None:
            yield from _named_by(f"sinks.{name}", ("sinks", name), sink, values)
    export = parts.landscape.export if parts.landscape is not None else None
    if export is not None and export.enabled and export.path is not None and export.sink is None:
        yield from _named(EXPORT, export_location(export), export.path, values)
    if parts.rate_limit is not None and (text := parts.rate_limit.persistence_path):
        location = ("rate_limit", "persistence_path")
        yield Named(owner="rate_limit", location=location, text=text, path=Path(text), is_database=True)


def _named_by(
    owner: str, location: Location, plugin: PluginSettings, values: Mapping[str, str] | None
) -> Iterator[Named]:
    path, url = plugin.options.get("path"), plugin.options.get("url")
    if isinstance(path, str):
        yield from _named(owner, (*location, "options", "path"), path, values)
    elif isinstance(url, str) and (database := sqlite_file(url)) is not None:
        location = (*location, "options", "url")
        yield Named(owner=owner, location=location, text=str(database), path=database, is_database=True)


def _named(owner: str, location: Location, text: str, values: Mapping[str, str] | None) -> Iterator[Named]:
    if text and (values is None or placeholder_problem(text) is None):
        path = Path(text if values is None else fill_placeholders(text, values))
        yield Named(owner=owner, location=location, text=text, path=path)


def planned_outputs(
    parts: Parts,
    values: Mapping[str, str],
    *,
    protected: Sequence[Protected],
    objection: Objection,
    force: bool,
) -> Iterator[PlannedOutput]:
    """Yield what a run publishes under a name: the files of its sinks, and its export."""
    landscape = parts.landscape
    if landscape is None:
        return
    for each in named_files(parts, values):
        name = str(each.location[1])
        if each.owner == EXPORT or name == parts.export_sink:
            yield _planned_export(each, landscape.export, protected, force=force)
        elif each.owner.startswith("sinks.") and not each.is_database:
            policy = OutputPolicy(
                kind=Kind.FILE,
                objection=lambda path: objection(landscape, path),
                protected=protected,
                force=force,
            )
            yield PlannedOutput(owner=each.owner, location=each.location, path=each.path, policy=policy, sink=name)


def _planned_export(
    named: Named, export: ExportSettings, protected: Sequence[Protected], *, force: bool
) -> PlannedOutput:
    from elspeth.core.landscape.exporting.files import export_policy  # noqa: PLC0415  start time

    policy = export_policy(export_form(export, str(named.path)), protected=protected, force=force)
    return PlannedOutput(owner=EXPORT, location=named.location, path=named.path, policy=policy)
