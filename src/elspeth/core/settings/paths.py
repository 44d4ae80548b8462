"""The files that settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from elspeth.contracts.database_urls import sqlite_file
from elspeth.contracts.input_paths import STANDARD_INPUT, is_pattern, path_texts
from elspeth.core.landscape.exporting.format import ExportFormat, guess_form
from elspeth.core.placeholders import fill_placeholders, placeholder_problem
from elspeth.core.settings.landscape import ExportSettings, LandscapeSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, location_text
from elspeth.objects.address import ObjectPath, is_address, place_of
from elspeth.outputs.compression import Compression, guess_compression
from elspeth.outputs.policy import Extent, Protected

__all__ = [
    "EXPORT",
    "LOG",
    "REPORT",
    "NamedFile",
    "NamedObject",
    "checkpoint_file",
    "export_compression",
    "export_form",
    "export_location",
    "named_files",
    "named_objects",
    "named_places",
    "protected_files",
]

EXPORT = "landscape.export"
"""The owner of the export in messages."""

LOG = "landscape.log"
"""The owner of checkpoints of the log of runs in messages."""

REPORT = "landscape.report"
"""The owner of the report in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that settings name at a location.

    `text` is the path as written, or the pattern of several files. Sinks may share a database. `is_input` says that a
    source reads it.
    """

    owner: str
    location: Location
    text: str
    path: Path
    is_database: bool = False
    is_pattern: bool = False
    is_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedObject:
    """An object that settings name at a location.

    `text` is the address as written, or the pattern of several objects. `is_input` says that a source reads it.
    """

    owner: str
    location: Location
    text: str
    path: ObjectPath
    is_pattern: bool = False
    is_input: bool = False


def checkpoint_file(text: str) -> str:
    """Return the path of a checkpoint, placeholders included.

    `text` may name a directory.
    """
    is_directory = text.endswith("/") or Path(text).is_dir()
    if is_address(text):
        return f"{text}{{run_id}}.checkpoint" if is_directory else text
    return str(Path(text) / "{run_id}.checkpoint") if is_directory else text


def export_location(export: ExportSettings) -> Location:
    """Return where the settings give the path of the export."""
    if export.path is not None or export.sink is None:
        return ("landscape", "export", "path")
    return ("sinks", export.sink, "options", "path")


def export_form(export: ExportSettings, path: str) -> ExportFormat:
    """Return the form of the export.

    It is the one in the settings, else that of the path's suffix, else CSV.
    """
    if "format" in export.model_fields_set:
        return ExportFormat(export.format)
    return guess_form(Path(path)) or ExportFormat(export.format)


def export_compression(export: ExportSettings, path: str) -> Compression | None:
    """Return the compression of the export, or None."""
    return guess_compression(Path(path)) if export.compress is None else Compression(export.compress)


def protected_files(parts: Parts, settings_file: Path | None) -> list[Protected]:
    """Return the files that no output may touch.

    These are the settings, secrets, keys and the audit database, whether they exist or not.
    """
    protected = [Protected(path=Path(".env"), what="the file .env of secrets")]
    if settings_file is not None:
        protected.append(Protected(path=settings_file, what="the settings file"))
    landscape = parts.landscape
    if landscape is None:
        return protected
    database = sqlite_file(landscape.url) if landscape.enabled else None
    if database is not None:
        protected.append(Protected(path=database, what="the audit database", extent=Extent.DATABASE))
    signers = (landscape.seal, landscape.log, landscape.export)
    keys = [key for each in signers for key in (each.key, each.public) if key is not None]
    keys += [landscape.export.certificate] if landscape.export.certificate is not None else []
    return protected + [Protected(path=Path(key), what="a key") for key in keys]


def named_files(parts: Parts, values: Mapping[str, str]) -> Iterator[NamedFile]:
    """Yield each file that is read or written; see `named_places`."""
    return (each for each in named_places(parts, values) if isinstance(each, NamedFile))


def named_objects(parts: Parts, values: Mapping[str, str]) -> Iterator[NamedObject]:
    """Yield each object that is read or written; see `named_places`."""
    return (each for each in named_places(parts, values) if isinstance(each, NamedObject))


def named_places(parts: Parts, values: Mapping[str, str]) -> Iterator[NamedFile | NamedObject]:
    """Yield each file and object that is read or written.

    These are the files of sources, of the tables of transforms, of sinks, of the export, of checkpoints, of the report
    and of rate limits. Placeholders are replaced by `values`. Texts that cannot be paths are left out, because other
    checks report them.
    """
    for place, source in parts.sources.items():
        yield from _inputs(location_text(place), place, source.options)
    for place, transform in parts.transforms.items():
        owner, table = location_text(place), transform.options.get("table")
        if isinstance(table, dict) and isinstance(options := table.get("options"), dict):
            yield from _inputs(owner, (*place, "options", "table"), options)
    for name, sink in parts.sinks.items():
        if sink is not None:
            yield from _files_of_plugin(f"sinks.{name}", ("sinks", name), sink.options, values)
    export = parts.landscape.export if parts.landscape is not None else None
    if export is not None and export.enabled and export.path is not None and export.sink is None:
        yield from _file_at(EXPORT, export_location(export), export.path, values)
    yield from _checkpoint_files(parts.landscape, values)
    if parts.landscape is not None and (path := parts.landscape.report.path) is not None:
        yield from _file_at(REPORT, ("landscape", "report", "path"), path, values)
    if parts.rate_limit is not None and (text := parts.rate_limit.persistence_path):
        location = ("rate_limit", "persistence_path")
        yield NamedFile(owner="rate_limit", location=location, text=text, path=Path(text), is_database=True)


def _checkpoint_files(
    landscape: LandscapeSettings | None, values: Mapping[str, str]
) -> Iterator[NamedFile | NamedObject]:
    for index, place in enumerate(() if landscape is None else landscape.log.after_run):
        if place.file is not None:
            location = ("landscape", "log", "after_run", index, "file")
            yield from _file_at(LOG, location, checkpoint_file(place.file), values)


def _inputs(owner: str, location: Location, options: Mapping[str, object]) -> Iterator[NamedFile | NamedObject]:
    """Yield the files that a source reads."""
    for each in _files_of_plugin(owner, location, options, None):
        yield replace(each, is_input=True)


def _files_of_plugin(
    owner: str, location: Location, options: Mapping[str, object], values: Mapping[str, str] | None
) -> Iterator[NamedFile | NamedObject]:
    path, url = options.get("path"), options.get("url")
    if values is None and path is not None:
        yield from _files_of_source(owner, (*location, "options", "path"), path)
    elif values is not None and isinstance(path, str):
        yield from _file_at(owner, (*location, "options", "path"), path, values)
    elif isinstance(url, str) and (database := sqlite_file(url)) is not None:
        location = (*location, "options", "url")
        yield NamedFile(owner=owner, location=location, text=str(database), path=database, is_database=True)


def _files_of_source(owner: str, location: Location, path: object) -> Iterator[NamedFile | NamedObject]:
    """Yield the files that the path of a source names."""
    for index, text in enumerate(path_texts(path)):
        place = location if isinstance(path, str) else (*location, index)
        if text and text != STANDARD_INPUT:
            yield _named_at(owner, place, text, text, is_pattern=is_pattern(text))


def _file_at(owner: str, location: Location, text: str, values: Mapping[str, str]) -> Iterator[NamedFile | NamedObject]:
    if text and placeholder_problem(text) is None:
        yield _named_at(owner, location, text, fill_placeholders(text, values))


def _named_at(
    owner: str, location: Location, text: str, path: str, *, is_pattern: bool = False
) -> NamedFile | NamedObject:
    place = place_of(path)
    if isinstance(place, ObjectPath):
        return NamedObject(owner=owner, location=location, text=text, path=place, is_pattern=is_pattern)
    return NamedFile(owner=owner, location=location, text=text, path=place, is_pattern=is_pattern)
