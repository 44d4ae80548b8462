"""Packages that only some pipelines need, installed as extras of this one."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["missing_package"]


def missing_package(module: str, extra: str) -> str | None:
    """Return how to install a module that is missing, None if it is there. Does not import it, which takes time."""
    if find_spec(module) is not None:
        return None
    return f"needs {module}, which is not installed: pip install 'elspeth[{extra}]'"
