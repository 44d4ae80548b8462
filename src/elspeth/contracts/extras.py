"""Packages that only some pipelines need, installed as extras of this one."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["install_command", "missing_package"]


def install_command(extra: str) -> str:
    """Return the command that installs an extra, for messages.

    It works in a checkout only: until a release stands in a package index, whoever likes may take the name there.
    """
    return f"in a checkout of elspeth, pip install '.[{extra}]'"


def missing_package(module: str, extra: str) -> str | None:
    """Return how to install a module that is missing, None if it is there. Does not import it, which takes time."""
    if find_spec(module) is not None:
        return None
    return f"needs {module}, which is not installed: {install_command(extra)}"
