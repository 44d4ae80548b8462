"""The picture of a report that the README shows."""

from __future__ import annotations

from pathlib import Path

from elspeth.cli import main
from tests.examples.picture import EXAMPLE, MOST, PICTURE, take
from tests.fixtures.browser import Browser
from tests.fixtures.example_runs import ExampleRun

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_picture_is_small_and_reproducible(example_run: ExampleRun, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", "latest", "-d", str(example_run(EXAMPLE).database), "-o", str(page)]) == 0
    kept, taken = PICTURE.read_bytes(), take(page, browser)
    for picture in (kept, taken):
        assert picture.startswith(PNG)
        assert len(picture) <= MOST
    # The width is in the first chunk (PNG 1.2, section 4.1.1); the height depends on the fonts.
    assert kept[16:20] == taken[16:20]
