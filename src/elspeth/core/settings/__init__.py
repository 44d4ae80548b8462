"""The settings file of a pipeline."""

from elspeth.core.settings.loading import load_settings
from elspeth.core.settings.model import Settings
from elspeth.core.settings.problems import Problem, SettingsError

__all__ = ["Problem", "Settings", "SettingsError", "load_settings"]
