"""Functions of Python in runs, and in resumed ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.settings.problems import SettingsError
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Observer
from tests.engine.pipelines import Settings, build, csv_settings, execute, run
from tests.fixtures.python_modules import ModuleWriter

RULES = """
from typing import Literal

def price(amount: int) -> float:
    return 100 / amount

def size(row: dict) -> Literal["large", "small"]:
    row["amount"] = "a gate changes nothing"
    if row["price"] == 50.0:
        raise ValueError("fifty is my secret")
    return "large" if row["price"] > 30 else "small"

def count(rows: list[dict]) -> dict:
    return {"rows": len(rows)}
"""


def settings(directory: Path, functions: Path) -> Settings:
    (directory / "in.csv").write_text("amount\n1\n0\n2\n4\n5\n")
    found = csv_settings(directory)
    found["datasource"]["options"]["schema"] = {"mode": "strict", "fields": ["amount: int"]}
    where = {"directory": str(functions)}
    return {
        **found,
        "row_plugins": [{"plugin": "python", "options": {"function": "rules:price", "result": "price", **where}}],
        "gates": [
            {"name": "size", "function": "rules:size", **where, "routes": {"large": "x", "small": "continue"}},
        ],
    }


def test_functions_are_recorded_with_their_nodes_and_fail_rows_without_their_values(
    tmp_path: Path, write_module: ModuleWriter
) -> None:
    result, records = run(tmp_path, settings(tmp_path, write_module(RULES)))
    assert (tmp_path / "out" / "x.csv").read_text() == "amount,price\n1,100.0\n"
    assert (tmp_path / "out" / "rest.csv").read_text() == "amount,price\n4,25.0\n5,20.0\n"
    assert result.rows_with_failures == 2
    nodes = {node["node_type"]: node for node in records["node"]}
    described = {"sha256": hashlib.sha256(RULES.encode()).hexdigest()}
    for kind, function in (("transform", "rules:price"), ("gate", "rules:size")):
        assert json.loads(nodes[kind]["config_json"])["input"] == {"function": function, **described}
        assert nodes[kind]["determinism"] == "non_deterministic"
    failed = [json.loads(each["error_json"]) for each in records["node_state"] if each["status"] == "failed"]
    assert [each["type"] for each in failed] == ["ZeroDivisionError", "ValueError"]
    assert failed[0]["exception"] == "raised at rules line 5"
    assert "secret" not in json.dumps(records)
    reasons = [json.loads(each["success_reason_json"]) for each in records["node_state"] if each["success_reason_json"]]
    assert {"condition": "rules:size", "result": "large", "label": "large"} in reasons


def test_an_aggregation_by_a_function_is_recorded_too(tmp_path: Path, write_module: ModuleWriter) -> None:
    options = {"function": "rules:count", "directory": str(write_module(RULES))}
    given = settings(tmp_path, write_module(RULES))
    aggregations = [{"name": "all", "plugin": "python", "options": options}]
    parts = {"sinks": {"rest": given["sinks"]["rest"]}, "aggregations": aggregations}
    _, records = run(tmp_path, {**given, "row_plugins": [], "gates": [], **parts})
    assert (tmp_path / "out" / "rest.csv").read_text() == "rows\n5\n"
    [config] = [json.loads(node["config_json"]) for node in records["node"] if node["node_type"] == "aggregation"]
    assert config["input"]["function"] == "rules:count"


def resume(pipeline: Pipeline, run_id: str) -> None:
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        Orchestrator(db, pipeline, keys).resume(run_id)


def test_a_run_is_not_resumed_with_another_function(tmp_path: Path, write_module: ModuleWriter) -> None:
    given = settings(tmp_path, write_module(RULES))
    with pytest.raises(RunInterruptedError):
        execute(build(tmp_path, given), Observer(is_stopped=lambda: True))
    with LandscapeDB.from_url(given["landscape"]["url"]) as db, db.connection() as connection:
        run_id = connection.exec_driver_sql("SELECT run_id FROM runs").scalar_one()
    write_module(RULES.replace("100 /", "200 /"))
    with pytest.raises(ResumeError, match="began with another input of node transform_python_0_") as caught:
        resume(build(tmp_path, given), run_id)
    assert hashlib.sha256(RULES.encode()).hexdigest() in str(caught.value)
    write_module(RULES)
    resume(build(tmp_path, given), run_id)
    assert (tmp_path / "out" / "x.csv").read_text() == "amount,price\n1,100.0\n"


def test_all_unusable_functions_are_problems_of_the_settings(tmp_path: Path, write_module: ModuleWriter) -> None:
    given = settings(tmp_path, write_module(RULES))
    given["row_plugins"][0]["options"]["function"] = "rules:prize"
    given["gates"][0]["routes"] = {"huge": "x", "small": "continue"}
    given["gates"] += [
        {"name": "none", "routes": {"true": "x"}},
        {"name": "both", "condition": "True", "function": "rules:size", "routes": {"true": "x"}},
    ]
    missing = "function 'rules:prize': 'prize' is missing; the functions of the module: count, price, size"
    labels = (
        "function 'rules:size': expected the labels that the function returns, 'large', 'small', got 'huge', 'small'"
    )
    with pytest.raises(SettingsError) as caught:
        build(tmp_path, given)
    assert [str(problem) for problem in caught.value.problems] == [
        f"row_plugins[0].options: {missing}",
        f"gates[0].routes: {labels}",
        "gates[1].condition: is required but missing: an expression, or a `function`",
        "gates[2].function: is given, and so is a condition: give one of them",
    ]
