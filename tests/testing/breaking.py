"""Contract tests that are called one by one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest

from elspeth.contracts.plugins import Plugin
from elspeth.plugins.files import FileSink
from elspeth.testing import PluginContract

__all__ = ["failing"]


def made_by(tests: PluginContract) -> list[Plugin]:
    """Return a list of the plugins that tests will make."""
    plugins: list[Plugin] = []
    make = tests.make

    def noted(options: Mapping[str, object]) -> Plugin:
        plugins.append(make(options))
        return plugins[-1]

    tests.make = noted  # type: ignore[method-assign]
    return plugins


def failing(contract: type[PluginContract], directory: Path) -> list[str]:
    """Return the names of the tests that fail, without `test_`."""
    failed = []
    for name in [name for name in dir(contract) if name.startswith("test_")]:
        place = directory / name
        place.mkdir()
        tests = contract()
        plugins = made_by(tests)
        test = getattr(tests, name)
        try:
            test(*([place] if "tmp_path" in inspect.signature(test).parameters else []))
        except (pytest.fail.Exception, Exception):  # noqa: BLE001  whatever pytest would report
            failed.append(name.removeprefix("test_"))
            for each in plugins:
                if isinstance(each, FileSink):
                    each.close()
    return failed
