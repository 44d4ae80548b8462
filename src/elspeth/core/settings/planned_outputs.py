"""The files and objects that a run will publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elspeth.core.settings.landscape import ExportSettings, LandscapeSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import EXPORT, NamedFile, NamedObject, export_form, named_places
from elspeth.core.settings.problems import Location
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.stores import store_of
from elspeth.outputs.irreplaceable import content_problem
from elspeth.outputs.policy import Kind, OutputPolicy, Protected, problem_with

__all__ = ["Objection", "PlannedObject", "PlannedOutput", "planned_outputs"]

Objection = Callable[[LandscapeSettings, Place], str | None]
"""Returns why a file is not an earlier output of a sink, None if it is one."""


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

    `objection` returns why an object that is not empty may not be replaced, None if it may.
    """

    owner: str
    location: Location
    path: ObjectPath
    objection: Callable[[ObjectPath], str | None]
    sink: str

    def problem(self) -> str | None:
        """Return why the object may not be written, or None.

        Asks its store.
        """
        try:
            found = store_of(self.path).state(self.path)
            return None if found is None or found.size == 0 else self.objection(self.path)
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
            if each.owner.startswith("sinks."):
                yield _planned_object(each, landscape, objection, force=force)
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


def _planned_export(
    named: NamedFile, export: ExportSettings, protected: Sequence[Protected], *, force: bool
) -> PlannedOutput:
    from elspeth.core.landscape.exporting.files import export_policy  # noqa: PLC0415  start time

    policy = export_policy(export_form(export, str(named.path)), protected=protected, force=force)
    return PlannedOutput(owner=EXPORT, location=named.location, path=named.path, policy=policy)
