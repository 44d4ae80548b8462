"""The page: what it holds, may do, and shows."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from elspeth import __version__
from elspeth.core.diagrams import STYLE
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.report import blocks
from elspeth.report.blocks import packed_element, packed_text
from elspeth.report.evidence import PageEvidence
from elspeth.report.page import PageText, page_objection, page_parts
from elspeth.report.scripts import read_asset, script_of
from elspeth.report.sections import section_styles
from elspeth_schema.contracts import Row, ValidationErrorRecord
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.browser import Tab
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.landscapes import in_memory
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import QUARANTINED, RUN_ID, record_told_run
from tests.report.pages import HOSTILE, ask, hostile, open_page, report_on

MOST_BYTES = 60 * 1024


class Elements(HTMLParser):
    """The texts of scripts and styles, and all attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag in {"script", "style"}:
            self._open = (tag, dict(attrs))
            self.texts.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  as in the base class
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            tag, attributes, text = self.texts[-1]
            self.texts[-1] = (tag, attributes, text + data)

    def of(self, tag: str, **attributes: str) -> list[str]:
        """Return the texts of elements with these attributes."""
        return [text for name, found, text in self.texts if name == tag and attributes.items() <= found.items()]


@pytest.fixture
def told() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        record_told_run(db)
        yield db


@pytest.fixture
def page(told: LandscapeDB, tmp_path: Path) -> Path:
    report_on(told, tmp_path / "report.html")
    return tmp_path / "report.html"


def test_the_code_of_the_page_has_at_most_60_kilobytes(page: Path) -> None:
    [code], [worker] = (Elements(page).of("script", id=name) for name in ("code", "worker"))
    assert len(code) + len(worker) <= MOST_BYTES
    assert zlib.decompress(base64.b64decode(worker)) == script_of("worker.js").encode()


def test_the_policy_allows_only_the_scripts_and_styles_of_the_page(page: Path) -> None:
    found = Elements(page)
    code, style = found.of("script", id="code"), found.of("style")
    hashes = [f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for (text,) in (code, style)]
    policy = next(value for name, value in found.attributes if name == "content" and "default-src" in value)
    assert policy == (
        f"default-src 'none'; script-src {hashes[0]}; style-src {hashes[1]}; worker-src blob:;"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not [name for name, _ in found.attributes if name == "style" or name.startswith("on")]


TEXT = PageText(
    title="Run <1>",
    heading="<h1>Heading</h1>",
    sections="<p>Sections</p>",
    embedding="This page holds 1 < 2.",
    certificate="<p>Certificate</p>",
    made=datetime(2026, 2, 13, 4, 5, 6, tzinfo=UTC),
    facts={"runId": "</script><!--", "total": 3},
    files={},
    contents=[("0" * 64, b"content")],
)


def test_a_page_has_each_part_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"".join(page_parts(TEXT, [packed_element(b"line")])))
    text = path.read_text(encoding="utf-8")
    assert "<title>Run &lt;1&gt;</title>" in text
    assert f'<meta name="generator" content="elspeth {__version__}' in text
    for part in (TEXT.heading, TEXT.sections, TEXT.certificate, "This page holds 1 &lt; 2.", "2026-02-13 04:05:06 UTC"):
        assert text.count(part) == 1, part
    found = Elements(path)
    styles = "".join(map(read_asset, ("page.css", "check.css"))) + section_styles()
    assert "".join(found.of("style")).strip() == styles.strip()
    assert styles.endswith(STYLE)
    (facts,) = found.of("script", id="facts")
    assert "<" not in facts
    given = json.loads(facts)
    assert {name: given[name] for name in TEXT.facts} == TEXT.facts
    assert given["types"].keys() == RECORD_TYPES.keys()


def test_contents_of_a_bag_are_among_its_files_and_others_are_not(tmp_path: Path) -> None:
    """The page checks only the files of a bag."""
    path = tmp_path / "page.html"
    name = f"data/contents/{'0' * 64}"
    for files, kind in (({}, "content"), ({"bagit.txt": b"bag"}, "file")):
        path.write_bytes(b"".join(page_parts(replace(TEXT, files=files), [])))
        kept = Elements(path).of("script", **{"class": kind, "data-name": name})
        assert [zlib.decompress(base64.b64decode(each)) for each in kept] == [b"content"]
        assert len(Elements(path).of("script", **{"data-name": name})) == 1


def test_the_script_knows_how_records_are_found_and_what_says_why_something_failed(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"".join(page_parts(TEXT, [])))
    types = json.loads(Elements(path).of("script", id="facts")[0])["types"]
    assert {name: (each["table"], each["key"]) for name, each in types.items()} == {
        name: (each.table.name, list(each.key)) for name, each in RECORD_TYPES.items()
    }
    assert {name: each["errors"] for name, each in types.items() if each["errors"]} == {
        "run": ["export_error"],
        "operation": ["error_message"],
        "node_state": ["error_json"],
        "call": ["error_json"],
        "validation_error": [
            "row_data_json",
            "error",
            "schema_mode",
            "destination",
            "violation_type",
            "original_field_name",
            "normalized_field_name",
            "expected_type",
            "actual_type",
        ],
        "transform_error": ["row_data_json", "error_details_json", "destination"],
    }


@pytest.mark.parametrize("content", [b"\xfb\xff\xfe" * 99, b"", "ä€".encode()])
def test_packed_content_is_in_standard_base64(content: bytes) -> None:
    """The browser reads no other."""
    assert zlib.decompress(base64.b64decode(packed_text(content), validate=True)) == content
    alphabet = re.compile(r"[A-Za-z0-9+/=]*")
    assert all(alphabet.fullmatch(packed_text(bytes([number]) * number)) for number in range(256))


def test_a_page_holds_the_lines_of_the_run_in_blocks(
    told: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 50)
    written = report_on(told, tmp_path / "report.html")
    *lines, _ = LandscapeExporter(told).export_lines(RUN_ID)
    packed = Elements(tmp_path / "report.html").of("script", **{"class": "block"})
    unpacked = [zlib.decompress(base64.b64decode(each)).split(b"\n") for each in packed]
    assert [line for block in unpacked for line in block] == lines
    assert [len(block) for block in unpacked[:-1]] == [50] * (len(lines) // 50)
    assert (written.records, written.embedded) == (len(lines), len(lines))


def test_what_was_cleared_is_not_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 2)
    with blocks.BlockWriter() as writer:
        writer.add([b"%d" % number for number in range(5)])
        assert writer.count == 5
        writer.clear()
        writer.add([b"later"])
        assert (writer.count, b"".join(writer.elements())) == (1, packed_element(b"later"))


def test_a_missing_file_is_reported_when_a_page_is_expected(tmp_path: Path) -> None:
    objection = page_objection(tmp_path / "gone.html", re.compile(b"<!doctype"), "a report")
    assert objection == "cannot be read, so nothing shows whether it is a report: No such file or directory"


def test_the_names_of_files_are_escaped() -> None:
    assert b' class="file" data-name="a&quot;&lt;">' in packed_element(b"", 'a"<')


def test_a_story_can_come_from_several_blocks(
    told: LandscapeDB, tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 7)
    report_on(told, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    tab.evaluate(f"location.hash = 'row={QUARANTINED}'")
    tab.wait_for(f"told.textContent.startsWith('Row {QUARANTINED} from source')")


def test_hostile_texts_are_shown_as_text(tab: Tab, tmp_path: Path) -> None:
    with in_memory() as db:
        run = hostile(rich_run())
        recorded(db, run)
        report_on(db, tmp_path / "report.html")
    rows = [record.row_index for record in run if isinstance(record, Row)]
    assert HOSTILE not in (tmp_path / "report.html").read_text(encoding="utf-8")
    open_page(tab, tmp_path / "report.html")
    shown = HOSTILE.replace("\u202e", "\\u{202e}").replace("\u0007", "\\u{7}")
    for row in rows:
        tab.evaluate(f"location.hash = 'row={row}'")
        tab.wait_for(f"told.textContent.startsWith('Row {row} from')")
        tab.evaluate("for (const each of told.querySelectorAll('details')) each.open = true")
        assert tab.wait_for(f"told.textContent.includes({json.dumps(shown)})")
        assert not re.search("[\u202e\u0007]", tab.evaluate("document.documentElement.outerHTML"))
        assert tab.evaluate("document.querySelectorAll('#told img, #told script').length") == 0


def test_the_path_of_a_row_is_drawn_in_the_graph(example_run: ExampleRun, tab: Tab, tmp_path: Path) -> None:
    with LandscapeDB.from_url(f"sqlite:///{example_run('error_routing').database}") as db:
        report_on(db, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    paths = {
        0: ["band", "csv", "field_mapper_1", "keyword_filter_0", "low"],
        3: ["blocked", "csv", "keyword_filter_0!"],
        2: ["csv!", "quarantine"],
    }
    labels = {0: ["low"], 3: ["error"], 2: ["invalid"]}
    for row, path in paths.items():
        tab.evaluate(f"location.hash = 'row={row}'")
        tab.wait_for(f"told.textContent.startsWith('Row {row} from')")
        drawn = (
            "[...told.querySelectorAll('svg.path {}')].map(each => each.querySelector('{}').textContent + ({})).sort()"
        )
        marked = "each.classList.contains('failed') ? '!' : ''"
        assert tab.evaluate(drawn.format(".node.visited", ".name", marked)) == path
        assert tab.evaluate(drawn.format(".edge.visited:has(.label)", ".label", "''")) == labels[row]


def test_a_failed_row_is_described_in_words_on_a_narrow_screen(
    example_run: ExampleRun, tab: Tab, tmp_path: Path
) -> None:
    with LandscapeDB.from_url(f"sqlite:///{example_run('error_routing').database}") as db:
        report_on(db, tmp_path / "report.html")
    tab.resize(360, 640)
    open_page(tab, tmp_path / "report.html")
    tab.evaluate("location.hash = 'row=3'")
    tab.wait_for("told.textContent.startsWith('Row 3 from')")
    told = tab.evaluate("told.innerText")
    error = "RowError: field 'note' contains the blocked pattern '(?i)confidential'"
    assert f"at keyword_filter_0 (keyword_filter 1.1.0), sent to blocked: {error}" in told
    assert told.count(error) == 2, "at the step, and where it was not processed"
    assert re.search(r"begun \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC by ", told)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_long_text_is_shown_in_parts(tab: Tab) -> None:
    tab.open("<p id=place></p>")
    tab.evaluate(script_of("dom.js") + "place.append(longText('<b>' + 'x'.repeat(10_000_000)))")
    assert tab.evaluate("place.textContent.length") < 3_000
    tab.evaluate("place.querySelector('button').click()")
    assert tab.evaluate("place.querySelector('span span').textContent.length") == 102_000
    assert tab.evaluate("place.querySelector('button').textContent") == "show more (9,898,003 characters left)"


def test_the_content_of_a_row_is_shown_if_the_page_has_it(tab: Tab, tmp_path: Path) -> None:
    content, other = json.dumps({"name": HOSTILE}).encode(), b"altered"
    references = [sha256(content).hexdigest(), sha256(b"other").hexdigest(), sha256(b"missing").hexdigest()]
    run, index = rich_run(), 0
    for number, each in enumerate(run):
        if isinstance(each, Row):
            run[number] = replace(each, source_data_ref=references[index % 3], row_index=index)
            index += 1
    files = {f"data/contents/{name}": found for name, found in zip(references, (content, other), strict=False)}
    with in_memory() as db:
        recorded(db, run)
        report_on(db, tmp_path / "report.html", evidence=PageEvidence(files=files))
    open_page(tab, tmp_path / "report.html")
    shown = json.dumps({"name": HOSTILE}, indent=2, ensure_ascii=False).replace("\u202e", "\\u{202e}")
    problem = f"The content cannot be shown: expected the SHA-256 {references[1]}, got {sha256(other).hexdigest()}"
    for row, expected in ((0, shown), (1, problem)):
        tab.evaluate(f"location.hash = 'row={row}'")
        tab.wait_for(f"told.textContent.startsWith('Row {row} from')")
        tab.evaluate("told.querySelector('details.content').open = true")
        assert tab.wait_for("told.querySelector('details.content pre')?.textContent.length > 1")
        assert tab.evaluate("told.querySelector('details.content pre').textContent") == expected


def test_a_long_text_in_a_record_is_searched_and_shown_in_parts(tab: Tab, tmp_path: Path) -> None:
    text = f"<b>{'x' * 1_000_000}needle"
    run = rich_run()
    row = next(each for each in run if isinstance(each, Row))
    wrong = next(each for each in run if isinstance(each, ValidationErrorRecord))
    run[run.index(wrong)] = replace(wrong, error=text, row_hash=row.source_data_hash)
    with in_memory() as db:
        recorded(db, run)
        report_on(db, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    (hit,) = ask(tab, "search", "{ text: 'xneedle' }")["hits"]
    assert (hit["row"], hit["why"]) == (row.row_index, f"error: …{'x' * 61}needle")
    tab.evaluate(f"location.hash = 'row={row.row_index}'")
    tab.wait_for("told.textContent.includes('characters left')")
    assert tab.evaluate("told.textContent.length") < 100_000


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (str(QUARANTINED), "1 place found."),
        ("nothing has this", 'Nothing here has the number, id or error "nothing has this".'),
        ("503", "1 place found."),
    ],
)
def test_a_search_reports_what_it_found(wanted: str, said: str, tab: Tab, page: Path) -> None:
    open_page(tab, page)
    tab.evaluate(f"document.getElementById('wanted').value = {wanted!r}; document.querySelector('#ask button').click()")
    tab.wait_for(f"document.getElementById('said').textContent === {said!r}")


def test_parts_of_hashes_ids_and_times_are_not_searched(told: LandscapeDB, tab: Tab, page: Path) -> None:
    open_page(tab, page)
    records = [json.loads(line) for line in LandscapeExporter(told).export_lines(RUN_ID)]
    wrong = next(each for each in records if each["record_type"] == "validation_error")
    for wanted in (wrong["row_hash"][:20], wrong["created_at"][:10], wrong["error_id"][:-1]):
        assert ask(tab, "search", f"{{ text: {wanted!r} }}")["hits"] == []
    assert ask(tab, "search", f"{{ text: {wrong['error_id']!r} }}")["hits"] != []


def test_a_token_with_several_errors_is_listed_once(example_run: ExampleRun, tab: Tab, tmp_path: Path) -> None:
    with LandscapeDB.from_url(f"sqlite:///{example_run('error_routing').database}") as db:
        report_on(db, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    found = ask(tab, "search", "{ text: 'division' }")
    assert [hit["row"] for hit in found["hits"]] == [4]


def test_without_javascript_the_page_says_what_needs_it(tab: Tab, page: Path) -> None:
    tab.disable_scripts()
    tab.open(page)
    tab.disable_scripts(disabled=False)
    assert "need JavaScript" in tab.evaluate("document.body.innerText")
    assert not tab.evaluate("document.querySelector('.needs-script').checkVisibility()")
