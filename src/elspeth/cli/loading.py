"""From the path of a settings file to a pipeline that can run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elspeth.core.settings import load_settings
from elspeth.core.settings.environment import read_dotenv
from elspeth.core.settings.model import LandscapeSettings
from elspeth.engine.pipeline import Pipeline, build_pipeline
from elspeth.plugins.manager import PluginManager

__all__ = ["Loaded", "load_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A pipeline, and the environment that its settings were read with."""

    pipeline: Pipeline
    environ: Mapping[str, str]


def load_pipeline(path: Path, *, no_dotenv: bool, outputs_judged: bool = False, force: bool = False) -> Loaded:
    """Load the settings and build their pipeline. SettingsError, PluginRegistrationError; nothing is written.

    Variables of the process win over those in ``.env``. Where outputs are to be judged, what is in their way is a
    problem of the settings; with `force` files of somebody else are not.
    """
    environ = {**({} if no_dotenv else read_dotenv(Path(".env"))), **os.environ}
    plugins = PluginManager.installed()
    objection = _objection if outputs_judged else None
    settings = load_settings(path, environ=environ, plugins=plugins, objection=objection, force=force)
    return Loaded(pipeline=build_pipeline(settings, plugins), environ=environ)


def _objection(landscape: LandscapeSettings, path: Path) -> str | None:
    """Why a sink may not replace a file that is there, None if an earlier run wrote it."""
    from elspeth.core.landscape.queries.recorded_outputs import (  # noqa: PLC0415  most often nothing is there
        objection_of,
        objection_without_database,
    )

    return objection_of(landscape.url, path) if landscape.enabled else objection_without_database(path)
