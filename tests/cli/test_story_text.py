"""Stories drawn as trees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from elspeth.cli import story_text
from elspeth.cli.story_text import Branch, draw_tree
from elspeth_schema.contracts import AdoptedValue, RunProcess, SourceInput

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROCESS = RunProcess(
    run_id="run",
    process_id="p",
    attempt=0,
    started_at=AT,
    elspeth_version="1.2",
    python_version="CPython 3.12",
    operating_system="Linux",
    packages_json="{}",
)
INPUT = SourceInput(
    run_id="run", input_id="i", node_id="n", ordinal=0, input_type="standard_input", row_count=0, created_at=AT
)
COMMIT = "0123456789abcdef"


def test_a_tree_has_a_line_for_each_branch() -> None:
    tree = Branch("root", Branch("first", Branch("inner")), Branch("last", Branch("one"), Branch("other")))
    assert draw_tree(tree).splitlines() == [
        "root",
        "├─ first",
        "│  └─ inner",
        "└─ last",
        "   ├─ one",
        "   └─ other",
    ]


def test_unprintable_characters_are_escaped() -> None:
    assert draw_tree(Branch("é 漢 \x1b[31m\n\u202e\x00")) == "é 漢 \\x1b[31m\\n\\u202e\\x00"


ON = "on Linux, with elspeth 1.2, CPython 3.12"


@pytest.mark.parametrize(
    ("process", "text"),
    [
        (PROCESS, f"begun 2026-03-01T12:00:00.000000Z, {ON}"),
        (
            replace(PROCESS, attempt=1, user_name="ann", host_name="h", packages_json='{"p":"1"}', labels_json="{}"),
            f'resumed 2026-03-01T12:00:00.000000Z by ann@h, {ON}, packages {{"p":"1"}}, labels {{}}',
        ),
        (
            replace(PROCESS, host_name="h", repository_commit=COMMIT, repository_is_dirty=True),
            f"begun 2026-03-01T12:00:00.000000Z by h, {ON}, settings of commit 0123456789ab with changes",
        ),
        (
            replace(PROCESS, repository_commit=COMMIT, repository_is_dirty=False),
            f"begun 2026-03-01T12:00:00.000000Z, {ON}, settings of commit 0123456789ab",
        ),
    ],
)
def test_a_process_shows_who_ran_what_where(process: RunProcess, text: str) -> None:
    assert story_text._process_branch(process).label == text


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (INPUT, "standard_input: 0 rows"),
        (
            replace(INPUT, input_type="file", path_or_uri="in.csv", size_bytes=0, content_hash="0" * 64),
            "file in.csv: 0 rows, 0 bytes, SHA-256 000000000000",
        ),
        (
            replace(
                INPUT, input_type="query", path_or_uri="db", row_count=1200, object_version="v", query_text="SELECT"
            ),
            "query db: 1,200 rows, version v, asked SELECT",
        ),
    ],
)
def test_an_input_shows_what_was_read(read: SourceInput, text: str) -> None:
    assert story_text._input_branch(read).label == text


def test_an_adopted_value_names_its_contents_by_their_hash() -> None:
    value = AdoptedValue(run_id="run", source_key="[1]", source_table="t", values_json="{}", contents_hash="0" * 64)
    assert story_text._adopted_branch(value).label == "t [1] also had {}, contents 000000000000"


def test_only_longer_texts_are_shortened() -> None:
    assert story_text._shorten("x" * 200) == "x" * 200
    assert story_text._shorten("x" * 201) == f"{'x' * 200}... (201 characters)"
    for number, shown in ((10, 10), (11, 11), (12, 11)):
        found = story_text._shorten_list([Branch("b")] * number)
        assert len(found) == shown
    assert (found[9].label, found[10].label) == ("b", "and 2 more, in the JSON form")
    assert (story_text._duration(None), story_text._duration(0.0)) == ("", " in 0.0 ms")
