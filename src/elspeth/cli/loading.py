"""From the path of a settings file to a pipeline that can run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elspeth.core.settings import load_settings
from elspeth.core.settings.environment import read_dotenv
from elspeth.engine.pipeline import Pipeline, build_pipeline
from elspeth.plugins.manager import PluginManager

__all__ = ["Loaded", "load_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A pipeline, and the environment that its settings were read with."""

    pipeline: Pipeline
    environ: Mapping[str, str]


def load_pipeline(path: Path, *, no_dotenv: bool) -> Loaded:
    """Load the settings and build their pipeline. SettingsError, PluginRegistrationError; nothing is written.

    Variables of the process win over those in ``.env``.
    """
    environ = {**({} if no_dotenv else read_dotenv(Path(".env"))), **os.environ}
    plugins = PluginManager.installed()
    return Loaded(
        pipeline=build_pipeline(load_settings(path, environ=environ, plugins=plugins), plugins), environ=environ
    )
