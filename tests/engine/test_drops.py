"""Dropped rows, remembered keys, and lookup tables."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError, RowDrop, RowError, Transform
from elspeth.contracts.rows import RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.endings import ended_tokens
from elspeth.engine.errors import ResumeError
from elspeth.engine.resuming import get_stopped_run
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, generate_keys
from elspeth.plugins.transforms.dedupe import DedupeTransform
from tests.engine.killing import begin_killed_run, work
from tests.engine.pipelines import GivenSource, build, graph_settings, groups_of, outcomes, run_graph, trail, written

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # a process that is killed closes nothing
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FILTER = {"plugin": "filter", "options": {"condition": "row['id'] % 2 == 0"}}
DEDUPE = {"plugin": "dedupe", "options": {"key": ["k"]}}
KEYS = ["a", "b", "a", "c", "b", "a", "d"]


def reasons(records: dict[str, list[dict[str, Any]]]) -> list[object]:
    """Return why tokens were dropped, in order."""
    found = [json.loads(each["success_reason_json"] or "{}") for each in records["node_state"]]
    return [each for each in found if "dropped" in each]


def test_a_dropped_row_is_neither_written_nor_failed_and_the_trail_says_why(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": number} for number in range(4)]
    result, records = run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=[FILTER]))
    assert [row["id"] for row in written(tmp_path, "out")] == [0, 2]
    assert outcomes(records) == [("completed", "out"), ("dropped", None)] * 2
    assert (result.dropped, result.failed, result.arrived, result.problems) == (2, 0, 2, [])
    reason = {"action": "filter", "dropped": "the condition is not true", "condition": "row['id'] % 2 == 0"}
    assert reasons(records) == [reason, reason]
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}") as db, db.snapshot() as connection:
        found = list(ended_tokens(connection, result.run_id))
        filtered = list(ended_tokens(connection, result.run_id, step="filter_0", reason="condition is not"))
    assert [(each.row, each.step, each.kind, each.reason) for each in found] == [
        (0, None, None, None),
        (1, "filter_0", "RowDrop", "the condition is not true"),
        (2, None, None, None),
        (3, "filter_0", "RowDrop", "the condition is not true"),
    ]
    assert filtered == [found[1], found[3]]


class Dropping(Transform):
    """A transform that gives details of a reason other names."""

    name = "dropping"
    plugin_version = "1"

    def process(self, row: RowData) -> RowDrop:  # noqa: ARG002  all are dropped
        """Drop the row."""
        return RowDrop(reason="not needed", details={"action": "x", "dropped": "y", "more": 1})


def test_details_of_a_drop_do_not_hide_its_reason(tmp_path: Path) -> None:
    _, records = run_graph(tmp_path, graph_settings(tmp_path, [{}], row_plugins=[{"plugin": "dropping"}]), Dropping)
    assert reasons(records) == [{"action": "dropping", "dropped": "not needed", "more": 1}]


@pytest.mark.parametrize(
    ("join", "expected", "ends"),
    [
        ({}, [0], ["dropped", "failed", "forked"]),
        ({"policy": "best_effort", "timeout_seconds": 1000}, [1, 0], ["coalesced", "completed", "dropped", "forked"]),
    ],
)
def test_a_branch_on_which_the_row_is_dropped_is_lost_at_once(
    tmp_path: Path, join: dict[str, object], expected: list[int], ends: list[str]
) -> None:
    fork = {"name": "f", "condition": "True", "routes": {"true": "fork", "false": "continue"}, "fork_to": ["a", "b"]}
    parts: dict[str, object] = {
        "row_plugins": [{**FILTER, "branch": "a"}],
        "gates": [fork],
        "coalesce": [{"name": "again", "branches": ["a", "b"], **join}],
    }
    result, records = run_graph(tmp_path, graph_settings(tmp_path, [{"id": 1}, {"id": 0}], **parts))
    assert written(tmp_path, "out") == [{"id": each} for each in expected]
    assert sorted(outcome for outcome, _ in outcomes(records)[: len(ends)]) == ends
    assert result.dropped == 1


def test_the_first_row_of_each_key_is_passed_on(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": number, "k": key} for number, key in enumerate(KEYS)]
    _, records = run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=[DEDUPE]))
    assert [row["id"] for row in written(tmp_path, "out")] == [0, 1, 3, 6]
    assert [each["first_row"] for each in reasons(records)] == [0, 1, 0]  # type: ignore[index]


def test_the_bag_of_a_run_with_dropped_rows_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generate_keys(Path("keys"))
    rows: list[RowData] = [{"id": number, "k": key} for number, key in enumerate(KEYS)]
    run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=[FILTER, DEDUPE]))
    assert main(["export", "latest", "-d", "audit.db", "-o", "bag.zip", "--key", f"keys/{PRIVATE_KEY}"]) == 0
    assert main(["verify", "bag.zip", "--key", f"keys/{PUBLIC_KEY}"]) == 0
    assert capsys.readouterr().err.endswith("11 verdict                 VERIFIED\n")


@pytest.mark.parametrize("size", [1, 3])
def test_a_resumed_run_remembers_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    groups_of(monkeypatch, size)
    chosen = graph_settings(
        tmp_path, [{"id": number, "k": key} for number, key in enumerate(KEYS)], row_plugins=[DEDUPE]
    )
    run_id = begin_killed_run(build(tmp_path, chosen, GivenSource), tmp_path, 10 if size == 1 else 6)
    assert 0 < len(trail(tmp_path)["row"]) < len(KEYS)
    with LandscapeDB.from_url(chosen["landscape"]["url"]) as db:
        assert get_stopped_run(db, run_id).waiting == 0
    work(build(tmp_path, chosen, GivenSource), lambda each: each.resume(run_id))
    assert [row["id"] for row in written(tmp_path, "out")] == [0, 1, 3, 6]
    with LandscapeDB.from_url(chosen["landscape"]["url"]) as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM held_items").scalar_one() == 0


def test_rows_with_equal_canonical_json_have_one_key(tmp_path: Path) -> None:
    rows: list[RowData] = [{"k": {"a": 1, "b": 2}}, {"k": {"b": 2, "a": 1.0}}, {"k": "1"}, {"k": 1}, {}]
    result, _ = run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=[DEDUPE]))
    assert written(tmp_path, "out") == [{"k": {"a": 1, "b": 2}}, {"k": "1"}, {"k": 1}]
    assert (result.dropped, result.failed) == (1, 1)


class Spoiling(DedupeTransform):
    """A transform that changes the row while making its key."""

    name = "spoiling"

    def key(self, row: RowData) -> object | RowError:
        """Return the key, and change the row."""
        found = super().key(dict(row))
        row["k"] = "spoilt"
        return found


def test_changes_to_the_row_by_the_key_function_have_no_effect(tmp_path: Path) -> None:
    rows: list[RowData] = [{"k": "a"}, {"k": "b"}, {"k": "a"}]
    part = {"plugin": "spoiling", "options": {"key": ["k"]}}
    result, _ = run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=[part]), Spoiling)
    assert (written(tmp_path, "out"), result.dropped) == (rows[:2], 1)


def test_rows_have_one_key_if_they_are_equal_in_the_types_of_the_schema(tmp_path: Path) -> None:
    rows: list[RowData] = [{"k": "1"}, {"k": "1.0"}, {"k": "2"}, {"k": " 2.00"}]
    options = {"key": ["k"], "schema": {"mode": "strict", "fields": ["k: float"]}}
    result, _ = run_graph(
        tmp_path, graph_settings(tmp_path, rows, row_plugins=[{"plugin": "dedupe", "options": options}])
    )
    assert written(tmp_path, "out") == [{"k": 1.0}, {"k": 2.0}]
    assert (result.dropped, result.failed) == (2, 0)


def lookup_settings(directory: Path) -> dict[str, Any]:
    """Return settings with a lookup in names.csv."""
    lookup = {
        "plugin": "lookup",
        "options": {
            "table": {"plugin": "csv", "options": {"path": "names.csv"}},
            "match": {"k": "key"},
            "add": {"name": "name"},
        },
    }
    rows: list[RowData] = [{"id": number, "k": key} for number, key in enumerate(KEYS)]
    return graph_settings(directory, rows, row_plugins=[lookup])


NAMES = "key,name\na,Ada\nb,Bob\nc,Cy\nd,Di\n"


def test_the_content_of_a_table_is_recorded_and_the_same_when_a_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    chosen, table = lookup_settings(tmp_path), tmp_path / "names.csv"
    with chdir(tmp_path):
        table.write_text(NAMES)
        run_id = begin_killed_run(build(tmp_path, chosen, GivenSource), tmp_path, 8)
        table.write_text(NAMES.replace("Di", "Do"))
        with pytest.raises(ResumeError, match=r"began with another input of node transform_lookup_0_\w+: recorded is"):
            work(build(tmp_path, chosen, GivenSource), lambda each: each.resume(run_id))
        table.write_text(NAMES)
        work(build(tmp_path, chosen, GivenSource), lambda each: each.resume(run_id))
    assert [row["name"] for row in written(tmp_path, "out")] == ["Ada", "Bob", "Ada", "Cy", "Bob", "Ada", "Di"]
    [node] = [each for each in trail(tmp_path)["node"] if each["plugin_name"] == "lookup"]
    found = json.loads(node["config_json"])["input"]
    assert (found["rows"], len(found["sha256"])) == (4, 64)


def test_a_run_does_not_begin_without_its_lookup_table(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(PluginError, match=r"names\.csv cannot be read: No such file or directory"):
        run_graph(tmp_path, lookup_settings(tmp_path))
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}") as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM runs").scalar_one() == 0
