"""Stories drawn as trees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from elspeth.cli import story_text
from elspeth.cli.story_text import Branch, draw_tree
from elspeth.core.landscape.queries.story.model import MentionedToken, OperationStory, RowStory, TokenStory
from elspeth_schema.contracts import (
    AdoptedValue,
    Call,
    Node,
    Operation,
    Row,
    RunProcess,
    SourceInput,
    Token,
    TokenOutcome,
    TokenParent,
    ValidationErrorRecord,
)
from elspeth_schema.enums import (
    CallStatus,
    CallType,
    NodeType,
    OperationStatus,
    OperationType,
    RowOutcome,
    RunStatus,
)

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


LONG = f'"{"x" * 199}"'
SHOWN = f'"{"x" * 199}... (201 characters)'
ERROR = f", error {SHOWN}"
CALL = Call(
    run_id="run",
    call_id="c",
    operation_id="o",
    call_index=0,
    call_type=CallType.HTTP,
    status=CallStatus.ERROR,
    request_hash="1" * 64,
    created_at=AT,
)
OUTCOME = TokenOutcome(
    run_id="run", outcome_id="o", token_id="t", outcome=RowOutcome.FAILED, is_terminal=True, recorded_at=AT
)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (CALL, "call 0 http: error, request 111111111111"),
        (
            replace(CALL, request_ref="asked", response_hash="2" * 64, response_ref="got", error_json=LONG),
            f"call 0 http: error, request {'1' * 12}, kept as asked, answer {'2' * 12}, answer kept as got{ERROR}",
        ),
    ],
)
def test_a_call_shows_what_was_asked_and_answered_and_where_it_is_kept(call: Call, text: str) -> None:
    assert story_text._call_branch(call).label == text


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (OUTCOME, "failed"),
        (
            replace(OUTCOME, sink_name="s", batch_id="b", fork_group_id="f", join_group_id="j", expand_group_id="e"),
            "failed, to sink s, batch b, fork f, merge j, expansion e",
        ),
        (
            replace(OUTCOME, expected_branches_json="[]", error_hash="3" * 64, context_json=LONG),
            f"failed, expected [], error 333333333333, context {SHOWN}",
        ),
    ],
)
def test_an_outcome_shows_all_that_was_recorded_with_it(outcome: TokenOutcome, text: str) -> None:
    assert story_text._outcome(outcome) == text


@pytest.mark.parametrize(
    ("destination", "text"), [("high", "invalid, sent to high: bad"), (None, "invalid, destination not recorded: bad")]
)
def test_an_invalid_row_shows_where_it_went_if_that_was_recorded(destination: str | None, text: str) -> None:
    error = ValidationErrorRecord(
        run_id="run",
        error_id="e",
        row_hash="1" * 64,
        error="bad",
        schema_mode="fixed",
        destination=destination,
        created_at=AT,
    )
    assert draw_tree(story_text._validation_error_branch(error)) == text


def test_a_token_of_another_row_is_named_with_how_it_ended() -> None:
    token = Token(run_id="run", token_id="t", row_id="r", created_at=AT)
    for outcome, text in ((None, "has not ended"), (OUTCOME, "failed")):
        mentioned = MentionedToken(token=token, row_index=3, outcome=outcome)
        assert story_text._mentioned_token(mentioned) == f"token t of row 3: {text}"


@pytest.mark.parametrize(
    ("reason", "texts"),
    [
        (None, []),
        ({"values": {}, "absent": [], "label": "true"}, ["no field → true"]),
        (
            {"values": {"name": "Zoë", "amount": 2}, "absent": ["rate", "tax"], "label": "false"},
            ['name = "Zoë", amount = 2, no rate, no tax → false'],
        ),
    ],
)
def test_a_gate_shows_the_values_that_it_read_and_the_fields_that_it_missed(reason: object, texts: list[str]) -> None:
    assert list(story_text._seen(reason)) == texts


def token_story(token_id: str, *parents: str, children: tuple[TokenStory, ...] = ()) -> TokenStory:
    """Return the story of a token that nothing happened to."""
    return TokenStory(
        token=Token(run_id="run", token_id=token_id, row_id="r", created_at=AT),
        parents=tuple(
            TokenParent(run_id="run", token_id=token_id, parent_token_id=parent, ordinal=number)
            for number, parent in enumerate(parents)
        ),
        made_by=(),
        steps=(),
        errors=(),
        batches=(),
        outcomes=(),
        children=children,
        merged_into=(),
    )


def test_a_parent_is_named_where_the_tree_does_not_show_it() -> None:
    asked = token_story("t", "p", children=(token_story("c", "t"), token_story("m", "t", "u")))
    branch = story_text._token_branch(asked, {}, parents=True)
    assert [branch.label, *(each.label for each in branch.branches)] == [
        "token t, made from p",
        "outcome: has not ended",
        "token c",
        "token m, made from t, u",
    ]


def test_a_row_without_tokens_is_told_with_everything_around_it() -> None:
    operation = Operation(
        run_id="run",
        operation_id="o",
        node_id="n",
        operation_type=OperationType.SOURCE_LOAD,
        started_at=AT,
        status=OperationStatus.FAILED,
        error_message="x" * 201,
        duration_ms=1.0,
    )
    story = RowStory(
        run_id="run",
        run_status=RunStatus.FAILED,
        processes=(PROCESS, replace(PROCESS, attempt=1)),
        row=Row(
            run_id="run",
            row_id="r",
            source_node_id="n",
            row_index=2,
            source_data_hash="4" * 64,
            source_data_ref="kept",
            created_at=AT,
        ),
        source=Node(
            run_id="run",
            node_id="n",
            plugin_name="csv",
            node_type=NodeType.SOURCE,
            plugin_version="1.0.0",
            config_hash="5" * 64,
            config_json="{}",
            registered_at=AT,
        ),
        source_inputs=(INPUT, replace(INPUT, row_count=1)),
        source_operations=(OperationStory(operation=operation, calls=(CALL,) * 11),),
        validation_errors=(),
        tokens=(),
        adopted_values=(
            AdoptedValue(run_id="run", source_key="[1]", source_table="t", values_json="{}"),
            AdoptedValue(run_id="run", source_key="[2]", source_table="t", values_json="{}"),
        ),
    )
    assert story_text.story_text(story) == (
        "run run: failed\n"
        f"├─ begun 2026-03-01T12:00:00.000000Z, {ON}\n"
        f"├─ resumed 2026-03-01T12:00:00.000000Z, {ON}\n"
        "├─ row 2 from n (csv 1.0.0): 444444444444, kept as kept\n"
        "│  ├─ standard_input: 0 rows\n"
        "│  ├─ standard_input: 1 row\n"
        f"│  ├─ source_load: failed in 1.0 ms, error {'x' * 200}... (201 characters)\n"
        + 10
        * "│  │  ├─ call 0 http: error, request 111111111111\n"
        + "│  │  └─ and 1 more, in the JSON form\n"
        "│  └─ no token was recorded\n"
        "├─ t [1] also had {}\n"
        "└─ t [2] also had {}"
    )
    told = story_text.story_text(replace(story, processes=(), tokens=(token_story("t", "p"),), adopted_values=()))
    assert told.endswith("   └─ token t, made from p\n      └─ outcome: has not ended")
