"""Loads settings: reads a file, applies the environment, checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError

from elspeth.contracts.environment import PREFIX, VARIABLES
from elspeth.contracts.plugins import PluginCatalogue
from elspeth.core.settings._checks import cross_section_problems, mode_problems
from elspeth.core.settings._failure_checks import failure_problems, limit_problems
from elspeth.core.settings._flow_checks import flow_problems
from elspeth.core.settings._path_checks import path_problems
from elspeth.core.settings._yaml_file import (
    GIVEN,
    PlainValue,
    read_settings_file,
    read_settings_mapping,
    read_value,
    text_problems,
)
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.core.settings.model import Settings
from elspeth.core.settings.openlineage import name_job
from elspeth.core.settings.parts import Parts, form_of
from elspeth.core.settings.planned_outputs import Objection
from elspeth.core.settings.problems import Location, Problem, SettingsError, keys_of, structural_problems
from elspeth.core.suggestions import did_you_mean

__all__ = ["load_landscape", "load_settings", "read_dotenv"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?:"([^"]*)"|'([^']*)')\s*(?:#.*)?""")
_LANDSCAPE = "landscape"
_NO_PLACE = "the settings have nothing at that place that could hold it"
_TEST_PREFIX = f"{PREFIX}TEST_"  # for the project's own tests


def _is_section(annotation: object) -> bool:
    if get_origin(annotation) is UnionType:
        return any(map(_is_section, get_args(annotation)))
    return get_origin(annotation) in (dict, list) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


def _keys_of(form: type[Settings]) -> dict[str, bool]:
    """Return the top-level keys, and whether each is a section."""
    return {name: _is_section(form.model_fields[name].annotation) for name in keys_of(form)}


def load_settings(
    source: Path | Mapping[str, object],
    *,
    environ: Mapping[str, str],
    plugins: PluginCatalogue,
    objection: Objection | None = None,
    force: bool = False,
    overrides: Sequence[str] = (),
) -> Settings:
    """Return valid settings that the engine can run.

    `source` is a file, or the settings themselves. Nothing is written. `overrides` are keys with values, like
    `sinks.out.options.path=new.csv`, and take precedence over the file and the environment. With an `objection`,
    existing files in the way of outputs are problems, too; with `force`, only files that must never be replaced are.

    Raises SettingsError with all problems.
    """
    path = source if isinstance(source, Path) else None
    tree = read_settings_file(source) if isinstance(source, Path) else read_settings_mapping(source)
    applied = _apply_environment(tree, environ, _keys_of(form_of(tree)), overrides)
    tree, problems = applied.tree, [*applied.problems, *text_problems(applied.tree)]
    if "replay_from" in tree:  # the name in later releases of the predecessor
        tree.setdefault("replay_source_run_id", tree.pop("replay_from"))
    if path is not None:
        name_job(tree.get("openlineage"), path)
    form, settings = form_of(tree), None
    try:
        settings = form.model_validate(tree, context=applied.variables)
    except ValidationError as error:
        problems += structural_problems(error, form)
    parts = Parts.from_tree(tree)
    problems += cross_section_problems(tree, parts, plugins)
    problems += failure_problems(parts)
    problems += path_problems(parts, path, plugins, objection=objection, force=force)
    if settings is not None and not problems:  # otherwise a misspelt route would make its target look unreachable
        problems += flow_problems(settings, plugins)
        problems += limit_problems(settings)
    problems += mode_problems(tree, parts)
    if settings is None or problems:
        raise SettingsError(GIVEN if path is None else str(path), _first_per_place(problems))
    return settings


def load_landscape(path: Path, environ: Mapping[str, str]) -> LandscapeSettings:
    """Return the section about the audit database.

    The other sections need not be valid. Raises SettingsError if the file or this section cannot be used.
    """
    tree = read_settings_file(path)
    applied = _apply_environment(tree, environ, _keys_of(form_of(tree)), ())
    problems = [each for each in applied.problems if each.location[:1] == (_LANDSCAPE,)]
    landscape = None
    try:
        landscape = LandscapeSettings.model_validate(applied.tree.get(_LANDSCAPE) or {})
    except ValidationError as error:
        found = structural_problems(error, LandscapeSettings)
        problems += [replace(each, location=(_LANDSCAPE, *each.location)) for each in found]
    if landscape is None or problems:
        raise SettingsError(str(path), _first_per_place(problems))
    return landscape


def _first_per_place(problems: list[Problem]) -> list[Problem]:
    """Return the first problem of each place.

    The first one is the cause, and others at the same place follow from it.
    """
    first: dict[object, Problem] = {}
    for problem in problems:
        first.setdefault(problem.location or problem.message, problem)
    return list(first.values())


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the assignments ``NAME=value`` in a file.

    The result is empty if the file does not exist. Raises SettingsError for any other line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(str(path), [Problem(location=(), message=f"cannot be read: {error}")]) from error
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        if match is None:
            problems.append(Problem(location=(), message=f"line {number}: expected NAME=value"))
            continue
        values[match[1]] = _unquoted(match[2])
    if problems:
        raise SettingsError(str(path), problems)
    return values


def _unquoted(value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        return quoted[1] if quoted[1] is not None else quoted[2]
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """Settings with the environment applied, and problems with it."""

    tree: dict[str, PlainValue]
    variables: frozenset[str]
    problems: list[Problem]


def _apply_environment(
    tree: dict[str, PlainValue], environ: Mapping[str, str], keys: Mapping[str, bool], overrides: Sequence[str]
) -> _Applied:
    """Apply the environment to a tree of settings, then overrides.

    Variables override keys of the tree, and replace ``${VAR}`` in its texts. `keys` are the top-level keys; the value
    is true for a section.
    """
    variables: set[str] = set()
    problems = _apply_variables(tree, environ, keys, variables)
    for override in overrides:
        if (problem := _override(tree, override)) is not None:
            problems.append(Problem(location=(), message=f"--set {override}: {problem}"))
    expanded, unset = _expand_variables(tree, environ, variables)
    return _Applied(tree=expanded, variables=frozenset(variables), problems=[*problems, *unset])


def _override(tree: dict[str, PlainValue], override: str) -> str | None:
    """Set a key of the tree, and return any problem."""
    name, equals, text = override.partition("=")
    path = name.split(".")
    if not equals or not all(path):
        return "expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"
    try:
        value = read_value(text)
    except ValueError as error:
        return f"the value {error}"
    return None if _assign(tree, path, value) else _NO_PLACE


def _apply_variables(
    tree: dict[str, PlainValue], environ: Mapping[str, str], keys: Mapping[str, bool], applied: set[str]
) -> list[Problem]:
    """Set every ``ELSPETH_KEY`` and ``ELSPETH_SECTION__KEY`` in the tree.

    Adds the variables to `applied`. Returns a problem for each variable with the prefix that is unknown.
    """
    problems = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(_TEST_PREFIX) or name in VARIABLES:
            continue
        key, *rest = name.removeprefix(PREFIX).lower().split("__")
        if key not in keys:
            problem = _unknown(name, keys) if not rest else f"no section {key!r}{did_you_mean(key, keys)}"
        elif keys[key] and not rest:
            problem = f"{key!r} is a section: name a key in it, as in {name}__KEY"
        elif not _assign(tree, [key, *rest], environ[name]):
            problem = _NO_PLACE
        else:
            applied.add(name)
            continue
        problems.append(Problem(location=(), message=f"the environment sets {name}: {problem}"))
    return problems


def _unknown(name: str, keys: Mapping[str, bool]) -> str:
    ours = [each.removeprefix(PREFIX) for each in VARIABLES]
    known = [*ours, *(each.upper() for each, is_section in keys.items() if not is_section)]
    hint = did_you_mean(name.removeprefix(PREFIX), known).replace("'", f"'{PREFIX}", 1)
    return f"expected one of {', '.join(PREFIX + each for each in known)}, or {PREFIX}SECTION__KEY{hint}"


def _assign(tree: PlainValue, path: list[str], value: PlainValue) -> bool:
    """Set the value at a path, making mappings as needed.

    Returns False if another value is in the way.
    """
    head, *rest = path
    match tree:
        case dict():
            key = head if head in tree else next((key for key in tree if key.lower() == head), head)
            if not rest:
                tree[key] = value
                return True
            if tree.get(key) is None:
                tree[key] = {}
            return _assign(tree[key], rest, value)
        case list() if head.isdecimal() and int(head) < len(tree):
            if not rest:
                tree[int(head)] = value
                return True
            return _assign(tree[int(head)], rest, value)
        case _:
            return False


def _expand_variables(
    tree: dict[str, PlainValue], environ: Mapping[str, str], applied: set[str]
) -> tuple[dict[str, PlainValue], list[Problem]]:
    """Return a copy of the tree with variables replaced.

    They are written ``${VAR}`` or ``${VAR:-default}``. Adds the variables to `applied`. Also returns a problem for each
    unset variable.
    """
    problems: list[Problem] = []

    def expanded(value: PlainValue, location: Location) -> PlainValue:
        match value:
            case dict():
                return {key: expanded(item, (*location, key)) for key, item in value.items()}
            case list():
                return [expanded(item, (*location, index)) for index, item in enumerate(value)]
            case str():
                return _VARIABLE.sub(lambda match: lookup(match, location), value)
            case _:
                return value

    def lookup(match: re.Match[str], location: Location) -> str:
        name, default = match[1], match[2]
        if name in environ:
            applied.add(name)
            return environ[name]
        if default is None:
            message = f"environment variable {name} is not set: set it, or write a default as ${{{name}:-default}}"
            problems.append(Problem(location=location, message=message))
        return default or ""

    return {key: expanded(value, (key,)) for key, value in tree.items()}, problems
