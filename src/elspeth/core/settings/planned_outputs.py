"""The files and objects that a run will publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elspeth.core.settings.landscape import ExportSettings, LandscapeSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import EXPORT, LOG, REPORT, NamedFile, NamedObject, export_form, named_places
from elspeth.core.settings.problems import Location, location_text
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.stores import store_of
from elspeth.outputs.irreplaceable import content_problem
from elspeth.outputs.policy import Kind, OutputPolicy, Protected, problem_with
from elspeth.outputs.uploads import ObjectObjection, is_there_already, objection_to

__all__ = ["Objection", "PlannedObject", "PlannedOutput", "planned_outputs", "unwritable_objects"]

Objection = Callable[[LandscapeSettings, Place], str | None]
"""A function that returns why a file is not an earlier output of a sink, or None if it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOutput:
    """A file or directory that a run publishes.

    `sink` is the name of the sink whose rows it has, None for the export.
    """

    owner: str
    location: Location
    path: Path
    policy: OutputPolicy
    sink: str | None = None

    def problem(self) -> str | None:
        """Return why the output may not be written, or None."""
        return problem_with(self.path, self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """An object that a run publishes.

    `sink` is the name of the sink whose rows it has, None for the export.
    """

    owner: str
    location: Location
    path: ObjectPath
    objection: ObjectObjection
    sink: str | None = None

    def problem(self) -> str | None:
        """Return why the object may not be written, or None.

        The object store is queried.
        """
        try:
            return objection_to(self.path, store_of(self.path).state(self.path), self.objection)
        except OSError as error:
            return f"cannot be written: {error.strerror}"


def planned_outputs(
    parts: Parts,
    values: Mapping[str, str],
    *,
    protected: Sequence[Protected],
    objection: Objection,
    force: bool,
) -> Iterator[PlannedOutput | PlannedObject]:
    """Yield the outputs of sinks, and the export."""
    landscape = parts.landscape
    if landscape is None:
        return
    for each in named_places(parts, values):
        name = str(each.location[1])
        if each.is_input:
            continue
        if isinstance(each, NamedObject):
            if each.owner.startswith("sinks.") and name != parts.export_sink:
                yield _planned_object(each, landscape, objection, force=force)
            elif each.owner not in {LOG, REPORT}:
                yield _planned_upload(each, force=force)
        elif each.owner == EXPORT or (each.owner.startswith("sinks.") and name == parts.export_sink):
            yield _planned_export(each, landscape.export, protected, force=force)
        elif each.owner.startswith("sinks.") and not each.is_database:
            policy = OutputPolicy(
                kind=Kind.FILE,
                objection=lambda path: objection(landscape, path),
                protected=protected,
                force=force,
            )
            yield PlannedOutput(owner=each.owner, location=each.location, path=each.path, policy=policy, sink=name)


def _planned_object(
    named: NamedObject, landscape: LandscapeSettings, objection: Objection, *, force: bool
) -> PlannedObject:
    return PlannedObject(
        owner=named.owner,
        location=named.location,
        path=named.path,
        objection=content_problem if force else lambda path: objection(landscape, path),
        sink=str(named.location[1]),
    )


def _planned_upload(named: NamedObject, *, force: bool) -> PlannedObject:
    """Plan an export, which replaces nothing."""
    return PlannedObject(
        owner=EXPORT, location=named.location, path=named.path, objection=is_there_already(force=force)
    )


def _planned_export(
    named: NamedFile, export: ExportSettings, protected: Sequence[Protected], *, force: bool
) -> PlannedOutput:
    from elspeth.core.landscape.exporting.files import export_policy  # noqa: PLC0415  start time

    policy = export_policy(export_form(export, str(named.path)), protected=protected, force=force)
    return PlannedOutput(owner=EXPORT, location=named.location, path=named.path, policy=policy)


def unwritable_objects(parts: Parts, values: Mapping[str, str]) -> Iterator[str]:
    """Yield why reports and checkpoints cannot become objects.

    They do not fail a run. Their object stores are queried.
    """
    for each in named_places(parts, values):
        if isinstance(each, NamedObject) and each.owner in {LOG, REPORT}:
            try:
                store_of(each.path).check_writable(each.path)
            except OSError as error:
                yield f"{location_text(each.location)}: {each.text}: cannot be written: {error.strerror}"
