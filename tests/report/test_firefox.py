"""Pages show the same in Firefox as in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.evidence.format import bag
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.report.records import open_database_records
from elspeth.report.viewer import write_viewer
from tests.evidence.bags import make_bag, records, to_lines
from tests.evidence.verifier.test_zip_archive import zipped
from tests.fixtures.browser import Tab
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.firefox import Firefox
from tests.report.test_check import page_of


class AnyBrowser(Protocol):
    """What tests of both browsers do."""

    def open(self, page: Path) -> None: ...
    def evaluate(self, expression: str) -> Any: ...  # noqa: ANN401  any JSON
    def wait_for(self, expression: str) -> Any: ...  # noqa: ANN401  any JSON


def steps(browser: AnyBrowser, table: str) -> object:
    """Return the lines of a table of steps."""
    return browser.evaluate(f"[...document.querySelectorAll('{table} tbody tr')].map((row) => row.textContent)")


def seen_in_report(browser: AnyBrowser, page: Path, rows: int) -> list[object]:
    """Return the verdict and the rows that a report shows."""
    browser.open(page)
    verdict = browser.wait_for("document.body.dataset.verdict")
    browser.wait_for("document.body.dataset.ready === 'records'")
    found = [verdict, browser.evaluate("document.querySelector('.verdict').textContent")]
    found.append(steps(browser, "#checked"))
    for row in range(rows):
        browser.evaluate(f"void (location.hash = 'row={row}')")
        browser.wait_for(f"document.getElementById('told').textContent.startsWith('Row {row} from')")
        found.append(browser.evaluate("document.getElementById('told').textContent"))
    return found


@pytest.fixture(params=["batch_aggregation", "error_routing", "fork_coalesce"])
def example(request: pytest.FixtureRequest, example_run: ExampleRun, signer: Signer, tmp_path: Path) -> Path:
    """Write the report of a signed bag of an example."""
    with LandscapeDB.from_url(f"sqlite:///{example_run(request.param).database}") as db:
        with open_database_records(db, "latest") as found:
            run_id = found.run_id
        write_export(db, run_id, tmp_path / "bag", format=ExportFormat.BAG, signer=signer)
    return page_of(tmp_path / "bag", tmp_path / "report.html", signer.public_key)


def test_firefox_shows_reports_like_chromium(firefox: Firefox, tab: Tab, example: Path) -> None:
    found = seen_in_report(firefox, example, 3)
    assert found[0] == "signed"
    assert found == seen_in_report(tab, example, 3)


def test_firefox_checks_bags_like_chromium(
    firefox: Firefox, tab: Tab, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    first, *_ = records()
    files = make_bag(tmp_path, to_lines([first] * 3000), signer)
    lines = files[bag.RECORDS].splitlines(keepends=True)
    lines[2500] = lines[2500].replace(b"run-1", b"run-2")
    bags = {"signed": files, "refused": {**files, bag.RECORDS: b"".join(lines)}}
    viewer, pem = tmp_path / "viewer.html", tmp_path / "key.pem"
    write_viewer(viewer)
    pem.write_bytes(key.pem)
    for verdict, content in bags.items():
        archive = tmp_path / f"{verdict}.zip"
        archive.write_bytes(zipped(content))
        found = []
        for browser in (firefox, tab):
            browser.open(viewer)
            browser.choose_files("#key", [pem])
            browser.wait_for("document.getElementById('fingerprint').textContent")
            browser.choose_files("#archive", [archive])
            assert browser.wait_for("document.body.dataset.verdict") == verdict
            said = browser.evaluate("document.getElementById('result').textContent")
            found.append([said, steps(browser, ".table")])
        assert found[0] == found[1]
