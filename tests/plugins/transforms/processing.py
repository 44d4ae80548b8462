"""Calling transforms as an engine does, for one row."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginKind, RowDrop, RowError
from elspeth.contracts.rows import RowData
from elspeth.plugins.manager import PluginManager

__all__ = ["problem_of", "process"]

PLUGINS = PluginManager.installed()


def process(plugin: str, row: RowData, **options: object) -> RowData | list[RowData] | RowError | RowDrop:
    """Return the result of a transform for a row."""
    return PLUGINS.transform(plugin, options).process(row)


def problem_of(plugin: str, **options: object) -> str:
    """Return the one problem of options."""
    with pytest.raises(ValidationError) as caught:
        PLUGINS.options_model(PluginKind.TRANSFORM, plugin).model_validate(options)
    (problem,) = caught.value.errors()
    return str(problem["ctx"]["error"])
