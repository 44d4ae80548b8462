"""Check the accessibility of the pages.

Run `nox -s accessibility`: the reports of some examples and the page that checks bags, light and dark, on a wide and on
a narrow screen, with everything folded open, by axe-core and by the Tab key. Exit code 1 tells that one was found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from elspeth.cli import main
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY
from tests.examples.running import run_example
from tests.fixtures.browser import Browser, Tab, find_browser, opened_tab

EXAMPLES = ("error_routing", "fork_coalesce", "llm_sentiment")
WIDTHS = (1100, 360)
SCHEMES = ("light", "dark")

_REPORT = "document.body.dataset.verdict && document.body.dataset.ready"
_STORY = "document.getElementById('told').textContent.startsWith('Row 2 from')"
_OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"
_FOUND = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations.flatMap(
  ({ id, impact, help, nodes }) => nodes.map(({ target }) => `${impact}: ${id}: ${help}: ${target.join(" ")}`)))"""
_REACHABLE = """[...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
  .filter((each) => each.checkVisibility()).length"""
_FOCUSED = """(() => {
  const { activeElement: focused } = document;
  if (focused === document.body || focused.dataset.reached) return null;
  focused.dataset.reached = "yes";
  return [focused.outerHTML.slice(0, 80), getComputedStyle(focused).outlineStyle !== "none"];
})()"""
"""The beginning of an element that has the focus for the first time, and whether that is shown."""


def barriers(tab: Tab, axe: str) -> Iterator[str]:
    """Yield the accessibility problems of a page.

    `axe` is the source of axe-core.
    """
    tab.evaluate(_OPEN_ALL)
    tab.evaluate(axe)
    yield from tab.evaluate(_FOUND)
    if (width := tab.evaluate("document.documentElement.scrollWidth")) > (room := tab.evaluate("innerWidth")):
        yield f"expected a page of at most {room} pixels, got one of {width}"
    yield from keyboard_barriers(tab)


def keyboard_barriers(tab: Tab) -> Iterator[str]:
    """Yield elements that the Tab key does not reach."""
    reachable = tab.evaluate(_REACHABLE)
    reached = 0
    for _ in range(reachable + 1):  # once around: from the last element it leads to the page itself
        tab.press("Tab")
        if found := tab.evaluate(_FOCUSED):
            reached += 1
            about, is_shown = found
            if not is_shown:
                yield f"nothing shows that this has the focus: {about}"
    if reached < reachable:
        yield f"expected the Tab key to reach {reachable} elements, got {reached}"


def pages(directory: Path) -> Iterator[tuple[str, Path, Path]]:
    """Write the pages of the examples.

    Each has a name, a page, and the bag from which it was made.
    """
    _command("keys", "generate", "-o", str(directory))
    for name in EXAMPLES:
        run_example(name, directory)
        bag, page = directory / f"{name}.zip", directory / f"{name}.html"
        database = f"sqlite:///examples/{name}/runs/audit.db"
        _command("export", "latest", "-d", database, "-o", str(bag), "--key", str(directory / PRIVATE_KEY))
        _command("report", str(bag), "-o", str(page), "--key", str(directory / PUBLIC_KEY))
        yield f"report of {name}", page, bag
    viewer = directory / "viewer.html"
    _command("report", "--viewer", "-o", str(viewer))
    yield "page that checks bags", viewer, bag


def show(tab: Tab, page: Path, bag: Path) -> None:
    """Open a page with all that it can show."""
    tab.open(page)
    if tab.evaluate("document.getElementById('ask') !== null"):
        tab.wait_for(_REPORT)
        tab.evaluate("document.getElementById('wanted').focus()")
        tab.press("2")
        tab.press("Enter")
        tab.wait_for(_STORY)
    else:
        tab.choose_files("#key", [bag.with_name(PUBLIC_KEY)])
        tab.choose_files("#archive", [bag])
        tab.wait_for("document.body.dataset.verdict === 'signed'")


def search(axe: str, browser: Browser, directory: Path) -> int:
    """Print all problems; return their number."""
    number = 0
    for name, page, bag in pages(directory):
        for width in WIDTHS:
            for scheme in SCHEMES:
                with opened_tab(browser) as tab:
                    tab.resize(width, 900)
                    tab.prefer(scheme)
                    show(tab, page, bag)
                    found = list(barriers(tab, axe))
                sys.stdout.write(f"{name}, {scheme}, {width} pixels: {len(found)} found\n")
                sys.stdout.writelines(f"  {about}\n" for about in found)
                number += len(found)
    return number


def run(axe: Path) -> int:
    """Search all pages; return the exit code."""
    program = find_browser()
    if program is None:
        sys.exit("accessibility: expected Chromium on PATH, got none: install it, or name it in ELSPETH_TEST_BROWSER")
    source = axe.read_text(encoding="utf-8")
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        browser = Browser(program, Path(name) / "profile")
        try:
            return 1 if search(source, browser, Path(name)) else 0
        finally:
            browser.close()
            os.chdir(axe.parent)


def _command(*arguments: str) -> None:
    if code := main(list(arguments)):
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]).absolute()))
