"""The page's code in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.browser import Browser, Tab
from tests.report.scripts import open_script


@pytest.fixture(scope="session")
def code(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """Open a page with all that verifies bags."""
    with open_script(browser, tmp_path_factory.mktemp("page"), "verification.js") as tab:
        yield tab
