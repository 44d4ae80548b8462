"""The part of a report that needs no JavaScript."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from elspeth.core.landscape.queries.problems import FailedRows, FailureReason
from elspeth.report.markup import command, duration, shown, size
from elspeth.report.overview import Overview, read_overview
from elspeth.report.records import open_database_records
from elspeth.report.sections import render_heading, render_sections, section_styles
from elspeth_schema.contracts import Node, RunStatus
from tests.fixtures.landscapes import in_memory
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import record_told_run

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x00'\"&"


class Page(HTMLParser):
    """The elements and the text of a page."""

    VOID = ("br", "rect", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def told() -> Overview:
    with in_memory() as database:
        record_told_run(database, ended=False)
        with open_database_records(database, "latest") as records:
            return read_overview(records)


def parse(overview: Overview) -> Page:
    return Page(render_heading(overview) + render_sections(overview))


def test_the_sections_come_in_the_order_of_a_reader_and_are_labelled(told: Overview) -> None:
    page = parse(told)
    assert page.open == []
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["ran", "graph", "ended", "failures", "slow", "artifacts", "withheld", "open", "settings"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in page.elements:
        if tag == "section":
            assert attributes["aria-labelledby"] in ids
        if tag == "svg":
            assert "aria-hidden" in attributes or attributes.get("role") == "img"


def test_nothing_in_the_sections_needs_a_script_a_style_or_another_file(told: Overview) -> None:
    page = parse(told)
    assert {tag for tag, _ in page.elements} & {"script", "style", "link", "img", "iframe"} == set()
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in {"style", "src"}}
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    ids = {f"#{attributes['id']}" for _, attributes in page.elements if "id" in attributes}
    assert {link for link in links if link not in ids} == {"#story"}
    assert "url(" not in section_styles()
    assert "@import" not in section_styles()


def test_foreign_text_is_shown_as_text(told: Overview) -> None:
    reason = FailureReason(node_id="enrich", kind=HOSTILE, message=HOSTILE * 200, count=1, row_index=0)
    run = replace(told.run, export_error=HOSTILE.replace("\x00", ""))
    flow = replace(told.flow, nodes=tuple(replace(node, name=HOSTILE, plugin_name=HOSTILE) for node in told.flow.nodes))
    failures = FailedRows(count=1, reasons=(reason,), visits_by_node={"enrich": 1}, all_reasons=3)
    settings: dict[str, object] = {HOSTILE: [HOSTILE]}
    overview = replace(told, run=run, flow=flow, failures=failures, settings=settings)
    page = parse(overview)
    assert "img" not in {tag for tag, _ in page.elements}
    assert "\u202e" not in page.text
    assert "\x00" not in page.text
    assert "</script><img src=x onerror=alert(1)>\\u202e\\x00'\"&" in page.text
    assert f"({len(HOSTILE) * 200:,} characters)" in page.text
    assert "2 further reasons" in page.text


def test_the_commands_find_what_they_say(told: Overview) -> None:
    page = render_sections(told)
    (reason,) = [each for each in told.failures.reasons if each.node_id == "enrich"]
    assert f"elspeth explain --run told --row {reason.row_index}</code>" in page
    assert "elspeth rows --run told --step enrich" in page


def test_what_is_open_is_told_and_that_nothing_is(told: Overview) -> None:
    text = parse(told).text
    assert "The run has not ended" in text
    assert "elspeth resume told -s SETTINGS --execute goes on with it" in text
    assert f"{told.left_open.tokens} tokens without an end" in text
    left = replace(told.left_open, tokens=0, open_visits=0, visits=(), batches={}, checkpoint=None)
    ended = replace(
        told,
        run=replace(told.run, status=RunStatus.COMPLETED, completed_at=told.run.started_at),
        left_open=left,
        timings=replace(told.timings, operations=()),
    )
    assert "Nothing: every token, visit, batch and operation has ended." in parse(ended).text


def test_nodes_at_which_tokens_do_not_add_up_are_named(told: Overview) -> None:
    assert "steps of tokens went along no edge of the graph" in parse(told).text
    first, *others = told.flow.nodes
    wrong = replace(told.flow, nodes=(replace(first, left=first.left + 1), *others), strays=0)
    assert f"the tokens do not add up at {first.name}" in parse(replace(told, flow=wrong)).text
    assert "At every node the tokens add up" in parse(replace(told, flow=replace(told.flow, strays=0))).text


def test_colours_tell_nothing_alone(told: Overview) -> None:
    """What is red has a sign or words, too."""
    page = render_heading(told) + render_sections(told)
    for text in re.findall(r'<(?:span|p|div) class="bad"[^>]*>(.*?)</(?:span|p|div)>', page):
        assert "✕" in text or re.search(r"[a-z]{4}", text)


def test_secrets_settings_and_withheld_columns_are_shown() -> None:
    with in_memory() as database:
        run = rich_run()
        recorded(database, run)
        with open_database_records(database, "run-1") as records:
            overview = read_overview(records)
    text = parse(overview).text
    assert all(each.fingerprint in text for each in overview.secrets)
    assert all(each.why in text for each in overview.withheld)
    assert all(output.content_hash is None or output.content_hash in text for output in overview.outputs)
    assert sum(isinstance(each, Node) for each in run) == len(overview.flow.nodes)
    assert '"number": 1.5' in text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (0.056, "0.056 ms"),
        (12.4, "12 ms"),
        (1500, "1.5 s"),
        (61_000, "1 min 01 s"),
        (3_725_000, "1 h 02 min"),
    ],
)
def test_time_spans_are_short(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1500, "1.5 kB"), (10**15, "1e+03 TB")]
)
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text


def test_texts_and_commands_read_well() -> None:
    assert shown("<b>\n") == "&lt;b&gt;\\n"
    assert command("rows", "--reason", "field 'x'") == "<code>rows --reason &quot;field &#x27;x&#x27;&quot;</code>"
    assert "&#x27;$x&#x27;&quot;&#x27;" in command("'$x'")
