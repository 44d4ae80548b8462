"""Packages that only some plugins need."""

from __future__ import annotations

from types import ModuleType

from elspeth.contracts.extras import install_command, missing_package
from elspeth.contracts.plugins import PluginError

__all__ = ["find_pyarrow", "require_llm", "require_pyarrow"]


def require_llm(plugin: str) -> None:
    """PluginError that says how to install httpx and Jinja2, if they are not there."""
    try:
        import httpx  # noqa: F401, PLC0415  an extra
        import jinja2  # noqa: F401, PLC0415
    except ImportError as error:
        raise PluginError(f"plugin {plugin!r} needs httpx and jinja2: {install_command('llm')}") from error


def find_pyarrow() -> None:
    """Raise ValueError, for the check of settings, if pyarrow is not installed."""
    problem = missing_package("pyarrow", "parquet")
    if problem is not None:
        raise ValueError(problem)


def require_pyarrow(plugin: str) -> tuple[ModuleType, ModuleType]:
    """Pyarrow and its Parquet module; PluginError that says how to install them."""
    try:
        import pyarrow  # noqa: ICN001, PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise PluginError(f"plugin {plugin!r} needs pyarrow: {install_command('parquet')}") from error
    return pyarrow, parquet
