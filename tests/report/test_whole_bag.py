"""A page without all records reads the run's bag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.evidence.format import bag
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.report.embed import Embed
from elspeth.report.evidence import PageEvidence
from tests.evidence.bags import read_bag
from tests.evidence.verifier.test_zip_archive import zipped
from tests.fixtures.browser import Tab
from tests.fixtures.landscapes import in_memory
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import RUN_ID, record_told_run
from tests.report.pages import report_on
from tests.report.test_story import assert_same_stories

SAID = "document.querySelector('.verdict').textContent"
CAN_ASK = "!document.getElementById('ask').hidden"


@pytest.fixture(scope="module")
def told() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        record_told_run(db)
        yield db


@pytest.fixture(scope="module")
def page(told: LandscapeDB, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page that holds no records."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report_on(told, path, embed=Embed.NONE, evidence=PageEvidence(key=signer.public_key))
    return path


@pytest.fixture(scope="module")
def archive(told: LandscapeDB, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the bag of the run."""
    return write_archive(told, RUN_ID, signer, tmp_path_factory.mktemp("bag") / "told.zip")


@pytest.fixture
def empty(page: Path, tab: Tab) -> Tab:
    """Open the page."""
    tab.open(page)
    tab.wait_for("document.body.dataset.verdict === 'unchecked'")
    return tab


def write_archive(db: LandscapeDB, run_id: str, signer: Signer, path: Path) -> Path:
    """Write a bag as an archive and as a directory."""
    write_export(db, run_id, path.with_suffix(""), format=ExportFormat.BAG, signer=signer)
    path.write_bytes(zipped(read_bag(path.with_suffix(""))))
    return path


def test_all_stories_are_told_from_the_bag(empty: Tab, told: LandscapeDB, archive: Path, key: PublicKey) -> None:
    assert not empty.evaluate(CAN_ASK)
    empty.choose_files("#whole", [archive])
    empty.wait_for("document.body.dataset.ready === 'records'")
    assert empty.evaluate(CAN_ASK)
    assert empty.evaluate(SAID) == f"These records are what the key SHA256:{key.fingerprint} signed."
    assert empty.evaluate("document.getElementById('checking').textContent") == "The bag told.zip:"
    assert_same_stories(empty, told, RUN_ID)


def test_a_story_that_the_page_does_not_hold_is_read_from_the_bag(empty: Tab, archive: Path) -> None:
    empty.evaluate("location.hash = 'row=1'")
    empty.wait_for("told.textContent === 'This page holds no records: choose the bag of the run.'")
    empty.choose_files("#whole", [archive])
    empty.wait_for("told.textContent.startsWith('Row 1 from')")


def test_the_file_chooser_fits_a_narrow_screen(empty: Tab) -> None:
    empty.resize(360, 640)
    assert empty.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_bag_can_be_dropped(empty: Tab, archive: Path) -> None:
    empty.drop_files([archive])
    empty.wait_for("document.body.dataset.ready === 'records'")
    assert empty.evaluate("document.body.dataset.verdict") == "signed"


def test_a_bag_that_was_altered_is_not_opened(empty: Tab, archive: Path, tmp_path: Path) -> None:
    files = read_bag(archive.with_suffix(""))
    altered = files[bag.RECORDS].replace(b'"status":"completed"', b'"status":"Completed"', 1)
    (tmp_path / "altered.zip").write_bytes(zipped({**files, bag.RECORDS: altered}))
    empty.choose_files("#whole", [tmp_path / "altered.zip"])
    empty.wait_for("document.body.dataset.verdict === 'refused'")
    assert empty.evaluate(SAID).endswith("expected the line that was sealed, got another")
    assert not empty.evaluate(CAN_ASK)


def test_a_file_that_is_not_an_archive_is_refused(empty: Tab, tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    empty.drop_files([tmp_path / "folder.zip"])
    empty.wait_for("document.body.dataset.verdict === 'refused'")
    assert empty.evaluate(SAID).startswith("archive: ")


def test_a_bag_of_another_run_is_not_opened(empty: Tab, signer: Signer, tmp_path: Path) -> None:
    with in_memory() as db:
        other = write_archive(db, recorded(db, rich_run()), signer, tmp_path / "other.zip")
    empty.choose_files("#whole", [other])
    empty.wait_for("document.body.dataset.verdict === 'refused'")
    assert "bag: expected one of the run told in epoch" in empty.evaluate(SAID)
    assert ", got one of the run run-1 in epoch" in empty.evaluate(SAID)
    assert not empty.evaluate(CAN_ASK)


def test_a_page_with_all_records_asks_for_no_bag(told: LandscapeDB, tab: Tab, tmp_path: Path) -> None:
    report_on(told, tmp_path / "report.html")
    tab.open(tmp_path / "report.html")
    tab.wait_for("document.body.dataset.verdict")
    assert not tab.evaluate("document.getElementById('bag').checkVisibility()")
