"""Pipelines and what a run of them needs."""

import hmac
import os
from pathlib import Path

import pytest

from elspeth.core.settings import SettingsError
from elspeth.engine.preflight import keys_for_run
from tests.engine.pipelines import build, csv_settings, run


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


def test_node_ids_tell_nothing_of_secrets(tmp_path: Path) -> None:
    ids = set()
    for password in ("first", "second"):
        settings = csv_settings(tmp_path)
        settings["sinks"]["rest"]["options"]["path"] = f"http://user:{password}@host/rest.csv"
        ids.add(build(tmp_path, settings).sink_node("rest").node_id)
    assert len(ids) == 1


def test_other_options_make_another_node(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    first = build(tmp_path, settings).source_node.node_id
    settings["datasource"]["options"]["path"] = "other.csv"
    assert build(tmp_path, settings).source_node.node_id != first


def test_everything_that_the_environment_must_provide_is_named_at_once(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"] = {
        "url": "postgresql+psycopg://audit:hunter2@host/db",
        "export": {"enabled": True, "sink": "x", "format": "csv", "sign": True},
    }
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    pipeline = build(tmp_path, settings)
    with pytest.raises(SettingsError) as caught:
        keys_for_run(pipeline.settings, {}, source="s.yaml")
    assert str(caught.value) == (
        "s.yaml: 2 problems\n"
        "  landscape.url: is a secret, which is never stored: "
        "set ELSPETH_FINGERPRINT_KEY to record a fingerprint of it, or ELSPETH_ALLOW_RAW_SECRETS=true to record none\n"
        "  landscape.export.sign: a signed export needs a key: set ELSPETH_SIGNING_KEY, or sign: false"
    )


def test_a_signing_key_is_used_only_where_signing_is_asked_for(tmp_path: Path) -> None:
    pipeline = build(tmp_path, csv_settings(tmp_path))
    assert keys_for_run(pipeline.settings, {"ELSPETH_SIGNING_KEY": "k"}, source="s.yaml").signing_key is None


def test_keys_that_can_be_guessed_are_refused(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["export"] = {"enabled": True, "sink": "x", "format": "csv", "sign": True}
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    environ = {"ELSPETH_SIGNING_KEY": "k", "ELSPETH_FINGERPRINT_KEY": "f"}
    advice = "expected at least 16 bytes, got 1; make one with python -c 'import secrets; print(secrets.token_hex(32))'"
    sign = f"landscape.export.sign: ELSPETH_SIGNING_KEY is too short for a key: {advice}"
    with pytest.raises(SettingsError) as caught:
        keys_for_run(build(tmp_path, settings).settings, environ, source="s.yaml")
    assert [str(each) for each in caught.value.problems] == [sign]  # there is nothing to make fingerprints of
    settings["landscape"]["url"] = "postgresql+psycopg://audit:hunter2@host/db"
    with pytest.raises(SettingsError) as caught:
        keys_for_run(build(tmp_path, settings).settings, environ, source="s.yaml")
    fingerprint = f"ELSPETH_FINGERPRINT_KEY is too short for a key: {advice}"
    assert [str(each) for each in caught.value.problems] == [fingerprint, sign]


def test_keys_are_bytes_which_need_not_be_text(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["export"] = {"enabled": True, "sink": "x", "format": "csv", "sign": True}
    settings["landscape"]["url"] = "postgresql+psycopg://audit:hunter2@host/db"
    settings["gates"][0]["routes"] = {"true": "rest", "false": "continue"}
    key = os.fsdecode(bytes(range(240, 256)))
    environ = {"ELSPETH_SIGNING_KEY": key, "ELSPETH_FINGERPRINT_KEY": key}
    keys = keys_for_run(build(tmp_path, settings).settings, environ, source="s.yaml")
    assert keys.signing_key == bytes(range(240, 256))
    expected = hmac.new(bytes(range(240, 256)), b"hunter2", "sha256").hexdigest()
    assert keys.mask("hunter2") == f"hmac-sha256:{expected}"


def test_a_secret_is_nowhere_in_what_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    directory = tmp_path / "http:" / "user:hunter2@host"
    settings["sinks"]["rest"]["options"]["path"] = str(directory / "rest.csv")
    settings["gates"][0]["condition"] = "row['kind'] == 'x'"
    settings["rate_limit"] = {"persistence_path": "redis://user:hunter2@host/0"}
    _, records = run(tmp_path, settings, environ={"ELSPETH_FINGERPRINT_KEY": "operator of the run"})
    (recorded,) = records["run"]
    assert "redis://user:hunter2@" not in recorded["settings_json"]
    assert "redis://user:hmac-sha256:" in recorded["settings_json"]
