"""The preloaded library, and the counts of kills."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.durability.shadow import NO_COMPILER, build_library

_COUNT = "durability"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the preloaded library.

    Tests are skipped on a machine without a compiler, but fail in CI.
    """
    if sys.platform != "linux":
        pytest.skip("durability: libraries are preloaded in this way on Linux only")
    built = build_library(tmp_path_factory.mktemp("library"))
    if built is not None:
        return built
    if os.environ.get("CI"):
        pytest.fail(NO_COMPILER)
    pytest.skip(NO_COMPILER)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of kills."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
            if name == _COUNT:
                terminalreporter.write_line(f"{report.nodeid}: {value}")
