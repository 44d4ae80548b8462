"""Checks of the files that settings name.

Every file must have a single owner, no output may touch a file that must be kept, and it must be possible to create
every output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from elspeth.contracts.database_urls import database_server, sqlite_file
from elspeth.contracts.input_paths import STANDARD_INPUT, matches_pattern, path_texts
from elspeth.contracts.plugins import PluginCatalogue, PluginKind
from elspeth.core.landscape.exporting.format import (
    ExportFormat,
    compression_problem,
    guess_form,
    name_problem,
    object_problem,
)
from elspeth.core.placeholders import placeholder_problem, placeholder_values
from elspeth.core.settings._object_checks import object_problems
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import (
    EXPORT,
    LOG,
    REPORT,
    NamedFile,
    export_compression,
    export_form,
    export_location,
    named_files,
    protected_files,
)
from elspeth.core.settings.planned_outputs import Objection, planned_outputs
from elspeth.core.settings.problems import Location, Problem, location_text
from elspeth.objects.address import ObjectPath, Place, is_address, place_of
from elspeth.outputs.policy import (
    Extent,
    Kind,
    OutputPolicy,
    Protected,
    identity_of,
    is_within,
    problem_with,
    protection_of,
    real_path,
)

__all__ = ["path_problems"]

_SOME_RUN = "0" * 32
_IN_BAGS = {"include_contents": "contents", "certificate": "certificates"}
"""Settings of the export that only bags support, with what they add to a bag."""
_NAME_BYTES = 255
"""The largest number of bytes of a file name on almost all file systems."""

_SQLITE_MAGIC = b"SQLite format 3\0"


def path_problems(
    parts: Parts,
    settings_file: Path | None,
    plugins: PluginCatalogue,
    *,
    objection: Objection | None = None,
    force: bool = False,
) -> Iterator[Problem]:
    """Yield problems of the paths of outputs.

    With an `objection`, existing files at these paths are checked, too.
    """
    values = placeholder_values(_SOME_RUN, datetime.now(UTC))
    protected = protected_files(parts, settings_file)
    named = list(named_files(parts, values))
    yield from _placeholder_problems(parts)
    yield from _overlaps(named)
    yield from object_problems(parts, values)
    yield from _standard_input_problems(parts)
    for each in named:
        if not each.is_input and (protector := protection_of(each.path, protected)) is not None:
            message = f"{_shown(each.path)}: is {protector.what}, which no output may touch: name another path"
            yield Problem(location=each.location, message=message)
    yield from _server_problems(parts)
    yield from _name_problems(parts)
    yield from _slash_problems(parts, named)
    yield from _length_problems(named)
    if _uses_store(parts, plugins):
        yield from _store_problems(parts, named, protected)
    if objection is None:
        return
    for output in planned_outputs(parts, values, protected=protected, objection=objection, force=force):
        if problem := output.problem():
            yield Problem(location=output.location, message=f"{_shown(output.path)}: {problem}")
    yield from _database_problems(parts, named)


def _shown(path: Place) -> str:
    """Return a path with the placeholder of the run."""
    return str(path).replace(_SOME_RUN, "{run_id}")


def _placeholder_problems(parts: Parts) -> Iterator[Problem]:
    places: list[tuple[Location, object]] = [
        (("sinks", name, "options", "path"), sink.options.get("path"))
        for name, sink in parts.sinks.items()
        if sink is not None
    ]
    if parts.landscape is not None:
        places.append((("landscape", "export", "path"), parts.landscape.export.path))
        places.append((("landscape", "report", "path"), parts.landscape.report.path))
        for index, place in enumerate(parts.landscape.log.after_run):
            places.append((("landscape", "log", "after_run", index, "file"), place.file))
    for location, path in places:
        if isinstance(path, str) and (problem := placeholder_problem(path)) is not None:
            yield Problem(location=location, message=problem)


def _overlaps(named: list[NamedFile]) -> Iterator[Problem]:
    """Yield problems of files with two owners.

    The second owner would replace the output of the first, or a file that is still being read.
    """
    for first, second in combinations(named, 2):
        if (first.is_database and second.is_database) or _are_other_sources(first, second):
            continue
        if first.is_pattern or second.is_pattern:
            if _is_matched(first, second):
                message = (
                    f"{second.text!r} names a file that {first.text!r} of {first.owner} names, too: give each its own"
                )
                yield Problem(location=second.location, message=message)
            continue
        if _is_same(first, second):
            message = f"the file {second.text!r} is also that of {first.owner}: give each its own"
        elif is_within(second.path, first.path):
            message = f"the path {second.text!r} lies below that of {first.owner}: give each its own"
        elif is_within(first.path, second.path):
            message = f"the path {second.text!r} lies above that of {first.owner}: give each its own"
        else:
            continue
        yield Problem(location=second.location, message=message)


def _standard_input_problems(parts: Parts) -> Iterator[Problem]:
    """Yield problems of several sources that read standard input."""
    readers = [
        place for place, source in parts.sources.items() if STANDARD_INPUT in path_texts(source.options.get("path"))
    ]
    for place in readers[1:]:
        message = f"standard input can be read only once, and {location_text(readers[0])} reads it: name a file"
        yield Problem(location=(*place, "options", "path"), message=message)


def _is_matched(first: NamedFile, second: NamedFile) -> bool:
    """Return whether one is a pattern that matches the other."""
    return any(
        pattern.is_pattern
        and not other.is_pattern
        and any(matches_pattern(path, pattern.text) for path in (other.path, real_path(other.path)))
        for pattern, other in ((first, second), (second, first))
    )


def _are_other_sources(first: NamedFile, second: NamedFile) -> bool:
    """Return whether two sources read the files."""
    return first.is_input and second.is_input and first.owner != second.owner


def _is_same(first: NamedFile, second: NamedFile) -> bool:
    for database, other in ((first, second), (second, first)):
        if database.is_database:
            return Protected(path=database.path, what="", extent=Extent.DATABASE).covers(other.path)
    return identity_of(first.path) == identity_of(second.path)


def _server_problems(parts: Parts) -> Iterator[Problem]:
    """Yield sinks that write into the audit database."""
    landscape = parts.landscape
    if landscape is None or not landscape.enabled:
        return
    audit = database_server(landscape.url)
    for name, sink in parts.sinks.items():
        url = None if sink is None else sink.options.get("url")
        if audit is not None and isinstance(url, str) and database_server(url) == audit:
            message = "is the audit database, which no sink may write to: name another database or schema"
            yield Problem(location=("sinks", name, "options", "url"), message=message)


def _name_problems(parts: Parts) -> Iterator[Problem]:
    """Yield settings that contradict the form of the export."""
    export = parts.landscape.export if parts.landscape is not None else None
    if export is None or not export.enabled:
        return
    sink = parts.sinks.get(export.sink or "")
    path = export.path or (sink.options.get("path") if sink is not None else None)
    if not isinstance(path, str):
        return
    is_given = "format" in export.model_fields_set
    form, compression = export_form(export, path), export_compression(export, path)
    problem = name_problem(path, form, compression, is_given=is_given, option="landscape.export.format")
    if problem is not None:
        yield Problem(location=export_location(export), message=f"{path}: {problem}")
    elif compression is not None and (problem := compression_problem(form, compression)) is not None:
        named: Location = export_location(export) if export.compress is None else ("landscape", "export", "compress")
        yield Problem(location=named, message=f"{compression}: {problem}")
    is_archive = guess_form(Path(path)) is ExportFormat.BAG
    if is_address(path) and (problem := object_problem(form, archive=is_archive)) is not None:
        yield Problem(location=export_location(export), message=f"{path}: {problem}")
    only_bags = {"include_contents": export.include_contents, "certificate": export.certificate is not None}
    for name, is_used in only_bags.items():
        if is_used and form is not ExportFormat.BAG:
            message = f"expected with format: bag only, which has a place for {_IN_BAGS[name]}: the format is {form}"
            yield Problem(location=("landscape", "export", name), message=message)
    if export.sign and form is ExportFormat.NT:
        message = "expected false, as the format nt has no place for signatures: use another format, or sign: false"
        yield Problem(location=("landscape", "export", "sign"), message=message)


def _slash_problems(parts: Parts, named: Iterable[NamedFile]) -> Iterator[Problem]:
    """Yield files that are named like directories."""
    for each in named:
        is_rows = each.owner.startswith("sinks.") and each.location[1] != parts.export_sink
        if (is_rows or each.owner == REPORT) and not each.is_database and each.text.endswith("/"):
            message = f"{each.text}: names a directory, and the output is a file: leave the slash out"
            yield Problem(location=each.location, message=message)


def _length_problems(named: Iterable[NamedFile]) -> Iterator[Problem]:
    """Yield names that are too long for a file system."""
    for each in named:
        if each.owner in {EXPORT, LOG, REPORT} or (each.owner.startswith("sinks.") and not each.is_database):
            length = len(os.fsencode(real_path(each.path).name))
            if length > _NAME_BYTES:
                message = f"the name has {length} bytes: expected at most {_NAME_BYTES}"
                yield Problem(location=each.location, message=f"{_shown(each.path)}: {message}")


def _uses_store(parts: Parts, plugins: PluginCatalogue) -> bool:
    """Return whether a run keeps payloads.

    Payloads of rows are kept if the settings have a section for them; payloads of calls are always kept.
    """
    used = [(PluginKind.SOURCE, each.plugin) for each in parts.sources.values()]
    used += [(PluginKind.TRANSFORM, each.plugin) for each in parts.transforms.values()]
    return parts.keeps_rows or any(name in plugins.names(kind) and plugins.calls(kind, name) for kind, name in used)


def _store_problems(parts: Parts, named: Iterable[NamedFile], protected: Sequence[Protected]) -> Iterator[Problem]:
    """Yield paths that conflict with the payload store.

    The store may contain other files, but it must not be one of them or lie below one.
    """
    if parts.payload_store is None or isinstance(path := place_of(parts.payload_store.base_path), ObjectPath):
        return
    location = ("payload_store", "base_path")
    if problem := problem_with(path, OutputPolicy(kind=Kind.DIRECTORY, objection=_bag_objection, protected=protected)):
        yield Problem(location=location, message=f"{path}: {problem}")
    for parent in real_path(path).parents:
        if (protector := protection_of(parent, protected)) is not None:
            message = f"lies below {protector.what}, which no output may touch: name another path"
            yield Problem(location=location, message=f"{path}: {message}")
    store = NamedFile(owner="payload_store", location=location, text=str(path), path=path)
    for each in named:
        relation = "is also" if _is_same(store, each) else "lies below" if is_within(path, each.path) else None
        if relation is not None:
            message = f"the path {store.text!r} {relation} that of {each.owner}: give each its own"
            yield Problem(location=location, message=message)


def _bag_objection(path: Path) -> str | None:
    return "is a bag, to which nothing may be added: name another directory" if (path / "bagit.txt").exists() else None


def _database_problems(parts: Parts, named: Iterable[NamedFile]) -> Iterator[Problem]:
    """Yield problems of the paths of SQLite databases.

    These are the databases of sinks, of rate limits and of the audit trail.
    """
    places: list[tuple[Location, Path, Callable[[Path], str | None]]] = [
        (each.location, each.path, _database_objection) for each in named if each.is_database and not each.is_input
    ]
    if parts.landscape is not None and parts.landscape.enabled and (audit := sqlite_file(parts.landscape.url)):
        # The run itself reports the problems of an existing audit database.
        places.append((("landscape", "url"), audit, _no_objection))
    for location, path, objection in places:
        if problem := problem_with(path, OutputPolicy(kind=Kind.FILE, objection=objection)):
            yield Problem(location=location, message=f"{path}: {problem}")


def _no_objection(_path: Path) -> str | None:
    return None


def _database_objection(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            is_database = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if is_database else "expected a SQLite database, or nothing yet: name another file"
