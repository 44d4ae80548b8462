"""The story of a row, from its database and export."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, insert

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.exporting.format import READABLE
from elspeth.core.landscape.queries.story._index import LOOKUPS
from elspeth.core.landscape.queries.story.model import RowStory, StepStory, TokenStory, story_json
from elspeth.core.landscape.queries.story.reader import NotRecordedError, row_story, token_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail, Trail, open_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.records.store import RecordStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AdoptedValue, AuditRecord, Row, RowOutcome
from elspeth_schema.records import RECORD_TYPES, RecordType
from elspeth_schema.tables import token_parents_table
from elspeth_strategies import whole_runs
from tests.core.landscape.queries.story.test_trail import ListTrail
from tests.fixtures import told_run
from tests.fixtures.effort import law, some_of
from tests.fixtures.landscapes import in_memory
from tests.fixtures.records import record_graph
from tests.fixtures.told_run import ROWS, ToldRun, record_told_run

R = TypeVar("R", bound=AuditRecord)

# -- laws ------------------------------------------------------------------------------------------------------------


@contextmanager
def both_trails(db: LandscapeDB, run_id: str, form: ExportFormat) -> Iterator[tuple[Trail, Trail]]:
    """Return the trails of one run in database and export."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "export"
        write_export(db, run_id, path, format=form)
        with db.snapshot() as connection, open_export(path) as export:
            yield DatabaseTrail(connection, run_id), export


@pytest.mark.parametrize("form", some_of(sorted(READABLE), 0))
def test_database_and_export_tell_the_same_story(landscape: LandscapeDB, form: ExportFormat) -> None:
    run = record_told_run(landscape)
    with both_trails(landscape, run.run_id, form) as (database, export):
        for index in range(ROWS):
            told = row_story(database, index)
            assert told == row_story(export, index)
            assert story_json(told) == story_json(row_story(export, index))
        for token_id in run.tokens.values():
            assert token_story(database, token_id) == token_story(export, token_id)


def renamed(record: Mapping[str, object], names: Mapping[object, object]) -> dict[str, object]:
    """Return a record or a story with other ids."""
    return {
        name: names.get(value, value) if isinstance(value, str) and name.endswith("_id") else renamed_in(value, names)
        for name, value in record.items()
    }


def renamed_in(value: object, names: Mapping[object, object]) -> object:
    if isinstance(value, list):
        return [renamed_in(each, names) for each in value]
    return renamed(value, names) if isinstance(value, dict) else value


def test_a_story_is_in_the_order_of_events_and_not_of_ids(told: LandscapeDB, run: ToldRun) -> None:
    records = list(LandscapeExporter(told, include_payloads=True).export_run(run.run_id))
    names: dict[object, object] = {}
    for name, record_type in RECORD_TYPES.items():
        *_, key = record_type.key
        if key.endswith("_id") and len(record_type.key) == 2 and name != "batch_output":
            ids = [each[key] for each in records if each["record_type"] == name]
            names |= dict(zip(ids, reversed(ids), strict=True))
    trails = [
        ListTrail(mapper(RECORD_TYPES[str(each["record_type"])]).from_record(each) for each in some)
        for some in (records, [renamed(each, names) for each in reversed(records)])
    ]
    for index in range(ROWS):
        one, other = (json.loads(story_json(row_story(trail, index))) for trail in trails)
        assert renamed(other, names) == one


class RecordingTrail:
    """A trail that remembers the types and columns of questions."""

    def __init__(self, trail: Trail) -> None:
        self.run_id = trail.run_id
        self.asked: set[tuple[str, str]] = set()
        self._trail = trail

    def records(self, record_type: RecordType[R], column: str, values: Collection[str | int]) -> list[R]:
        self.asked.add((record_type.name, column))
        return self._trail.records(record_type, column, values)


OF_A_FEW = {("artifact", "produced_by_state_id"), ("artifact", "sink_node_id"), ("operation", "node_id")}
"""Questions about types of which a run has as many records as sources and sinks: they need no index."""


def test_every_query_of_a_story_uses_an_index(told: LandscapeDB, run: ToldRun) -> None:
    with told.snapshot() as connection:
        trail = RecordingTrail(DatabaseTrail(connection, run.run_id))
        for index in range(ROWS):
            row_story(trail, index)
        assert len(trail.asked) > 20
        for name, column in sorted(trail.asked):
            assert column in LOOKUPS[name]
            table = RECORD_TYPES[name].table.name
            statement = f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE run_id = 'told' AND {column} IN ('a', 'b')"  # noqa: S608
            ((*_, plan),) = connection.exec_driver_sql(statement)
            by_index = f"{column}=?)" in plan if name != "run" else "(run_id=?)" in plan
            assert by_index or (name, column) in OF_A_FEW, plan


def story_or_refusal(trail: Trail, row_index: int) -> RowStory | str:
    try:
        return row_story(trail, row_index)
    except AuditIntegrityError as error:  # a token that was made from itself
        return str(error)


@given(run=whole_runs())
@law(50)
def test_database_and_export_tell_the_same_story_of_generated_runs(run: list[AuditRecord]) -> None:
    with in_memory() as db:
        RecordStore(db).add(*run)
        with both_trails(db, run[0].run_id, ExportFormat.JSONL) as (database, export):
            for row in (record for record in run if isinstance(record, Row)):
                told = story_or_refusal(database, row.row_index)
                assert told == story_or_refusal(export, row.row_index)
                if isinstance(told, RowStory):
                    json.loads(story_json(told))


def all_tokens(stories: tuple[TokenStory, ...]) -> Iterator[TokenStory]:
    for story in stories:
        yield story
        yield from all_tokens(story.children)


@st.composite
def families(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Draw tokens of two rows, and child-parent pairs.

    Each token is made from earlier ones only.
    """
    rows = draw(st.lists(st.integers(0, 1), max_size=8))
    tokens = {f"token {number}": row for number, row in enumerate(rows)}
    links = [
        (token, parent)
        for number, token in enumerate(tokens)
        for parent in draw(st.permutations(list(tokens)[:number]).map(lambda earlier: earlier[:2]))
        if draw(st.booleans())
    ]
    return tokens, links


@given(family=families())
def test_each_token_of_a_row_is_told_once_under_its_first_parent(
    family: tuple[dict[str, int], list[tuple[str, str]]],
) -> None:
    tokens, links = family
    with in_memory() as db:
        recorder = LandscapeRecorder(db)
        with recorder.unit_of_work():
            record_graph(recorder)
            for index in (0, 1):
                recorder.create_row("run", "source", index, {}, row_id=f"row {index}")
            for token_id, index in tokens.items():
                recorder.create_token(f"row {index}", run_id="run", token_id=token_id)
        ordinals: Counter[str] = Counter()
        with db.write_transaction() as connection:
            for token_id, parent in links:
                link = {"token_id": token_id, "parent_token_id": parent, "ordinal": ordinals[token_id]}
                connection.execute(insert(token_parents_table), {"run_id": "run", **link})
                ordinals[token_id] += 1
        with db.snapshot() as connection:
            story = row_story(DatabaseTrail(connection, "run"), 0)
    told = {each.token.token_id: each for each in all_tokens(story.tokens)}
    assert len(told) == len(list(all_tokens(story.tokens)))
    assert {token_id for token_id, index in tokens.items() if index == 0} <= told.keys()
    for token_id, each in told.items():
        made_from_it = [child for child, parent in links if parent == token_id]
        first_of = [
            child
            for child in made_from_it
            if next(parent for made, parent in links if made == child and parent in told) == token_id
        ]
        assert sorted(child.token.token_id for child in each.children) == sorted(first_of)
        assert sorted(child.token_id for child in each.merged_into) == sorted(set(made_from_it) - set(first_of))


def test_deaggregation_fork_and_join_groups_can_be_reconstructed_from_the_export_alone(
    landscape: LandscapeDB, tmp_path: Path
) -> None:
    run = record_told_run(landscape)
    names = {token_id: name for name, token_id in run.tokens.items()}
    path = tmp_path / "export.jsonl"
    write_export(landscape, run.run_id, path, format=ExportFormat.JSONL)
    with open_export(path) as export:
        told = [story for index in range(ROWS) for story in all_tokens(row_story(export, index).tokens)]
    forks, joins, expansions, batches = (defaultdict[str, set[str]](set) for _ in range(4))
    outputs: dict[str, list[str]] = {}
    for story in told:
        token = story.token
        name = names.get(token.token_id, "?")
        if token.fork_group_id:
            forks[names[story.parents[0].parent_token_id]].add(f"{name} on {token.branch_name}")
        if token.expand_group_id:
            expansions[names[story.parents[0].parent_token_id]].add(name)
        if token.join_group_id:
            joins[name] |= {names[parent.parent_token_id] for parent in story.parents}
        for batch in story.batches:
            batches[batch.batch.status] |= {names[member.token.token.token_id] for member in batch.members}
        for batch in story.made_by:
            outputs[name] = [names[member.token.token.token_id] for member in batch.members]
    assert forks == {
        "forked": {"left on left", "right on right"},
        "interrupted": {"waiting on left", "working on right"},
    }
    assert joins == {"merged": {"left", "right"}}
    assert expansions == {"expanded": {"part 0", "part 1", "part 2"}}
    assert batches == {"failed": {"member 0", "member 1"}, "completed": {"member 0", "member 1"}}
    assert outputs == {"total": ["member 0", "member 1"]}


# -- what a story tells ----------------------------------------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        yield db


@pytest.fixture
def run(told: LandscapeDB) -> ToldRun:
    return record_told_run(told)


@pytest.fixture
def trail(told: LandscapeDB, run: ToldRun) -> Iterator[DatabaseTrail]:
    with told.snapshot() as connection:
        yield DatabaseTrail(connection, run.run_id)


def only(trail: Trail, index: int) -> TokenStory:
    (story,) = row_story(trail, index).tokens
    return story


def steps(story: TokenStory) -> list[str]:
    return [f"{step.node.node_id} {step.state.status}" for step in story.steps]


def test_a_row_comes_from_its_source(trail: DatabaseTrail) -> None:
    story = row_story(trail, told_run.ROUTED)
    (operation,) = story.source_operations
    assert (story.run_id, story.run_status) == ("told", "completed")
    assert (story.row.row_index, story.source.node_id) == (0, "source")
    assert operation.operation.operation_type == "source_load"
    assert [call.call_type for call in operation.calls] == ["filesystem"]
    assert story.validation_errors == ()


def test_a_gate_tells_where_it_sent_the_token_and_why(trail: DatabaseTrail) -> None:
    story = only(trail, told_run.ROUTED)
    _, gate, sink = story.steps
    (route,) = gate.routes
    assert steps(story) == ["source completed", "gate completed", "high completed"]
    assert (route.edge.label, route.target.node_id, route.event.mode) == ("true", "high", "move")
    assert route.event.reason_ref == "kept/elsewhere"
    assert [operation.operation.operation_type for operation in sink.operations] == ["sink_write"]
    assert [artifact.path_or_uri for artifact in sink.artifacts] == ["/out/high.csv"]
    assert [(outcome.outcome, outcome.sink_name) for outcome in story.outcomes] == [(RowOutcome.ROUTED, "high")]


def test_a_merged_token_is_told_under_its_first_parent(trail: DatabaseTrail, run: ToldRun) -> None:
    left, right = only(trail, told_run.MERGED).children
    (merged,) = left.children
    assert (left.token.branch_name, right.token.branch_name) == ("left", "right")
    assert [parent.parent_token_id for parent in merged.parents] == [run.tokens["left"], run.tokens["right"]]
    assert (merged.token.token_id, right.children) == (run.tokens["merged"], ())
    assert right.merged_into == (merged.token,)
    assert [(call.call_index, call.status) for call in left.steps[0].calls] == [(0, "error"), (1, "success")]


def test_the_story_of_a_later_parent_names_the_merged_token(trail: DatabaseTrail, run: ToldRun) -> None:
    (right,) = token_story(trail, run.tokens["right"]).tokens
    assert [child.token.token_id for child in right.children] == [run.tokens["merged"]]
    assert right.merged_into == ()


def test_an_expansion_has_its_parts_in_order(trail: DatabaseTrail, run: ToldRun) -> None:
    story = only(trail, told_run.EXPANDED)
    assert [child.token.token_id for child in story.children] == [run.tokens[f"part {number}"] for number in range(3)]
    (error,) = story.children[2].errors
    assert error.error_details_json == '{"reason":"no such customer"}'


def test_a_row_has_all_files_of_its_sink(trail: DatabaseTrail) -> None:
    def artifacts(step: StepStory) -> list[str]:
        return [artifact.path_or_uri for artifact in step.artifacts]

    part, _, _ = only(trail, told_run.EXPANDED).children
    (maker,) = only(trail, told_run.MERGED).children[0].children
    assert artifacts(part.steps[-1]) == ["/out/report.txt", "/out/output.csv"]
    assert artifacts(maker.steps[-1]) == ["/out/output.csv"]


def test_a_batch_tells_its_members_and_outputs(trail: DatabaseTrail, run: ToldRun) -> None:
    story = only(trail, told_run.BATCHED)
    failed, completed = story.batches
    assert [(each.batch.attempt, each.batch.status) for each in story.batches] == [(0, "failed"), (1, "completed")]
    assert failed.outputs == ()
    assert [member.token.row_index for member in completed.members] == [told_run.BATCHED, told_run.BATCHED_TOO]
    token, artifact, unknown = completed.outputs
    assert token.token is not None
    assert token.token.token.token_id == run.tokens["total"]
    assert token.token.outcome is not None
    assert token.token.outcome.sink_name == "output"
    assert artifact.artifact is not None
    assert artifact.artifact.path_or_uri == "/out/report.txt"
    assert (unknown.token, unknown.artifact) == (None, None)
    assert [outcome.outcome for outcome in story.outcomes] == [RowOutcome.BUFFERED, RowOutcome.CONSUMED_IN_BATCH]


def test_a_token_that_came_out_of_a_batch_names_it(trail: DatabaseTrail, run: ToldRun) -> None:
    member, total = row_story(trail, told_run.BATCHED_TOO).tokens
    assert (member.made_by, total.batches) == ((), ())
    assert total.made_by == member.batches[1:]
    assert token_story(trail, run.tokens["total"]).tokens == (total,)


@pytest.mark.parametrize("index", [told_run.QUARANTINED, told_run.DISCARDED])
def test_the_story_of_a_refused_row_has_the_reason(trail: DatabaseTrail, index: int) -> None:
    story = row_story(trail, index)
    (error,) = story.validation_errors
    assert (error.schema_mode, error.row_hash) == ("strict", story.row.source_data_hash)
    assert steps(story.tokens[0]) == ["source failed"]
    assert [route.edge.label for route in story.tokens[0].steps[0].routes] == (
        ["__quarantine__"] if index == told_run.QUARANTINED else []
    )


def test_attempts_and_unfinished_steps_are_in_the_story(trail: DatabaseTrail) -> None:
    retried, interrupted = only(trail, told_run.RETRIED), only(trail, told_run.INTERRUPTED)
    assert [step.state.attempt for step in retried.steps] == [0, 0, 1, 0]
    assert steps(retried) == ["source completed", "enrich failed", "enrich completed", "output completed"]
    assert [steps(child) for child in interrupted.children] == [["enrich pending"], ["join open"]]
    assert [child.outcomes for child in interrupted.children] == [(), ()]


def test_a_failed_visit_to_a_sink_has_no_artifacts(told: LandscapeDB) -> None:
    run = record_told_run(told, ended=False)
    recorder = LandscapeRecorder(told)
    state = recorder.begin_node_state(run.tokens["waiting"], "output", 2, {})
    recorder.complete_node_state(state.state_id, "failed")
    with told.snapshot() as connection:
        (story,) = token_story(DatabaseTrail(connection, run.run_id), run.tokens["waiting"]).tokens
    assert steps(story) == ["enrich pending", "output failed"]
    assert story.steps[1].artifacts == ()


# -- how it is read --------------------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_depend_on_the_number_of_tokens(landscape: LandscapeDB) -> None:
    recorder = LandscapeRecorder(landscape)
    record_told_run(landscape, ended=False)
    for index, count in ((ROWS, 2), (ROWS + 1, 40)):
        row = recorder.create_row("told", "source", index, {})
        parent = recorder.create_token(row.row_id)
        for child in recorder.expand_token(parent.token_id, row.row_id, count):
            recorder.begin_node_state(child.token_id, "output", 1, {})
            recorder.record_token_outcome("told", child.token_id, RowOutcome.COMPLETED, sink_name="output")
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    def statements_for(trail: Trail, index: int) -> int:
        statements.clear()
        assert row_story(trail, index).row.row_index == index
        return len(statements)

    event.listen(landscape.engine, "before_cursor_execute", note)
    with landscape.snapshot() as connection:
        trail = DatabaseTrail(connection, "told")
        assert statements_for(trail, ROWS) == statements_for(trail, ROWS + 1) > 0


def test_unknown_rows_and_tokens_have_no_story(trail: DatabaseTrail) -> None:
    with pytest.raises(NotRecordedError) as caught:
        row_story(trail, ROWS)
    assert str(caught.value) == "run told has no row 9: rows are counted from 0, in the order of reading"
    with pytest.raises(NotRecordedError) as caught:
        token_story(trail, "nobody")
    assert str(caught.value) == "run told has no token nobody: give the whole id, as elspeth rows lists it"


def test_a_token_made_from_its_own_child_is_refused(told: LandscapeDB, run: ToldRun) -> None:
    parent, child = run.tokens["expanded"], run.tokens["part 0"]
    link = {"run_id": run.run_id, "token_id": parent, "parent_token_id": child, "ordinal": 0}
    with told.write_transaction() as connection:
        connection.execute(insert(token_parents_table), link)
    with told.snapshot() as connection, pytest.raises(AuditIntegrityError) as caught:
        row_story(DatabaseTrail(connection, run.run_id), told_run.EXPANDED)
    assert str(caught.value) in {
        f"token_parents run_id='told' token_id='{token}' parent_token_id='{made_from}': parent_token_id: "
        f"expected a token that was not made from this one, got '{made_from}'"
        for token, made_from in ((parent, child), (child, parent))
    }


def test_a_story_tells_what_was_adopted_by_the_keys_that_records_had_before(told: LandscapeDB) -> None:
    """Old keys had the run last, or no run."""
    recorder = LandscapeRecorder(told)
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    recorder.create_token("row", run_id="run")
    keys = [("nodes", ["source", "run"]), ("rows", ["row"]), ("runs", ["run"])]
    others = [("nodes", ["run", "source"]), ("nodes", ["row"]), ("rows", ["another"]), ("runs", [])]
    values = [
        AdoptedValue(run_id="run", source_table=table, source_key=canonical_json(key), values_json="{}")
        for table, key in keys + others
    ]
    RecordStore(told).add(*values)
    with told.snapshot() as connection:
        story = row_story(DatabaseTrail(connection, "run"), 0)
    assert list(story.adopted_values) == values[: len(keys)]
