"""Loads pipelines from settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elspeth.core.settings import load_settings
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.core.settings.loading import read_dotenv
from elspeth.engine.pipeline import Pipeline, build_pipeline
from elspeth.objects.address import Place
from elspeth.plugins.manager import PluginManager

if TYPE_CHECKING:
    from elspeth.engine.keys import RunKeys

__all__ = ["GivenSettings", "LoadedPipeline", "load_pipeline", "load_with_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSettings:
    """The settings of a run, as they were given.

    They are in the file `path`, or in `tree`. `overrides` holds keys with values that take precedence. `limit` is the
    largest number of rows to read, `workers` the number of processes, `cluster` the address of a scheduler.
    """

    path: Path | None = None
    tree: Mapping[str, object] | None = None
    overrides: Sequence[str] = ()
    limit: int | None = None
    workers: int | None = None
    cluster: str | None = None
    no_dotenv: bool = False

    def __str__(self) -> str:
        """Return the options that give the same settings again."""
        limit = [] if self.limit is None else ["--limit", str(self.limit)]
        workers = [] if self.workers is None else ["--workers", str(self.workers)]
        cluster = [] if self.cluster is None else ["--cluster", self.cluster]
        sets = [part for each in self.overrides for part in ("--set", each)]
        path = "SETTINGS" if self.path is None else str(self.path)
        return shlex.join(["-s", path, *sets, *limit, *workers, *cluster])

    def all_overrides(self) -> list[str]:
        """Return all overrides, including those by options."""
        numbers = {"limit": self.limit, "concurrency.workers": self.workers}
        return [*self.overrides, *(f"{key}={number}" for key, number in numbers.items() if number is not None)]

    @property
    def source(self) -> Path | Mapping[str, object]:
        """Return the file or the mapping of the settings."""
        return (self.tree or {}) if self.path is None else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPipeline:
    """A pipeline and the environment of its settings."""

    pipeline: Pipeline
    environ: Mapping[str, str]


def load_pipeline(given: GivenSettings, *, check_outputs: bool = False, force: bool = False) -> LoadedPipeline:
    """Load settings and build their pipeline, writing nothing.

    Environment variables take precedence over those in `.env`. With `check_outputs`, files that outputs may not replace
    are reported as problems of the settings; with `force`, files of unknown origin may be replaced.

    Raises SettingsError or PluginRegistrationError.
    """
    environ = {**({} if given.no_dotenv else read_dotenv(Path(".env"))), **os.environ}
    plugins = PluginManager.installed()
    objection = _objection if check_outputs else None
    settings = load_settings(
        given.source,
        environ=environ,
        plugins=plugins,
        objection=objection,
        force=force,
        overrides=given.all_overrides(),
    )
    return LoadedPipeline(pipeline=build_pipeline(settings, plugins), environ=environ)


def load_with_keys(
    given: GivenSettings,
    *,
    check_outputs: bool = False,
    force: bool = False,
    ask: Callable[[str], str | None] = lambda _: None,
) -> tuple[Pipeline, RunKeys]:
    """Load a pipeline and the keys that its run needs.

    `ask` is called for pass phrases that the environment does not have. Raises the errors of `load_pipeline` and
    `load_run_keys`.
    """
    from elspeth.engine.keys import load_run_keys  # noqa: PLC0415  start time

    loaded = load_pipeline(given, check_outputs=check_outputs, force=force)
    source = "settings" if given.path is None else str(given.path)
    return loaded.pipeline, load_run_keys(loaded.pipeline.settings, loaded.environ, source=source, ask=ask)


def _objection(landscape: LandscapeSettings, path: Place) -> str | None:
    """Return why a sink may not replace a file.

    Returns None if an earlier run wrote the file.
    """
    from elspeth.core.landscape.queries.recorded import (  # noqa: PLC0415  most often no file exists
        objection_by_url,
        objection_without_database,
    )

    return objection_by_url(landscape.url, path) if landscape.enabled else objection_without_database(path)
