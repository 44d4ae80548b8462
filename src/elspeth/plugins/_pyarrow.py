"""Loads pyarrow, the library for Parquet, which is an extra."""

from __future__ import annotations

from types import ModuleType

from elspeth.contracts.environment import install_command, missing_package
from elspeth.contracts.plugins import PluginError

__all__ = ["check_pyarrow", "require_pyarrow"]


def check_pyarrow() -> None:
    """Raise ValueError if pyarrow is not installed.

    This is for the check of settings, which does not import pyarrow.
    """
    problem = missing_package("pyarrow", "parquet")
    if problem is not None:
        raise ValueError(problem)


def require_pyarrow(plugin: str) -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its Parquet module.

    Raises PluginError if they are missing, with the command that installs them.
    """
    try:
        import pyarrow  # noqa: ICN001, PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise PluginError(f"plugin {plugin!r} needs pyarrow: {install_command('parquet')}") from error
    return pyarrow, parquet
