"""The hook through which a package offers plugins.

A package implements it in a module and names that module as an entry point in the group ``elspeth.plugins``::

    from elspeth.plugins.hookspecs import hookimpl

    @hookimpl
    def elspeth_plugins():
        return [MySource, MySink]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from elspeth.contracts.plugins import Plugin

__all__ = ["PROJECT", "PluginSpecification", "hookimpl"]

PROJECT = "elspeth"

_hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class PluginSpecification:
    """The hooks that elspeth calls."""

    @_hookspec
    def elspeth_plugins(self) -> Iterable[type[Plugin]]:
        """Return the plugin classes of a package."""
        raise NotImplementedError
