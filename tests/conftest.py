"""Fixtures and settings of the whole test suite."""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.effort import ESSENTIAL, SLOW, THOROUGH, is_below
from tests.fixtures.memory import keep_files_in_memory
from tests.fixtures.statements import share_compiled_statements

pytest_plugins = (
    "tests.fixtures.browser",
    "tests.fixtures.firefox",
    "tests.fixtures.databases",
    "tests.fixtures.example_runs",
    "tests.fixtures.keys",
    "tests.fixtures.landscapes",
    "tests.fixtures.legacy",
    "tests.fixtures.object_store",
    "tests.fixtures.clouds",  # imports the module before
    "tests.fixtures.predecessor",
    "tests.fixtures.postgres",
    "tests.fixtures.python_modules",
    "tests.fixtures.synthetic_epochs",
)

keep_files_in_memory()
share_compiled_statements()

# A slow machine is not a counterexample, and half of Hypothesis's examples suffice between two long sessions. Its other
# settings differ in CI.
settings.register_profile("elspeth", settings(), deadline=None, max_examples=100 if THOROUGH else 50)
settings.load_profile("elspeth")


@pytest.fixture(scope="session", autouse=True)
def _terminal_signals() -> Iterator[None]:
    """Handle signals as on a terminal.

    Commands that a shell starts in the background ignore some of them.
    """
    before = {
        number: signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only modules with smoke tests for `-m smoke`.

    Importing all would take longer than these tests.
    """
    if config.getoption("markexpr") != "smoke" or not collection_path.match("test_*.py"):
        return None
    return "pytest.mark.smoke" not in collection_path.read_text(encoding="utf-8") or None


def pytest_collection_finish() -> None:
    """Leave the tests themselves out of garbage collections.

    They are a million objects, which each full collection would look at.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and the essential ones."""
    for item in items:
        if is_below(item.path, SLOW):
            item.add_marker(pytest.mark.slow)
        if is_below(item.path, ESSENTIAL):
            item.add_marker(pytest.mark.essential)
