"""The part of a report that needs no JavaScript."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from elspeth.core.landscape.queries.problems import OTHER_REASONS, FailedRows, FailureReason
from elspeth.report import ran, slow
from elspeth.report.markup import command, duration, shown, size
from elspeth.report.overview import Overview, read_overview
from elspeth.report.records import open_database_records
from elspeth.report.sections import render_heading, render_sections, section_styles
from elspeth.report.timings import Timings
from elspeth_schema.contracts import Node, OperationStatus, RunStatus
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


class Tables(HTMLParser):
    """The cells of each table, by caption, and of facts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {"": []}
        self._caption, self._text = "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  the parser's
        if tag in {"caption", "td", "th", "dt", "dd"}:
            self._text = ""
        if tag in {"tr", "dt"}:
            self.rows[self._caption].append([])

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self._caption = self._text
            self.rows[self._caption] = []
        elif tag in {"td", "th", "dt", "dd"}:
            self.rows[self._caption][-1].append(self._text)
        elif tag == "table":
            self._caption = ""

    def handle_data(self, data: str) -> None:
        self._text += data


@pytest.fixture(scope="module")
def rich() -> Overview:
    with in_memory() as database:
        recorded(database, rich_run())
        with open_database_records(database, "run-1") as records:
            return read_overview(records)


@pytest.fixture(scope="module")
def told() -> Overview:
    with in_memory() as database:
        record_told_run(database, ended=False)
        with open_database_records(database, "latest") as records:
            return read_overview(records)


def parse(overview: Overview) -> Page:
    return Page(render_heading(overview) + render_sections(overview))


def test_the_sections_are_in_reading_order_and_labelled(told: Overview) -> None:
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


def test_the_sections_need_no_script_style_or_other_file(told: Overview) -> None:
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


def test_the_commands_find_what_they_promise(told: Overview) -> None:
    page = render_sections(told)
    (reason,) = [each for each in told.failures.reasons if each.node_id == "enrich"]
    assert f"elspeth explain --run told --row {reason.row_index}</code>" in page
    assert "elspeth rows --run told --step enrich" in page


def test_open_records_or_their_absence_are_reported(told: Overview) -> None:
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


def test_nothing_is_shown_by_colour_alone(told: Overview) -> None:
    """Whatever is red also has a sign or words."""
    page = render_heading(told) + render_sections(told)
    for text in re.findall(r'<(?:span|p|div) class="bad"[^>]*>(.*?)</(?:span|p|div)>', page):
        assert "✕" in text or re.search(r"[a-z]{4}", text)


def test_secrets_settings_and_withheld_columns_are_shown(rich: Overview) -> None:
    overview = rich
    text = parse(overview).text
    assert all(each.fingerprint in text for each in overview.secrets)
    assert all(each.why in text for each in overview.withheld)
    assert all(output.content_hash is None or output.content_hash in text for output in overview.outputs)
    assert sum(isinstance(each, Node) for each in rich_run()) == len(overview.flow.nodes)
    assert '"number": 1.5' in text


OF_NODE, QUOTED = "--run run-1 --step node-1", """'"\\u0000"'"""

TABLES = {
    "What was read": [
        [
            "node-1",
            "file",
            "in\\u0000 →.csv867dfb63a674907ea9af2f7d415e32325bac29097aa144e044ea1af4dadfcf0d",
            "0 bytes",
            "2",
        ]
    ],
    "Tokens at each node": [
        ["node-1", "source", "csv 1.0", "4", "2", "2", "1 completed, 1 failed", "2", "1"],
        ["node-2", "aggregation", "=SUM(A1) 1.0", "0", "0", "0", "0", "0", "0"],
        ["node-3", "sink", "json 1.0", "0", "0", "0", "0", "0", "0"],
    ],
    "Tokens by outcome and sink": [
        ["• completed written by the output sink", "", "1", "1", ""],
        ["✕ failed could not be processed", "", "1", "1", ""],
    ],
    "The slowest work, in the order in which it began, over 9 s": [
        ["node-1", "source load", "0 ms", "", ""],
        ["node-3", "sink write", "0 ms", "", ""],
        ["node-1", "4 visits", "0.3 ms", "0.1 ms", ""],
    ],
    "Failed visits by reason, the most frequent first": [
        [
            "1",
            "node-1",
            '✕ "\\u0000"',
            "1",
            f"elspeth rows {OF_NODE} --reason {QUOTED}elspeth explain --run run-1 --row 1",
        ]
    ],
    "The longest visits": [
        ["1", "node-1", "0", "token-1", "0.1 ms"],
        ["1", "node-1", "0", "token-2", "0.1 ms"],
        ["0", "node-1", "0", "token-4", "0.1 ms"],
    ],
    "What the sinks published": [
        [
            "node-3",
            "json",
            "out/ä.jsonc7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c",
            "0 bytes",
            "2026-02-01 00:00:05.999 UTC",
        ]
    ],
    "Secrets that were looked up": [
        ["API_KEY", "env", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]
    ],
    "Records by type": [
        ["run", "1"],
        ["secret_resolution", "1"],
        ["run_process", "1"],
        ["node", "3"],
        ["edge", "2"],
        ["operation", "2"],
        ["source_input", "1"],
        ["row", "2"],
        ["token", "4"],
        ["token_parent", "2"],
        ["node_state", "4"],
        ["call", "2"],
        ["routing_event", "1"],
        ["batch", "1"],
        ["batch_member", "2"],
        ["batch_output", "1"],
        ["artifact", "1"],
        ["token_outcome", "3"],
        ["validation_error", "1"],
        ["transform_error", "1"],
        ["checkpoint", "1"],
    ],
    "2 tokens without an end, by last node": [["node-1", "2"]],
    "Batches that were not processed": [["node-2", "draft", "1"]],
    "Sources and sinks that had not finished": [["node-3", "sink write", "2026-02-01 00:00:02.999 UTC"]],
    "Visits that have not ended": [
        ["0", "node-1", "pending", "token-4", "2026-02-01 00:00:03.999 UTC"],
        ["1", "node-1", "open", "token-3", "2026-02-01 00:00:03.999 UTC"],
    ],
}


TABLES_OF_TOLD = {
    "Tokens at each node": [
        ["source", "source", "source 1.0.0", "9", "2", "7", "2 quarantined, 1 consumed in batch", "1", "2"],
        ["gate", "gate", "gate 1.0.0", "2", "2", "3", "1 forked", "0", "0"],
        ["enrich", "transform", "enrich 1.0.0", "4", "3", "4", "1 failed, 1 expanded", "1", "1"],
        ["join", "coalesce", "join 1.0.0", "3", "1", "1", "2 coalesced", "1", "0"],
        ["sums", "aggregation", "sums 1.0.0", "1", "1", "1", "1 consumed in batch", "0", "0"],
        ["output", "sink", "output 1.0.0", "5", "0", "0", "5 completed", "0", "0"],
        ["high", "sink", "high 1.0.0", "1", "0", "0", "1 routed", "0", "0"],
    ],
    "Tokens by outcome and sink": [
        ["• completed written by the output sink", "output", "5", "4", ""],
        ["• routed sent to a sink by a gate, and written", "high", "1", "1", ""],
        ["✕ failed could not be processed", "", "1", "1", ""],
        ["✕ quarantined rejected by validation and set aside", "", "2", "2", ""],
        ["• forked split into one token per branch", "", "1", "1", ""],
        ["• expanded turned into several tokens", "", "1", "1", ""],
        ["• coalesced merged with the tokens of other branches", "", "2", "1", ""],
        ["• consumed in batch absorbed by a batch, whose outputs go on", "", "2", "2", ""],
    ],
    "Failed visits by reason, the most frequent first": [
        ["2", "source", "✕ ", "5", "elspeth rows --run told --step sourceelspeth explain --run told --row 5"],
        [
            "1",
            "enrich",
            "✕ TimeoutError: timed out",
            "7",
            "elspeth rows --run told --step enrich --reason 'timed out'elspeth explain --run told --row 7",
        ],
    ],
    "3 tokens without an end, by last node": [["source", "1"], ["enrich", "1"], ["join", "1"]],
}


def test_the_tables_have_the_values_of_the_records(told: Overview, rich: Overview) -> None:
    found = Tables(render_sections(told)).rows
    assert {caption: found[caption][1:] for caption in TABLES_OF_TOLD} == TABLES_OF_TOLD
    found = Tables(render_sections(rich)).rows
    assert {caption: found[caption][1:] for caption in TABLES} == TABLES
    ran = dict(found[""])
    assert (ran["status"], ran["repository is dirty"], ran["packages"]) == ("completed", "no", "none")
    assert ran["labels"] == "=1+1 😀"
    assert not {"attempt", "settings json"} & ran.keys()
    assert "1 row failed or was quarantined; 1 visit to nodes failed" in parse(rich).text
    assert "The 37 records of the run, by type" in parse(rich).text
    assert "further reason" not in parse(rich).text
    several = replace(rich.failures, count=2, visits_by_node={"node-1": 3}, all_reasons=2)
    text = parse(replace(rich, failures=several)).text
    assert "2 rows failed or were quarantined; 3 visits to nodes failed" in text
    assert "Not shown: 1 further reason. elspeth rows lists all of them." in text


SENTENCES = {
    "ran": [
        "Who ran it, where and with what",
        "Secrets are shown by their fingerprints, which a holder of the secret and of the key can check.",
    ],
    "graph": [
        (
            "A number on an edge is that of the tokens that went along it. Dashed red arrows with an open head "
            "are the ways of rows that fail; red badges with cut corners count failed visits; dotted yellow ones "
            "count tokens that have not ended. The tables below say the same."
        ),
        "By these records 2 steps of tokens went along no edge of the graph.",
        "Nodes and edges as tables",
    ],
    "ended": [
        (
            "A row begins with one token. Forks, expansions, merges and batches end tokens and make others, so "
            "that there may be more tokens than rows."
        ),
    ],
    "failures": [
        (
            "1 row failed or was quarantined; 1 visit to nodes failed, some of which may have been repeated with "
            "success. N stands for numbers that differ from row to row."
        ),
        "Tell the commands where the run is: -d DATABASE, or --from with the bag or export.",
    ],
    "slow": [
        (
            "A pale bar reaches from the first beginning to the last end; the dark one in it is as long as the "
            "single durations together. An open bar has not ended."
        ),
        "The longest visits of single rows",
    ],
    "artifacts": [
        "Compare a file with its hash by sha256sum FILE, or all of them by elspeth outputs run-1 --check.",
    ],
    "withheld": [
        (
            "Of rows, requests and answers the records hold hashes only, and where the contents were kept. "
            "Secrets are nowhere in the records, only their fingerprints."
        ),
    ],
    "open": [
        "All of it up to row 1 was recorded at the last checkpoint, at 2026-02-01 00:00:07.999 UTC.",
    ],
    "settings": [
        "The settings of the run, with all defaults, and secrets as fingerprints",
        "The 37 records of the run, by type",
    ],
}


def sentences_of(overview: Overview) -> dict[str, list[str]]:
    """Return paragraphs, subheadings and summaries by section."""
    sections = re.findall(r'<section id="(\w+)"[^>]*>(.*?)</section>', render_sections(overview), re.DOTALL)
    texts = {key: re.findall(r"<(?:p|h3|summary)\b[^>]*>(.*?)</(?:p|h3|summary)>", body) for key, body in sections}
    return {key: [Page(text).text for text in found] for key, found in texts.items()}


def test_each_section_says_what_it_shows(told: Overview, rich: Overview) -> None:
    assert sentences_of(rich) == SENTENCES
    assert sentences_of(told)["open"] == [
        "The run has the status running. elspeth resume told -s SETTINGS --execute goes on with it."
    ]
    first, second, *others = rich.flow.nodes
    wrong = (replace(first, left=first.left + 1), replace(second, left=second.left + 1))
    several = replace(rich.flow, nodes=(*wrong, *others))
    assert sentences_of(replace(rich, flow=several))["graph"][1] == (
        "By these records the tokens do not add up at node-1, node-2 and 2 steps of tokens went along no edge of the"
        " graph."
    )
    assert sentences_of(replace(rich, flow=replace(rich.flow, strays=1)))["graph"][1] == (
        "By these records 1 step of tokens went along no edge of the graph."
    )
    assert sentences_of(replace(rich, flow=replace(rich.flow, strays=0)))["graph"][1] == (
        "At every node the tokens add up: those that came and those that were made here are those that went on, ended"
        " or wait."
    )
    whole = [
        "No column is left out of these records: they hold the contents of rejected rows.",
        *SENTENCES["withheld"],
    ]
    assert sentences_of(replace(rich, withheld=()))["withheld"] == whole


HEADING = """\
<header class="heading"><p class="kind">Report of a run</p><h1><code>run-1</code></h1>\
<p><span class="status completed"><span aria-hidden="true">✓</span> The run completed.</span> It began at \
<time datetime="2026-01-31T23:59:59.999999Z">2026-01-31 23:59:59.999 UTC</time>.</p>
<dl class="tiles"><div class=""><dt>rows read</dt><dd>2</dd></div>\
<div class="bad"><dt>rows failed or quarantined</dt><dd>1</dd></div>\
<div class="open"><dt>tokens that have not ended</dt><dd>2</dd></div>\
<div class=""><dt>outputs</dt><dd>1</dd></div><div class=""><dt>took</dt><dd>9 s</dd></div></dl>
<nav class="contents" aria-label="On this page"><ul>\
<li><a href="#ran">What ran</a></li><li><a href="#graph">What went through the graph</a></li>\
<li><a href="#ended">Where tokens ended</a></li><li><a href="#failures">Failures</a></li>\
<li><a href="#slow">What took long</a></li><li><a href="#artifacts">Artifacts</a></li>\
<li><a href="#withheld">What is withheld</a></li><li><a href="#open">What was left open</a></li>\
<li><a href="#settings">Settings and records</a></li><li><a href="#story">The story of a row</a></li>\
</ul></nav></header>"""


def test_the_heading_says_how_the_run_ended(rich: Overview) -> None:
    assert render_heading(rich) == HEADING
    sound = replace(
        rich,
        run=replace(rich.run, status=RunStatus.FAILED),
        failures=replace(rich.failures, count=0),
        left_open=replace(rich.left_open, tokens=0),
    )
    page = render_heading(sound)
    assert '<span class="status failed"><span aria-hidden="true">✕</span> The run failed.</span>' in page
    assert re.findall(r'<div class="(\w*)"><dt>(.*?)</dt><dd>(.*?)</dd>', page) == [
        ("", "rows read", "2"),
        ("", "rows failed or quarantined", "0"),
        ("", "outputs", "1"),
        ("", "took", "9 s"),
    ]
    days = replace(rich.run, completed_at=rich.run.started_at + timedelta(days=2, milliseconds=5))
    assert "<dt>took</dt><dd>48 h 00 min</dd>" in render_heading(replace(rich, run=days))
    assert "<dt>took</dt><dd>not ended</dd>" in render_heading(replace(rich, run=replace(rich.run, completed_at=None)))


def test_what_is_still_open_is_reported_for_itself(rich: Overview) -> None:
    """Each thing that has not ended alone is enough."""
    left = replace(rich.left_open, tokens=0, open_visits=0, visits=(), batches={}, checkpoint=None)
    ended = tuple(replace(each, ended_at=each.started_at) for each in rich.timings.operations)
    done = replace(rich, left_open=left, timings=replace(rich.timings, operations=ended))
    nothing = "Nothing: every token, visit, batch and operation has ended."
    assert nothing in parse(done).text
    for still in (
        replace(done, left_open=replace(left, tokens=1)),
        replace(done, left_open=replace(left, open_visits=1)),
        replace(done, left_open=replace(left, batches=rich.left_open.batches)),
        replace(done, timings=rich.timings),
        replace(done, run=replace(rich.run, status=RunStatus.INTERRUPTED)),
    ):
        assert nothing not in parse(still).text


def test_outputs_and_inputs_state_what_is_known_of_them(rich: Overview) -> None:
    (output,) = rich.outputs
    asked = replace(output, content_hash=None, object_version="v<7>", size_bytes=1_234_567)
    page = render_sections(replace(rich, outputs=(asked,)))
    (row,) = Tables(page).rows["What the sinks published"][1:]
    assert row[2:4] == ["out/ä.jsonno rows, so that no hash is recorded, version v<7>", "1.23 MB"]
    assert '<span title="1,234,567 bytes">1.23 MB</span>' in page
    (row,) = Tables(render_sections(replace(rich, outputs=(replace(asked, size_bytes=None),)))).rows[
        "What the sinks published"
    ][1:]
    assert row[3] == ""
    (source,) = rich.inputs
    full = replace(source, query_text="SELECT 1", object_version="v7", size_bytes=9_876)
    page = render_sections(replace(rich, inputs=(full,)))
    (row,) = Tables(page).rows["What was read"][1:]
    assert row[2:] == [f"in\\u0000 →.csvSELECT 1{source.content_hash}version v7", "9.88 kB", "2"]
    assert '<span title="9,876 bytes">9.88 kB</span>' in page
    (row,) = Tables(render_sections(replace(rich, inputs=(replace(full, size_bytes=None),)))).rows["What was read"][1:]
    assert row[3] == ""


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("{}", "none"),
        ('{"a":"b","n":1.5,"is":true}', "a bn 1.5is True"),
        ('{"a":{"b":1}}', '{"a":{"b":1}}'),
        ('["a"]', '["a"]'),
    ],
)
def test_a_json_column_is_shown_as_a_list_if_it_is_flat(rich: Overview, text: str, shown_as: str) -> None:
    (process,) = rich.processes
    found = Tables(render_sections(replace(rich, processes=(replace(process, labels_json=text),))))
    assert dict(found.rows[""])["labels"].replace(", ", "") == shown_as


FACTS = [
    *("run id", "started at", "completed at", "config hash", "canonical version", "status", "export error"),
    *("started at", "user name", "elspeth version", "python version", "operating system", "packages"),
    *("repository commit", "repository is dirty", "labels"),
]


def test_all_columns_of_the_run_and_of_its_processes_are_shown(rich: Overview) -> None:
    found = [name for name, _ in Tables("".join(ran.render_ran(rich))).rows[""]]
    assert found == FACTS
    dirty = replace(rich.processes[0], repository_is_dirty=True)
    facts = dict(Tables("".join(ran.render_ran(replace(rich, processes=(dirty,))))).rows[""])
    assert (facts["repository is dirty"], facts["status"], facts["user name"]) == ("yes", "completed", "jörg")


def test_a_reason_is_searched_by_its_beginning(rich: Overview) -> None:
    (reason,) = rich.failures.reasons
    commands = {
        "short": "--reason short",
        "x" * 61: f"--reason {'x' * 60}",
        "two\nlines": "",
        OTHER_REASONS: "",
        "": "",
    }
    for message, option in commands.items():
        failures = replace(rich.failures, reasons=(replace(reason, message=message),))
        (row,) = Tables(render_sections(replace(rich, failures=failures))).rows[
            "Failed visits by reason, the most frequent first"
        ][1:]
        expected = f"elspeth rows {OF_NODE} {option}".rstrip()
        assert row[4] == f"{expected}elspeth explain --run run-1 --row 1"


def test_bars_of_outcomes_are_shares_of_the_largest(told: Overview) -> None:
    page = render_sections(told)
    drawn = re.findall(r'<svg class="(bar[ a-z]*)" [^>]*><rect width="([\d.]+)"', page)
    assert drawn == [
        *(("bar", "100.0"), ("bar", "20.0"), ("bar bad", "20.0"), ("bar bad", "40.0")),
        *(("bar", "20.0"), ("bar", "20.0"), ("bar", "40.0"), ("bar", "40.0")),
    ]
    most, *others = told.endings
    rare = replace(told, endings=(replace(most, tokens=10_000), *others))
    assert '<rect width="0.5" height="8"/>' in render_sections(rare)


def test_edges_calls_and_withheld_columns_have_their_numbers(told: Overview, rich: Overview) -> None:
    found = Tables(render_sections(told)).rows
    assert found["Tokens along each edge"][1:] == [
        ["gate", "enrich", "left", "move", "1"],
        ["gate", "join", "right", "move", "1"],
        ["gate", "high", "true", "move", "1"],
        ["source", "high", "__quarantine__", "move", "0"],
        ["source", "gate", "continue", "move", "2"],
    ]
    assert found["Calls to other systems"][1:] == [
        ["enrich", "http", "2", "✕ 1", "1", "12 ms", "6.1 ms", "12 ms"],
        ["source", "filesystem", "1", "0", "0", "0.5 ms", "0.5 ms", "0.5 ms"],
    ]
    assert [row[1] for row in found["Columns that the records leave out"][1:]] == ["2", "1", "0"]
    tiles = "rows read2rows failed or quarantined1tokens that have not ended2outputs1took9 s"
    assert tiles in Page(render_heading(rich)).text


def test_a_bar_extends_from_the_beginning_to_the_end() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    def drawn(first_s: int, last_s: int | None, busy_s: float, *, has_failed: bool = False) -> str:
        bar = slow._Bar(
            name="a",
            what="b",
            started_at=begin + timedelta(seconds=first_s),
            ended_at=None if last_s is None else begin + timedelta(seconds=last_s),
            busy_ms=1000 * busy_s,
            longest_ms=None,
            has_failed=has_failed,
        )
        return slow._draw(bar, begin, begin + timedelta(seconds=10))

    assert 'class="waterfall"' in drawn(2, 7, 2.5)
    assert re.findall(r'(x|width)="([\d.]+)"', drawn(2, 7, 2.5)) == [
        *(("x", "20.00"), ("width", "50.00")),
        *(("x", "20.00"), ("width", "25.00")),
    ]
    assert 'class="waterfall bad open"' in drawn(4, None, 99, has_failed=True)
    assert re.findall(r'width="([\d.]+)"', drawn(4, None, 99)) == ["60.00", "60.00"]


def test_the_operator_and_the_inputs_of_a_run_are_shown(rich: Overview) -> None:
    overview = rich
    process, source = overview.processes[0], overview.inputs[0]
    processes = tuple(replace(process, attempt=attempt) for attempt in range(3))
    counts = {**overview.counts, "source_input": 1_003}
    text = parse(replace(overview, processes=processes, inputs=(source,) * 3, counts=counts)).text
    heads = [
        f"Who {what}" for what in ("ran it, where and with what", "resumed it, process 2", "resumed it, process 3")
    ]
    places = [text.index(head) for head in heads]
    assert places == sorted(places)
    assert text.count("Who ") == len(heads)
    assert "What was read, without 1,000 further inputs" in text
    assert "further inputs" not in parse(overview).text
    assert str(source.content_hash) in text
    asked = replace(source, path_or_uri=None, content_hash=None, query_text="SELECT <1>", object_version="v<7>")
    found = Tables(render_sections(replace(overview, inputs=(asked,)))).rows["What was read"]
    assert found[1:] == [["node-1", "file", "SELECT <1>version v<7>", "0 bytes", "2"]]


def test_a_run_with_nothing_says_so(rich: Overview) -> None:
    nothing = replace(
        rich,
        endings=(),
        failures=FailedRows(count=0, reasons=(), visits_by_node={}, all_reasons=0),
        timings=Timings(nodes=(), operations=(), calls=(), visits=()),
        outputs=(),
        withheld=(),
        processes=(),
        inputs=(),
        secrets=(),
    )
    page, whole = render_sections(nothing), parse(rich).text
    for said in (
        "No token has ended.",
        "No visit of a row to a node failed.",
        "Nothing was recorded that took time.",
        "The run published nothing.",
        "No column is left out of these records",
    ):
        assert page.count(said) == 1
        assert said not in whole
    assert {"What was read", "Secrets that were looked up", "The longest visits"} & Tables(page).rows.keys() == set()


def test_a_failed_source_is_shown_with_its_error(rich: Overview) -> None:
    load, write = rich.timings.operations
    failed = replace(load, status=OperationStatus.FAILED, error="<b>disk full")
    page = render_sections(replace(rich, timings=replace(rich.timings, operations=(failed, write))))
    found = Tables(page).rows
    assert found["Sources and sinks that failed"][1:] == [
        ["node-1", "source load", "2026-02-01 00:00:00.999 UTC", "<b>disk full"]
    ]
    slowest = found["The slowest work, in the order in which it began, over 9 s"]
    assert [row[1] for row in slowest[1:]] == ["✕ source load, failed", "sink write", "4 visits"]


def test_bars_stay_inside_of_the_drawing_and_reach_over_days() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    def drawn(first: timedelta, last: timedelta, end: timedelta) -> list[str]:
        bar = slow._Bar(
            name="a", what="b", started_at=begin + first, ended_at=begin + last, busy_ms=1e12, longest_ms=None
        )
        return re.findall(r'(?:x|width)="([\d.]+)"', slow._draw(bar, begin, begin + end))

    day = timedelta(days=1)
    assert drawn(day, 3 * day, 4 * day) == ["25.00", "50.00", "25.00", "50.00"]
    assert drawn(day, day, day) == ["99.40", "0.60", "99.40", "0.60"]
    assert drawn(0 * day, 0 * day, 0 * day) == ["0.00", "0.60", "0.00", "0.60"]


def test_failed_work_is_named_by_its_step_whether_or_not_it_has_ended(rich: Overview) -> None:
    load, write = rich.timings.operations
    names = {node.node_id: f"the {node.node_id}" for node in rich.flow.nodes}
    flow = replace(rich.flow, nodes=tuple(replace(node, name=names[node.node_id]) for node in rich.flow.nodes))
    failed = replace(write, status=OperationStatus.FAILED, ended_at=write.started_at, duration_ms=None, error=None)
    timings = replace(rich.timings, operations=(load, failed))
    found = Tables(render_sections(replace(rich, flow=flow, timings=timings))).rows
    slowest = found["The slowest work, in the order in which it began, over 9 s"][1:]
    assert [row[:2] for row in slowest] == [
        ["the node-1", "source load"],
        ["the node-3", "✕ sink write, failed"],
        ["the node-1", "4 visits"],
    ]
    assert found["Sources and sinks that failed"][1][:2] == ["the node-3", "sink write"]
    reasons = found["Failed visits by reason, the most frequent first"][1:]
    assert [row[1] for row in reasons] == ["the node-1"]
    assert {row[1] for row in found["The longest visits"][1:]} == {"the node-1"}
    assert {row[0] for row in found["Calls to other systems"][1:]} == {"the node-1"}
    assert {row[1] for row in found["Visits that have not ended"][1:]} == {"the node-1"}
    assert found["Batches that were not processed"][1][0] == "the node-2"


def test_the_slowest_work_is_shown_if_there_is_much(rich: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "_MOST", 2)
    load, write = rich.timings.operations
    timings = replace(rich.timings, operations=(load, replace(write, duration_ms=5)))
    slowest = Tables(render_sections(replace(rich, timings=timings))).rows
    assert slowest["The slowest work, in the order in which it began, over 9 s"][1:] == [
        ["node-3", "sink write", "5 ms", "", ""],
        ["node-1", "4 visits", "0.3 ms", "0.1 ms", ""],
    ]


def test_settings_and_open_visits_are_cut_with_their_numbers(rich: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ran, "_SETTINGS", 10)
    text = parse(replace(rich, settings={"b": 1, "a": "ä"}, left_open=replace(rich.left_open, open_visits=1_002))).text
    assert '{\n  "a": "\n… (24 characters; the records have all)' in text
    assert "Visits that have not ended, the first 2 of 1,002" in text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (0.056, "0.056 ms"),
        (12.4, "12 ms"),
        (1500, "1.5 s"),
        (61_000, "1 min 01 s"),
        (3_599_400, "59 min 59 s"),
        (3_599_600, "1 h 00 min"),
        (3_725_000, "1 h 02 min"),
    ],
)
def test_time_spans_are_short(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (10**15, "1e+03 TB"),
    ],
)
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text


def test_texts_and_commands_are_well_formed() -> None:
    assert shown("<b>\n") == "&lt;b&gt;\\n"
    assert command("rows", "--reason", "field 'x'") == "<code>rows --reason &quot;field &#x27;x&#x27;&quot;</code>"
    assert "&#x27;$x&#x27;&quot;&#x27;" in command("'$x'")


def test_columns_of_numbers_are_aligned_as_such(told: Overview, rich: Overview) -> None:
    number = re.compile(r"(✕ )?[\d,.]+( bytes?| ms| s| min \d+ s| h \d+ min)?")
    for overview in (told, rich):
        page = render_sections(overview)
        for caption, heads in re.findall(r"<caption>(.*?)</caption><thead><tr>(.*?)</tr>", page):
            aligned = ["number" in each for each in heads.split("</th>")[:-1]]
            columns = zip(*Tables(page).rows[unescape(caption)][1:], strict=True)
            texts = [[text for text in column if text] for column in columns]
            assert aligned == [all(map(number.fullmatch, each)) and each != [] for each in texts], caption
