"""The report of a run in a browser.

It measures when a page can be used, and when its records are checked.
Run with the project and Chromium installed: python -m benchmarks.report
"""
# ruff: noqa: T201 - a script, which prints

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from benchmarks.measuring import machine
from benchmarks.pipeline import run_here, write_pipeline
from elspeth.cli import main as elspeth
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY
from tests.fixtures.browser import Browser, Tab, find_browser

_EMBEDDED = 100_000
_PICKED = 1_000_000
_RECORDS_PER_ROW = 7
"""The row, its token, three visits, one with a routing event, and an outcome."""

_PATIENCE = 600.0
"""Seconds that a page has."""

_ASKED = """(async () => {{
  const {{ helper }} = await page;
  const began = performance.now();
  await helper.ask("{question}", {given});
  return performance.now() - began;
}})()"""


def main() -> None:
    """Measure a page with records, and picking a bag."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedded", type=int, default=_EMBEDDED, help="records of the run in a page; 0: none")
    parser.add_argument("--picked", type=int, default=_PICKED, help="records of the bag that is picked; 0: none")
    arguments = parser.parse_args()
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _command("keys", "generate", "-o", str(directory / "keys"))
        if arguments.embedded:
            _measure_embedded(directory, arguments.embedded)
        if arguments.picked:
            _measure_picked(directory, arguments.picked)


def _measure_embedded(directory: Path, records: int) -> None:
    bag, page = _signed_bag(directory, records), directory / "report.html"
    key = str(directory / "keys" / PUBLIC_KEY)
    seconds = _timed(lambda: _command("report", str(bag), "-o", str(page), "--embed", "all", "--key", key))
    _print(f"{records:,} records: write the page", f"{seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
    with _tab() as (browser, tab):
        tab.open(page)
        tab.wait_for("document.body.dataset.ready === 'records'", timeout=_PATIENCE)
        verdict = tab.wait_for("document.body.dataset.verdict", timeout=_PATIENCE)
        for what, mark in (("usable", "opened"), (f"checked ({verdict})", "checked")):
            found = tab.evaluate(f"performance.getEntriesByName('{mark}')[0].startTime")
            _print(what, f"{found / 1000:.2f} s after opening")
        last = records // _RECORDS_PER_ROW - 1
        for what, question, given in (
            ("story of the first row asked for", "story", f"{{ row: {last // 2} }}"),
            ("story of another row", "story", f"{{ row: {last} }}"),
            ("search for a text that no error has", "search", "{ text: 'no such text' }"),
        ):
            asked = _ASKED.format(question=question, given=given)
            _print(what, f"{tab.evaluate(asked, timeout=_PATIENCE):.0f} ms")
        _print("largest process of the browser", f"{_largest_mb(browser):.0f} MB")


def _measure_picked(directory: Path, records: int) -> None:
    bag, page = _signed_bag(directory, records), directory / "viewer.html"
    _command("report", "--viewer", "-o", str(page))
    with _tab() as (browser, tab):
        tab.open(page)
        tab.choose_files("#key", [directory / "keys" / PUBLIC_KEY])
        tab.wait_for("document.getElementById('fingerprint').textContent")
        began = time.perf_counter()
        tab.choose_files("#archive", [bag])
        verdict = tab.wait_for("document.body.dataset.verdict", timeout=_PATIENCE)
        size = bag.stat().st_size / 1e6
        _print(f"{records:,} records picked, {size:.0f} MB zipped ({verdict})", f"{time.perf_counter() - began:.1f} s")
        _print("largest process of the browser", f"{_largest_mb(browser):.0f} MB")


def _signed_bag(directory: Path, records: int) -> Path:
    """Run a pipeline that makes about as many records."""
    place, bag = directory / f"run{records}", directory / f"{records}.zip"
    if bag.exists():
        return bag
    write_pipeline(place, records // _RECORDS_PER_ROW)
    run_here(place)
    _command(
        "export",
        "latest",
        "-d",
        str(place / "audit.db"),
        "-o",
        str(bag),
        "--key",
        str(directory / "keys" / PRIVATE_KEY),
    )
    return bag


def _command(*arguments: str) -> None:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        code = elspeth(list(arguments))
    if code:
        raise RuntimeError(said.getvalue())


@contextmanager
def _tab() -> Iterator[tuple[Browser, Tab]]:
    program = find_browser()
    if program is None:
        raise SystemExit("found no Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, Path(profile))
        try:
            yield browser, browser.new_tab()
        finally:
            browser.close()


def _timed(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def _largest_mb(browser: Browser) -> float:
    """Return the peak memory of the browser's largest process."""
    peaks = [_peak_kb(pid) for pid in _descendants(browser.pid)]
    return max(peaks, default=0) / 1024


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _descendants(int(child))


def _peak_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def _print(what: str, measured: str) -> None:
    print(f"{what:<60} {measured}", flush=True)


if __name__ == "__main__":
    main()
