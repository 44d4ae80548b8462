"""Plugins for elspeth that know bank account numbers."""

from elspeth.plugins.hookspecs import hookimpl
from elspeth_iban.transform import IbanTransform

__all__ = ["elspeth_plugins"]


@hookimpl
def elspeth_plugins() -> list[type[IbanTransform]]:
    """Return the plugin classes of this package."""
    return [IbanTransform]
