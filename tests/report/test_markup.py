"""Texts, numbers and tables as HTML."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from elspeth.report.markup import (
    code,
    command,
    duration,
    facts,
    moment,
    name,
    number,
    section,
    shown,
    size,
    table,
    words,
)

HOSTILE = "<b>\"x\"</b> & 'y'\u202e\n"
ESCAPED = "&lt;b&gt;&quot;x&quot;&lt;/b&gt; &amp; &#x27;y&#x27;\\u202e\\n"


def test_foreign_text_is_escaped_wherever_it_is_shown() -> None:
    assert shown(HOSTILE) == ESCAPED
    assert code(HOSTILE) == f"<code>{ESCAPED}</code>"
    assert name(HOSTILE) == f'<code class="name">{ESCAPED}</code>'
    assert command("a", HOSTILE) == (
        "<code>a &#x27;&lt;b&gt;&quot;x&quot;&lt;/b&gt; &amp; &#x27;&quot;&#x27;&quot;&#x27;y"
        "&#x27;&quot;&#x27;&quot;&#x27;\\u202e\\n&#x27;</code>"
    )


def test_a_long_text_is_cut_with_its_length() -> None:
    assert shown("x" * 400) == "x" * 400
    cut = f"{'x' * 400}… (401 characters)"
    assert shown("x" * 401) == cut
    assert code("x" * 401) == name("x" * 401) == f"<code>{cut}</code>"
    assert shown("x" * 11, 10) == "xxxxxxxxxx… (11 characters)"
    assert code("x" * 11, 10) == "<code>xxxxxxxxxx… (11 characters)</code>"


def test_a_command_is_shown_whole_four_times_as_long_as_other_texts() -> None:
    assert command("x" * 1600) == f"<code>{'x' * 1600}</code>"
    assert command("x" * 1601) == f"<code>{'x' * 1600}… (1,601 characters)</code>"


def test_only_a_short_name_stays_on_one_line() -> None:
    assert name("x" * 30) == f'<code class="name">{"x" * 30}</code>'
    assert name("x" * 31) == f"<code>{'x' * 31}</code>"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-1.csv", "plain-1.csv"),
        ("two words", "'two words'"),
        ("it's", '"it\'s"'),
        ("it's $5", "'it'\"'\"'s $5'"),
        ("it's `x`", "'it'\"'\"'s `x`'"),
        ("it's \\", "'it'\"'\"'s \\'"),
        ("it's!", "'it'\"'\"'s!'"),
        ('it\'s "x"', "'it'\"'\"'s \"x\"'"),
        ("", "''"),
    ],
)
def test_the_words_of_a_command_can_be_given_to_a_shell(word: str, quoted: str) -> None:
    assert command("elspeth", word) == f"<code>{shown(f'elspeth {quoted}')}</code>"


def test_values_are_shown_for_people() -> None:
    assert words("consumed_in_batch") == "consumed in batch"
    assert number(1_234_567) == "1,234,567"
    assert number(0) == "0"
    assert duration(9.96) == "10 ms"
    assert duration(999.4) == "999 ms"
    assert duration(59_940) == "59.9 s"
    assert duration(60_600) == "1 min 01 s"
    assert duration(100 * 3_600_000) == "100 h 00 min"
    assert duration(1_000 * 3_600_000) == "1,000 h 00 min"
    assert size(5 * 10**12) == "5 TB"


def test_a_time_is_shown_to_the_millisecond_and_kept_to_the_microsecond() -> None:
    found = moment(datetime(2026, 2, 3, 4, 5, 6, 7_089, tzinfo=UTC))
    assert found == '<time datetime="2026-02-03T04:05:06.007089Z">2026-02-03 04:05:06.007 UTC</time>'
    assert moment(None) == "not recorded"


def test_facts_are_a_list_of_names_and_values() -> None:
    assert facts([("a & b", "<code>1</code>"), ("c", "2")]) == (
        '<dl class="facts"><dt>a &amp; b</dt><dd><code>1</code></dd><dt>c</dt><dd>2</dd></dl>'
    )


def test_a_section_has_a_heading_that_labels_it() -> None:
    assert section("key", "Q & A", "<p>one</p>", "", "<p>two</p>") == (
        '<section id="key" aria-labelledby="key-heading">\n<h2 id="key-heading">Q &amp; A</h2>\n'
        "<p>one</p>\n<p>two</p>\n</section>"
    )


def test_a_table_can_be_scrolled_and_has_a_caption_and_heads() -> None:
    rows = [["<b>1</b>", "2"], ["3", "4"]]
    assert table("Q & A", ["a <", "n"], rows, numbers=[1]) == (
        '<div class="table" role="group" aria-label="Q &amp; A" tabindex="0"><table>\n'
        '<caption>Q &amp; A</caption><thead><tr><th scope="col">a &lt;</th><th scope="col" class="number">n</th></tr>'
        "</thead><tbody>\n"
        '<tr><th scope="row"><b>1</b></th><td class="number">2</td></tr>\n'
        '<tr><th scope="row">3</th><td class="number">4</td></tr>\n'
        "</tbody></table></div>"
    )
    assert '<th scope="row" class="number">1</th>' in table("a", ["b"], [["1"]], numbers=[0])
    for columns, kind in ((3, "table"), (4, "table wide")):
        assert table("a", ["b"] * columns, []).startswith(f'<div class="{kind}" role="group"')
