"""A pipeline engine whose every decision can be proved later."""

__all__ = [
    "AuditTrail",
    "AuditedRun",
    "ExportFailedError",
    "LandscapeError",
    "PluginError",
    "ResumeError",
    "RunInterruptedError",
    "SettingsError",
    "Table",
    "TooManyFailuresError",
    "WorkerError",
    "__version__",
    "open",
    "resume",
    "run",
]

__version__ = "0.1.0"

TYPE_CHECKING = False  # the module typing takes longer to import than this one
if TYPE_CHECKING:
    from elspeth.api.reading import AuditedRun, AuditTrail, open  # noqa: A004
    from elspeth.api.running import resume, run
    from elspeth.api.tables import Table
    from elspeth.contracts.plugins import PluginError
    from elspeth.core.landscape.database.errors import LandscapeError
    from elspeth.core.settings import SettingsError
    from elspeth.engine.errors import ResumeError, RunInterruptedError, TooManyFailuresError, WorkerError
    from elspeth.engine.reporting import ExportFailedError

_PLACES = {
    "AuditTrail": "api.reading",
    "AuditedRun": "api.reading",
    "ExportFailedError": "engine.reporting",
    "LandscapeError": "core.landscape.database.errors",
    "PluginError": "contracts.plugins",
    "ResumeError": "engine.errors",
    "RunInterruptedError": "engine.errors",
    "SettingsError": "core.settings",
    "Table": "api.tables",
    "TooManyFailuresError": "engine.errors",
    "WorkerError": "engine.errors",
    "open": "api.reading",
    "resume": "api.running",
    "run": "api.running",
}
"""The modules of the Python API, by the names that are offered here."""


def __getattr__(name: str) -> object:
    """Load a part of the Python API, and return it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  start time

    return getattr(import_module(f"elspeth.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted({*globals(), *__all__})
