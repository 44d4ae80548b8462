"""Laws of runs, over drawn graphs and rows."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.engine.reporting import RunResult
from tests.engine.drawn import ROWS, SINKS, AskTransform, graphs
from tests.engine.pipelines import Records, Settings, groups_of, run_graph, written
from tests.engine.planted import VALUES, found_in
from tests.fixtures.effort import law


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
            recorded[ends[state["token_id"]]["sink_name"]][state["input_hash"]] += 1
            if "id" in (row := by_hash(directory, state["input_hash"])):
                assert row["id"] in {rows[index]["id"] for index in lineage.sources(state["token_id"])}
    for name, counts in recorded.items():
        assert Counter(map(stable_hash, written(directory, name))) == counts
        assert result.rows_by_sink[name] == counts.total()


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
def test_a_replay_makes_the_same_outputs_and_asks_nobody(
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
def test_no_value_of_a_row_is_in_the_trail_whatever_the_graph(
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
