"""Loading a settings file: read, extended by the environment, validated, with every problem reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_origin

from pydantic import BaseModel, ValidationError

from elspeth.contracts.plugins import PluginCatalogue
from elspeth.core.settings.checks import cross_section_problems
from elspeth.core.settings.environment import apply_environment
from elspeth.core.settings.graph_checks import wiring_problems
from elspeth.core.settings.mode_checks import mode_problems
from elspeth.core.settings.model import Settings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.path_checks import path_problems
from elspeth.core.settings.paths import Objection
from elspeth.core.settings.problems import Problem, SettingsError, structural_problems
from elspeth.core.settings.yaml_file import read_settings_file, text_problems

__all__ = ["load_settings"]


def _is_section(annotation: object) -> bool:
    return get_origin(annotation) in (dict, list) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


_KEYS = {name: _is_section(field.annotation) for name, field in Settings.model_fields.items()}


def load_settings(
    path: Path,
    *,
    environ: Mapping[str, str],
    plugins: PluginCatalogue,
    objection: Objection | None = None,
    force: bool = False,
) -> Settings:
    """Return valid settings that the engine can run. Writes nothing.

    With an `objection` to ask, what is in the way of outputs is a problem, too; with `force` only what must stay is.

    Raises SettingsError with every problem.
    """
    tree = read_settings_file(path)
    applied = apply_environment(tree, environ, _KEYS)
    tree, problems = applied.tree, [*applied.problems, *text_problems(applied.tree)]
    settings = None
    try:
        settings = Settings.model_validate(tree, context=applied.variables)
    except ValidationError as error:
        problems += structural_problems(error, Settings)
    parts = Parts.of(tree)
    problems += cross_section_problems(parts, plugins)
    problems += path_problems(parts, path, plugins, objection=objection, force=force)
    if settings is not None and not problems:  # a misspelt route would make its target look unreachable
        problems += wiring_problems(settings)
    problems += mode_problems(tree, parts)
    if settings is None or problems:
        raise SettingsError(str(path), _without_echoes(problems))
    return settings


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """One problem per place: the first is the cause, what follows at the same place comes from it."""
    first: dict[object, Problem] = {}
    for problem in problems:
        first.setdefault(problem.location or problem.message, problem)
    return list(first.values())
