"""Settings of the predecessor's later releases run as they are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main
from elspeth.core.settings import load_settings
from elspeth.plugins.manager import PluginManager
from tests.fixtures.effort import THOROUGH

CASES: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "later_settings.yaml").read_text(encoding="utf-8")
)
COMPARED = {"audit_export", "error_routing", "fork_coalesce"}
"""Cases that are compared with the positional form also where that is not thorough."""

STEPS = {"source", "sources", "queues", "transforms", "gates", "aggregations", "coalesce"}


def run(settings: dict[str, Any]) -> dict[str, str]:
    """Run settings, and return the files that they write."""
    Path("settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]) == 0
    found = {path.name: path.read_text() for path in Path("out").glob("*") if path.name != "trail.json"}
    shutil.rmtree("out", ignore_errors=True)
    if Path("out.db").exists():
        with closing(sqlite3.connect("out.db")) as connection:
            found["out.db"] = str(connection.execute("SELECT * FROM t").fetchall())
    for path in Path().glob("*.db"):
        path.unlink()
    return found


@pytest.mark.parametrize("name", CASES)
def test_settings_of_the_later_form_write_the_same_as_the_positional_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    case = CASES[name]
    for file, text in case["files"].items():
        Path(file).write_text(text)
    defaults = {"landscape": {"url": "sqlite:///audit.db"}}
    assert run(defaults | case["settings"]) == case["outputs"]
    if "positional" in case and (THOROUGH or name in COMPARED):
        kept = {key: value for key, value in case["settings"].items() if key not in STEPS}
        assert run(defaults | kept | case["positional"]) == case["outputs"]


SMALL: dict[str, Any] = {
    "source": {"plugin": "null", "on_success": "out"},
    "sinks": {"out": {"plugin": "csv", "options": {"path": "out/out.csv"}}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return small settings with a value at a path."""
    settings = deepcopy(SMALL)
    *way, last = path.split(".")
    target = settings
    for part in way:
        target = target.setdefault(part, {})
    target[last] = value
    return settings


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("depends_on", [], "pipelines do not run each other: run those before this one, as in a script that stops at"),
        ("telemetry", {}, "--log-format json writes what happens as events"),
        (
            "landscape.dump_to_jsonl",
            True,
            "there is no journal beside the audit database: export: {enabled: true, path:",
        ),
        ("landscape.export.signing_mode", "hmac", "sign: true signs each record"),
        (
            "sinks.out.options.collision_policy",
            "auto_increment",
            "{run_id} in its path gives each run a file of its own",
        ),
        ("source.options.schema", {"mode": "observed", "guaranteed_fields": ["a"]}, "name them in 'fields', with mode"),
        ("source.options.schema", {"mode": "observed", "required_fields": ["a"]}, "name them in 'fields', with mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_an_unsupported_key_is_a_problem_that_names_the_alternative(  # noqa: PLR0917  cases
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    value: object,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(yaml.safe_dump(changed(path, value), sort_keys=False))
    assert main(["validate", "-s", "settings.yaml", "--no-dotenv"]) == 2
    heading, *problems = capsys.readouterr().err.splitlines()
    assert heading == "error: settings.yaml: 1 problem"
    assert problems[0].startswith(f"  {path}: ")
    assert message in problems[0]


def test_replay_from_names_the_recorded_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(yaml.safe_dump(SMALL | {"run_mode": "replay", "replay_from": "abc"}))
    settings = load_settings(Path("settings.yaml"), environ={}, plugins=PluginManager.installed())
    assert settings.replay_source_run_id == "abc"
