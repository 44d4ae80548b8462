"""Laws of runs, over drawn graphs and rows."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.settings.conversion import convert_settings
from elspeth.core.settings.model import PositionalSettings
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, RunResult
from tests.engine.drawn import ROWS, SINKS, AskTransform, graphs
from tests.engine.drawn_wired import wired_graphs
from tests.engine.pipelines import PLUGINS, Records, Settings, build, execute, groups_of, run_graph, trail, written
from tests.engine.planted import VALUES, found_in
from tests.fixtures.effort import law
from tests.report.flows import assert_counted, flow_of


def run_drawn(directory: Path, chosen: Settings) -> tuple[RunResult, Records]:
    """Run drawn settings in a directory, which keeps the payloads."""
    with chdir(directory):
        return run_graph(directory, chosen, AskTransform)


class Lineage:
    """The way from tokens back to source rows."""

    def __init__(self, records: Records) -> None:
        self._parents: dict[str, list[str]] = {}
        for parent in records.get("token_parent", []):
            self._parents.setdefault(parent["token_id"], []).append(parent["parent_token_id"])
        self._members: dict[str, list[str]] = {}
        for member in records.get("batch_member", []):
            self._members.setdefault(member["batch_id"], []).append(member["token_id"])
        self._batch = {output["output_id"]: output["batch_id"] for output in records.get("batch_output", [])}
        self._index = {row["row_id"]: row["row_index"] for row in records.get("row", [])}
        self._row = {token["token_id"]: token["row_id"] for token in records.get("token", [])}

    def sources(self, token_id: str) -> set[int]:
        """Return the indexes of a token's source rows."""
        origins = self._parents.get(token_id, [])
        members = self._members.get(self._batch.get(token_id, ""), [])
        if not origins and token_id not in members:
            origins = members
        if not origins:
            return {self._index[self._row[token_id]]}
        return set().union(*map(self.sources, origins))


def check_run(directory: Path, chosen: Settings, rows: list[RowData]) -> None:
    """Run settings, and assert the laws of a run."""
    result, records = run_drawn(directory, chosen)
    assert result.rows == len(rows) == len(records.get("row", []))
    lineage = Lineage(records)
    roots = {index for token in records.get("token", []) for index in lineage.sources(token["token_id"])}
    assert roots == set(range(len(rows)))
    ends = {
        each["token_id"]: each for each in records.get("token_outcome", []) if each["is_terminal"] and each["sink_name"]
    }
    nodes = {node["node_id"] for node in records["node"] if node["node_type"] == "sink"}
    recorded: dict[str, Counter[str]] = {name: Counter() for name in ("out", *SINKS)}
    for state in records.get("node_state", []):
        if state["node_id"] in nodes and state["status"] == "completed":
            recorded[ends[state["token_id"]]["sink_name"]][state["output_hash"]] += 1
            if "id" in (row := by_hash(directory, state["output_hash"])):
                assert row["id"] in {rows[index]["id"] for index in lineage.sources(state["token_id"])}
    for name, counts in recorded.items():
        assert Counter(map(stable_hash, written(directory, name))) == counts
        assert result.rows_by_sink[name] == counts.total()
    assert_counted(flow_of(chosen["landscape"]["url"], result.run_id), records)


def routed(ends: Counter[tuple[str, str | None]]) -> Counter[tuple[str, str | None]]:
    """Count completed tokens as routed."""
    counted: Counter[tuple[str, str | None]] = Counter()
    for (outcome, sink), count in ends.items():
        counted["routed" if outcome == "completed" else outcome, sink] += count
    return counted


def by_hash(directory: Path, row_hash: str) -> RowData:
    """Return the written row with a hash."""
    return next(row for name in ("out", *SINKS) for row in written(directory, name) if stable_hash(row) == row_hash)


@law(30)
@given(data=st.data(), rows=ROWS)
def test_rows_are_conserved_and_every_output_leads_to_its_source_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    check_run(directory, data.draw(graphs(directory, rows)), rows)


def ends_of(records: Records) -> Counter[tuple[str, str | None]]:
    """Count the tokens by outcome and sink."""
    return Counter((each["outcome"], each["sink_name"]) for each in records.get("token_outcome", []))


def files_of(directory: Path) -> dict[str, list[RowData]]:
    """Return the rows of each sink."""
    return {name: written(directory, name) for name in ("out", *SINKS)}


@law(20)
@given(data=st.data(), rows=ROWS, size=st.integers(1, 4), visits=st.integers(1, 20), workers=st.integers(1, 5))
def test_outputs_do_not_depend_on_the_size_of_groups_or_the_number_of_workers(  # noqa: PLR0917  what is drawn
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[RowData],
    size: int,
    visits: int,
    workers: int,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(graphs(directory, rows))
    found = []
    for group_size, group_visits, max_workers in ((500, 10_000, 1), (size, visits, workers)):
        with pytest.MonkeyPatch.context() as patch:
            groups_of(patch, group_size, group_visits)
            concurrency = {"concurrency": {"max_workers": max_workers}}
            result, records = run_drawn(directory, chosen | concurrency)
        found.append((ends_of(records), files_of(directory), result.rows_by_sink, result.failed))
    assert found[0] == found[1]


@law(20)
@given(data=st.data(), rows=ROWS, workers=st.integers(1, 5))
def test_a_replay_makes_the_same_outputs_without_calls(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData], workers: int
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(graphs(directory, rows)) | {"concurrency": {"max_workers": workers}}
    result, records = run_drawn(directory, chosen)
    found, asked = (ends_of(records), files_of(directory), calls_of(records)), AskTransform.sent
    _, records = run_drawn(directory, chosen | {"run_mode": "replay", "replay_source_run_id": result.run_id})
    assert (ends_of(records), files_of(directory), calls_of(records)) == found
    assert AskTransform.sent == asked


def calls_of(records: Records) -> Counter[tuple[object, ...]]:
    """Count the recorded calls."""
    facts = ("call_index", "status", "request_hash", "request_ref", "response_hash", "response_ref", "error_json")
    return Counter(tuple(each[fact] for fact in facts) for each in records.get("call", []))


@law(40)
@given(data=st.data(), rows=ROWS)
def test_no_value_of_a_row_is_in_the_trail_for_any_graph(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(graphs(directory, rows))
    replaced = st.dictionaries(st.sampled_from(["id", "v", "items", "more"]), st.sampled_from(list(VALUES.values())))
    planted = [row | data.draw(replaced) for row in rows]
    (directory / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in planted))
    schema = {"mode": "free", "fields": ["more: bool?"]}
    chosen["row_plugins"].insert(0, {"plugin": "passthrough", "options": {"schema": schema, "on_error": "bad"}})
    chosen["datasource"] = {"plugin": "jsonl", "options": {"path": str(directory / "in.jsonl")}}
    _, records = run_drawn(directory, chosen)
    assert found_in({"trail": json.dumps(records, ensure_ascii=False).encode()}) == []


@law(3)
@given(data=st.data(), rows=ROWS)
def test_converted_settings_are_the_same_pipeline(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(graphs(directory, rows))
    _, records = run_drawn(directory, chosen)
    found = routed(ends_of(records)), files_of(directory), visits_of(records)
    settings = build(directory, chosen, *PLUGINS, AskTransform).settings
    assert isinstance(settings, PositionalSettings)
    converted = convert_settings(yaml.safe_dump(chosen), chosen, settings)
    _, records = run_drawn(directory, yaml.safe_load(converted.text))
    assert (routed(ends_of(records)), files_of(directory), visits_of(records)) == found


def visits_of(records: Records) -> list[list[tuple[object, ...]]]:
    """Return the visits of each token in order."""
    found: dict[str, list[tuple[object, ...]]] = {token["token_id"]: [] for token in records.get("token", [])}
    for state in sorted(records.get("node_state", []), key=lambda state: (state["token_id"], state["step_index"])):
        name = state["node_id"].rpartition("_")[0]
        found[state["token_id"]].append((state["step_index"], name, state["status"], state["output_hash"]))
    return [found[token_id] for token_id in sorted(found)]


# -- steps that are wired by names -----------------------------------------------------------------------------------


@law(4)
@given(data=st.data(), rows=ROWS, more=ROWS)
def test_rows_of_several_sources_are_conserved_and_every_output_leads_to_them(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData], more: list[RowData]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    check_run(directory, data.draw(wired_graphs(directory, {"first": rows, "second": more})), rows + more)


@law(3)
@given(data=st.data(), rows=ROWS, more=ROWS, size=st.integers(1, 4), workers=st.integers(1, 5))
def test_outputs_of_wired_steps_do_not_depend_on_groups_workers_or_the_order_of_sections(  # noqa: PLR0917  drawn
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[RowData],
    more: list[RowData],
    size: int,
    workers: int,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(wired_graphs(directory, {"first": rows, "second": more}))
    shuffled = dict(chosen)
    for section in ("transforms", "gates", "aggregations", "coalesce"):
        shuffled[section] = data.draw(st.permutations(chosen[section]))
    found = []
    for settings, group_size, max_workers in ((chosen, 500, 1), (shuffled, size, workers)):
        with pytest.MonkeyPatch.context() as patch:
            groups_of(patch, group_size)
            concurrency = {"concurrency": {"max_workers": max_workers}}
            result, records = run_drawn(directory, settings | concurrency)
        found.append((ends_of(records), files_of(directory), result.rows_by_sink, result.failed))
    assert found[0] == found[1]


@law(2)
@given(data=st.data(), rows=ROWS, more=ROWS, after=st.integers(0, 12))
def test_a_wired_run_stopped_anywhere_and_resumed_ends_as_an_undisturbed_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[RowData], more: list[RowData], after: int
) -> None:
    assume(rows or more)  # a run without rows is not resumed
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(wired_graphs(directory, {"first": rows, "second": more}))
    _, records = run_drawn(directory, chosen)
    found = ends_of(records), files_of(directory)
    with pytest.MonkeyPatch.context() as patch:
        groups_of(patch, 1)
        patch.chdir(directory)
        countdown = iter(range(after, -1, -1))
        pipeline = build(directory, chosen, *PLUGINS, AskTransform)
        try:
            execute(pipeline, Observer(is_stopped=lambda: not next(countdown, 0)))
        except RunInterruptedError:
            run_id = trail(directory)["run"][0]["run_id"]
            keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
            with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
                Orchestrator(db, build(directory, chosen, *PLUGINS, AskTransform), keys).resume(run_id)
    assert (ends_of(trail(directory)), files_of(directory)) == found
