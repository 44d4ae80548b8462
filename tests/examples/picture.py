"""Take the picture of a report that the README shows.

Run `nox -s picture`, then look at it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from elspeth.cli import main
from tests.examples.running import run_example
from tests.fixtures.browser import Browser, find_browser, opened_tab

PICTURE = Path(__file__).parent.parent.parent / "docs" / "images" / "report.png"
EXAMPLE = "fork_coalesce"
MOST = 150_000
"""Bytes of the picture."""

_WIDTH = 1000
_MARGIN = 24
_SHOWN = "document.getElementById('ended').getBoundingClientRect().bottom - document.getElementById('graph').offsetTop"
_SCROLLED = f"""
document.documentElement.style.scrollbarWidth = "none";
scrollTo(0, document.getElementById("graph").offsetTop - {_MARGIN})
"""


def take(page: Path, browser: Browser) -> bytes:
    """Return a PNG of the graph and the ends."""
    with opened_tab(browser) as tab:
        tab.resize(_WIDTH, _WIDTH)
        tab.prefer("light")
        tab.open(page)
        tab.wait_for("document.body.dataset.ready === 'records'")
        tab.resize(_WIDTH, int(tab.evaluate(_SHOWN)) + 2 * _MARGIN)
        tab.evaluate(_SCROLLED)
        return tab.screenshot()


def rebuild() -> None:
    """Replace the picture."""
    program = find_browser()
    if program is None:
        sys.exit("picture: expected Chromium on PATH, got none: install it, or name it in ELSPETH_TEST_BROWSER")
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        os.chdir(directory)
        run_example(EXAMPLE, Path(directory))
        page = Path(directory) / "report.html"
        database = f"sqlite:///examples/{EXAMPLE}/runs/audit.db"
        if code := main(["report", "latest", "-d", database, "-o", str(page)]):
            sys.exit(code)
        browser = Browser(program, Path(directory) / "profile")
        try:
            picture = take(page, browser)
        finally:
            browser.close()
        os.chdir(PICTURE.parent.parent)
    if len(picture) > MOST:
        sys.exit(f"picture: expected at most {MOST:,} bytes, got {len(picture):,}: make it smaller")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)


if __name__ == "__main__":
    rebuild()
