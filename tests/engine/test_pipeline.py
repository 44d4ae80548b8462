"""Pipelines, and the keys and variables that a run needs."""

import hmac
import json
import os
import time
from pathlib import Path

import pytest

from elspeth.contracts.enums import Determinism
from elspeth.core.settings import SettingsError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.pipeline import Pipeline, fill_sink_paths
from elspeth.evidence.format.bag import Contact
from tests.engine.pipelines import MarkTransform, Settings, build, csv_settings, run
from tests.fixtures.python_modules import ModuleWriter


def test_node_ids_are_readable_and_fit_the_audit_trail(tmp_path: Path) -> None:
    long = "n" * 64
    settings = csv_settings(tmp_path)
    settings["gates"][0]["name"] = long
    nodes = build(tmp_path, settings).nodes.values()
    assert [node.node_id.rsplit("_", 1)[0] for node in nodes] == [
        "source_csv",
        f"gate_{'n' * 50}",
        "sink_rest",
        "sink_x",
    ]
    assert {len(node.node_id.rsplit("_", 1)[1]) for node in nodes} == {8}
    assert max(len(node.node_id) for node in nodes) == 64


def test_node_ids_do_not_depend_on_secrets(tmp_path: Path) -> None:
    ids = set()
    for password in ("first", "second"):
        settings = csv_settings(tmp_path)
        options = {"url": f"postgresql+psycopg://user:{password}@host/db", "table": "rest"}
        settings["sinks"]["rest"] = {"plugin": "database", "options": options}
        ids.add(build(tmp_path, settings).sink_node("rest").node_id)
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("{run_id}.csv", "r1.csv"),
        ("{date}.csv", "2026-03-01.csv"),
        ("{{1}}.csv", "{1}.csv"),
        ("plain.csv", "plain.csv"),
    ],
)
def test_every_placeholder_in_the_path_of_a_sink_is_filled(tmp_path: Path, name: str, filled: str) -> None:
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["options"]["path"] = str(tmp_path / name)
    before = build(tmp_path, settings)
    after = fill_sink_paths(before, {"run_id": "r1", "date": "2026-03-01"})
    paths = [each.options.model_dump()["path"] for each in after.sinks.values()]
    assert paths == [str(tmp_path / "out" / "rest.csv"), str(tmp_path / filled)]
    assert before.sinks["x"].options.model_dump()["path"] == str(tmp_path / name)


def test_a_sink_is_only_reserved_for_an_export_that_is_made(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["export"] = {"enabled": False, "sink": "x", "format": "csv"}
    assert list(build(tmp_path, settings).sinks) == ["rest", "x"]


def test_a_gate_that_calls_a_function_is_not_recorded_as_deterministic(
    tmp_path: Path, write_module: ModuleWriter
) -> None:
    directory = write_module("def is_x(kind: str) -> bool:\n    return kind == 'x'\n")
    settings = csv_settings(tmp_path)
    gate = settings["gates"][0]
    nodes = build(tmp_path, settings).nodes
    assert nodes["gates", 0].determinism is Determinism.DETERMINISTIC
    settings["gates"] = [
        {"name": "split", "function": "rules:is_x", "directory": str(directory), "routes": gate["routes"]}
    ]
    nodes = build(tmp_path, settings).nodes
    assert nodes["gates", 0].determinism is Determinism.NON_DETERMINISTIC


@pytest.mark.parametrize("part", ["sink", "rates"])
def test_an_address_that_is_refused_does_not_show_its_password(tmp_path: Path, part: str) -> None:
    settings, address = csv_settings(tmp_path), "https://user:hunter2@host/rest.csv"
    if part == "sink":
        settings["sinks"]["rest"]["options"]["path"] = address
    else:
        settings["rate_limit"] = {"persistence_path": address}
    with pytest.raises(SettingsError) as caught:
        build(tmp_path, settings)
    assert "hunter2" not in str(caught.value)


def source_id(pipeline: Pipeline) -> str:
    (place,) = pipeline.sources
    return pipeline.nodes[place].node_id


def test_different_options_give_different_node_ids(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    first = source_id(build(tmp_path, settings))
    settings["datasource"]["options"]["path"] = "other.csv"
    assert source_id(build(tmp_path, settings)) != first


def test_all_missing_variables_are_named_at_once(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"] = {
        "url": "postgresql+psycopg://audit:hunter2@host/db",
        "export": {"enabled": True, "sink": "x", "format": "csv", "sign": True},
    }
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    pipeline = build(tmp_path, settings)
    with pytest.raises(SettingsError) as caught:
        load_run_keys(pipeline.settings, {}, source="s.yaml")
    assert str(caught.value) == (
        "s.yaml: 2 problems\n"
        "  landscape.url: is a secret, which is never stored: "
        "set ELSPETH_FINGERPRINT_KEY to record a fingerprint of it, or ELSPETH_ALLOW_RAW_SECRETS=true to record none\n"
        "  landscape.export.sign: a signed export needs a key: set ELSPETH_SIGNING_KEY, or sign: false"
    )


def test_a_signing_key_is_only_used_if_signing_is_requested(tmp_path: Path) -> None:
    pipeline = build(tmp_path, csv_settings(tmp_path))
    assert load_run_keys(pipeline.settings, {"ELSPETH_SIGNING_KEY": "k"}, source="s.yaml").signing_key is None


def test_an_address_alone_names_who_makes_bags(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    export = {"enabled": True, "path": str(tmp_path / "bag"), "format": "bag", "contact_email": "a@example.org"}
    settings["landscape"]["export"] = export
    keys = load_run_keys(build(tmp_path, settings).settings, {}, source="s.yaml")
    assert keys.contact == Contact(email="a@example.org")


def test_a_bag_that_is_to_be_signed_needs_a_key_and_a_possible_maker(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    export = {"enabled": True, "path": str(tmp_path / "bag"), "format": "bag", "sign": True}
    settings["landscape"]["export"] = export | {"contact_email": "no address\n"}
    with pytest.raises(SettingsError) as caught:
        load_run_keys(build(tmp_path, settings).settings, {}, source="s.yaml")
    assert [each.location for each in caught.value.problems] == [
        ("landscape", "export", "sign"),
        ("landscape", "export"),
    ]
    assert str(caught.value.problems[0]) == (
        "landscape.export.sign: a signed bag needs a private key: give landscape.export.key (see elspeth keys generate)"
    )


def test_keys_that_can_be_guessed_are_refused(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["export"] = {"enabled": True, "sink": "x", "format": "csv", "sign": True}
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    environ = {"ELSPETH_SIGNING_KEY": "k", "ELSPETH_FINGERPRINT_KEY": "f"}
    advice = "expected at least 16 bytes, got 1; make one with python -c 'import secrets; print(secrets.token_hex(32))'"
    sign = f"landscape.export.sign: ELSPETH_SIGNING_KEY is too short for a key: {advice}"
    with pytest.raises(SettingsError) as caught:
        load_run_keys(build(tmp_path, settings).settings, environ, source="s.yaml")
    assert [str(each) for each in caught.value.problems] == [sign]  # there is nothing to make fingerprints of
    settings["landscape"]["url"] = "postgresql+psycopg://audit:hunter2@host/db"
    with pytest.raises(SettingsError) as caught:
        load_run_keys(build(tmp_path, settings).settings, environ, source="s.yaml")
    fingerprint = f"ELSPETH_FINGERPRINT_KEY is too short for a key: {advice}"
    assert [str(each) for each in caught.value.problems] == [fingerprint, sign]


def test_keys_are_bytes_which_need_not_be_text(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["export"] = {"enabled": True, "sink": "x", "format": "csv", "sign": True}
    settings["landscape"]["url"] = "postgresql+psycopg://audit:hunter2@host/db"
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    key = os.fsdecode(bytes(range(240, 256)))
    environ = {"ELSPETH_SIGNING_KEY": key, "ELSPETH_FINGERPRINT_KEY": key}
    keys = load_run_keys(build(tmp_path, settings).settings, environ, source="s.yaml")
    assert keys.signing_key == bytes(range(240, 256))
    expected = hmac.new(bytes(range(240, 256)), b"hunter2", "sha256").hexdigest()
    assert keys.mask("hunter2") == f"hmac-sha256:{expected}"


def test_a_secret_is_nowhere_in_what_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    directory = tmp_path / "http:" / "user:hunter2@host"
    settings["sinks"]["rest"]["options"]["path"] = str(directory / "rest.csv")
    settings["gates"][0]["condition"] = "row['kind'] == 'x'"
    store = "redis://user:hunter2@host/0"
    settings["labels"] = {"store": store}
    settings["row_plugins"] = [{"plugin": "mark", "options": {"field": "store", "value": store}}]
    _, records = run(tmp_path, settings, MarkTransform, environ={"ELSPETH_FINGERPRINT_KEY": "operator of the run"})
    (recorded,) = records["run"]
    assert not any("redis://user:hunter2@" in node["config_json"] for node in records["node"])
    assert "redis://user:hunter2@" not in recorded["settings_json"]
    assert "redis://user:hmac-sha256:" in recorded["settings_json"]


def test_a_secret_in_the_input_of_a_step_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["row_plugins"] = [{"plugin": "mark", "options": {"field": "store"}}]
    monkeypatch.setattr(MarkTransform, "prepare", lambda _: {"table": "redis://user:hunter2@host/0"})
    _, records = run(tmp_path, settings, MarkTransform, environ={"ELSPETH_FINGERPRINT_KEY": KEY})
    (config,) = [each["config_json"] for each in records["node"] if each["node_type"] == "transform"]
    found = f"redis://user:hmac-sha256:{fingerprint('hunter2')}@host/0"
    assert json.loads(config)["input"] == {"table": found}


def fingerprint(secret: str) -> str:
    return hmac.new(KEY.encode(), secret.encode(), "sha256").hexdigest()


KEY = "operator of the run"


def test_a_variable_that_holds_a_secret_is_recorded_with_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["path"] = "${PLACE}/in.csv"
    settings["labels"] = {"store": "redis://user:${REDIS_PASSWORD}@host/0"}
    environ = {"ELSPETH_FINGERPRINT_KEY": KEY, "PLACE": str(tmp_path), "REDIS_PASSWORD": "hunter2", "OTHER": "hunter2"}
    before = time.time()
    _, records = run(tmp_path, settings, environ=environ)
    (resolution,) = records["secret_resolution"]
    assert before <= resolution.pop("timestamp") <= time.time()
    assert resolution.pop("resolution_id")
    assert resolution == {
        "record_type": "secret_resolution",
        "run_id": records["run"][0]["run_id"],
        "env_var_name": "REDIS_PASSWORD",
        "source": "env",
        "vault_url": None,
        "secret_name": None,
        "fingerprint": fingerprint("hunter2"),
        "resolution_latency_ms": None,
    }
    assert f"redis://user:hmac-sha256:{fingerprint('hunter2')}@" in records["run"][0]["settings_json"]


def secret_variables(directory: Path, settings: Settings, environ: dict[str, str]) -> list[tuple[str, str]]:
    environ = {"ELSPETH_FINGERPRINT_KEY": KEY, **environ}
    keys = load_run_keys(build(directory, settings, environ=environ).settings, environ, source="s.yaml")
    return [(each.name, each.fingerprint) for each in keys.variables]


def test_a_secret_within_a_variable_has_the_fingerprint_of_the_secret(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["url"] = "${DATABASE}"
    environ = {"DATABASE": "postgresql+psycopg://audit:hunter%32@host/db"}
    assert secret_variables(tmp_path, settings, environ) == [("DATABASE", fingerprint("hunter2"))]


def test_a_variable_that_overrides_a_secret_is_recorded(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    environ = {"ELSPETH_LANDSCAPE__URL": "postgresql+psycopg://audit:hunter2@host/db"}
    assert secret_variables(tmp_path, settings, environ) == [("ELSPETH_LANDSCAPE__URL", fingerprint("hunter2"))]


def test_a_secret_in_the_settings_file_comes_from_no_variable(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["url"] = "postgresql+psycopg://audit:hunter2@host/db"
    assert secret_variables(tmp_path, settings, {"PASSWORD": "hunter2"}) == []


def test_without_a_key_no_fingerprint_is_recorded(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["url"] = "${DATABASE}"
    environ = {"DATABASE": "postgresql+psycopg://audit:hunter2@host/db", "ELSPETH_ALLOW_RAW_SECRETS": "true"}
    pipeline = build(tmp_path, settings, environ=environ)
    assert load_run_keys(pipeline.settings, environ, source="s.yaml").variables == ()


def test_the_schema_of_the_source_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["schema"] = {"mode": "free", "fields": ["id: int", "note: str?"]}
    _, records = run(tmp_path, settings)
    assert json.loads(records["run"][0]["source_schema_json"]) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "note": {"type": ["string", "null"]}},
        "required": ["id"],
        "additionalProperties": True,
    }
