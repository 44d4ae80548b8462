"""The section `openlineage`."""

from pathlib import Path

import pytest
import yaml

from elspeth.core.settings import Settings, SettingsError, load_settings
from elspeth.plugins.manager import PluginManager
from tests.engine.pipelines import csv_settings

PARENT = "0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"


def _load(directory: Path, **section: object) -> Settings:
    path = directory / "settings.yaml"
    (directory / "in.csv").write_text("id,kind\n")
    tree = {**csv_settings(directory), "openlineage": {"transport": {"type": "console"}, **section}}
    path.write_text(yaml.safe_dump(tree))
    return load_settings(path, environ={}, plugins=PluginManager.installed())


def _problem(directory: Path, **section: object) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(directory, **section)
    [problem] = caught.value.problems
    return f"{'.'.join(map(str, problem.location))}: {problem.message}"


def test_a_job_is_named_after_the_settings_file_by_default(tmp_path: Path) -> None:
    section = _load(tmp_path).openlineage
    assert section is not None
    assert (section.namespace, section.job) == ("elspeth", f"{tmp_path.name}.settings")
    named = _load(tmp_path, job="orders", namespace="shop").openlineage
    assert named is not None
    assert (named.namespace, named.job) == ("shop", "orders")


def test_a_job_is_named_after_the_directory_of_the_settings_wherever_a_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section = _load(Path()).openlineage
    assert section is not None
    assert section.job == f"{tmp_path.name}.settings"


def test_a_variable_for_the_parent_may_be_empty(tmp_path: Path) -> None:
    section = _load(tmp_path, parent="${OPENLINEAGE_PARENT_ID:-}").openlineage
    assert section is not None
    assert section.parent is None


@pytest.mark.parametrize("parent", ["orders", "airflow/orders/7", f"/orders/{PARENT}", f"airflow/orders/{PARENT}/7"])
def test_a_parent_has_three_parts(tmp_path: Path, parent: str) -> None:
    expected = "openlineage.parent: expected NAMESPACE/JOB/RUN, in which RUN is a UUID"
    assert _problem(tmp_path, parent=parent).startswith(expected)


def test_a_transport_has_a_type(tmp_path: Path) -> None:
    expected = "openlineage.transport: expected a key type, such as http, kafka, file, console or composite"
    assert _problem(tmp_path, transport={"url": "https://catalogue.example"}) == expected


def test_the_extra_is_named_if_the_client_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    expected = "openlineage.transport: needs openlineage, which is not installed: in a checkout of elspeth,"
    assert _problem(tmp_path) == f"{expected} pip install '.[openlineage]'"
