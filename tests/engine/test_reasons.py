"""The values that a gate saw, if contents are kept."""

from __future__ import annotations

import json
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.sealing.seal import read_secret
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from tests.engine.killing import run_with_kills
from tests.engine.pipelines import PLUGINS, Records, build, graph_settings, groups_of, run, trail
from tests.fixtures.workers import InlineWorkers

Reason = dict[str, Any]

ROUTES = {"true": "high", "false": "continue"}

FUNCTIONS = """
def named(amount: int, kind: list, more: str = "x") -> bool:
    kind.append("changed")
    return amount > 9000

def whole(row: dict[str, object]) -> bool:
    return row["amount"] > 8000
"""
GATES: list[dict[str, object]] = [
    {"name": "first", "condition": "row.get('vip', False) or row['amount'] > 9999", "routes": ROUTES},
    {"name": "named", "function": "gate_functions:named", "routes": ROUTES},
    {"name": "whole", "function": "gate_functions:whole", "routes": ROUTES},
    {
        "name": "fork",
        "condition": "row['amount'] > 1000",
        "routes": {"true": "fork", "false": "continue"},
        "fork_to": ["high", "out"],
    },
]
ROWS: list[dict[str, object]] = [
    {"amount": 1200, "kind": ["x"], "name": "Ann Other"},
    {"amount": 3, "kind": ["x"], "name": "Bob"},
    {"amount": 3, "kind": ["x"], "name": "Bob", "vip": True},
]


class Recorded(NamedTuple):
    """A run, and its reasons by gate and row."""

    directory: Path
    records: Records
    reasons: dict[tuple[str, int], list[Reason]]


def reasons_of(directory: Path, records: Records) -> dict[tuple[str, int], list[Reason]]:
    rows = {each["row_id"]: each["row_index"] for each in records["row"]}
    tokens = {each["token_id"]: rows[each["row_id"]] for each in records["token"]}
    states = {each["state_id"]: each for each in records["node_state"]}
    found: dict[tuple[str, int], list[Reason]] = {}
    for event in records["routing_event"]:
        state = states[event["state_id"]]
        content = (directory / "payloads" / event["reason_ref"][:2] / event["reason_ref"]).read_bytes()
        assert sha256(content).hexdigest() == event["reason_hash"] == event["reason_ref"]
        gate = state["node_id"].split("_")[1]
        found.setdefault((gate, tokens[state["token_id"]]), []).append(json.loads(content))
    return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Run the gates with a payload store."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "gate_functions.py").write_text(FUNCTIONS)
    (directory / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    settings = graph_settings(
        directory,
        [],
        "high",
        datasource={"plugin": "jsonl", "options": {"path": str(directory / "in.jsonl")}},
        gates=[{**gate, "directory": str(directory)} if "function" in gate else gate for gate in GATES],
        payload_store={"base_path": str(directory / "payloads")},
    )
    _, records = run(directory, settings, *PLUGINS)
    return Recorded(directory, records, reasons_of(directory, records))


def seen(recorded: Recorded, gate: str, row: int) -> list[tuple[object, object, object]]:
    return [(each["values"], each["absent"], each["label"]) for each in recorded.reasons[gate, row]]


def test_a_reason_has_the_values_that_the_condition_read(recorded: Recorded) -> None:
    (reason,) = recorded.reasons["first", 0]
    assert {**reason, "salt": ""} == {
        "condition": "row.get('vip', False) or row['amount'] > 9999",
        "result": False,
        "label": "false",
        "values": {"amount": 1200},
        "absent": ["vip"],
        "salt": "",
    }
    assert seen(recorded, "first", 2) == [({"vip": True}, [], "true")]


def test_a_fork_has_one_reason_for_all_copies(recorded: Recorded) -> None:
    assert seen(recorded, "fork", 0) == [({"amount": 1200}, [], "true")] * 2
    assert seen(recorded, "fork", 1) == [({"amount": 3}, [], "false")]


def test_a_reason_has_the_fields_as_the_function_got_them(recorded: Recorded) -> None:
    assert seen(recorded, "named", 0) == [({"amount": 1200, "kind": ["x"]}, ["more"], "false")]


def test_a_function_of_the_whole_row_is_covered_by_the_hash_of_the_visit(recorded: Recorded) -> None:
    expected = {"condition": "gate_functions:whole", "result": False, "label": "false"}
    assert recorded.reasons["whole", 0] == [expected]


def test_no_record_contains_the_values(recorded: Recorded) -> None:
    assert "1200" in json.dumps(str(recorded.reasons))
    rest = {kind: found for kind, found in recorded.records.items() if kind not in {"row", "run"}}
    texts = [text for found in rest.values() for each in found for text in each.values() if isinstance(text, str)]
    assert not any("1200" in text for text in texts if text.startswith("{"))


def test_the_hash_of_a_reason_cannot_be_guessed(recorded: Recorded) -> None:
    """Only the stored content has the salt."""
    (reason,) = recorded.reasons["first", 0]
    assert len(bytes.fromhex(reason["salt"])) == 16
    url = f"sqlite:///{recorded.directory / 'audit.db'}"
    with LandscapeDB.from_url(url, create_tables=False) as db, db.connection() as connection:
        secret = read_secret(connection, recorded.records["run"][0]["run_id"])
    assert secret is not None
    assert reason["salt"] not in json.dumps(recorded.records) + secret
    equal = [recorded.reasons[gate, row][0]["salt"] for gate, row in (("named", 1), ("named", 1), ("fork", 1))]
    assert equal[0] == equal[1] != equal[2]


def test_without_a_payload_store_a_reason_is_made_once(tmp_path: Path) -> None:
    gate = {"name": "g", "condition": "row['id'] > 1", "routes": ROUTES}
    settings = graph_settings(tmp_path, [{"id": number} for number in range(4)], "high", gates=[gate])
    _, records = run(tmp_path, settings, *PLUGINS)
    assert {event["reason_ref"] for event in records["routing_event"]} == {None}
    texts = [
        f'{{"condition":"row[\'id\'] > 1","label":"{label}","result":{label}}}'.encode() for label in ("true", "false")
    ]
    hashes = {sha256(text).hexdigest() for text in texts}
    assert {event["reason_hash"] for event in records["routing_event"]} == hashes


def test_workers_record_the_same_values_with_the_salts_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    gate = {"name": "first", "condition": "row['id'] > 1", "routes": ROUTES}
    store = {"base_path": str(tmp_path / "payloads")}
    settings = graph_settings(tmp_path, [{"id": n % 2} for n in range(5)], "high", gates=[gate], payload_store=store)
    with chdir(tmp_path):
        pipeline = build(tmp_path, settings, *PLUGINS)
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
            Orchestrator(db, pipeline, keys, workers=InlineWorkers(count=2)).run()
    found = reasons_of(tmp_path, trail(tmp_path))
    assert [found["first", row][0]["values"] for row in range(5)] == [{"id": n % 2} for n in range(5)]
    assert len({each["salt"] for (each,) in found.values()}) == 2


def test_a_resumed_run_gives_equal_reasons_the_salts_that_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    gate = {"name": "first", "condition": "row['id'] > 1", "routes": ROUTES}
    store = {"base_path": str(tmp_path / "payloads")}
    settings = graph_settings(tmp_path, [{"id": n % 2} for n in range(4)], "high", gates=[gate], payload_store=store)
    with chdir(tmp_path):
        run_with_kills(tmp_path, settings, [(5, False)])
    records = trail(tmp_path)
    assert [each["attempt"] for each in records["run_process"]] == [0, 1]
    found = reasons_of(tmp_path, records)
    assert len({each["salt"] for (each,) in found.values()}) == 2
