"""Pages of runs that failed, were interrupted, or recorded nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.report.embed import Embed
from elspeth_schema.contracts import RunStatus
from tests.fixtures.browser import Tab
from tests.fixtures.landscapes import in_memory
from tests.fixtures.told_run import INTERRUPTED, RUN_ID, record_told_run
from tests.report.pages import ask, open_page, report_on


def failed(db: LandscapeDB) -> None:
    record_told_run(db, ended=False)
    LandscapeRecorder(db).finalize_run(RUN_ID, RunStatus.FAILED)


def interrupted(db: LandscapeDB) -> None:
    record_told_run(db, ended=False)
    LandscapeRecorder(db).update_run_status(RUN_ID, RunStatus.INTERRUPTED)


def running(db: LandscapeDB) -> None:
    record_told_run(db, ended=False)


def empty(db: LandscapeDB) -> None:
    LandscapeRecorder(db).begin_run({}, CANONICAL_VERSION, run_id=RUN_ID)


@pytest.mark.parametrize(
    ("record", "status", "said"),
    [
        (failed, "failed", "The run failed."),
        (interrupted, "interrupted", "The run was interrupted, and can be resumed."),
        (running, "running", "The run has not ended: it was going on, or its process had died, when it was read."),
    ],
)
def test_an_incomplete_run_is_reported_as_such(
    record: Callable[[LandscapeDB], None], status: str, said: str, tab: Tab, tmp_path: Path
) -> None:
    with in_memory() as db:
        record(db)
        report_on(db, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    assert said in tab.evaluate("document.body.innerText")
    assert ask(tab, "story", f"{{ row: {INTERRUPTED} }}")["run_status"] == status
    tab.evaluate(f"location.hash = 'row={INTERRUPTED}'")
    tab.wait_for("told.innerText.includes('has not ended')")


@pytest.mark.parametrize("embed", Embed)
def test_a_run_that_recorded_nothing_has_a_page(embed: Embed, tab: Tab, tmp_path: Path) -> None:
    with in_memory() as db:
        empty(db)
        written = report_on(db, tmp_path / "report.html", embed=embed)
    tab.open(tmp_path / "report.html")
    if written.embedded:
        tab.wait_for("document.body.dataset.ready === 'records'")
        assert ask(tab, "search", "{ text: '0' }") == {"hits": [], "more": False}
    assert RUN_ID in tab.evaluate("document.querySelector('h1').textContent")
